"""Results for a notebook: the rows of `table --format json` as objects."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


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
    from sem_bench import tables

    names = {one.name for one in fields(Row)} - {"extra"}
    return [
        Row(
            **{name: value for name, value in row.items() if name in names},
            extra={name: value for name, value in row.items() if name not in names},
        )
        for row in tables.rows(Path(results), suite=suite, all_suites=all_suites)
    ]
