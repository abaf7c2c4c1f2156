"""Jobs in worker processes: deaths, errors, signals."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sem_bench.base.files import read_json
from sem_bench.cli import main
from sem_bench.errors import UserError
from sem_bench.runs.crew import Asked, hire
from sem_bench.runs.plan import read_plan
from sem_bench.runs.store import Store
from tests.helpers.commands import DEADLY, DEADLY_SUITE, FRAGILE, WAITING, fragile, process
from tests.helpers.results import numbers
from tests.helpers.toy import SUITE, write


def test_a_death_costs_one_retry_and_an_error_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sem_bench.runs.executors.processes.SPAWN", multiprocessing.get_context("spawn"))
    write(folder, "methods/fragile.py", DEADLY)
    write(folder, "methods/fragile.yaml", FRAGILE)
    write(folder, "suite.yaml", DEADLY_SUITE)
    assert main(["run", "suite.yaml", "--jobs", "2", "--only", "pretrain/"]) == 1
    errors = capsys.readouterr().err
    assert {path.name: path.read_text() for path in folder.glob("tries-*")} == {
        "tries-always": "xx",
        "tries-once": "xx",
        "tries-error": "x",
    }
    assert errors.count("its worker died (killed; was memory short?); it is tried once more") == 2
    assert "1 done, 0 reused, 2 failed, 0 blocked" in errors and "Traceback" not in errors
    texts = {path.parent.name.split("-")[1]: path.read_text() for path in folder.glob("results/pretrain/*/error.txt")}
    assert texts["none"] == (
        "its process died twice (its worker died (killed; was memory short?)); --rerun failed tries it again\n"
    )
    assert "RuntimeError: it broke" in texts["sem2x3"] and len(texts) == 2
    assert not list(folder.glob("results/cache/shared/*")) and not children(os.getpid())


def children(pid: int) -> list[psutil.Process]:
    """The worker processes of a run; a dead one is none."""
    found = []
    for one in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            found += [one] if "spawn_main" in " ".join(one.cmdline()) else []
    return found


LONG = SUITE.replace("epochs: 2", "epochs: 3000")


@pytest.fixture(params=["SIGINT to all", "SIGTERM to the driver", "SIGKILL to the driver"])
def stopped(
    request: pytest.FixtureRequest, folder: Path
) -> Iterator[tuple[str, int, str, float, list[psutil.Process]]]:
    """A run with two workers that got a signal while both pretrain: its return code, what it said, seconds, workers."""
    write(folder, "suite.yaml", LONG)
    run = process(folder, "run", "suite.yaml", "--jobs", "2", "--only", "pretrain/simclr-sem")  # one job: one worker
    while not list(folder.glob("results/pretrain/*/checkpoint.pt")):
        assert run.poll() is None
        time.sleep(0.05)
    workers = children(run.pid)
    began = time.monotonic()
    if request.param == "SIGINT to all":
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    else:
        run.send_signal(signal.SIGTERM if "SIGTERM" in request.param else signal.SIGKILL)
    _, errors = run.communicate(timeout=60)
    psutil.wait_procs(workers, timeout=30)
    seconds, code = time.monotonic() - began, run.returncode
    assert code is not None
    yield request.param, code, errors, seconds, workers
    for worker in workers:
        if worker.is_running():
            worker.kill()


def test_a_signal_stops_all_within_seconds(
    folder: Path, stopped: tuple[str, int, str, float, list[psutil.Process]]
) -> None:
    signal_sent, code, errors, seconds, workers = stopped
    assert len(workers) == 1 and not any(worker.is_running() for worker in workers)
    assert seconds < 12 and "Traceback" not in errors
    if "KILL" not in signal_sent:
        assert code == (143 if "TERM" in signal_sent else 130) and "all that is done is kept" in errors
    states = [read_json(path)["state"] for path in folder.glob("results/pretrain/*/state.json")]
    assert states == ["interrupted"] and len(list(folder.glob("results/pretrain/*/checkpoint.pt"))) == 1
    assert not list(folder.glob("results/pretrain/.locks/*"))


def test_a_killed_worker_changes_nothing_but_time(folder: Path) -> None:
    write(folder, "methods/fragile.py", WAITING)
    write(folder, "methods/fragile.yaml", FRAGILE)
    go = write(folder, "go", "")
    arguments = ["run", "suite.yaml", "--set", "grid.methods=[fragile]", "--only", "knn/fragile-sem"]
    assert main([*arguments, "--results", "serial"]) == 0
    go.unlink()
    run = process(folder, *arguments, "--jobs", "2")
    while not list(folder.glob("results/pretrain/*/checkpoint.pt")):
        assert run.poll() is None
        time.sleep(0.02)
    children(run.pid)[0].terminate()  # as a guard of the machine's memory does; SIGKILL stands above
    go.touch()
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 0 and errors.count("it is tried once more") == 1, errors
    assert numbers(folder / "results") == numbers(folder / "serial")


# Notes on which GPU it is.
NOTED = fragile(loss="Path(f\"{first.shape[1]}-{os.environ['CUDA_VISIBLE_DEVICES']}\").touch()")


def test_jobs_of_several_devices_share_no_gpu(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two trainings at a time on two GPUs each. These GPUs are names only: torch finds none here."""
    monkeypatch.setattr("sem_bench.base.machine.gpus", lambda device: ["4", "5", "6", "7"])
    write(folder, "methods/fragile.py", NOTED)
    write(folder, "methods/fragile.yaml", FRAGILE)
    arguments = ["run", "suite.yaml", "--set", "grid.methods=[fragile]", "--only", "pretrain/", "--device", "cpu"]
    assert main([*arguments, "--devices", "2", "--jobs", "2"]) == 0
    assert "4 devices, 2 for a pretraining, 1 thread each" in capsys.readouterr().err
    seen = [path.name.split("-") for path in [*folder.glob("12-*"), *folder.glob("128-*")]]
    assert sorted(width for width, _ in seen) == ["12", "12", "128", "128"]
    assert sorted(gpu for _, gpu in seen) == ["4", "5", "6", "7"]


def test_more_devices_than_there_are_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sem_bench.base.machine.gpus", lambda device: ["0", "1", "2"])
    jobs, store = read_plan(Path("suite.yaml")).unique(), Store(Path("results"))
    with pytest.raises(UserError, match="--devices 5 takes 5 GPUs; this machine has 3 for a run"):
        hire(jobs, store, Asked(devices=5))
    with pytest.raises(UserError, match="--devices 2 with --jobs 2 takes 4 GPUs; this machine has 3 for a run"):
        hire(jobs, store, Asked(devices=2, jobs=2))
    crew = hire(jobs, store, Asked(devices=2))
    assert crew.executor.slots == 2 and crew.said == "2 devices, 2 for a pretraining, 1 thread each"
