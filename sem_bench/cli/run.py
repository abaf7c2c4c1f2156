"""`run`: do what a suite lacks, then print its tables; also from Python."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Literal, NamedTuple

from sem_bench.analysis import Results, load
from sem_bench.base import interrupts
from sem_bench.cli.parser import DAY, parser
from sem_bench.cli.table import print_tables
from sem_bench.errors import UserError, printable
from sem_bench.runs import loggers
from sem_bench.runs.crew import Asked, Crew, busy, hire
from sem_bench.runs.drivers import registered
from sem_bench.runs.job import Job
from sem_bench.runs.pending import due, void, with_data
from sem_bench.runs.plan import Plan, read_plan
from sem_bench.runs.progress import reporter
from sem_bench.runs.schedule import Schedule, without_success
from sem_bench.runs.shards import shard
from sem_bench.runs.store import Store, check_writable, manifest_digest
from sem_bench.sweep.subjects import Subjects, of_suite


class _Ended(NamedTuple):
    """A run that came to its end."""

    suite: str
    jobs: int  # that it had to look after
    failed: list[tuple[Job, str]]
    store: Store
    code: int  # of its tables: 1 where a figure could not be drawn


def command(options: argparse.Namespace) -> int:
    """Run a suite; returns the exit code."""
    interrupts.listen()
    if (
        sys.stderr.isatty() and not options.quiet
    ):  # the first job can be half a minute away, on a machine that reads torch for the first time
        print(f"reading {options.suite} and its data, loading torch ...", file=sys.stderr, flush=True)  # noqa: T201
    ended = _run(options)
    if ended.failed:
        print(f"{len(ended.failed)} of {ended.jobs} jobs failed:", file=sys.stderr)  # noqa: T201
    return max(ended.code, say_failed(ended.failed, ended.store))


def run(
    suite: str | Path,
    *,
    results: str | Path = "results",
    data: str | Path | None = None,
    set: Sequence[str] = (),
    only: Sequence[str] = (),
    rerun: Literal["missing", "failed", "all"] = "missing",
    allow_missing: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    compile: bool = False,
    jobs: int | None = None,
    jobs_per_device: int = 1,
    devices: int = 1,
    memory: float = 2.0,
    workers: int | None = None,
    patience: float = DAY,
    executor: Literal["processes", "ray"] = "processes",
    address: str | None = None,
    log: Sequence[str] = (),
    quiet: bool = False,
) -> Results:
    """Run all missing jobs of a suite, as the command `run` with these options does; returns what `load` then gives.

    Progress goes to standard error, tables and page to the results folder. The jobs that failed are named in
    `Results.failed`; the others ran. Jobs may run in worker processes: a script calls this below
    `if __name__ == "__main__":`.

    Raises UserError for every mistake in the suite, its cards and these options, and for absent data, before anything
    runs; KeyboardInterrupt where it is interrupted: all that is done is kept.
    """
    words: dict[str, object] = {
        "results": results,
        "data": data,
        "set": set,
        "only": only,
        "rerun": rerun,
        "allow-missing": allow_missing,
    }
    words |= {"device": device, "precision": precision, "compile": compile, "jobs": jobs}
    words |= {"jobs-per-device": jobs_per_device, "devices": devices, "memory": memory, "workers": workers}
    words |= {"patience": patience, "executor": executor, "address": address, "log": log, "quiet": quiet}
    options = _parsed(
        ["run", *(word for name, value in words.items() for word in _words(name, value)), "--", str(suite)]
    )
    with interrupts.listening():
        ended = _run(options, show=False)
    found = load(results, suite=ended.suite)
    found.failed = [failure_line(job, status, ended.store) for job, status in ended.failed]
    return found


def _words(name: str, value: object) -> list[str]:
    """An option as the command line has it; nothing for what is left out."""
    if value is None or value is False:
        return []
    if value is True:
        return [f"--{name}"]
    return [f"--{name}={one}" for one in (value if isinstance(value, list | tuple) else [value])]


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    """The options of a command. Raises UserError where the parser ends the program."""
    said = StringIO()
    try:
        with redirect_stderr(said):
            return parser().parse_args(words)
    except SystemExit:
        raise UserError(said.getvalue().strip()) from None


def _run(options: argparse.Namespace, *, show: bool = True) -> _Ended:
    """Run a suite and write its tables; `show`: print them, too."""
    loggers.check(options.log)
    plan = read_plan(options.suite, options.assignments, data=options.data)
    sweeps = of_suite(plan)
    jobs = plan.only(options.only) if options.only else plan.unique()
    store = Store(options.results)
    if options.shard:
        jobs, sweeps = shard(jobs, *options.shard), sweeps[options.shard[0] - 1 :: options.shard[1]]
    jobs = with_data(jobs, store, allow_missing=options.allow_missing)
    check_writable(options.results)
    names = [sweep.name for sweep in of_suite(plan)]
    suite = manifest_digest(plan.suite, plan.jobs, names)
    with registered(store.root, plan.suite.name, suite, anew=options.rerun == "all") as (since, alone):
        store.write_manifest(plan.suite.name, plan.suite, plan.jobs, names)
        store.sweep_up(jobs, alone=alone)
        failed = _execute(plan, jobs, store, options, since)
        for sweep in () if options.only else sweeps:
            failed += swept(sweep, store, options)
        code = print_tables(plan.suite.name, store, plan.evaluations, show=show, quiet=options.quiet)
    return _Ended(plan.suite.name, len(jobs), failed, store, code)


def _execute(
    plan: Plan, jobs: Sequence[Job], store: Store, options: argparse.Namespace, since: int | None
) -> list[tuple[Job, str]]:
    """Do what is to do; returns the jobs without success. Imports torch only when something is to do."""
    if since is not None:
        store.date_back(jobs, since)
    crew = hire(plan.unique(), store, asked_of(options))
    try:
        crew.executor.expect(sum(store.status(job) == "missing" for job in jobs))
        chosen = due(jobs, store, crew.limits, options.rerun, options.only or (), since=since)
    except BaseException:
        crew.executor.stop()
        raise
    for job in chosen if options.rerun != "missing" else ():
        store.forgive(job)
    with _scheduled(crew, store, options, idle=not chosen) as schedule:
        for line in void(chosen, store):
            schedule.reporter.message(f"void: {line}")
        return without_success(chosen, schedule.drive(jobs, chosen, since=since))


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

    crew = hire(sweep.ahead, store, asked_of(options), serial=sweep.serial)
    with opened(sweep, store, storage, crew.limits) as studies:
        if alone:
            store.write_manifest(sweep.name, sweep.plan.suite, [], [sweep.name])
        with _scheduled(crew, store, options) as schedule:
            runner = Runner(sweep, studies, schedule, timeout)
            runner.run()
    return runner.failed


@contextmanager
def _scheduled(crew: Crew, store: Store, options: argparse.Namespace, *, idle: bool = False) -> Iterator[Schedule]:
    """Who does the jobs, as long as they last."""
    with reporter(0, quiet=options.quiet) as progress:
        for text in () if idle or options.quiet else filter(None, [crew.said, busy(crew.limits.threads)]):
            progress.message(text)
        try:
            yield Schedule(
                store,
                crew.executor,
                progress,
                options.device,
                crew.limits,
                crew.jobs_per_device,
                on_gpu=crew.on_gpu,
                room=crew.room,
                log=tuple(dict.fromkeys(options.log)),
            )
        finally:
            crew.executor.stop()


def asked_of(options: argparse.Namespace) -> Asked:
    """What the machine's options say. Raises UserError where they do not go together."""
    if options.address and options.executor != "ray":
        raise UserError("--address needs --executor ray")
    return Asked(
        device=options.device,
        jobs=options.jobs,
        jobs_per_device=options.jobs_per_device,
        devices=options.devices,
        memory=int(options.memory * 2**30),
        workers=options.workers,
        precision=options.precision,
        compiled=options.compile,
        patience=60 * options.patience,
        executor=options.executor,
        address=options.address,
    )


def say_failed(failed: Sequence[tuple[Job, str]], store: Store) -> int:
    """Name the jobs without success; returns the exit code."""
    for job, status in failed:
        print(printable(f"  {failure_line(job, status, store)}"), file=sys.stderr)  # noqa: T201
    return 1 if failed else 0


def failure_line(job: Job, status: str, store: Store) -> str:
    """A job without success, and where it stands why."""
    where = f", see {store.error_file(job)}" if status == "failed" else " by a failed input"
    return f"{job.kind}/{job.slug}: {status}{where}"
