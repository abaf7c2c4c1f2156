"""The rows, tables and figures of a results folder, for the command line and for a notebook."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sem_bench.evaluation import AnyEvaluation
from sem_bench.evaluations.registry import builtin
from sem_bench.report import tables
from sem_bench.report.job_folder import JobFolders
from sem_bench.report.layout import Table
from sem_bench.report.pooled_rows import evaluation_rows
from sem_bench.report.results import manifests
from sem_bench.report.row import Row
from sem_bench.report.text_table import TextTable
from sem_bench.report.ways import told_apart
from sem_bench.sweep.table import sweep_rows, sweep_tables

if TYPE_CHECKING:
    from sem_bench.report.figures.write import Draw

Evaluations = Mapping[str, AnyEvaluation]


def load(results: str | Path, *, suite: str | None = None, all_suites: bool = False) -> list[Row]:
    """The rows of the suite run last in a results folder or record, of `suite`, or of all suites.

    Raises sem_bench.errors.UserError where there is no such folder or suite.
    """
    return read(Path(results), suite=suite, all_suites=all_suites).rows


@dataclass(frozen=True)
class Found:
    """What a results folder says of some suites."""

    rows: list[Row]
    layouts: list[Table]  # what their tables look like


def read(
    results: Path,
    *,
    suite: str | None = None,
    all_suites: bool = False,
    folders: JobFolders | None = None,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),  # noqa: T201
) -> Found:
    """The rows of a results folder or record, and how to lay them out. Raises UserError as `load`.

    `folders` are those of a caller who has looked around there already; `say` hears of what is passed over.
    """
    found = manifests(results, suite=suite, all_suites=all_suites, known=builtin(), say=say)
    sweeps = dict.fromkeys(name for manifest in found for name in manifest.sweeps)
    folders = folders or JobFolders(results)
    rows = told_apart(evaluation_rows(found, folders), found, folders)
    return Found(
        rows + sweep_rows(results, sweeps, say), [table for manifest in found for table in manifest.tables.values()]
    )


def text_tables(rows: Iterable[Row], layouts: Iterable[Table], *, only: str | None = None) -> list[TextTable]:
    """Every table that has rows, or the one of that name."""
    rows = list(rows)
    return tables.tables(rows, layouts, only=only) + (sweep_tables(rows) if only in (None, "sweep") else [])


def write_tables(
    folder: Path, rows: Sequence[Row], tables: Sequence[TextTable], evaluations: Evaluations | None = None
) -> list[Path]:
    """Write the tables in all formats, and their figures, into a folder; returns the tables' paths.

    The figures are those of `evaluations`, or of the package's.
    """
    from sem_bench.report import render

    return render.write_tables(folder, rows, tables, _drawers(evaluations))


def draw(rows: Sequence[Row], folder: Path, evaluations: Evaluations | None = None) -> list[Path]:
    """Draw the figures of some rows into a folder, likewise; returns their paths."""
    from sem_bench.report.figures.write import write

    return write(rows, folder, _drawers(evaluations))


def _drawers(evaluations: Evaluations | None) -> "dict[str, Draw]":
    """What draws figures, by the name with which its files begin."""
    from sem_bench.sweep import figure

    known = builtin() if evaluations is None else evaluations
    drawers: dict[str, Draw] = {one.figure: one.draw for one in known.values() if one.figure}
    return drawers | {"sweep": figure.draw}
