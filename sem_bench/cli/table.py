"""`table`: print the tables of a results folder, or write them."""

import argparse
from typing import TYPE_CHECKING

from sem_bench import analysis
from sem_bench.errors import UserError
from sem_bench.report import render

if TYPE_CHECKING:
    from sem_bench.runs.store import Store


def command(options: argparse.Namespace) -> int:
    """Print or write tables; returns the exit code."""
    from sem_bench.config.validation import did_you_mean

    everything = rows = analysis.rows(options.results, suite=options.suite, all_suites=options.all)
    names = sorted({row["table"] for row in rows})
    if options.table and options.table not in names:
        raise UserError(f"--table: no table {options.table!r} here{did_you_mean(options.table, names)}")
    rows = [row for row in rows if options.table in (None, row["table"])]
    found = analysis.text_tables(rows if options.table != "robustness" else everything, only=options.table)
    if options.out:
        analysis.write_tables(options.out, rows, found)
    else:
        print(render.render(found, rows, options.format))  # noqa: T201
    return 0


def print_tables(name: str, store: "Store") -> None:
    """Write the tables of a suite into its results, and print them."""

    rows = analysis.rows(store.root, suite=name)
    found = analysis.text_tables(rows)
    analysis.write_tables(store.root / "tables" / name, rows, found)
    if found:
        print(render.render(found, rows, "github"))  # noqa: T201
