"""The one loop that does jobs, for `run` and for `sweep`: a job starts when its inputs are done and its slots are free.

The store decides what is done. A job that fails is recorded, those that build on it are blocked, the others go on. What
another driver works on is passed over and looked at again, until it is done or can be taken over.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sem_bench.base import interrupts
from sem_bench.base.limits import Limits
from sem_bench.runs.estimate import as_tasks, estimate, need
from sem_bench.runs.executors import Executor
from sem_bench.runs.job import Job
from sem_bench.runs.order import Event, Figure, Message, Need, Order, Outcome, Progress, Started
from sem_bench.runs.progress import GOOD, Reporter
from sem_bench.runs.queue import Queue
from sem_bench.runs.store import Store

if TYPE_CHECKING:
    from sem_bench.workspace import Monitor

Outcomes = dict[str, str]  # digest -> "done", "reused", "failed", "pruned", or "blocked": an input failed
Coming = tuple[str, str, float]  # key, kind and seconds of a job that is expected later

POLL = 0.5  # seconds between two looks at what another driver works on


class Batch(NamedTuple):
    """Jobs, and those of them that are to do, inputs first. A `monitor` looks at the pretrainings among them."""

    jobs: Sequence[Job]
    chosen: Sequence[Job]
    monitor: "Monitor | None" = None


More = Callable[[Outcomes], Batch | None]  # called where a slot is free and no job is ready


@dataclass(frozen=True)
class Schedule:
    """Who does jobs, where results go, who hears of it, and what each job may take."""

    store: Store
    executor: Executor
    reporter: Reporter
    device: str
    limits: Limits
    jobs_per_device: int = 1
    on_gpu: bool = False
    room: float = float("inf")  # bytes for all jobs that run at a time
    log: tuple[str, ...] = ()  # where the curves of pretrainings are shown beside log.csv

    def need(self, job: Job, seconds: float) -> Need:
        """What a job of so many seconds takes of a machine."""
        return need(job, self.limits, self.jobs_per_device, seconds, on_gpu=self.on_gpu)

    def drive(
        self,
        jobs: Sequence[Job],
        chosen: Sequence[Job],
        *,
        since: int | None = None,
        monitor: "Monitor | None" = None,
    ) -> Outcomes:
        """Do those of the jobs that are `chosen`, inputs first; returns what became of them and of the finished others.

        With `since` (ns) they are done anew unless their result was written later. Raises UserError where one of them
        can never be done here, before any starts.
        """
        return self.follow([Batch(jobs, chosen, monitor)], since=since)

    def follow(
        self,
        batches: Sequence[Batch] = (),
        more: More = lambda outcomes: None,
        *,
        since: int | None = None,
        ahead: Callable[[], Sequence[Coming]] = list,
    ) -> Outcomes:
        """Do batches, and those that `more` gives; `ahead` says what is expected beyond them."""
        self.reporter.slots = self.executor.slots
        drive = _Drive(self, more, ahead, since)
        try:
            for batch in batches:
                drive.add(batch)
            drive.run()
        except BaseException:
            self.executor.stop()
            raise
        return drive.outcomes


@dataclass
class _Drive:
    """The jobs of one call: what waits, what runs, what became of the others."""

    schedule: Schedule
    more: More
    ahead: Callable[[], Sequence[Coming]]
    since: int | None
    outcomes: Outcomes = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)  # that wait or run
    monitors: dict[str, "Monitor"] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)  # since when
    held: dict[str, float] = field(default_factory=dict)  # by another driver -> when to look again
    told: set[str] = field(default_factory=set)  # of whose holder the user has heard
    needs: dict[str, Need] = field(default_factory=dict)
    failures: dict[str, int | None] = field(default_factory=dict)  # when a job failed that is to be tried again (ns)
    looks: Counter[str] = field(default_factory=Counter)  # at what another driver holds

    def __post_init__(self) -> None:
        self.store, self.executor, self.reporter = self.schedule.store, self.schedule.executor, self.schedule.reporter
        self.queue = Queue(self.executor.slots, self.schedule.room)
        self.turns: dict[int, int] = {}  # seed -> its rank

    def add(self, batch: Batch) -> None:
        """More jobs. Tells of what is done already."""
        self.reporter.name(job.slug for job in batch.jobs)
        again = {job.digest for job in batch.chosen}
        for job in batch.jobs:
            if job.digest not in again and job.digest not in self.outcomes and self.store.status(job) == "done":
                self.outcomes[job.digest] = "reused"
                self.reporter.job_finished(job.digest, "reused", seconds=0.0)
        chosen = [job for job in batch.chosen if job.digest not in self.jobs and job.digest not in self.outcomes]
        self.seconds |= estimate(chosen, self.store)
        self.needs |= {job.digest: self.schedule.need(job, self.seconds[job.digest]) for job in chosen}
        self.executor.check({self.needs[job.digest]: f"{job.kind}/{job.slug}" for job in chosen}, self.schedule.device)
        for job in chosen:
            self.jobs[job.digest] = job
            self.failures[job.digest] = self.store.failed_at(job)
            if batch.monitor is not None:
                self.monitors[job.digest] = batch.monitor
        self.queue.add(as_tasks(chosen, self.seconds, self.needs, self.turns))
        coming = ((key, self.jobs[key].kind, self.seconds[key]) for key in self.queue.waiting)
        self.reporter.expect([*coming, *self.ahead()])

    def run(self) -> None:
        """Until nothing waits and nothing runs, and no more comes."""
        while True:
            interrupts.check()
            self._look_again()
            self._fill()
            if not self.queue:
                return
            if not self.running:
                time.sleep(POLL)  # all that is left, another driver works on
                continue
            for digest, outcome in self.executor.wait(POLL if self.held else None):
                self._ended(digest, outcome)

    def _look_again(self) -> None:
        """What another driver held some time ago may be tried."""
        now = time.monotonic()
        for digest in [digest for digest, when in self.held.items() if when <= now]:
            del self.held[digest]
            self.queue.again(digest)

    def _fill(self) -> None:
        """Start jobs while slots are free and jobs are ready, or come."""
        while self.queue.free > 0:
            digest = self.queue.take()
            if digest is not None:
                self._begin(digest)
            elif (batch := self.more(self.outcomes)) is not None:
                self.add(batch)
            else:
                return

    def _begin(self, digest: str) -> None:
        """Start a job, unless there is nothing to do for it."""
        job = self.jobs[digest]
        if reason := self._blocked(job):
            self._finish(digest, "blocked", reason)
        elif (self.since is None or self.since) and self.store.done_since(job, self.since or 0):
            self._finish(digest, "reused", "done already")
        elif self.store.failed_at(job) not in (None, self.failures[digest]):
            self._finish(digest, "failed", f"in another run (see {self.store.error_file(job)})")
        else:
            self._start(job)

    def _blocked(self, job: Job) -> str:
        """Why a job cannot be done: an input has no result; "" where all have one."""
        for role, digest in job.inputs.items():
            status = self.outcomes.get(digest, "done")
            if status not in GOOD or not self._is_there(role, digest):
                return f"its {role} {'was pruned' if status == 'pruned' else 'failed'}"
        return ""

    def _is_there(self, kind: str, digest: str) -> bool:
        """Whether an input has a result; one that is being replaced is there again in a moment."""
        if self.store.by_digest(kind, digest) is None:
            time.sleep(1)
        return self.store.by_digest(kind, digest) is not None

    def _start(self, job: Job) -> None:
        schedule, monitor = self.schedule, self.monitors.get(job.digest)
        order = Order.of(
            job,
            self.store.root,
            device="cpu" if job.stage.gpu == 0 else schedule.device,
            limits=schedule.limits,
            need=self.needs[job.digest],
            afresh=self.since is not None,
            since=self.since or 0,
            log=schedule.log,
            watch=None if monitor is None else monitor.measure,
        )
        self.running[job.digest] = time.perf_counter()
        self.executor.start(order, partial(self._hear, job))

    def _ended(self, digest: str, outcome: Outcome) -> None:
        """A job has ended, or was given back."""
        status, summary = outcome
        job = self.jobs[digest]
        if status == "died":
            given_up = self.store.count_death(job, summary)
            if given_up == "":
                self.reporter.message(f"{job.kind}/{job.slug}: {summary}; it is tried once more")
                self._give_back(digest)
                self.queue.again(digest)
                return
            if self.store.done_since(job, self.since or 0):
                status = "reused"  # it died after the result was written
            else:
                status, summary = ("held", summary) if given_up is None else ("failed", given_up)
        if status == "held":
            if digest not in self.told:
                self.told.add(digest)
                self.reporter.message(f"{job.kind}/{job.slug}: another run works on it ({summary})")
            self._give_back(digest)
            self.queue.spread()
            self.queue.defer(digest)
            self.looks[digest] += 1
            self.held[digest] = time.monotonic() + POLL * min(self.looks[digest], 10)
            return
        self._finish(digest, status, summary)

    def _give_back(self, digest: str) -> None:
        """A job does not run any more, and is not done."""
        del self.running[digest]
        self.reporter.job_given_back(digest)

    def _finish(self, digest: str, status: str, summary: str = "") -> None:
        job = self.jobs.pop(digest)
        seconds = time.perf_counter() - self.running.pop(digest) if digest in self.running else 0.0
        self.outcomes[digest] = status
        self.queue.end(digest)
        self.reporter.job_finished(digest, status, seconds=seconds, summary=summary, label=job.slug)

    def _hear(self, job: Job, event: Event) -> bool:
        """What a worker tells; the answer says whether it goes on."""
        match event:
            case Started():
                self.running[job.digest] = time.perf_counter()
                self.reporter.job_started(job.digest, job.kind, job.slug)
            case Progress(done, total, note):
                self.reporter.job_progress(job.digest, done, total, note=note)
            case Message(text):
                self.reporter.message(text)
            case Figure(epoch, value):
                monitor = self.monitors.get(job.digest)
                return monitor is None or not monitor.hopeless(epoch, value)
        return True


def without_success(jobs: Sequence[Job], outcomes: Mapping[str, str]) -> list[tuple[Job, str]]:
    """Those of the jobs that were to be done and are not, and what became of them."""
    found = [(job, outcomes[job.digest]) for job in jobs if job.digest in outcomes]
    return [(job, status) for job, status in found if status not in GOOD]
