"""`sweep`: try settings of an embedding or recipe, and confirm the best."""

import argparse
import sys

from sem_bench.base import interrupts
from sem_bench.cli.run import say_failed, swept
from sem_bench.cli.table import print_tables
from sem_bench.errors import printable
from sem_bench.runs import loggers
from sem_bench.runs.store import Store, check_writable
from sem_bench.sweep import export, subjects


def command(options: argparse.Namespace) -> int:
    """Run a sweep; returns the exit code."""
    interrupts.listen()
    loggers.check(options.log)
    names = ("suite", "assignments", "data", "trials", "methods")
    sweep = subjects.read(options.name, **{name: getattr(options, name) for name in names})
    if options.export is not None:
        export.check(options.export)
    store = Store(options.results)
    check_writable(options.results)
    store.sweep_up([], alone=False)
    failed = swept(sweep, store, options, storage=options.storage, timeout=options.timeout, alone=True)
    drawn = print_tables(sweep.name, store, sweep.plan.evaluations)
    _say(f"{store.root / 'tables' / sweep.name}: the table in other formats, and figures")
    if failed:
        _say(f"{len(failed)} jobs failed:")
    code = max(drawn, say_failed(failed, store))
    if options.export is None:
        return code
    if export.export(options.export, sweep, store.root / "sweeps" / f"{sweep.name}.json"):
        _say(f"{options.export}: a suite with the chosen values")
        return code
    _say("--export: the best is not confirmed yet")
    return 1


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr)  # noqa: T201
