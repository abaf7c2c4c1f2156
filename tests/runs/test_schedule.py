"""The loop that does jobs, in this process and in others."""

import io
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sem_bench.base.limits import Limits
from sem_bench.cli import main
from sem_bench.errors import UserError
from sem_bench.runs.executors import Executor
from sem_bench.runs.executors.here import Here
from sem_bench.runs.executors.processes import Processes
from sem_bench.runs.job import Job
from sem_bench.runs.order import Need, Order, Outcome, Started, Tell
from sem_bench.runs.pending import due
from sem_bench.runs.plan import read_plan
from sem_bench.runs.progress import reporter
from sem_bench.runs.schedule import Outcomes, Schedule, without_success
from sem_bench.runs.store import Store
from sem_bench.workspace import Monitor
from tests.helpers.results import numbers


def drive(
    executor: Executor, store: Store, jobs: list[Job], monitor: Monitor | None = None, *, room: float = float("inf")
) -> tuple[Outcomes, str]:
    """What becomes of jobs, and what is said of it."""
    chosen = due(jobs, store, Limits())
    said = io.StringIO()
    with reporter(0, stream=said, live=False) as progress:
        schedule = Schedule(store, executor, progress, "cpu", Limits(), room=room)
        outcomes = schedule.drive(jobs, chosen, monitor=monitor)
    return outcomes, said.getvalue()


def test_other_processes_give_the_same_results(folder: Path) -> None:
    """The seam: orders cross as text. Jobs that can be done at the same time are; a figure is answered from here."""
    jobs = read_plan(Path("suite.yaml")).unique()
    here, _ = drive(Here(Store(Path("here"))), Store(Path("here")), jobs)
    others = Processes(2, threads=1)
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
    """An executor whose jobs end as they are told to, the last that was started first; by kind, one word a try."""

    def __init__(self, slots: int, ends: dict[str, str]) -> None:
        self.slots, self.ends = slots, {kind: words.split() for kind, words in ends.items()}
        self.running: list[tuple[Order, Tell]] = []
        self.started: list[str] = []
        self.tries: Counter[str] = Counter()
        self.stopped, self.most = False, 0

    def check(self, needs: Mapping[Need, str], device: str) -> None:
        """Anything will do, but for one name."""
        if "impossible" in self.ends:
            raise UserError([f"{name}: impossible" for name in needs.values()][:1])

    def expect(self, orders: int) -> None:
        pass

    def start(self, order: Order, tell: Tell) -> None:
        """Note it."""
        assert len(self.running) < self.slots
        self.running.append((order, tell))
        self.most = max(self.most, len(self.running))
        self.started.append(f"{order.kind} {order.slug.split('-')[1]}")

    def wait(self, timeout: float | None = None) -> Iterator[tuple[str, Outcome]]:
        """One at a time."""
        if not self.running:
            return
        order, tell = self.running.pop()
        ends = self.ends.get(order.kind, ["done"])
        status = ends[min(self.tries[order.digest], len(ends) - 1)]
        self.tries[order.digest] += 1
        if status == "raise":
            raise KeyboardInterrupt
        if status != "held":
            tell(Started())
        if status == "done":  # its folder is all that others look for
            path = Path("results") / order.kind / f"{order.slug}-{order.digest[:12]}" / "result.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
        assert status in ("done", "failed", "held", "died")
        yield order.digest, Outcome(status, "why")  # type: ignore[arg-type]

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


def test_what_another_driver_holds_is_passed_over_and_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sem_bench.runs.schedule.POLL", 0.01)
    jobs = read_plan(Path("suite.yaml")).unique()
    executor = Told(1, {"pretrain": "held held done"})
    outcomes, said = drive(executor, Store(Path("results")), jobs)
    assert set(outcomes.values()) == {"done"}
    assert executor.started[:2] == ["pretrain none", "pretrain sem4x3"]  # the second while the first is held
    assert said.count("another run works on it (why)") == 2  # once a job, however often it is looked at
    assert said.count("[1/8] pretrain") == 2  # its start and its end


def test_a_job_outlives_one_worker(folder: Path) -> None:
    jobs = read_plan(Path("suite.yaml")).unique()
    outcomes, said = drive(Told(2, {"pretrain": "died done", "knn": "failed"}), Store(Path("results")), jobs)
    assert Counter(outcomes.values()) == {"done": 6, "failed": 2} and said.count("it is tried once more") == 2
    executor, store = Told(2, {"pretrain": "died died"}), Store(Path("elsewhere"))
    outcomes, said = drive(executor, store, jobs)
    assert Counter(outcomes.values()) == {"failed": 2, "blocked": 6} and len(executor.started) == 4
    assert [store.status(job) for job in jobs if job.kind == "pretrain"] == ["failed", "failed"]
    assert {path.read_text() for path in Path("elsewhere").glob("pretrain/*/error.txt")} == {
        "its process died twice (why); --rerun failed tries it again\n"
    }


def test_jobs_start_only_where_their_memory_fits(folder: Path) -> None:
    jobs = read_plan(Path("suite.yaml")).unique()
    for room, most in ((1.0, 1), (2.5 * 2**30, 2), (100 * 2**30, 3)):  # a process with torch takes 0.9 GiB
        executor = Told(3, {})
        outcomes, _ = drive(executor, Store(Path("results")), jobs, room=room)
        assert set(outcomes.values()) == {"done"} and executor.most == most
        shutil.rmtree("results")


def test_what_can_never_be_done_is_refused_before_anything_starts(folder: Path) -> None:
    executor = Told(3, {"impossible": ""})
    with pytest.raises(UserError, match=r"pretrain/simclr-none-.*: impossible"):
        drive(executor, Store(Path("results")), read_plan(Path("suite.yaml")).unique())
    assert not executor.started


def test_an_interrupt_stops_what_runs(folder: Path) -> None:
    executor = Told(2, {"pretrain": "raise"})
    with pytest.raises(KeyboardInterrupt):
        drive(executor, Store(Path("results")), read_plan(Path("suite.yaml")).unique())
    assert executor.stopped


COUNTING = """
import sys
from collections import Counter

from sem_bench.cli import main
from sem_bench.errors import UserError

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
