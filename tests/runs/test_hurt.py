"""Jobs cannot hurt each other: one that kills its process, one that changes the process."""

import os
import sys
from pathlib import Path

import pytest
import torch

from sem_bench.base import process_state
from sem_bench.base.files import read_json, write_json
from sem_bench.cli import main
from sem_bench.runs.deaths import UNSEEN
from sem_bench.runs.plan import read_plan
from sem_bench.runs.store import Store
from tests.helpers.commands import fragile, process
from tests.helpers.results import numbers
from tests.helpers.toy import SUITE, method_card, write

VOTES = SUITE[: SUITE.index("  probe:")] + "  knn: {k: 5}\n"
KILLS = fragile(
    loss="""
    if first.shape[1] != 12 and Path("kill").exists():
        Path("kill").write_text(Path("kill").read_text() + "x")
        os.kill(os.getpid(), signal.SIGKILL)
    """
)


def own_method(folder: Path, name: str, code: str) -> None:
    """A user's method of class Fragile."""
    write(folder, f"methods/{name}.py", code)
    write(folder, f"methods/{name}.yaml", method_card("Fragile"))


def test_a_job_that_kills_its_process_stops_no_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One job at a time: the first death is the run's; the second, in a process of its own, is not."""
    own_method(folder, "fragile", KILLS)
    write(folder, "suite.yaml", VOTES.replace("[simclr]", "[fragile]"))
    write(folder, "kill", "")
    run = process(folder, "run", "suite.yaml")
    run.communicate(timeout=120)
    assert run.returncode == -9 and not list(folder.glob("results/*/*/error.txt"))
    assert main(["run", "suite.yaml"]) == 1
    errors = capsys.readouterr().err
    assert f"its process died ({UNSEEN}); it is tried once more" in errors
    assert f"its process died twice ({UNSEEN}; its worker died (killed; was memory short?)); --rerun failed" in errors
    assert "2 done, 0 reused, 1 failed, 1 blocked" in errors and "Traceback" not in errors
    assert len(list(folder.glob("results/pretrain/*/error.txt"))) == 1
    assert main(["run", "suite.yaml"]) == 1 and "0 done, 2 reused, 1 failed, 1 blocked" in capsys.readouterr().err
    assert Path("kill").read_text() == "xx"
    Path("kill").unlink()
    assert main(["run", "suite.yaml", "--rerun", "failed"]) == 0
    assert not list(folder.glob("results/*/*/deaths.json")) and not list(folder.glob("results/*/.locks/*"))


def test_which_deaths_count(folder: Path) -> None:
    store, (job, *_) = Store(Path("results")), read_plan(Path("suite.yaml")).unique()
    place = store.folder(job)
    store.write_state(place, "interrupted")  # by a signal, or by a worker whose driver was killed
    assert not store.suspect(job) and not store.count_unseen_death(job)
    store.write_state(place, "running", boot=f"{read_json(place / 'state.json')['boot'].split()[0]} another start")
    assert not store.suspect(job) and not store.count_unseen_death(job)
    for epoch in range(3):  # it gets further between its deaths
        write(place, "log.csv", "epoch\n" + "1\n" * epoch)
        store.write_state(place, "running")
        assert store.suspect(job) and store.count_unseen_death(job) and not store.given_up(job)
    assert store.suspect(job) and not store.count_unseen_death(job)
    with store.claim(job):
        assert not Store(Path("results")).suspect(job)  # another run works on it
    store.write_state(place, "running")
    assert store.count_unseen_death(job) and store.given_up(job) and not store.suspect(job)
    assert store.status(job) == "failed" and (place / "error.txt").read_text().startswith("its process died twice")
    write_json(place / "deaths.json", {"deaths": 7})  # by hand
    assert not store.suspect(job)


CHANGES = """
    torch.backends.mkldnn.enabled = False
    torch.set_num_threads(2)
    torch.manual_seed(7)
    numpy.random.seed(7)
    random.seed(7)
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("medium")
    torch.set_flush_denormal(True)
    torch.manual_seed = lambda seed: None
    os.environ["OF_MINE"] = "x"
    warnings.simplefilter("error")
    logging.getLogger().setLevel("DEBUG")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o777)
    sys.excepthook = print
    os.chdir("/")
"""


def changing() -> str:
    """A method that changes whatever it can, in its module, its constructor and its loss; printing as it goes."""
    lines = f"\ndef change():\n{CHANGES}    print('changed')\n\n\nchange()\ntorch.set_default_dtype(torch.float64)\n"
    imports = "import logging\nimport random\nimport sys\nimport warnings\n\nimport numpy\nimport torch\n"
    code = fragile(loss="change()")
    code = code.replace("import json\n", "import json\n" + imports).replace(
        "class Fragile", lines + "\n\nclass Fragile"
    )
    return code.replace("super().__init__(encoder)\n", "super().__init__(encoder)\n        change()\n")


def test_what_a_method_changes_of_the_process_is_put_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", VOTES)
    own_method(folder, "fragile", changing())
    both = ["run", "suite.yaml", "--set", "grid.methods=[fragile, simclr]"]
    assert main(["run", "suite.yaml", "--results", "alone"]) == 0
    capsys.readouterr()
    before = (torch.get_num_threads(), dict(os.environ), Path.cwd())
    assert main([*both, "--results", "serial"]) == 0
    assert (torch.get_num_threads(), dict(os.environ), Path.cwd()) == before
    said = capsys.readouterr()
    assert "changed" not in said.out and said.err.count("of the process; put back") == 2
    assert "the working folder" in said.err and "torch's threads" in said.err
    assert main([*both, "--results", "parallel", "--jobs", "2"]) == 0
    assert "changed" not in capsys.readouterr().out
    expected = numbers(folder / "alone")
    for results in ("serial", "parallel"):
        found = numbers(folder / results)
        assert expected and all(found[name] == value for name, value in expected.items())


def test_every_part_is_put_back_and_said() -> None:
    with process_state.kept() as changed:
        torch.set_default_dtype(torch.float64)
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
        torch.set_grad_enabled(False)
        sys.setrecursionlimit(5000)
        raised = torch.rand(1, device="cpu")
    assert set(changed) >= {
        "the limit of recursions",
        "torch's default dtype",
        "whether torch keeps gradients",
        "switches of torch.backends",
    }
    assert torch.rand(1).dtype == torch.float32 and torch.rand(1).requires_grad == raised.requires_grad
    with process_state.kept() as changed:
        pass
    assert not changed
