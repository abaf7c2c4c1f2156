"""The command line. Exit codes: 0 all well, 1 some jobs failed, 2 bad input or absent data, 130 interrupted.

Imports stay inside the commands: `--help` answers at once, and nothing but `run` needs torch.
"""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sem_bench.errors import UserError

if TYPE_CHECKING:
    from sem_bench.executors import Limits
    from sem_bench.jobs import Job
    from sem_bench.store import Store
    from sem_bench.sweep.subjects import Subjects

FORMATS = ("github", "latex", "csv", "html", "json")
LISTS = ("methods", "datasets", "backbones", "embeddings", "sweeps")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except UserError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader went away, as in `... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"{error.filename or 'input or output'}: {error.strerror or error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("interrupted; all that is done is kept", file=sys.stderr)  # noqa: T201
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sem_bench", description="What do Simplicial Embeddings do for a self-supervised method?")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="do what a suite lacks, then print its tables")
    run.set_defaults(command=_run)
    _suite_arguments(run)
    _machine_arguments(run)
    run.add_argument(
        "--only",
        metavar="TEXT",
        nargs="+",
        action="extend",
        help="only jobs whose name contains a TEXT, with their inputs",
    )
    run.add_argument(
        "--rerun",
        choices=("missing", "failed", "all"),
        default="missing",
        help="missing (default): whatever has no result; failed: only failures; all: everything anew",
    )
    run.add_argument("--allow-missing", action="store_true", help="go on without the cells whose data are absent")

    plan = commands.add_parser("plan", help="what a suite means: its jobs, their state and the time they take")
    plan.set_defaults(command=_plan)
    _suite_arguments(plan)
    plan.add_argument("--format", choices=("text", "json"), default="text")

    sweep = commands.add_parser("sweep", help="try settings of an embedding or recipe, and confirm the best")
    sweep.set_defaults(command=_sweep)
    sweep.add_argument("name", metavar="NAME", help="such as tau, L, V, LV, recipe; `list sweeps` says more")
    sweep.add_argument("--suite", metavar="SUITE", type=Path, help="the suite to start from (default: the sweep's)")
    sweep.add_argument("--trials", metavar="N", type=_count, help="finished trials of each method in all")
    sweep.add_argument("--methods", metavar="M", nargs="+", action="extend", help="of the suite (default: the sweep's)")
    sweep.add_argument("--storage", metavar="URL", help="a database for the trials (default: a file in the results)")
    sweep.add_argument(
        "--timeout", metavar="SECONDS", type=_positive, help="begin no trial after so long; one that runs is finished"
    )
    sweep.add_argument("--export", metavar="FILE", type=Path, help="write a suite with the chosen values")
    _common_arguments(sweep)
    _machine_arguments(sweep)

    table = commands.add_parser("table", help="print the tables of a results folder")
    table.set_defaults(command=_table)
    table.add_argument("results", metavar="DIR", type=Path)
    table.add_argument("--table", metavar="NAME", help="only this table")
    which = table.add_mutually_exclusive_group()
    which.add_argument("--suite", metavar="NAME", help="of this suite (default: the last one run)")
    which.add_argument("--all", action="store_true", help="of all suites")
    table.add_argument("--format", choices=FORMATS, default="github")
    table.add_argument("--out", metavar="DIR", type=Path, help="write the tables there instead of printing them")

    keep = commands.add_parser("record", help="keep what the tables of a suite stand on, for docs to quote")
    keep.set_defaults(command=_record)
    keep.add_argument("results", metavar="DIR", type=Path)
    keep.add_argument("folder", metavar="INTO", type=Path, help="such as docs/records/NAME")
    keep.add_argument("--suite", metavar="NAME", help="this suite (default: the last one run)")

    listing = commands.add_parser("list", help="what a suite can name")
    listing.set_defaults(command=_list)
    listing.add_argument("what", choices=LISTS)

    doctor = commands.add_parser("doctor", help="versions, devices, disk space, and the data of a suite")
    doctor.set_defaults(command=_doctor)
    doctor.add_argument("suite", metavar="SUITE", type=Path, nargs="?")
    _data_argument(doctor)
    doctor.add_argument("--results", metavar="DIR", type=Path, default=Path("results"))
    return parser


def _suite_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", metavar="SUITE", type=Path)
    _common_arguments(parser)


def _machine_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--memory",
        metavar="GIB",
        type=_positive,
        default=2.0,
        help="images of a split that stay in memory; larger data are read while they are used; default: 2",
    )
    parser.add_argument("--workers", metavar="N", type=_count, help="threads that read images; default: the cores")


def _common_arguments(parser: argparse.ArgumentParser) -> None:
    _data_argument(parser)
    parser.add_argument("--results", metavar="DIR", type=Path, default=Path("results"), help="default: results")
    parser.add_argument(
        "--set",
        metavar="KEY=YAML",
        dest="assignments",
        action="append",
        default=[],
        help="set a value of the suite, such as pretrain.epochs=5; may be given again",
    )


def _data_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        default=Path(os.environ.get("SEM_BENCH_DATA") or "data"),
        help="where the cards' paths start; default: $SEM_BENCH_DATA, else data",
    )


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"must be a number above 0, found {text!r}")


def _count(text: str) -> int:
    with suppress(ValueError):
        if (value := int(text)) > 0:
            return value
    raise argparse.ArgumentTypeError(f"must be a whole number above 0, found {text!r}")


class _Parser(argparse.ArgumentParser):
    """Mistakes on the command line print as one line, like all others."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


# --- commands --------------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    from sem_bench import interrupts
    from sem_bench.plan import read_plan
    from sem_bench.store import Store, check_writable
    from sem_bench.sweep.subjects import of_suite
    from sem_bench.todo import with_data

    interrupts.listen()
    plan = read_plan(options.suite, options.assignments, data=options.data)
    sweeps = of_suite(plan)
    jobs = plan.only(options.only) if options.only else plan.unique()
    store = Store(options.results)
    jobs = with_data(jobs, store, allow_missing=options.allow_missing)
    check_writable(options.results)
    store.write_manifest(plan.suite.name, plan.suite, plan.jobs, [sweep.name for sweep in sweeps])
    failed = _execute(jobs, store, options)
    for sweep in sweeps if not options.only else ():
        failed += _swept(sweep, store, options)
    _print_tables(plan.suite.name, store)
    if failed:
        print(f"{len(failed)} of {len(jobs)} jobs failed:", file=sys.stderr)  # noqa: T201
    return _say_failed(failed, store)


def _say_failed(failed: "Sequence[tuple[Job, str]]", store: "Store") -> int:
    """Name the jobs without success; returns the exit code."""
    for job, status in failed:
        where = f", see {store.folder(job) / 'error.txt'}" if status == "failed" else " by a failed input"
        print(f"  {job.kind}/{job.slug}: {status}{where}", file=sys.stderr)  # noqa: T201
    return 1 if failed else 0


def _sweep(options: argparse.Namespace) -> int:
    from sem_bench import interrupts
    from sem_bench.store import Store, check_writable
    from sem_bench.sweep import best, subjects

    interrupts.listen()
    names = ("suite", "assignments", "data", "trials", "methods")
    sweep = subjects.read(options.name, **{name: getattr(options, name) for name in names})
    if options.export is not None:
        best.check(options.export)
    store = Store(options.results)
    check_writable(options.results)
    failed = _swept(sweep, store, options, storage=options.storage, timeout=options.timeout, alone=True)
    _print_tables(sweep.name, store)
    print(f"{store.root / 'tables' / sweep.name}: the table in other formats, and figures", file=sys.stderr)  # noqa: T201
    if failed:
        print(f"{len(failed)} jobs failed:", file=sys.stderr)  # noqa: T201
    code = _say_failed(failed, store)
    if options.export is None:
        return code
    if best.export(options.export, sweep, store.root / "sweeps" / f"{sweep.name}.json"):
        print(f"{options.export}: a suite with the chosen values", file=sys.stderr)  # noqa: T201
        return code
    print("--export: the best is not confirmed yet", file=sys.stderr)  # noqa: T201
    return 1


def _swept(
    sweep: "Subjects",
    store: "Store",
    options: argparse.Namespace,
    *,
    storage: str | None = None,
    timeout: float | None = None,
    alone: bool = False,
) -> "list[tuple[Job, str]]":
    """Run a sweep, `alone` or as a part of a suite; returns the jobs without success."""
    from sem_bench.progress import reporter
    from sem_bench.todo import with_data

    example = [job for subject in sweep.each for job in subject.jobs(subject.example)]
    if not with_data(example, store, allow_missing=None if alone else options.allow_missing):
        return []
    from sem_bench.sweep.driver import Runner, opened

    limits = partial(_limits, options)
    with opened(sweep, store, storage, limits) as studies:
        if alone:
            store.write_manifest(sweep.name, sweep.plan.suite, [], [sweep.name])
        with reporter(0) as progress:
            runner = Runner(sweep, studies, store, options.device, limits, progress, timeout)
            runner.run()
    return runner.failed


def _execute(jobs: "Sequence[Job]", store: "Store", options: argparse.Namespace) -> "list[tuple[Job, str]]":
    """Do what is to do; returns the jobs without success. Imports torch only when something is to do."""
    from sem_bench.estimates import estimate
    from sem_bench.progress import GOOD, reporter
    from sem_bench.todo import look_at_data, selection

    look_at_data(jobs, store, partial(_limits, options))
    chosen = selection(jobs, store, options.rerun, options.only or ())
    waiting = {job.digest for job in chosen}
    reused = [job for job in jobs if job.digest not in waiting and store.status(job) == "done"]
    kinds = {job.digest: job.kind for job in chosen}
    with reporter(len(chosen) + len(reused), estimates=estimate(chosen, store), kinds=kinds) as progress:
        for job in reused:
            progress.job_finished(job.digest, "reused", seconds=0.0)
        if not chosen:
            return []
        from sem_bench import executors

        if warning := executors.busy():
            progress.message(warning)
        outcome = executors.run(
            chosen,
            store,
            afresh=options.rerun == "all",
            device=options.device,
            limits=_limits(options),
            reporter=progress,
        )
    return [(job, outcome[job.digest]) for job in chosen if outcome[job.digest] not in GOOD]


def _limits(options: argparse.Namespace) -> "Limits":
    from sem_bench.executors import Limits

    return Limits(memory=int(options.memory * 2**30), workers=options.workers or os.cpu_count() or 1)


def _print_tables(name: str, store: "Store") -> None:
    from sem_bench import render, tables

    rows = tables.rows(store.root, suite=name)
    found = tables.tables(rows)
    render.write_tables(store.root / "tables" / name, rows, found)
    if found:
        print(render.render(found, rows, "github"))  # noqa: T201


def _plan(options: argparse.Namespace) -> int:
    from sem_bench.overview import as_json, as_text
    from sem_bench.plan import read_plan
    from sem_bench.store import Store

    plan = read_plan(options.suite, options.assignments, data=options.data)
    show = as_json if options.format == "json" else as_text
    print(show(plan, Store(options.results)))  # noqa: T201
    return 0


def _table(options: argparse.Namespace) -> int:
    from sem_bench import render, tables
    from sem_bench.validation import did_you_mean

    everything = rows = tables.rows(options.results, suite=options.suite, all_suites=options.all)
    names = sorted({row["table"] for row in rows})
    if options.table and options.table not in names:
        raise UserError(f"--table: no table {options.table!r} here{did_you_mean(options.table, names)}")
    rows = [row for row in rows if options.table in (None, row["table"])]
    found = tables.tables(rows if options.table != "robustness" else everything, only=options.table)
    if options.out:
        render.write_tables(options.out, rows, found)
    else:
        print(render.render(found, rows, options.format))  # noqa: T201
    return 0


def _record(options: argparse.Namespace) -> int:
    from sem_bench.keep import record

    count = record(options.results, options.folder, suite=options.suite)
    print(f"{options.folder}: the results of {count} jobs; `table {options.folder}` prints them")  # noqa: T201
    return 0


def _list(options: argparse.Namespace) -> int:
    from sem_bench.overview import listing

    print(listing(options.what, Path()))  # noqa: T201
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from sem_bench.doctor import report

    text, healthy = report(options.suite, options.results, options.data)
    print(text)  # noqa: T201
    return 0 if healthy else 2
