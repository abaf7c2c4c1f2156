"""The one loop that does jobs, for `run` and for `sweep`: a job starts when its inputs are done and a slot is free.

The store decides what is done. A job that fails is recorded, those that build on it are blocked, the others go on.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sem_bench.base.limits import Limits
from sem_bench.runs.estimate import estimate
from sem_bench.runs.executors import Executor
from sem_bench.runs.job import Job
from sem_bench.runs.order import Event, Figure, Message, Order, Progress
from sem_bench.runs.progress import GOOD, Reporter
from sem_bench.runs.store import Store

if TYPE_CHECKING:
    from sem_bench.workspace import Monitor

Outcomes = dict[str, str]  # digest -> "done", "reused", "failed", "pruned", or "blocked": an input failed
Coming = tuple[str, str, float]  # key, kind and seconds of a job that is expected later


@dataclass(frozen=True)
class Schedule:
    """Who does jobs, where results go, who hears of it, and what each job may take."""

    store: Store
    executor: Executor
    reporter: Reporter
    device: str
    limits: Limits

    def drive(
        self,
        jobs: Sequence[Job],
        chosen: Sequence[Job],
        *,
        afresh: bool = False,
        monitor: "Monitor | None" = None,
        ahead: Sequence[Coming] = (),
    ) -> Outcomes:
        """Do those of the jobs that are `chosen`, inputs first; returns what became of them and of the finished others.

        A `monitor` looks at the pretrainings, and may prune them. `ahead`: what is expected beyond these jobs.
        """
        outcomes = self._reused(jobs, chosen)
        seconds = estimate(chosen, self.store)
        self.reporter.expect([*((job.digest, job.kind, seconds[job.digest]) for job in chosen), *ahead])
        try:
            self._loop({job.digest: job for job in chosen}, outcomes, afresh=afresh, monitor=monitor)
        except BaseException:
            self.executor.stop()
            raise
        return outcomes

    def _reused(self, jobs: Sequence[Job], chosen: Sequence[Job]) -> Outcomes:
        """Tell of what is done already."""
        again = {job.digest for job in chosen}
        done = [job.digest for job in jobs if job.digest not in again and self.store.status(job) == "done"]
        for digest in done:
            self.reporter.job_finished(digest, "reused", seconds=0.0)
        return dict.fromkeys(done, "reused")

    def _loop(self, waiting: dict[str, Job], outcomes: Outcomes, *, afresh: bool, monitor: "Monitor | None") -> None:
        running: dict[str, tuple[Job, float]] = {}  # and when they began
        while waiting or running:
            while len(running) < self.executor.slots and (job := _ready(waiting, running)):
                del waiting[job.digest]
                if reason := self._blocked(job, outcomes):
                    outcomes[job.digest] = "blocked"
                    self.reporter.job_finished(job.digest, "blocked", seconds=0.0, summary=reason, label=job.slug)
                    continue
                self._start(job, afresh=afresh, monitor=monitor)
                running[job.digest] = (job, time.perf_counter())
            for digest, (status, summary) in self.executor.wait():
                job, began = running.pop(digest)
                outcomes[digest] = status
                seconds = time.perf_counter() - began
                self.reporter.job_finished(digest, status, seconds=seconds, summary=summary, label=job.slug)

    def _blocked(self, job: Job, outcomes: Outcomes) -> str:
        """Why a job cannot be done: an input has no result; "" where all have one."""
        for role, digest in job.inputs.items():
            status = outcomes.get(digest, "done")
            if status not in GOOD or self.store.by_digest(role, digest) is None:
                return f"its {role} {'was pruned' if status == 'pruned' else 'failed'}"
        return ""

    def _start(self, job: Job, *, afresh: bool, monitor: "Monitor | None") -> None:
        watch = None if monitor is None else monitor.measure
        order = Order.of(job, self.store.root, device=self.device, limits=self.limits, afresh=afresh, watch=watch)
        self.executor.start(order, partial(self._hear, job.digest, monitor))
        self.reporter.job_started(job.digest, job.kind, job.slug)

    def _hear(self, digest: str, monitor: "Monitor | None", event: Event) -> bool:
        """What a worker tells; the answer says whether it goes on."""
        match event:
            case Progress(done, total, note):
                self.reporter.job_progress(digest, done, total, note=note)
            case Message(text):
                self.reporter.message(text)
            case Figure(epoch, value):
                return monitor is None or not monitor.hopeless(epoch, value)
        return True


def _ready(waiting: Mapping[str, Job], running: Mapping[str, object]) -> Job | None:
    """The first job whose inputs are neither waiting nor running."""
    for job in waiting.values():
        if not any(digest in waiting or digest in running for digest in job.inputs.values()):
            return job
    return None


def without_success(jobs: Sequence[Job], outcomes: Mapping[str, str]) -> list[tuple[Job, str]]:
    """Those of the jobs that were to be done and are not, and what became of them."""
    found = [(job, outcomes[job.digest]) for job in jobs if job.digest in outcomes]
    return [(job, status) for job, status in found if status not in GOOD]
