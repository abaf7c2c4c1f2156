"""`run`: do what a suite lacks, then print its tables."""

import argparse
import os
import sys
from collections.abc import Sequence

from sem_bench.base import interrupts
from sem_bench.base.limits import Limits
from sem_bench.cli.table import print_tables
from sem_bench.runs.executors.here import Here
from sem_bench.runs.job import Job
from sem_bench.runs.pending import due, with_data
from sem_bench.runs.plan import read_plan
from sem_bench.runs.progress import Reporter, reporter
from sem_bench.runs.schedule import Schedule, without_success
from sem_bench.runs.store import Store, check_writable
from sem_bench.sweep.subjects import Subjects, of_suite


def command(options: argparse.Namespace) -> int:
    """Run a suite; returns the exit code."""
    interrupts.listen()
    plan = read_plan(options.suite, options.assignments, data=options.data)
    sweeps = of_suite(plan)
    jobs = plan.only(options.only) if options.only else plan.unique()
    store = Store(options.results)
    jobs = with_data(jobs, store, allow_missing=options.allow_missing)
    check_writable(options.results)
    store.write_manifest(plan.suite.name, plan.suite, plan.jobs, [sweep.name for sweep in sweeps])
    failed = _execute(jobs, store, options)
    for sweep in () if options.only else sweeps:
        failed += swept(sweep, store, options)
    print_tables(plan.suite.name, store, plan.evaluations)
    if failed:
        print(f"{len(failed)} of {len(jobs)} jobs failed:", file=sys.stderr)  # noqa: T201
    return say_failed(failed, store)


def _execute(jobs: Sequence[Job], store: Store, options: argparse.Namespace) -> list[tuple[Job, str]]:
    """Do what is to do; returns the jobs without success. Imports torch only when something is to do."""
    chosen = due(jobs, store, limits_of(options), options.rerun, options.only or ())
    with reporter(0) as progress:
        if chosen:
            from sem_bench.runs.worker import busy

            if warning := busy():
                progress.message(warning)
        outcomes = _schedule(store, progress, options).drive(jobs, chosen, afresh=options.rerun == "all")
    return without_success(chosen, outcomes)


def swept(
    sweep: Subjects,
    store: Store,
    options: argparse.Namespace,
    *,
    storage: str | None = None,
    timeout: float | None = None,
    alone: bool = False,
) -> list[tuple[Job, str]]:
    """Run a sweep, `alone` or as a part of a suite; returns the jobs without success."""
    example = [job for subject in sweep.each for job in subject.jobs(subject.example)]
    if not with_data(example, store, allow_missing=None if alone else options.allow_missing):
        return []
    from sem_bench.sweep.driver import Runner, opened

    with opened(sweep, store, storage, limits_of(options)) as studies:
        if alone:
            store.write_manifest(sweep.name, sweep.plan.suite, [], [sweep.name])
        with reporter(0) as progress:
            runner = Runner(sweep, studies, _schedule(store, progress, options), timeout)
            runner.run()
    return runner.failed


def _schedule(store: Store, progress: Reporter, options: argparse.Namespace) -> Schedule:
    """Who does the jobs: this process."""
    return Schedule(store, Here(store), progress, options.device, limits_of(options))


def limits_of(options: argparse.Namespace) -> Limits:
    """What the machine's options leave to a process."""
    return Limits(memory=int(options.memory * 2**30), workers=options.workers or os.cpu_count() or 1)


def say_failed(failed: Sequence[tuple[Job, str]], store: Store) -> int:
    """Name the jobs without success; returns the exit code."""
    for job, status in failed:
        where = f", see {store.folder(job) / 'error.txt'}" if status == "failed" else " by a failed input"
        print(f"  {job.kind}/{job.slug}: {status}{where}", file=sys.stderr)  # noqa: T201
    return 1 if failed else 0
