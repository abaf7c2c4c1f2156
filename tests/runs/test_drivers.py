"""Several runs on one results folder."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from sem_bench.base import locks
from sem_bench.cli import main
from tests.helpers.commands import FRAGILE, WAITING, Running, process
from tests.helpers.results import numbers
from tests.helpers.toy import SUITE, write

# Long enough that runs that start together meet.
MEETING = (
    SUITE.replace("[1.0, 0.1]", "[0.05]")
    .replace("  datasets: [toy]", "  datasets: [toy]\n  images: {train: 100}")
    .replace("epochs: 2", "epochs: 80")
)


def ended(runs: list[Running]) -> tuple[list[str], list[int]]:
    """What runs print, and how many jobs each has done; they must end well."""
    outputs = [run.communicate(timeout=240) for run in runs]
    assert [run.returncode for run in runs] == [0] * len(runs), outputs
    done = [re.findall(r"^(\d+) done, (\d+) reused, 0 failed, 0 blocked", errors, re.M) for _, errors in outputs]
    return [output for output, _ in outputs], [int(found[0][0]) for found in done]


def test_runs_share_the_work_and_one_may_be_killed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "methods/fragile.py", WAITING)
    write(folder, "methods/fragile.yaml", FRAGILE)
    write(folder, "suite.yaml", MEETING.replace("[simclr]", "[fragile]").replace("epochs: 80", "epochs: 4"))
    go = write(folder, "go", "")
    assert main(["run", "suite.yaml", "--results", "serial"]) == 0
    go.unlink()
    table = capsys.readouterr().out

    runs = [process(folder, "run", "suite.yaml") for _ in range(3)]
    while len(list(folder.glob("results/pretrain/*/checkpoint.pt"))) < 2:
        assert [run.poll() for run in runs] == [None] * 3
        time.sleep(0.02)
    held = [path.read_text() for path in folder.glob("results/pretrain/.locks/*")]
    (busy, *_), idle = [
        [run for run in runs if any(f"pid={run.pid}\n" in text for text in held) is is_busy]
        for is_busy in (True, False)
    ]
    assert len(held) == 2 and len(idle) == 1 and not list(folder.glob("results/*/*/result.json"))
    os.killpg(busy.pid, signal.SIGKILL)
    busy.communicate()
    runs.remove(busy)
    go.touch()
    tables, done = ended(runs)  # one of them takes over what that one had begun
    assert tables == [table, table] and sum(done) == 6  # two pretrainings, each with two evaluations: each once
    assert numbers(folder / "results") == numbers(folder / "serial")
    assert not list(folder.glob("results/*/.locks/*"))


@pytest.mark.slow
def test_reruns_together_compute_each_job_once(folder: Path) -> None:
    write(folder, "suite.yaml", MEETING)
    arguments = ["run", "suite.yaml", "--only", "pretrain/simclr-none"]
    assert main(arguments) == 0
    before = numbers(folder / "results")
    (path,) = folder.glob("results/pretrain/simclr*/result.json")
    written = path.stat().st_mtime_ns
    runs = [process(folder, *arguments, "--rerun", "all") for _ in range(2)]
    _, done = ended(runs)
    assert sum(done) == 1 and path.stat().st_mtime_ns > written
    assert {"config.json", "checkpoint.pt", "result.json", "log.csv"} <= {each.name for each in path.parent.iterdir()}
    assert numbers(folder / "results") == before
    assert main([*arguments, "--rerun", "all", "--set", "pretrain.epochs=1"]) == 0  # and a later one does it again


def test_two_suites_of_one_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", MEETING.replace("epochs: 80", "epochs: 3000"))
    write(folder, "other.yaml", SUITE)
    run = process(folder, "run", "suite.yaml")
    while not list(folder.glob("results/pretrain/*/checkpoint.pt")):
        assert run.poll() is None
        time.sleep(0.05)
    manifest = (folder / "results/suites/tiny.json").read_text()
    assert main(["run", "other.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("suite 'tiny': a run of another suite of this name is at work in results (host ")
    assert f"process {run.pid}," in line and line.endswith("give this one another name, such as --set name=tiny_2")
    assert (folder / "results/suites/tiny.json").read_text() == manifest
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert main(["run", "other.yaml", "--only", "pretrain/simclr-none"]) == 0  # a dead run stands in nobody's way
    assert list(folder.glob("results/suites/.runs/tiny/*")) == []


def test_a_claim_of_a_dead_host_is_taken_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "LEASE", 1.5)
    assert main(["run", "suite.yaml", "--only", "pretrain/simclr-none"]) == 0
    (result,) = folder.glob("results/pretrain/*/result.json")
    digest = result.parent.name[-12:]
    result.unlink()
    claim = folder / "results/pretrain/.locks" / digest
    claim.write_text("filelock/2\npid=7\nhost=elsewhere\nmode=lease\ntoken=abc\nduration=1.5\n")
    capsys.readouterr()
    began = time.monotonic()
    assert main(["run", "suite.yaml", "--only", "pretrain/"]) == 0
    assert time.monotonic() - began > 1.0
    errors = capsys.readouterr().err
    assert "another run works on it (host elsewhere, process 7, last sign of life 0 s ago)" in errors
    starts = re.findall(r"\] pretrain simclr-(\w+)-\S+ \(", errors)
    assert starts[0] == "sem4x3" and starts.count("none") >= 1  # the other job first, then this one
    assert result.exists() and not claim.exists()


def test_shards_are_whole_and_cover_everything(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml", "--shard", "2/2"]) == 0
    first = set(numbers(folder / "results"))
    arms = {name.split("/")[1].split("-")[1] for name in first}
    assert len(first) == 4 and len(arms) == 1  # a pretraining with all that follows it
    assert "—" in capsys.readouterr().out
    assert main(["run", "suite.yaml", "--shard", "1/2"]) == 0
    assert len(numbers(folder / "results")) == 8 and "—" not in capsys.readouterr().out
    assert main(["run", "suite.yaml", "--shard", "3/3", "--results", "empty"]) == 0  # there are two families
    assert numbers(folder / "empty") == {}
    for wrong in ("0/2", "3/2", "1", "a/b"):
        with pytest.raises(SystemExit):
            main(["run", "suite.yaml", "--shard", wrong])
        assert f"must be I/N with I from 1 to N, such as 1/4, found '{wrong}'" in capsys.readouterr().err
