"""The rows, tables and figures of a results folder, for the command line and for a notebook."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sem_bench.evaluations.registry import builtin
from sem_bench.report import row, tables
from sem_bench.report.layout import Table
from sem_bench.report.results import manifests
from sem_bench.report.rows import evaluation_rows
from sem_bench.report.text_table import TextTable
from sem_bench.sweep.table import sweep_rows, sweep_tables

if TYPE_CHECKING:
    from sem_bench.report.figures.write import Draw


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of one table, pooled over seeds. Accuracies and gains in percent; None is a hole."""

    table: str
    suite: str
    method: str
    ip: dict[str, Any] | None
    embedding: str  # the suite's label
    embedding_config: dict[str, Any]
    backbone: str
    dataset: str
    recipe: str
    epochs: int
    fraction: float
    column: str
    metric: str
    representation: str
    tau_d: float | None
    mean: float | None
    std: float | None
    n: int
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    published: dict[str, Any] | None
    digests: list[str]
    notes: list[str]
    extra: dict[str, Any] = field(default_factory=dict)  # what only some tables have, such as a histogram


def load(results: str | Path, *, suite: str | None = None, all_suites: bool = False) -> list[Row]:
    """The rows of the suite run last in a results folder or record, of `suite`, or of all suites.

    Raises sem_bench.errors.UserError where there is no such folder or suite.
    """
    names = {one.name for one in fields(Row)} - {"extra"}
    return [
        Row(
            **{name: value for name, value in row.items() if name in names},
            extra={name: value for name, value in row.items() if name not in names},
        )
        for row in read(Path(results), suite=suite, all_suites=all_suites).rows
    ]


@dataclass(frozen=True)
class Found:
    """What a results folder says of some suites."""

    rows: list[row.Row]  # the flat objects of every table, as `table --format json` gives them
    layouts: list[Table]  # what those tables look like


def read(results: Path, *, suite: str | None = None, all_suites: bool = False) -> Found:
    """The rows of a results folder or record, and how to lay them out. Raises UserError as `load`."""
    found = manifests(results, suite=suite, all_suites=all_suites, known=builtin())
    sweeps = dict.fromkeys(name for manifest in found for name in manifest.sweeps)
    rows = evaluation_rows(found, results) + sweep_rows(results, sweeps)
    return Found(rows, [table for manifest in found for table in manifest.tables.values()])


def text_tables(rows: Iterable[row.Row], layouts: Iterable[Table], *, only: str | None = None) -> list[TextTable]:
    """Every table that has rows, or the one of that name."""
    rows = list(rows)
    return tables.tables(rows, layouts, only=only) + (sweep_tables(rows) if only in (None, "sweep") else [])


def write_tables(folder: Path, rows: Sequence[row.Row], tables: Sequence[TextTable]) -> list[Path]:
    """Write the tables in all formats, and their figures, into a folder; returns the tables' paths."""
    from sem_bench.report import render

    return render.write_tables(folder, rows, tables, _drawers())


def draw(rows: Sequence[row.Row], folder: Path) -> list[Path]:
    """Draw the figures of some rows into a folder; returns their paths."""
    from sem_bench.report.figures.write import write

    return write(rows, folder, _drawers())


def _drawers() -> "dict[str, Draw]":
    """What draws figures, by the name with which its files begin."""
    from sem_bench.sweep import figure

    drawers: dict[str, Draw] = {one.figure: one.draw for one in builtin().values() if one.figure}
    return drawers | {"sweep": figure.draw}
