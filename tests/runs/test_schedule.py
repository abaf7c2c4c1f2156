"""The loop that does jobs, in this process and in others."""

import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sem_bench.base.limits import Limits
from sem_bench.cli import main
from sem_bench.runs.executors import Executor
from sem_bench.runs.executors.here import Here
from sem_bench.runs.job import Job
from sem_bench.runs.order import Order, Outcome, Tell
from sem_bench.runs.pending import due
from sem_bench.runs.plan import read_plan
from sem_bench.runs.progress import reporter
from sem_bench.runs.schedule import Outcomes, Schedule, without_success
from sem_bench.runs.store import Store
from sem_bench.workspace import Monitor
from tests.helpers.processes import Processes


def drive(executor: Executor, store: Store, jobs: list[Job], monitor: Monitor | None = None) -> tuple[Outcomes, str]:
    """What becomes of jobs, and what is said of it."""
    chosen = due(jobs, store, Limits())
    said = io.StringIO()
    with reporter(0, stream=said, live=False) as progress:
        schedule = Schedule(store, executor, progress, "cpu", Limits())
        outcomes = schedule.drive(jobs, chosen, monitor=monitor)
    return outcomes, said.getvalue()


def numbers(results: Path) -> dict[str, Any]:
    """What results say beside times and machines, and the predictions, by KIND/FOLDER."""
    found = {}
    for path in sorted(results.glob("*/*/result.json")):
        result = json.loads(path.read_text())
        provenance = {name: result["provenance"][name] for name in ("data", "images", "files", "device", "versions")}
        if path.parent.parent.name == "pretrain":  # a checkpoint holds the time that it took
            del provenance["files"]
        predictions = path.with_name("predictions.bin")
        bits = predictions.read_bytes() if predictions.exists() else b""
        found["/".join(path.parts[-3:-1])] = [result | {"provenance": provenance}, bits]
    return found


def test_other_processes_give_the_same_results(folder: Path) -> None:
    """The seam: orders cross as text. Jobs that can be done at the same time are; a figure is answered from here."""
    jobs = read_plan(Path("suite.yaml")).unique()
    here, _ = drive(Here(Store(Path("here"))), Store(Path("here")), jobs)
    others = Processes(2)
    try:
        there, said = drive(others, Store(Path("there")), jobs)
        assert here == there == {job.digest: "done" for job in jobs}
        assert numbers(Path("here")) == numbers(Path("there")) and len(jobs) == 8
        first = [line.split("] ")[1] for line in said.splitlines() if line.startswith("[")][:2]
        assert all(line.startswith("pretrain ") and ": done" not in line for line in first), said  # two at a time

        asked: list[int] = []

        def hopeless(epoch: int, figure: float) -> bool:
            asked.append(epoch)
            return figure > 0

        monitor = Monitor("sem_bench.sweep.pruner_measures:effective_rank_of_h", hopeless)
        pruned, said = drive(others, Store(Path("pruned")), jobs, monitor)
        assert Counter(pruned.values()) == {"pruned": 2, "blocked": 6} and asked == [1, 1]
        assert "its pretrain was pruned" in said and "0 done, 0 reused, 0 failed, 6 blocked, 2 pruned" in said
    finally:
        others.stop()


class Told:
    """An executor whose jobs end as they are told to, the last that was started first."""

    def __init__(self, slots: int, ends: dict[str, str]) -> None:
        self.slots, self.ends = slots, ends
        self.running: list[Order] = []
        self.started: list[str] = []
        self.stopped = False

    def start(self, order: Order, tell: Tell) -> None:
        """Note it."""
        assert len(self.running) < self.slots
        self.running.append(order)
        self.started.append(f"{order.kind} {order.slug.split('-')[1]}")

    def wait(self) -> Iterator[tuple[str, Outcome]]:
        """One at a time."""
        if not self.running:
            return
        order = self.running.pop()
        status = self.ends.get(order.kind, "done")
        if status == "raise":
            raise KeyboardInterrupt
        if status == "done":  # its folder is all that others look for
            path = Path("results") / order.kind / f"{order.slug}-{order.digest[:12]}" / "result.json"
            path.parent.mkdir(parents=True)
            path.write_text("{}")
        yield order.digest, Outcome("failed" if status == "failed" else "done")

    def stop(self) -> None:
        """Note it."""
        self.stopped = True


def test_a_job_starts_when_its_inputs_are_done(folder: Path) -> None:
    jobs = read_plan(Path("suite.yaml")).unique()
    executor = Told(3, {})
    outcomes, _ = drive(executor, Store(Path("results")), jobs)
    assert set(outcomes.values()) == {"done"} and len(executor.started) == 8
    assert executor.started[:2] == ["pretrain none", "pretrain sem4x3"]  # nothing else could
    assert executor.started[2:5] == ["probe sem4x3", "probe sem4x3", "knn sem4x3"]  # that one ended first
    assert not executor.stopped


def test_what_builds_on_a_failure_is_blocked_and_the_others_go_on(folder: Path) -> None:
    jobs = read_plan(Path("suite.yaml")).unique()
    outcomes, said = drive(Told(1, {"knn": "failed"}), Store(Path("results")), jobs)
    assert [job.kind for job, _ in without_success(jobs, outcomes)] == ["knn", "knn"]
    executor = Told(2, {"pretrain": "failed"})
    outcomes, said = drive(executor, Store(Path("elsewhere")), jobs)
    assert Counter(outcomes.values()) == {"failed": 2, "blocked": 6} and "its pretrain failed" in said
    assert {kind.split()[0] for kind in executor.started} == {"pretrain"}


def test_an_interrupt_stops_what_runs(folder: Path) -> None:
    executor = Told(2, {"pretrain": "raise"})
    with pytest.raises(KeyboardInterrupt):
        drive(executor, Store(Path("results")), read_plan(Path("suite.yaml")).unique())
    assert executor.stopped


COUNTING = """
import sys
from collections import Counter

from sem_bench.cli import main

opened = Counter()
def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith("result.json"):
        opened[str(arguments[0])] += 1
sys.addaudithook(note)
code = main(sys.argv[1:])
print(code, len(opened), set(opened.values()), "torch" in sys.modules, file=sys.stderr)
"""


def test_each_result_is_read_once_a_command(folder: Path) -> None:
    """For what is to do, for the time that the rest will take, and for the tables. Torch is not needed."""
    assert main(["run", "suite.yaml"]) == 0
    for command in (["run", "suite.yaml"], ["plan", "suite.yaml"], ["plan", "suite.yaml", "--format", "json"]):
        call = [sys.executable, "-c", COUNTING, *command]
        found = subprocess.run(call, capture_output=True, text=True, check=True)
        assert found.stderr.splitlines()[-1] == "0 8 {1} False", found.stderr
