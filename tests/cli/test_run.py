"""A whole run through the command line: from suite.yaml to a table, again, with failures, with signals."""

import contextlib
import json
import os
import signal
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from sem_bench.base import interrupts
from sem_bench.cli import main
from tests.helpers.commands import BROKEN_LOSS, FRAGILE, fragile, process
from tests.helpers.toy import SUITE, TOY_PY, TOY_YAML, write


def results(folder: Path, kind: str = "*") -> dict[str, Any]:
    """The metrics of every job under results/, by KIND/FOLDER."""
    found = sorted((folder / "results").glob(f"{kind}/*/result.json"))
    return {f"{p.parent.parent.name}/{p.parent.name}": json.loads(p.read_text())["metrics"] for p in found}


def written(folder: Path) -> dict[Path, int]:
    """When each result was written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in (folder / "results").glob("*/*/result.json")}


def test_from_suite_to_table_and_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", SUITE.replace("[1.0, 0.1]", "[1.0, 0.05]"))  # of which five subsets are drawn
    assert main(["run", "suite.yaml"]) == 0
    output = capsys.readouterr()
    table = output.out
    assert "simclr" in table and "sem: L=4, V=3" in table and "100%" in table and "5%" in table and "kNN" in table
    assert "8 done, 0 reused, 0 failed, 0 blocked" in output.err
    found = results(folder)
    assert len(found) == 8
    for name, metrics in found.items():
        if name.startswith("probe"):
            assert all(0 <= row["value"] <= 100 for row in metrics["rows"])
            assert {row["representation"] for row in metrics["rows"]} == ({"h", "sem"} if "sem4x3" in name else {"h"})
    for suffix in ("md", "csv", "tex", "html", "json"):
        assert (folder / f"results/tables/tiny/comparison.{suffix}").stat().st_size > 100
    assert output.err.splitlines()[-1] == "results/tables/tiny.html: all of it as a page"
    assert "8 jobs: 8 done" in (folder / "results/tables/tiny.html").read_text()
    manifest = json.loads((folder / "results/suites/tiny.json").read_text())
    assert len(manifest["jobs"]) == 8 and manifest["suite"]["name"] == "tiny"

    for name, metrics in found.items():
        kind, slug = name.split("/")
        (line,) = [line for line in output.err.splitlines() if f"{kind} {slug[:-13]}: done" in line]
        if kind == "probe":  # the mean of a fraction's draws, at tau_d = tau
            (column,) = {row["column"] for row in metrics["rows"]}
            own = metrics["rows"][-1]["representation"]
            rows = [row for row in metrics["rows"] if row["representation"] == own]
            values = [row["value"] for row in rows if row["metric"] == "top1_fixed_tau"]
            assert f", {column} {sum(values) / len(values):.1f} (" in line
        elif kind == "pretrain":
            assert f", loss {metrics['loss']:.4g} (" in line

    before = written(folder)
    assert main(["run", "suite.yaml"]) == 0
    again = capsys.readouterr()
    assert again.out == table
    assert "0 done, 8 reused" in again.err
    assert written(folder) == before
    assert main(["plan", "suite.yaml"]) == 0
    assert "8 jobs: 8 done" in capsys.readouterr().out
    assert main(["table", "results"]) == 0
    assert capsys.readouterr().out == table


def test_the_files_of_a_job(folder: Path) -> None:
    write(folder, "suite.yaml", SUITE.replace("[1.0, 0.1]", "[1.0, 0.05]"))
    assert main(["run", "suite.yaml", "--only", "knn/simclr-sem", "5pc"]) == 0
    assert {name.split("/")[0] for name in results(folder)} == {"pretrain", "knn", "probe"}
    pretrain = next((folder / "results/pretrain").glob("*sem*"))
    log = (pretrain / "log.csv").read_text().splitlines()
    speed, health = "seconds,images_per_second,augmentation_share", "feature_std,effective_rank,simplex_entropy"
    assert log[0] == f"epoch,loss,lr,{speed},{health}" and len(log) == 3
    result = json.loads((pretrain / "result.json").read_text())
    known = {"schema", "kind", "digest", "config", "inputs", "metrics", "provenance"}
    assert set(result) == known | {"sums", "bits", "stands_on", "sum"}
    assert set(result["sums"]) == set(result["provenance"]["files"]) == {"checkpoint.pt", "config.json", "log.csv"}
    assert pretrain.name.endswith(result["digest"][:12])
    provenance = result["provenance"]
    assert provenance["device"] == "cpu" and provenance["precision"] in ("fp32", "bf16") and provenance["seconds"] > 0
    assert len(provenance["data"]["train"]) == 64 and provenance["versions"]["torch"] == version("torch")
    assert json.loads((pretrain / "config.json").read_text())["seed"] == 0
    assert json.loads((pretrain / "state.json").read_text())["state"] == "done"
    probe = next((folder / "results/probe").glob("*sem*"))
    rows = json.loads((probe / "result.json").read_text())["metrics"]["rows"]
    # 5 draws of h and sem, each at the temperature of pretraining and with the search, 80 test images each, 8 to a byte
    assert len(rows) == 20 and (probe / "predictions.bin").stat().st_size == 20 * 10
    assert len(torch.load(probe / "head.pt", weights_only=True)) == 20


def test_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml", "--only", "knn/simclr-none"]) == 0
    assert sorted(name.split("/")[0] for name in results(folder)) == ["knn", "pretrain"]
    assert "—" in capsys.readouterr().out  # holes are shown, not hidden
    assert main(["run", "suite.yaml", "--only", "byol"]) == 2
    assert "--only 'byol': no job's name contains it" in capsys.readouterr().err


def test_precision(folder: Path) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        only = ["--only", "pretrain/simclr-none", "--results", precision, "--precision", precision]
        assert main(["run", "suite.yaml", *only]) == 0
        (path,) = (folder / precision).glob("pretrain/*/result.json")
        found = json.loads(path.read_text())
        assert found["provenance"]["precision"] == precision
        losses[precision] = found["metrics"]["loss"]
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml", "--device", "cuda"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "--device cuda: torch finds no CUDA device here"


def test_a_failing_job_is_recorded_and_the_others_go_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "methods/fragile.py", BROKEN_LOSS)
    write(folder, "methods/fragile.yaml", FRAGILE)
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[fragile]"))
    (folder / "break").touch()
    assert main(["run", "suite.yaml"]) == 1  # the arm without embedding fails, with all that needs it
    output = capsys.readouterr()
    assert "it broke" in output.err and "4 of 8 jobs failed" in output.err
    assert "—" in output.out
    errors = list((folder / "results").glob("*/*/error.txt"))
    assert len(errors) == 1 and "RuntimeError: it broke" in errors[0].read_text()
    assert main(["plan", "suite.yaml"]) == 0
    assert "8 jobs: 4 done, 3 missing, 1 failed" in capsys.readouterr().out

    (folder / "break").unlink()
    before = written(folder)
    assert main(["run", "suite.yaml", "--rerun", "failed"]) == 0
    assert before.items() <= written(folder).items()
    assert not list((folder / "results").glob("*/*/error.txt"))
    capsys.readouterr()
    assert main(["plan", "suite.yaml"]) == 0
    assert "8 jobs: 8 done" in capsys.readouterr().out


def test_a_loss_that_is_not_a_number_fails_the_job(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "methods/fragile.py", BROKEN_LOSS)
    write(folder, "methods/fragile.yaml", FRAGILE)
    (folder / "nan").touch()
    assert main(["run", "suite.yaml", "--set", "grid.methods=[fragile]", "--only", "pretrain/"]) == 1
    assert "the loss is nan in epoch 0, step 0 of 8" in capsys.readouterr().err


def test_rerun_all_replaces_results_and_keeps_them_on_failure(folder: Path) -> None:
    write(folder, "methods/fragile.py", BROKEN_LOSS)
    write(folder, "methods/fragile.yaml", FRAGILE)
    arguments = ["run", "suite.yaml", "--set", "grid.methods=[fragile]"]
    assert main(arguments) == 0
    before, numbers = written(folder), results(folder)
    assert main([*arguments, "--rerun", "all", "--only", "knn/"]) == 0
    after = written(folder)
    assert {path.parent.parent.name for path in after if after[path] != before[path]} == {"knn"}
    assert main([*arguments, "--rerun", "all"]) == 0
    assert all(after[path] != time_ns for path, time_ns in written(folder).items())
    assert results(folder) == numbers
    (folder / "break").touch()
    assert main([*arguments, "--rerun", "all", "--only", "pretrain/fragile-none"]) == 1
    assert results(folder) == numbers


def test_deleted_or_damaged_files_are_made_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "suite.yaml", "--only", "simclr-none"]
    assert main(arguments) == 0
    numbers = results(folder)
    (pretrain,) = (folder / "results/pretrain").glob("*none*")
    (knn,) = (folder / "results/knn").glob("*none*")
    (pretrain / "checkpoint.pt").unlink()  # made again with the same bits, so that the others stay
    assert main(arguments) == 0
    assert "1 done, 3 reused" in capsys.readouterr().err.splitlines()[-2]
    (knn / "result.json").write_text('{"schema": 1, "kind"')
    assert main(arguments) == 0
    assert "1 done, 3 reused" in capsys.readouterr().err.splitlines()[-2]
    (pretrain / "result.json").unlink()
    (pretrain / "checkpoint.pt").write_bytes(b"no checkpoint")
    assert main(arguments) == 0
    assert results(folder) == numbers


def test_epochs_zero_is_the_random_backbone(folder: Path) -> None:
    assert main(["run", "suite.yaml", "--set", "pretrain.epochs=0", "--only", "knn/simclr-none"]) == 0
    pretrain = next(iter(results(folder, "pretrain").values()))
    assert pretrain["steps"] == 0 and pretrain["loss"] is None


def test_results_of_other_data_are_not_reused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The card and the code stay the same when a file that they read changes.
    write(
        folder,
        "datasets/toy.py",
        TOY_PY.replace("noise=40", "root").replace("rng =", 'noise = (root / "noise.txt").stat().st_size\n    rng ='),
    )
    write(folder, "datasets/toy.yaml", TOY_YAML + "files: [noise.txt]\n")
    write(folder, "data/noise.txt", "x" * 40)
    arguments = ["run", "suite.yaml", "--only", "knn/simclr-none"]
    assert main(arguments) == 0
    first = results(folder)
    write(folder, "data/noise.txt", "x" * 90)
    run = process(folder, *arguments)  # a process of its own, which has not read the old data
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 0 and "2 done" in errors.splitlines()[-2]
    second = results(folder)
    assert first.keys() == second.keys() and first != second
    (folder / "data/noise.txt").unlink()
    assert main(arguments) == 0  # all is done: nothing needs the data
    assert "0 done, 2 reused" in capsys.readouterr().err.splitlines()[-2]


def test_a_data_set_that_is_not_what_its_card_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for right, wrong, expected in (
        ("labels = labels", "labels = labels + 2", "label 4, but the card names 4 classes, 0 to 3"),
        ("labels = labels", "labels = labels % 3", "no image of class 'grey'"),
        (".astype(np.uint8)", "", "images are float64 (200, 16, 16, 3)"),
        ("(count, image_size,", "(count, image_size + 1,", "images are uint8 (200, 17, 16, 3)"),
        ("labels = labels", "labels = None", "expected numpy arrays"),
        ("labels = labels", "return pixels", "ValueError: too many values to unpack"),
        ("colour = ", "colour = 1 / 0 * ", "ZeroDivisionError: division by zero"),
    ):
        code = TOY_PY.replace("return pixels", "labels = labels\n    return pixels")
        assert right in code
        write(folder, "datasets/toy.py", code.replace(right, wrong))
        assert main(["run", "suite.yaml"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("datasets/toy.py:") and expected in lines[0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGUSR1, 143), (signal.SIGHUP, 129)])
def test_interrupted(number: signal.Signals, code: int, folder: Path) -> None:
    """SIGUSR1 is SLURM's warning that the time ends, SIGHUP the end of a terminal."""
    write(folder, "suite.yaml", SUITE.replace("epochs: 2", "epochs: 3000"))
    run = process(folder, "run", "suite.yaml", "--jobs", "1")  # else the second may have begun, too
    while not list((folder / "results").glob("pretrain/*/checkpoint.pt")):
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(number)
    _, errors = run.communicate(timeout=30)
    assert run.returncode == code
    assert "Traceback" not in errors and "all that is done is kept" in errors
    planned = process(folder, "plan", "suite.yaml")
    assert "1 partial" in planned.communicate(timeout=30)[0]
    assert '"interrupted"' in next((folder / "results").glob("pretrain/*/state.json")).read_text()  # it did not die


INTERRUPTED = fragile(
    step="""
    if Path("stop").exists() and step == int(Path("stop").read_text()):
        Path("stop").unlink()
        signal.raise_signal(signal.SIGTERM)
    """
)


@pytest.mark.parametrize("step", [3, 5, 7])
def test_a_signal_leaves_a_checkpoint_of_its_own_step(folder: Path, step: int) -> None:
    """Of the last step of an epoch with the epoch's end, so that its row of the log is not lost."""
    write(folder, "methods/fragile.py", INTERRUPTED)
    write(folder, "methods/fragile.yaml", FRAGILE)
    arguments = ["run", "suite.yaml", "--set", "grid.methods=[fragile]", "--only", "pretrain/fragile-none"]
    assert main([*arguments, "--results", "undisturbed"]) == 0
    write(folder, "stop", str(step))
    assert main(arguments) == 143
    (checkpoint,) = folder.glob("results/pretrain/*/checkpoint.pt")
    assert torch.load(checkpoint, weights_only=True)["step"] == step + 1
    assert main(arguments) == 0
    (expected,) = folder.glob("undisturbed/pretrain/*/result.json")
    (found,) = folder.glob("results/pretrain/*/result.json")
    assert json.loads(found.read_text())["metrics"] == json.loads(expected.read_text())["metrics"]


def test_an_interrupt_is_not_lost() -> None:
    """Python drops what a signal raises inside a destructor; between two steps it is raised again."""
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        for number in before:
            interrupts.listen()
            interrupts.check()
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(number)
            with pytest.raises(KeyboardInterrupt):
                interrupts.check()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
        interrupts.listen()
        signal.raise_signal(signal.SIGHUP)
        interrupts.check()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_rerun_all_starts_from_nothing(folder: Path) -> None:
    arguments = ["run", "suite.yaml", "--only", "pretrain/simclr-none", "--set", "pretrain.epochs=3000"]
    run = process(folder, *arguments)
    while not list((folder / "results").glob("pretrain/*/checkpoint.pt")):
        assert run.poll() is None
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    (checkpoint,) = (folder / "results").glob("pretrain/*/checkpoint.pt")
    log = checkpoint.with_name("log.csv")
    log.write_text("old")
    run = process(folder, *arguments, "--rerun", "all")
    while log.exists() and log.read_text() == "old":
        assert run.poll() is None
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()


def test_data_that_change_under_a_run_are_noticed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "datasets/toy.py", TOY_PY.replace('default_rng(["train", "test"].index(split))', "default_rng()"))
    assert main(["run", "suite.yaml", "--only", "knn/"]) == 0
    errors = process(folder, "run", "suite.yaml").communicate(timeout=60)[1]
    assert "the data of 'toy' are not what they were" in errors


def test_code_that_exits_is_a_failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        folder, "methods/fragile.py", BROKEN_LOSS.replace("return tuple(", "raise SystemExit(0)\n        return tuple(")
    )
    write(folder, "methods/fragile.yaml", FRAGILE)
    assert main(["run", "suite.yaml", "--set", "grid.methods=[fragile]"]) == 1
    assert "8 of 8 jobs failed" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["results", "results/pretrain", "results/suites", "results/cache", "results/tables"])
def test_a_file_where_a_folder_should_be(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, name, "a file")
    code = main(["run", "suite.yaml", "--only", "knn/simclr-none"])
    assert code == 0 if name == "results/pretrain" else code in (1, 2)  # which is set aside
    assert "Traceback" not in capsys.readouterr().err


def test_names_that_are_too_long(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    for arguments in (["run", long], ["plan", "suite.yaml", "--results", long], ["table", long], ["doctor", long]):
        assert main(arguments) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_only_of_nothing_is_a_mistake(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "suite.yaml", "--only", ""])
    assert ended.value.code == 2 and "an empty text, which every name contains" in capsys.readouterr().err


def test_more_neighbours_than_images_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml", "--only", "knn/simclr-none", "--set", "evaluate.knn.k=1000"]) == 0
    capsys.readouterr()
    assert main(["table", "results", "--notes"]) == 0
    assert "all 200 training images vote: k is 1,000" in capsys.readouterr().out
