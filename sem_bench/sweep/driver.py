"""Runs a sweep: asks for settings, does a trial's jobs, tells its value; in the end confirms the best with other seeds.

There are as many trials at a time as the executor has slots for their pretrainings.

A trial's jobs are ordinary: done by the ordinary executor, into the ordinary results. So a trial whose jobs are there
costs nothing, whoever did them, and a suite that needs them later finds them done.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import optuna

from sem_bench.base.limits import Limits
from sem_bench.runs.estimate import estimate
from sem_bench.runs.job import Job
from sem_bench.runs.pending import due, look_at_data
from sem_bench.runs.progress import GOOD, Reporter
from sem_bench.runs.schedule import Batch, Coming, Outcomes, Schedule, without_success
from sem_bench.runs.store import Store
from sem_bench.runs.sweep_card import Params
from sem_bench.sweep import summary
from sem_bench.sweep.mending import mend
from sem_bench.sweep.monitor import monitor
from sem_bench.sweep.storage import Driver, close_storage, open_storage, reached, shown_url, undamaged
from sem_bench.sweep.study import Study
from sem_bench.sweep.subjects import Subjects

POLL = 0.5  # seconds between two looks at the trials of other drivers


@contextmanager
def opened(subjects: Subjects, store: Store, url: str | None, limits: Limits) -> Iterator[list[Study]]:
    """The studies of a sweep, in the database at `url` or a journal file in the results, while this driver lives.

    Raises UserError where the storage cannot be reached, is lost, or has other studies of these names.
    """
    look_at_data([job for subject in subjects.each for job in subject.jobs(subject.example)], store, limits)
    folder = store.root / "sweeps"
    journal = folder / f"{subjects.name}.journal"
    where = str(journal) if url is None else f"--storage {shown_url(url)}"
    with reached(url, where), Driver(folder / ".drivers") as driver:
        with driver.alone():  # a database may lack its tables
            storage = open_storage(url, journal)
        try:
            with undamaged(where):
                studies = [
                    Study(subject, subject.settings(store), storage, driver, where, shared=url is not None)
                    for subject in subjects.each
                ]
                for study in studies:
                    study.mended = mend(study, store, storage, where)
            yield studies
        finally:
            close_storage(storage)


class _Flying(NamedTuple):
    """A trial whose jobs wait or run."""

    study: Study
    trial: optuna.Trial
    params: Params
    jobs: list[Job]
    chosen: list[Job]  # those that were to do


@dataclass
class Runner:
    """One call of a sweep."""

    subjects: Subjects
    studies: list[Study]
    schedule: Schedule
    timeout: float | None = None  # seconds after which no trial is begun
    failed: list[tuple[Job, str]] = field(default_factory=list)  # jobs without success
    began: float = field(default_factory=time.monotonic)
    flying: list[_Flying] = field(default_factory=list)  # trials whose jobs wait or run
    asked_last: Study | None = None

    @property
    def store(self) -> Store:
        """Where results are."""
        return self.schedule.store

    @property
    def reporter(self) -> Reporter:
        """Who hears of it."""
        return self.schedule.reporter

    def run(self) -> None:
        """Do what is lacking: trials, then the best setting of each study with other seeds."""
        self._write()
        for line in (line for each in self.studies for line in each.mended):
            self.reporter.message(line)
        for subject in self.subjects.each:
            if subject.others:
                text = f"on {subject.where}; the suite has {subject.others} more such arms"
                self.reporter.message(f"{subject.name}: {text}")
        self._drive()
        self.reporter.headline = ""
        self._wait_for_others()
        self._confirm()
        self._write()

    def _drive(self) -> None:
        """Run trials until there are enough: as many at a time as there are slots."""
        outcomes = self.schedule.follow(more=self._next, ahead=self._ahead)
        self._tell_ended(outcomes)
        for one in self.flying:  # another run has moved a result away meanwhile
            one.study.fail(one.trial, "a result is not there any more")
        self.flying.clear()

    def _next(self, outcomes: Outcomes) -> Batch | None:
        """The jobs of one more trial, of the first study that lacks one, after a word on those that have ended."""
        self._tell_ended(outcomes)
        at_a_time = self.schedule.executor.slots // self.schedule.limits.devices
        if self._late() or len(self.flying) >= at_a_time:
            return None
        for each in sorted(self.studies, key=lambda each: sum(one.study is each for one in self.flying)):
            asked = each.ask(self.subjects.trials)
            if asked is None:
                continue
            trial, params = asked
            if each is not self.asked_last:
                self.asked_last, self.reporter.headline = each, ""
            jobs = each.subject.jobs(params)
            chosen = due(jobs, self.store, self.schedule.limits)
            self.flying.append(_Flying(each, trial, params, jobs, chosen))
            pruner = each.subject.sweep.pruner
            return Batch(jobs, chosen, None if pruner is None else monitor(trial, each.subject.objective))
        return None

    def _tell_ended(self, outcomes: Outcomes) -> None:
        """Tell the studies of the trials whose jobs have all ended."""
        for one in [one for one in self.flying if all(job.digest in outcomes for job in one.jobs)]:
            self.flying.remove(one)
            own = {job.digest: outcomes[job.digest] for job in one.jobs}
            if "pruned" not in own.values():
                self.failed += without_success(one.chosen, own)
            self._tell(one.study, one.trial, one.params, one.jobs, own)
            self._write()

    def _late(self) -> bool:
        return self.timeout is not None and time.monotonic() - self.began >= self.timeout

    def _wait_for_others(self) -> None:
        """For the trials of other drivers; those of dead ones are taken over."""
        told: set[str] = set()
        while (running := [each for each in self.studies if each.running]) and not self._late():
            for each in running:
                if each.subject.name not in told:
                    self.reporter.message(f"{each.subject.name}: another driver is at its last trials")
                told.add(each.subject.name)
            time.sleep(POLL)
            self._drive()

    def _confirm(self) -> None:
        """Do the best setting of each study with other seeds, once it has all its trials."""
        batches = []
        for each in self.studies:
            if each.running or (self._late() and each.finished < self.subjects.trials):
                text = f"{each.finished} of {self.subjects.trials} trials; the same call goes on"
                self.reporter.message(f"{each.subject.name}: the time is over after {text}")
            elif each.best is not None and each.subject.labelled:
                jobs = [job for _, jobs in each.subject.confirmation(each.params(each.best.params)) for job in jobs]
                batches.append(Batch(jobs, due(jobs, self.store, self.schedule.limits)))
        outcomes = self.schedule.follow(batches)
        self.failed += without_success([job for batch in batches for job in batch.chosen], outcomes)

    def _tell(
        self, each: Study, trial: optuna.Trial, params: Params, jobs: Sequence[Job], outcome: Mapping[str, str]
    ) -> None:
        """Tell a study what became of a trial."""
        name = f"{each.subject.name}, trial {trial.number}: {said(params)}"
        if "pruned" in outcome.values():
            each.prune(trial)
            self.reporter.message(f"{name}: pruned")
            return
        bad = [job for job in jobs if outcome[job.digest] not in GOOD]
        if bad:
            each.fail(trial, f"{bad[0].kind}/{bad[0].slug}: {outcome[bad[0].digest]}")
            return
        found = summary.searched(each.subject, jobs, self.store)
        best = summary.best_of(found)
        if best is None:
            each.fail(trial, "nothing could be validated")
            self.reporter.message(f"{name}: failed, nothing could be validated")
            return
        jobs_done = [[job.kind, job.digest] for job in jobs]
        mine = each.complete(trial, best["value"], search=found, tau_d=best["tau_d"], jobs=jobs_done)
        top = each.best
        if not mine or top is None:
            self.reporter.message(f"{name}: another driver has taken it over")
            return
        unit = each.subject.objective.unit
        at = "" if best["tau_d"] is None else f" at tau_d {best['tau_d']:g}"
        self.reporter.headline = f"best so far {top.value:.1f}{unit} in trial {top.number}"
        self.reporter.message(f"{name}: {best['value']:.1f}{unit}{at}; {self.reporter.headline}")

    def _ahead(self) -> list[Coming]:
        """(key, kind, seconds) of the jobs of later trials and of three more seeds, taken for those of one trial."""
        found = []
        for number, each in enumerate(self.studies):
            left = max(0, self.subjects.trials - each.finished - each.running - len(each.failed_here))
            patterns = each.subject.ahead(left)
            seconds = estimate(patterns[-1], self.store)
            for trial, pattern in enumerate(patterns):
                found += [(f"{number}-{trial}-{i}", job.kind, seconds[job.digest]) for i, job in enumerate(pattern)]
        return found

    def _write(self) -> None:
        summary.write(
            self.store.root / "sweeps" / f"{self.subjects.name}.json", self.subjects, self.studies, self.store
        )


def said(params: Params) -> str:
    """Settings as text: "tau 0.31, tau_target 1.2"."""
    return ", ".join(f"{name} {value:g}" for name, value in params.items())
