"""Nothing broken is believed: a finished folder is damaged for real, looked at, and mended by the next run.

docs/reliability.md has a line for each case; `make faults` runs them.
"""

import csv
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sem_bench.base.files import write_atomic, write_json
from sem_bench.base.seals import sealed, with_sum
from sem_bench.cli import main
from sem_bench.errors import printable
from sem_bench.runs import deaths
from sem_bench.runs.drivers import registered
from sem_bench.runs.plan import read_plan
from sem_bench.runs.record_file import opened, pack
from sem_bench.runs.store import Store
from sem_bench.sweep.storage import Driver
from tests.helpers.commands import ended
from tests.helpers.fuzz import VALUES, changed, places
from tests.helpers.toy import SUITE, TAU, TOY_PY, TOY_YAML, overlap, replace_text, write

MICRO = SUITE.replace("[1.0, 0.1]", "[1.0]").replace("  knn: {k: 5}\n", "  knn: {k: 5}\n  relevance: {top_k: [1]}\n")
JOBS = 8  # two pretrainings, probes, votes, relevances
Json = dict[str, Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run of a micro suite."""
    folder = tmp_path_factory.mktemp("finished")
    write(folder, "suite.yaml", MICRO)
    write(folder, "datasets/toy.yaml", TOY_YAML)
    write(folder, "datasets/toy.py", TOY_PY)
    overlap(folder, "toy")
    before = Path.cwd()
    os.chdir(folder)
    assert main(["run", "suite.yaml"]) == 0
    os.chdir(before)
    yield folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to break; the current folder during the test."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of(kind: str, arm: str = "none") -> Path:
    """The folder of a job."""
    (found,) = (path for path in Path("results", kind).glob(f"*-{arm}*") if not path.name.startswith("zzz"))
    return found


def figures() -> Json:
    """The metrics of every job."""
    found = {path: json.loads(path.read_text())["metrics"] for path in Path("results").glob("[!s]*/*/result.json")}
    return {path.parent.name: metrics for path, metrics in found.items()}


def flip(path: Path, at: float = 0.5) -> None:
    """One bit of a file."""
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def flip_digit(path: Path) -> None:
    """One bit of the first digit of a figure."""
    text = path.read_text()
    at = text.index('"value": ') + len('"value": ')
    path.write_text(text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :])


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def swap(name: str, kind: str) -> None:
    """The file of one arm with that of the other."""
    first, second = of(kind, "none") / name, of(kind, "sem") / name
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def another(name: str, kind: str) -> None:
    """A file as long as the right one, of another training."""
    path = of(kind) / name
    content = torch.load(path, weights_only=True)
    weights = content["encoder"] if kind == "pretrain" else content[0]
    next(value for value in weights.values() if isinstance(value, torch.Tensor) and value.ndim > 1).neg_()
    end = path.read_bytes()
    with path.open("wb") as file:
        torch.save(content, file)
    path.write_bytes(path.read_bytes() + end[path.stat().st_size :])


def double() -> None:
    """A second folder of a job, with another figure and a right sum."""
    folder = of("knn")
    other = folder.with_name(f"zzz-copy-{folder.name[-12:]}")
    shutil.copytree(folder, other)
    content = json.loads((other / "result.json").read_text())
    content["metrics"]["rows"][0]["value"] = 12.3
    write_json(other / "result.json", with_sum(content))


def edit(path: Path, value: Any, *keys: Any) -> None:
    """A value of a JSON file, its sum as it was."""
    content = json.loads(path.read_text())
    part = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    path.write_text(json.dumps(content))


PREDICTIONS, HEAD, CHECKPOINT = "predictions.bin", "head.pt", "checkpoint.pt"
SEEN: dict[str, Callable[[], object]] = {  # by whoever looks at the folder, before anything is computed
    "a bit of a figure": lambda: flip_digit(of("knn") / "result.json"),
    "no metrics": lambda: edit(of("knn") / "result.json", {}, "metrics"),
    "no rows": lambda: edit(of("knn") / "result.json", None, "metrics", "rows"),
    "a figure that is none": lambda: edit(of("knn") / "result.json", "x", "metrics", "rows", 0, "value"),
    "a result that is another's": lambda: shutil.copy(of("knn", "sem") / "result.json", of("knn") / "result.json"),
    "200,000 brackets": lambda: (of("knn") / "result.json").write_text("[" * 200_000),
    "a second folder": double,
    "predictions flipped": lambda: flip(of("probe") / PREDICTIONS),
    "predictions cut": lambda: os.truncate(of("probe") / PREDICTIONS, 3),
    "predictions emptied": lambda: (of("probe") / PREDICTIONS).write_bytes(b""),
    "predictions absent": lambda: (of("probe") / PREDICTIONS).unlink(),
    "predictions a folder": lambda: as_folder(of("probe") / PREDICTIONS),
}
PLANNED: dict[str, Callable[[], object]] = {  # by runs and plans; the figures were made before, and are right
    "head cut": lambda: os.truncate(of("probe") / HEAD, 30),
    "head absent": lambda: (of("probe") / HEAD).unlink(),
    "checkpoint emptied": lambda: (of("pretrain") / CHECKPOINT).write_bytes(b""),
    "checkpoint absent": lambda: (of("pretrain") / CHECKPOINT).unlink(),
    "networks swapped": lambda: swap(CHECKPOINT, "pretrain"),
    "heads swapped": lambda: swap(HEAD, "probe"),
    "data null": lambda: edit(of("pretrain") / "result.json", None, "provenance", "data"),
    "seconds null": lambda: edit(of("probe") / "result.json", None, "provenance", "seconds"),
    "files a text": lambda: edit(of("probe") / "result.json", "x", "provenance", "files"),
}


@pytest.mark.parametrize("fault", [*SEEN, *PLANNED])
def test_damage_is_said_and_made_good(copy: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected, count = figures(), 1 + ("swapped" in fault)
    assert main(["table", "results"]) == 0
    shown = capsys.readouterr().out
    (SEEN | PLANNED)[fault]()
    assert main(["verify", "results"]) == 1
    assert "wrong  results/" in capsys.readouterr().out
    if fault in SEEN:
        assert main(["table", "results"]) == 0
        said = capsys.readouterr().out
        assert any(f"{word}: seed 0" in said for word in ("damaged", "unreadable", "doubled"))
        assert main(["record", "results", "kept"]) == 2
        assert "1 of 8 jobs" in capsys.readouterr().err
    assert main(["plan", "suite.yaml"]) == 0
    said = capsys.readouterr().out
    assert f"8 jobs: {8 - count} done, {count} void" in said and said.count("\nvoid: ") == count
    assert main(["run", "suite.yaml"]) == 0
    output = capsys.readouterr()
    assert output.out == shown and output.err.count("void: ") == count
    assert f"{count} done, {8 - count} reused" in output.err
    assert figures() == expected and main(["verify", "results"]) == 0


LOADED: dict[str, tuple[Callable[[], object], str, int]] = {  # by who reads it: then the job fails, and its input goes
    "a weight of the network": (lambda: flip(of("pretrain") / CHECKPOINT), "knn", 1),
    "another network": (lambda: another(CHECKPOINT, "pretrain"), "knn", 1),
    "a weight of a head": (lambda: flip(of("probe") / HEAD), "relevance", 1),
    "another head": (lambda: another(HEAD, "probe"), "relevance", 1),
    "the network's configuration": (lambda: flip(of("pretrain") / "config.json"), "knn", 1),
}


@pytest.mark.parametrize("fault", LOADED)
def test_damage_that_is_met_in_a_job(copy: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected, (breaks, kind, count) = figures(), LOADED[fault]
    shutil.rmtree(Path("results", kind))
    breaks()
    assert main(["run", "suite.yaml"]) == 1
    said = capsys.readouterr()
    assert said.err.count("not what was written (SHA-256)") >= count and "the next run makes it again" in said.err
    assert "—" in said.out  # a hole, and no wrong number
    assert main(["run", "suite.yaml"]) == 0
    assert figures() == expected
    assert len(list(Path("results/set-aside").glob("*.why.txt"))) == count


def test_a_log_that_an_evaluation_reads(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its numbers are shown in a figure."""
    replace_text(of("pretrain", "sem") / "log.csv", "\n1,", "\n9,")
    entropy = ["run", "suite.yaml", "--set", "evaluate.entropy={}"]
    assert main(entropy) == 1
    assert "log.csv: not what was written (SHA-256); pretrain/" in capsys.readouterr().err
    assert main(entropy) == 0
    (result,) = (json.loads(path.read_text()) for path in Path("results/entropy").glob("*/result.json"))
    assert [epoch for epoch, _ in result["metrics"]["rows"][0]["course"]] == [1.0, 2.0]


def test_a_cached_feature(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = figures()
    for path in Path("results/cache/features").glob("*.npy"):
        flip(path)
    for path in Path("results/cache/data").glob("*.json"):
        path.write_text(path.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    assert main(["verify", "results"]) == 1
    shutil.rmtree("results/knn")
    assert main(["run", "suite.yaml"]) == 0
    assert "not what was written (SHA-256); it is made anew" in capsys.readouterr().err
    assert figures() == expected and main(["verify", "results"]) == 0


@pytest.mark.parametrize("how", ["another arm's", "of an earlier version"])
def test_cached_features_that_are_whole_and_not_these(copy: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is what was written, but not here; and files of before do not say what they are."""
    expected, folder = figures(), Path("results/cache/features")
    if how == "another arm's":
        count = 2
        first, second = (next(folder.glob(f"{of('pretrain', arm).name[-12:]}-train-*.npy")) for arm in ("none", "sem"))
        assert first.stat().st_size == second.stat().st_size and first.read_bytes() != second.read_bytes()
        first.rename("aside.npy")
        second.rename(first)
        Path("aside.npy").rename(second)
    else:
        paths = list(folder.glob("*.npy"))
        count = len(paths)
        for path in paths:
            write_atomic(path, sealed(partial(np.save, arr=np.load(path))))
    assert main(["verify", "results"]) == 1
    assert capsys.readouterr().out.count(".npy: not what was written") == count
    shutil.rmtree("results/knn")
    shutil.rmtree("results/probe")
    assert main(["run", "suite.yaml"]) == 0
    assert capsys.readouterr().err.count("not what was written (SHA-256); it is made anew") == count
    assert figures() == expected and main(["verify", "results"]) == 0


def test_a_partial_checkpoint_is_trusted_or_set_aside(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it holds, the job ends with the numbers of an undisturbed run."""
    expected, folder = figures(), of("pretrain")
    whole = (folder / CHECKPOINT).read_bytes()
    other = (of("pretrain", "sem") / CHECKPOINT).read_bytes()
    lowered = torch.load(folder / CHECKPOINT, weights_only=True)
    torch.save(lowered | {"step": 10**6}, "lowered.pt")
    for content in (whole, whole[:-1], b"", b"hello", other, Path("lowered.pt").read_bytes()):
        (folder / "result.json").unlink()
        (folder / CHECKPOINT).write_bytes(content)
        assert main(["run", "suite.yaml"]) == 0
        said = capsys.readouterr().err
        assert ("it is made anew" in said) is (content != whole)
        assert figures() == expected


def test_what_stands_on_an_earlier_network_is_made_again(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = figures()
    assert main(["run", "suite.yaml", "--rerun", "all", "--only", "pretrain/"]) == 0
    capsys.readouterr()
    assert main(["run", "suite.yaml"]) == 0  # with the same bits everything stays
    assert "0 done, 8 reused" in capsys.readouterr().err
    code = (
        "import torch, sys; from sem_bench.cli import main; torch.set_flush_denormal(True);"
        "real = torch.optim.SGD.step\n"
        "def step(self, closure=None):\n"
        "    real(self, closure)\n"
        "    for group in self.param_groups:\n"
        "        for p in group['params']: p.data.mul_(1.001)\n"
        "torch.optim.SGD.step = step\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = [sys.executable, "-c", code, "run", "suite.yaml", "--rerun", "all", "--only", "pretrain/simclr-none"]
    subprocess.run(arguments, check=True, capture_output=True)  # as on a machine that rounds otherwise
    assert main(["table", "results"]) == 0
    assert "outdated: seed 0" in capsys.readouterr().out
    assert main(["plan", "suite.yaml"]) == 0
    assert "8 jobs: 5 done, 3 void" in (said := capsys.readouterr().out)
    assert said.count("stands on an earlier run of its pretrain") == 3
    assert main(["run", "suite.yaml"]) == 0
    assert "3 done, 5 reused" in capsys.readouterr().err
    assert main(["verify", "results"]) == 0
    shutil.rmtree(of("pretrain"))  # and the first network again: all that stands on it follows in the same run
    assert main(["run", "suite.yaml"]) == 0
    assert "4 done, 4 reused" in capsys.readouterr().err and figures() == expected


def test_results_of_before_count_as_unchecked(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "results"]) == 0
    shown = capsys.readouterr().out
    for path in Path("results").glob("*/*/result.json"):
        content = json.loads(path.read_text())
        for name in ("sum", "sums", "bits", "stands_on"):
            del content[name]
        path.write_text(json.dumps(content))
    assert main(["table", "results"]) == 0 and capsys.readouterr().out == shown
    assert main(["run", "suite.yaml"]) == 0 and "0 done, 8 reused" in capsys.readouterr().err
    assert main(["verify", "results"]) == 0 and "8 results are of an earlier version" in capsys.readouterr().out


def test_verify_repairs_and_prunes(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = figures()
    flip(of("pretrain") / CHECKPOINT)
    double()
    shutil.copytree(of("knn", "sem"), Path("results/knn/simclr-old-000000000000"))
    assert main(["verify", "results", "--repair"]) == 1
    said = capsys.readouterr().out
    for text in ("checkpoint.pt: not what was written", "doubled", "its name is not that of its digest", "data: not"):
        assert text in said
    assert said.count("set aside: ") == 4 and len(list(Path("results/set-aside").glob("*.why.txt"))) == 4
    assert main(["verify", "results", "--of", "suite.yaml"]) == 0
    assert main(["run", "suite.yaml"]) == 0 and figures() == expected
    write(copy, "suite.yaml", MICRO.replace("  knn: {k: 5}\n", ""))
    assert main(["run", "suite.yaml"]) == 0
    capsys.readouterr()
    assert main(["verify", "results", "--prune"]) == 0
    said = capsys.readouterr().out
    assert said.count("no suite or sweep here names this job") == 2 and "MiB in 4 folders; --yes deletes" in said
    assert len(list(Path("results/knn").glob("s*"))) == 2
    assert main(["verify", "results", "--prune", "--yes"]) == 0
    assert not list(Path("results/knn").glob("s*")) and not Path("results/cache/features").exists()
    assert main(["verify", "nowhere"]) == 2
    assert main(["record", "results", "kept"]) == 0 and main(["verify", "kept"]) == 0
    with opened(Path("kept")) as record:
        flip(next((record.root / "probe").glob("*/predictions.bin")))
        pack(record.root, Path("kept.tar.xz"))
    capsys.readouterr()
    assert main(["verify", "kept"]) == 1
    assert "wrong  kept.tar.xz/probe/" in capsys.readouterr().out


def test_a_second_folder_is_set_aside(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One with the same figures: harmless, and in the way."""
    whole = of("knn")
    shutil.copytree(whole, whole.with_name(f"zzz-copy-{whole.name[-12:]}"))
    expected = figures()
    assert main(["verify", "results"]) == 0
    assert f"a second folder of {whole}" in capsys.readouterr().out
    assert main(["verify", "results", "--repair"]) == 0
    assert f"set aside: results/knn/zzz-copy-{whole.name[-12:]} -> " in capsys.readouterr().out
    assert whole.is_dir() and not list(Path("results/knn").glob("zzz*"))
    assert main(["run", "suite.yaml"]) == 0 and "0 done, 8 reused" in capsys.readouterr().err
    assert figures().items() <= expected.items()


def as_file(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.write_text("x")


def locks_as_file() -> None:
    shutil.rmtree(of("knn"))
    as_file(Path("results/knn/.locks"))


def state_as_folder() -> None:
    (of("knn") / "result.json").unlink()
    as_folder(of("knn") / "state.json")


MISPLACED: dict[str, Callable[[], object]] = {
    "kind": lambda: as_file(Path("results/knn")),
    "job": lambda: as_file(of("knn")),
    "locks": locks_as_file,
    "state": state_as_folder,
}


@pytest.mark.parametrize("where", MISPLACED)
def test_a_file_where_a_folder_goes(copy: Path, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And the other way round: named, set aside, made again; the other jobs stay."""
    expected = figures()
    MISPLACED[where]()
    assert main(["verify", "results"]) == 1
    assert re.search(r"wrong  results/knn\S*: (no folder, where|a folder where)", capsys.readouterr().out)
    assert main(["run", "suite.yaml"]) == 0 and figures() == expected
    assert list(Path("results/set-aside").glob("knn*.why.txt"))
    assert main(["verify", "results"]) == 0


def test_a_file_where_things_are_set_aside(copy: Path) -> None:
    expected = figures()
    double()
    as_file(Path("results/set-aside"))
    assert main(["run", "suite.yaml"]) == 0 and figures() == expected
    assert [path.read_text() for path in Path("results").glob("set-aside-*")] == ["x"]


LINKED = ("results", "results/knn", "results/cache", "a job", "a file")


@pytest.mark.parametrize("place", LINKED)
def test_parts_of_the_results_may_lie_elsewhere(copy: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where links lead; a job that is made again comes to lie among the others."""
    places = {"a job": of("knn"), "a file": of("pretrain") / CHECKPOINT}
    expected, path = figures(), places.get(place, Path(place))
    path.rename("elsewhere")
    path.symlink_to(Path("elsewhere").absolute())
    for rerun, said in (("missing", "0 done, 8 reused"), ("all", "2 done, "), ("all", "2 done, ")):
        only = ["--only", "pretrain/" if place == "a file" else "knn/"] * (rerun == "all")
        assert main(["run", "suite.yaml", "--rerun", rerun, *only]) == 0
        assert said in capsys.readouterr().err
        assert figures() == expected and main(["verify", "results"]) == 0
    assert not list(Path("results").glob("*/*.old"))


@pytest.mark.parametrize("place", LINKED[:4])
def test_a_link_to_what_is_not_there(copy: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As of a disk that is not mounted: one line, and nothing is computed again behind its back."""
    path = of("knn") if place == "a job" else Path(place)
    path.rename("elsewhere")
    path.symlink_to("absent/disk")
    assert main(["run", "suite.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(("--results " if place == "results" else "") + str(path))
    assert "a link to what is not there" in line and path.is_symlink()


def test_a_link_to_what_is_not_there_is_set_aside_by_verify(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected, path = figures(), of("knn")
    path.rename("elsewhere")
    path.symlink_to("absent/disk")
    assert main(["verify", "results", "--repair"]) == 1
    assert f"wrong  {path}: no folder, where one of jobs goes" in capsys.readouterr().out
    assert main(["run", "suite.yaml"]) == 0 and figures() == expected


def test_verify_sets_nothing_aside_that_was_made_again_meanwhile(copy: Path) -> None:
    """Manifests are read last: then another run has just mended what was found."""
    expected, path = figures(), of("knn") / "result.json"
    shutil.copy(path, "sound.json")
    flip_digit(path)
    meanwhile = (
        "import os, sys\n"
        "def mend(event, found):\n"
        "    if event == 'open' and str(found[0]).endswith('tiny.json') and os.path.exists('sound.json'):\n"
        f"        os.replace('sound.json', {str(path)!r})\n"
        "sys.addaudithook(mend)"
    )
    code, output, _ = ended(copy, "verify", "results", "--repair", code=meanwhile)
    assert code == 1 and not Path("sound.json").exists()
    assert f"not set aside: {path.parent}: it has changed since it was looked at" in output
    assert not Path("results/set-aside").exists() and figures() == expected


def test_nothing_is_pruned_beside_a_run_or_a_sweep(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It may be at the trial whose jobs no file names yet, or compute what the cache is for."""
    orphan = of("knn").with_name("mine-000000000000")
    shutil.copytree(of("knn"), orphan)
    run = registered(Path("results"), "other", "0", anew=False)
    for others in (run, Driver(Path("results/sweeps/.drivers"))):
        with others:
            assert main(["verify", "results", "--prune"]) == 1
            capsys.readouterr()
            assert main(["verify", "results", "--prune", "--yes"]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith("results: a run is at work here (host ") and f"process {os.getpid()}," in line
        assert orphan.exists() and Path("results/cache/features").exists()
    assert main(["verify", "results", "--prune", "--yes"]) == 1 and not orphan.exists()


def test_verify_prunes_links_and_not_what_they_lead_to(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = Path("results/cache/features").rename("elsewhere")
    Path("results/cache/features").symlink_to(features.absolute())
    orphan = Path("results/knn/mine-000000000000")
    orphan.symlink_to(features.absolute())
    kept = sorted(path.name for path in features.iterdir())
    assert main(["verify", "results", "--prune", "--yes"]) == 0
    assert not orphan.is_symlink() and not Path("results/cache/features").is_symlink()
    assert not Path("results/cache/data").exists() and sorted(path.name for path in features.iterdir()) == kept


def test_a_log_that_changed_is_no_curve(copy: Path) -> None:
    log = of("pretrain") / "log.csv"
    text = log.read_text()
    at = text.index("\n1,") + 3
    log.write_text(text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :])
    assert main(["report", "results", "--out", "page.html"]) == 0
    page = Path("page.html").read_text()
    assert f"{log.parent.name}/log.csv: not what was written (SHA-256); its curves are left out" in page
    log.write_text(f"{text}3,1.0\n")  # longer: its result is void, too
    assert main(["report", "results", "--out", "longer.html"]) == 0
    log.write_text(text)
    assert main(["report", "results", "--out", "whole.html"]) == 0
    whole = Path("whole.html").read_text()
    shown = {text.count("<polyline") for text in (page, Path("longer.html").read_text())}
    assert len(shown) == 1 and 0 < shown.pop() < whole.count("<polyline") and "left out" not in whole


def test_what_an_earlier_version_left_does_not_stand_on_a_later_network(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not say on which it stands; the times do."""
    for path in Path("results").glob("[!cst]*/*/result.json"):
        content = json.loads(path.read_text())
        for name in ("sum", "sums", "bits", "stands_on"):
            content.pop(name, None)
        if path == of("pretrain") / "result.json":
            content["provenance"]["when"] = "2099-01-01T00:00:00+00:00"
        path.write_text(json.dumps(content))
    assert main(["verify", "results"]) == 1
    assert capsys.readouterr().out.count("stands on an earlier run of its pretrain") == 3


def test_verify_prunes_what_is_known_of_the_data(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = figures()
    assert main(["verify", "results", "--prune", "--yes"]) == 0
    assert "MiB in 2 folders" in capsys.readouterr().out
    assert not Path("results/cache/data").exists() and not Path("results/cache/features").exists()
    assert main(["run", "suite.yaml"]) == 0 and "0 done, 8 reused" in capsys.readouterr().err
    assert figures() == expected


def test_verify_reads_each_file_once_and_names_what_it_may_not_read(copy: Path) -> None:
    """What may not be read is not called damaged, and not set aside."""
    noting = (
        "import collections, sys\n"
        "opened = collections.Counter()\n"
        "def note(event, found):\n"
        "    if event == 'open' and str(found[0]).endswith(('.pt', '.npy', 'predictions.bin')): opened[found[0]] += 1\n"
        "sys.addaudithook(note)\n"
        "import atexit; atexit.register(lambda: print(opened.values() and max(opened.values()), 'times at most'))"
    )
    code, output, _ = ended(copy, "verify", "results", code=noting)
    assert code == 0 and output.endswith("\n1 times at most\n")
    of("pretrain").joinpath(CHECKPOINT).chmod(0)
    of("knn", "sem").joinpath("result.json").chmod(0)
    of("probe").chmod(0)
    code, output, errors = ended(copy, "verify", "results", "--repair", bound=True)
    of("probe").chmod(0o755)
    wrong = [line for line in output.splitlines() if line.startswith("wrong")]
    assert (code, errors, len(wrong)) == (1, "", 3)
    assert all(line.endswith("may not be read (permission denied)") for line in wrong)
    assert "set aside" not in output and not Path("results/set-aside").exists()
    shutil.rmtree("results/knn")
    code, _, errors = ended(copy, "run", "suite.yaml", bound=True)
    assert code == 1 and f"Permission denied: '{of('pretrain') / CHECKPOINT}'" in errors
    assert not Path("results/set-aside").exists()


def test_verify_names_trials_that_stand_on_damage(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(copy, "sweeps/tau.yaml", TAU)
    assert main(["sweep", "tau", "--suite", "suite.yaml"]) == 0
    (path,) = Path("results/sweeps").glob("*.json")
    trials = json.loads(path.read_text())["studies"][0]["trials"]
    flip(next(Path("results/pretrain").glob(f"*-{trials[1]['digests'][0][:12]}")) / CHECKPOINT)
    capsys.readouterr()
    assert main(["verify", "results"]) == 1
    said = [line for line in capsys.readouterr().out.splitlines() if ": trial " in line]
    assert len(said) == 1 and said[0].startswith(f"wrong  {path}: trial 1 of ") and "results/pretrain/" in said[0]


@pytest.mark.parametrize("where", ["journal", "database"])
def test_a_changed_value_of_a_trial(copy: Path, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One that was not chosen would win: in the journal, where `verify` sees it, too, or in a database."""
    write(copy, "sweeps/tau.yaml", TAU)
    sweep = ["sweep", "tau", "--suite", "suite.yaml"] + ["--storage", "sqlite:///s.db"] * (where == "database")
    assert main(sweep) == 0
    shown, (path,) = capsys.readouterr().out, Path("results/sweeps").glob("*.json")
    before, journal = path.read_text(), path.with_suffix(".journal")
    (study,) = json.loads(before)["studies"]
    (other,) = (trial for trial in study["trials"] if trial["number"] != study["best"]["number"])
    if where == "journal":
        lines = journal.read_text().splitlines(keepends=True)
        at = [i for i, line in enumerate(lines) if '"values":[' in line][other["number"]]
        lines[at] = lines[at].replace(f'"values":[{other["value"]}]', '"values":[99.5]')
        journal.write_text("".join(lines))
        assert main(["verify", "results"]) == 1
        said = capsys.readouterr().out
        assert f"wrong  {journal}: trial {other['number']} of {study['name']} has the value 99.5" in said
    else:
        with sqlite3.connect("s.db") as database:
            mine = "trial_id = (select trial_id from trials where number = ?)"
            changed = f"update trial_values set value = 99.5 where {mine}"
            assert database.execute(changed, (other["number"],)).rowcount == 1
    assert main(sweep) == 0
    output = capsys.readouterr()
    assert f": trial {other['number']} of {study['name']} has the value 99.5, and its results " in output.err
    assert output.out == shown and path.read_text() == before and "0 done, " in output.err
    assert main(["verify", "results"]) == 0
    capsys.readouterr()
    assert main([*sweep, "--trials", "3"]) == 0  # and it goes on
    output = capsys.readouterr()
    assert "99.5" not in output.out + output.err
    assert json.loads(path.read_text())["studies"][0]["trials"][:2] == study["trials"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("update trials set number = NULL where number = 0", "'NoneType'"),
        ("update trial_params set param_value = 4.5", "trial 0 of tau-tiny-simclr has other settings than its jobs"),
        ("update trial_values set value = 1e308 * 10", "trial 0 of tau-tiny-simclr has the value inf"),
        ("delete from trial_params", "trial 0 of tau-tiny-simclr lacks a setting"),
        ("update studies set study_name = 'other'", ""),
        ("delete from trial_user_attributes", ""),
    ],
)
def test_nonsense_in_a_database_of_trials(
    copy: Path, statement: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and nothing is written; what does no harm goes on."""
    write(copy, "sweeps/tau.yaml", TAU)
    sweep = ["sweep", "tau", "--suite", "suite.yaml", "--storage", "sqlite:///s.db"]
    assert main(sweep) == 0
    (path,) = Path("results/sweeps").glob("*.json")
    before = path.read_text()
    with sqlite3.connect("s.db") as database:
        database.execute(statement)
    capsys.readouterr()
    code = main(sweep)
    errors = capsys.readouterr().err
    assert code == (2 if said else 0)
    if said:
        assert errors.startswith("--storage sqlite:///s.db: damaged") and said in errors and errors.count("\n") == 1
        assert path.read_text() == before
    else:
        assert "Traceback" not in errors and " has the value " not in errors


def test_infinity_in_a_journal_of_trials_is_a_line(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = Path("results/sweeps").glob("*.journal")
    text = path.read_text()
    assert '"made_with":{' in text
    path.write_text(re.sub(r'"made_with":\{[^}]*\}', '"made_with":Infinity', text))
    capsys.readouterr()
    assert main(["sweep", "tau", "--suite", "suite.yaml"]) == 2
    errors = capsys.readouterr().err
    assert "Traceback" not in errors and "damaged" in errors.splitlines()[-1]


def test_a_record_goes_elsewhere(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path("results").rglob("*"))
    for into in ("results", "results/knn", "."):
        assert main(["record", "results", into]) == 2
        place = Path(into, "NAME.tar.xz")
        assert capsys.readouterr().err == f"{into}: a folder; a record is one file, such as {place}\n"
    for into in ("results/kept", "results/knn/kept.tar.xz"):
        assert main(["record", "results", into]) == 2
        assert capsys.readouterr().err == f"{into}: lies in the results; a record lies elsewhere\n"
    assert sorted(Path("results").rglob("*")) == before


STRANGE: dict[str, tuple[Any, ...]] = {
    "slug": ("../../../escaped/x", "jobs", 0, "slug"),
    "sweep": (["../../v2/secret"], "sweeps"),
    "kind": ("..", "jobs", 0, "kind"),
    "method": ("\x1b[31mred\n=cmd|", "jobs", 0, "method"),
    "columns": ([[1]], "jobs", 4, "columns"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_names_of_a_strangers_manifest(copy: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("results/suites/tiny.json")
    edit(path, *STRANGE[name])
    write_json(path, with_sum(json.loads(path.read_text())))
    for command in (["table", "results"], ["record", "results", "into/deep/kept"]):
        assert main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("results/suites/tiny.json: damaged")
    assert not Path("into").exists() and not (copy.parent / "escaped").exists()


def test_texts_of_strangers_obey_no_terminal_and_no_spreadsheet(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = of("knn") / "result.json"
    content = json.loads(path.read_text())
    content["metrics"]["rows"][0]["notes"] = ["=cmd|' /C calc'!A0\x1b[31m\x9b\n\u202e"]
    write_json(path, with_sum(content))
    for one in ("compact", "github", "latex", "csv", "html", "json"):
        assert main(["table", "results", "--format", one]) == 0
        text = capsys.readouterr().out
        assert "calc" in text and text.replace("\n", "").isprintable(), one
        assert one != "csv" or not any(cell.startswith("=") for line in csv.reader(io.StringIO(text)) for cell in line)


FUZZED, NOTES = (3000, 600) if os.environ.get("SEM_BENCH_FAULTS") else (80, 15)
LOOKS = (  # each reads other files of the folder
    *(["table", "results", "--all", "--format", one] for one in ("github", "latex", "csv", "html", "json")),
    ["report", "results"],
    ["table", "results", "--summary", "--format", "json"],
    ["plan", "suite.yaml"],
    ["plan", "suite.yaml", "--format", "json"],
    ["record", "results", "kept"],
    ["verify", "results"],
    ["verify", "results", "--of", "suite.yaml", "--prune"],
)


@pytest.fixture
def swept(copy: Path) -> Path:
    """The copy with a sweep."""
    write(copy, "sweeps/tau.yaml", TAU)
    assert main(["sweep", "tau", "--suite", "suite.yaml"]) == 0
    return copy


def fuzzed(data: st.DataObject, text: str) -> str:
    """A text of JSON, or of lines of JSON, with any value in any place, or cut, or with a character more."""
    lines = text.splitlines() if text.count("\n{") else [text]
    number = data.draw(st.integers(0, len(lines) - 1))
    way = data.draw(st.sampled_from(["here", "here", "here", "inside", "gone", "cut", "more"]))
    at = data.draw(st.integers(0, len(lines[number])))
    if way == "cut":
        lines[number] = lines[number][:at]
    elif way == "more":
        lines[number] = lines[number][:at] + data.draw(st.text(max_size=3)) + lines[number][at:]
    else:
        content = json.loads(lines[number])
        keys = data.draw(st.sampled_from(list(places(content))))
        content = changed(content, keys, data.draw(VALUES), way)
        if data.draw(st.booleans()) and isinstance(content, dict) and "sum" in content:
            with suppress(ValueError, TypeError, RecursionError):  # no value of JSON
                content = with_sum(content)
        lines[number] = json.dumps(content)
    return "\n".join(lines)


def test_any_value_in_any_place(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of results, manifests, sweeps, journals and notes on data: a hole, a line or a right table, and no traceback.

    Also with a right sum. A run and a sweep mend it, or say what is to be done.
    """
    files = [of(kind) / "result.json" for kind in ("knn", "pretrain", "probe", "relevance")]
    files += [path for name in ("suites/*.json", "sweeps/*.j*", "cache/data/*") for path in Path("results").glob(name)]
    assert len({path.suffix for path in files}) > 1 and len(files) > 7
    texts = {path: path.read_text() for path in files}
    shutil.copytree("results", "whole")

    def outside() -> dict[Path, int]:
        own = (path for path in swept.rglob("*") if not {"results", "whole"} & set(path.parts))
        return {path: path.stat().st_size for path in own if path.is_file()}

    before = outside()
    suffixes = sorted({path.suffix for path in files})
    tried = Counter[str]()

    @settings(
        max_examples=-(-FUZZED // len(suffixes)), deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(data=st.data())
    def each(suffix: str, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from([path for path in files if path.suffix == suffix]))
        path.write_bytes(fuzzed(data, texts[path]).encode("utf-8", "surrogatepass"))
        look = data.draw(st.sampled_from(LOOKS))
        mend = data.draw(st.integers(0, 19)) == 0
        try:
            code = main(look)
            said = capsys.readouterr()
            assert code in ((0, 1, 2) if look[0] == "verify" else (0, 2)), (path, look)
            assert (said.out + said.err).replace("\n", "").isprintable(), (path, look)
            if mend:
                command = ["sweep", "tau", "--suite", "suite.yaml"] if "sweeps" in path.parts else ["run", "suite.yaml"]
                assert main(command) in (0, 2), (path, command)
                said = capsys.readouterr()
                assert "Traceback" not in said.err and (said.out + said.err).replace("\n", "").isprintable()
        finally:
            Path("kept.tar.xz").unlink(missing_ok=True)
            shutil.rmtree("results")
            shutil.copytree("whole", "results")
        tried[path.suffix] += 1

    for suffix in suffixes:
        each(suffix)
    assert list(tried) == suffixes and sum(tried.values()) >= FUZZED
    assert outside() == before


STATE = {"state": "interrupted", "pid": 1, "boot": "host 7", "at": "2026-11-27T21:45:09+00:00"}
DEATHS = {"deaths": ["it died"], "epochs": 1}


def test_any_value_in_the_notes_beside_a_job(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of state.json, deaths.json and config.json, and of what a run notes of itself and of its figures.

    All commands go on; a run ends with the right numbers, or without one.
    """
    expected, whole = figures(), copy.with_name("whole")
    shutil.rmtree(of("knn"))
    of_runs = Path("results/suites/.runs/tiny") / f"{'0' * 32}.json"
    for path, content in ((of_runs, {"suite": "x", "since": 7}), (of("knn", "sem") / "deaths.json", DEATHS)):
        write_json(path, content)
    files = [*Path("results").glob("*/*/config.json"), *Path("results").glob("*/*/state.json"), of_runs]
    files += [*Path("results").glob("*/*/deaths.json"), *Path("results/tables/tiny").glob(".figures")]
    names = sorted({path.name for path in files})
    assert len(names) == 5
    texts = {path: path.read_text() for path in files}
    shutil.copytree("results", whole)
    job = next(job for job in read_plan(Path("suite.yaml")).jobs if job.kind == "knn")
    place = Store(Path("results")).folder(job)
    tried = Counter[str]()

    @settings(max_examples=NOTES // len(names), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def each(name: str, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from([path for path in files if path.name == name]))
        path.write_bytes(fuzzed(data, texts[path]).encode("utf-8", "surrogatepass"))
        command = data.draw(st.sampled_from([*LOOKS, ["run", "suite.yaml"]]))
        code = main(command)
        said = capsys.readouterr()
        assert code in (0, 1, 2) and "Traceback" not in said.err, (path, command)
        assert (said.out + said.err).replace("\n", "").isprintable(), (path, command)
        found = figures()
        assert all(expected[name] == metrics for name, metrics in found.items())
        assert command[0] != "run" or code or len(found) == JOBS
        Path("kept.tar.xz").unlink(missing_ok=True)
        shutil.rmtree("results")
        shutil.copytree(whole, "results")
        tried[path.name] += 1

    @settings(max_examples=3 * NOTES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def counted(data: st.DataObject) -> None:
        """What the notes decide, without the seconds of a worker."""
        for name, content in (("state.json", STATE), ("deaths.json", DEATHS)):
            write(place, name, "")
            text = fuzzed(data, json.dumps(content))
            (place / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        store = Store(Path("results"))
        store.suspect(job)
        store.count_unseen_death(job)
        assert store.given_up(job) == deaths.verdict(place)
        deaths.note(place, "again")
        assert 0 < len(deaths.said_by(place)) <= deaths.LIVES and deaths.said_by(place)[-1] == "again"
        shutil.rmtree(place)

    for name in names:
        each(name)
    counted()
    assert list(tried) == names


def test_one_damaged_manifest_and_clocks(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(copy, "other.yaml", MICRO.replace("name: tiny", "name: other"))
    mine, other = Path("results/suites/tiny.json"), Path("results/suites/other.json")
    edit(mine, (datetime.now(UTC) + timedelta(days=900)).isoformat(), "written")
    mine.write_text(json.dumps(with_sum(json.loads(mine.read_text()))))
    assert main(["run", "other.yaml"]) == 0
    capsys.readouterr()
    assert main(["table", "results"]) == 0  # the last one run, whatever the clock said
    assert "other: toy" in capsys.readouterr().out
    for path, number in ((mine, 0), (other, 0)):  # manifests of before have no number
        edit(path, number, "number")
        path.write_text(json.dumps(with_sum(json.loads(path.read_text()))))
    assert main(["table", "results"]) == 0
    said = capsys.readouterr()
    assert "other: toy" in said.out and "suite 'tiny' is dated in the future" in said.err
    mine.write_text("[" * 200_000)
    for command in (["table", "results"], ["record", "results", "kept"]):
        assert main(command) == 0
        assert capsys.readouterr().err.startswith("passed over: results/suites/tiny.json: damaged")
    as_folder(mine)
    assert main(["run", "suite.yaml"]) == 2
    assert capsys.readouterr().err.startswith(
        "results/suites/tiny.json: a folder where the suite's manifest goes; move"
    )


def test_a_clock_that_went_back(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All files are dated in the future. Durations are told by another clock; who says otherwise is not believed."""
    expected, ahead = figures(), datetime.now(UTC).timestamp() + 9e5
    for path in Path("results").rglob("*"):
        os.utime(path, (ahead, ahead))
    for rerun, said in (("missing", "0 done, 8 reused"), ("all", "8 done, 0 reused"), ("missing", "0 done, 8 reused")):
        assert main(["run", "suite.yaml", "--rerun", rerun]) == 0
        assert said in capsys.readouterr().err
    assert figures() == expected and main(["verify", "results"]) == 0
    path = of("knn") / "result.json"
    edit(path, -500.0, "provenance", "seconds")
    write_json(path, with_sum(json.loads(path.read_text())))
    capsys.readouterr()
    assert main(["plan", "suite.yaml", "--set", "seeds=[0,1]"]) == 0
    said = capsys.readouterr().out
    assert "void: " in said and not re.search(r"-\d+(\.\d)? (s|min|h)\b", said)


def test_what_dead_processes_left_is_swept(copy: Path) -> None:
    """Their temporary files and begun replacements; never those of a living one, here or on another host."""
    code = "from pathlib import Path; from sem_bench.base.files import write_atomic; import os, signal\n"
    code += "write_atomic(Path('results/suites/tiny.json'), lambda file: os.kill(os.getpid(), signal.SIGKILL))"
    dead = subprocess.run([sys.executable, "-c", code], check=False)
    assert dead.returncode < 0
    (stray,) = Path("results/suites").glob(".*.tmp")
    host = stray.name.split(".")[-5]
    living = stray.with_name(f".tiny.json.{host}.{os.getpid()}.aa.tmp")
    elsewhere = stray.with_name(".tiny.json.00000000.1.aa.tmp")
    living.touch()
    elsewhere.touch()
    subprocess.run([sys.executable, "-c", code.replace("results/suites/tiny.json", "kept.tar.xz")], check=False)
    assert list(Path().glob(".kept.tar.xz.*.tmp"))
    assert main(["record", "results", "kept"]) == 0 and not list(Path().glob(".kept.tar.xz.*.tmp"))
    rerun = of("knn").with_name(f"{of('knn').name}.rerun")
    rerun.mkdir()
    assert main(["run", "suite.yaml"]) == 0
    assert not stray.exists() and not rerun.exists() and living.exists() and elsewhere.exists()
    os.utime(elsewhere, (1, 1))
    assert main(["run", "suite.yaml"]) == 0
    assert living.exists() and not elsewhere.exists()


def test_lines_name_the_file_and_the_reason(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "suite.yaml"]) == 2
    assert capsys.readouterr().err == "suite.yaml: this is a file, not a folder\n"
    for command in (
        ["run", "suite.yaml", "--results", "a\0b"],
        ["table", "results", "--out", "a\0b"],
        ["verify", "a\0b"],
        ["verify", "results", "--of", "a\0b"],
        ["plan", "suite.yaml", "--data", "a\0b"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 2 and "no path holds a NUL byte" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["record", "results", "a\0b"])
    capsys.readouterr()
    of("knn").joinpath("result.json").unlink()
    code = (
        "import resource, signal, sys; from sem_bench.cli import main; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400)); sys.exit(main(sys.argv[1:]))"
    )
    arguments = [sys.executable, "-c", code, "run", "suite.yaml"]
    full = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert full.returncode in (1, 2) and "Traceback" not in full.stderr
    assert "results/suites/tiny.json: File too large" in full.stderr


PATHS = (  # of every command that takes one
    *((command, "{}") for command in ("run", "plan", "doctor", "table", "report", "verify")),
    *((command, "suite.yaml", "--data", "{}") for command in ("plan", "doctor")),
    ("plan", "suite.yaml", "--data", "{}", "--set", "grid.datasets=[lacking]"),
    ("plan", "suite.yaml", "--results", "{}"),
    ("doctor", "suite.yaml", "--results", "{}"),
    ("sweep", "tau", "--suite", "{}"),
    ("table", "results", "--out", "{}"),
    ("report", "results", "--out", "{}"),
    ("record", "{}", "kept"),
    ("record", "results", "{}"),
    ("verify", "results", "--of", "{}"),
    ("verify", "results", "--of", "suite.yaml", "--data", "{}"),
)
LASTING = (  # the same that would work for seconds
    ("run", "suite.yaml", "--results", "{}"),
    *(("sweep", "tau", "--suite", "suite.yaml", option, "{}") for option in ("--results", "--export")),
    ("sweep", "tau", "--suite", "suite.yaml", "--storage", "sqlite:///{}"),
)
STANDING = ("FILE", "FILE/x", "FILE/x/y.yaml")
ODD = ("caf\udce9", "caf\udce9/\udcff.yaml", "é\u202e.yaml", "x" * 300)


def test_any_path_of_any_command_is_taken_or_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file for a folder or on the way to one, bytes that are no UTF-8, a name that is too long."""
    write(copy, "sweeps/tau.yaml", TAU)
    card = TOY_YAML.replace("{type: python}", "{type: folder, path: pictures}")
    write(copy, "datasets/lacking.yaml", card)
    write(copy, "FILE", "no suite")
    before = sorted(copy.iterdir())
    cases = [(command, path) for path in STANDING for command in (*PATHS, *LASTING)]
    cases += [(command, path) for path in ODD for command in PATHS if command[0] not in ("doctor", "report")]
    for command, path in (*cases, (LASTING[0], ODD[1]), (LASTING[3], ODD[0])):
        try:
            code = main([part.format(path) for part in command])
        except SystemExit as ended:
            code = int(str(ended.code))
        said = capsys.readouterr()
        assert (said.out + said.err).replace("\n", "").isprintable(), (command, path)
        assert code == 0 or (code == 2 and said.err.count("\n") == 1), (command, path, said.err)
        assert code == 0 or printable(path) in said.err, (command, path, said.err)
        folder = command[0] == "record" or (command[-2] in ("--results", "--out") and command[0] != "report")
        if path in STANDING and folder:
            assert code == 2 and "a file, not a folder" in said.err, (command, path, said.err)
        for left in set(copy.iterdir()) - set(before):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """A file system of that size at `place`."""
    place.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("size", ["16k", "200k"])
def test_a_full_disk_is_named_and_harms_nothing(copy: Path, size: str) -> None:
    expected = figures()
    with small_disk(copy / "small", size):
        code, _, errors = ended(copy, "run", "suite.yaml", "--results", "small/results")
        assert code in (1, 2) and "Traceback" not in errors
        assert re.search(
            r"small/results\S*: No space left on device|No space left on device: \S*small/results/", errors
        )
        subprocess.run(["mount", "-o", "remount,size=50m", str(copy / "small")], check=True)
        assert main(["run", "suite.yaml", "--results", "small/results"]) == 0
        found = {path.parent.name: json.loads(path.read_text())["metrics"] for path in _results(Path("small/results"))}
        assert found == expected and main(["verify", "small/results"]) == 0


def _results(root: Path) -> Iterator[Path]:
    return root.glob("[!s]*/*/result.json")


def test_no_home_no_temporary_folder_and_read_only(copy: Path) -> None:
    absent: dict[str, str | None] = {"HOME": None, "TMPDIR": str(copy / "absent"), "XDG_CACHE_HOME": None}
    shutil.rmtree("results/knn")
    code, output, errors = ended(copy, "run", "suite.yaml", environment=absent)
    assert code == 0 and "2 done, 6 reused" in errors and "tiny: toy" in output
    shutil.rmtree("results/knn")
    for path in (Path("results"), *(one for one in Path("results").rglob("*") if one.is_dir())):
        path.chmod(0o555)
    code, _, errors = ended(copy, "run", "suite.yaml", bound=True)
    assert (code, errors) == (2, "--results results: cannot write there (Permission denied)\n")
    code, output, errors = ended(copy, "table", "results", bound=True)
    assert code == 0 and "tiny: toy" in output and not errors
    for path in (Path("results"), *(one for one in Path("results").rglob("*") if one.is_dir())):
        path.chmod(0o755)


def test_rows_made_otherwise_say_so(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "results"]) == 0
    assert "most rows of this table with" not in capsys.readouterr().out
    more = ["run", "suite.yaml", "--rerun", "all", "--only", "pretrain/simclr-sem", "--memory", "1e-6"]
    code, _, errors = ended(copy, *more, environment={"OMP_NUM_THREADS": "2"})
    assert code == 0, errors
    assert main(["run", "suite.yaml"]) == 0
    text = "pretrained with 1 thread, images in memory; most rows of this table with 2 threads, images streamed"
    assert text in " ".join(capsys.readouterr().out.split())


def test_a_look_at_a_finished_folder_reads_no_weights(copy: Path) -> None:
    """A result's own sum and the predictions; the sizes of other files. What is read only to be summed costs time."""
    for path in Path("results").glob("*/*/*.pt"):
        path.chmod(0)
    store = Store(Path("results"))
    for path in Path("results").glob("*/*/result.json"):
        content = json.loads(path.read_text())
        assert store.folders.look(content["kind"], content["digest"]).result is not None
