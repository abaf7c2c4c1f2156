"""Rows of tables, as tests write them down."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from sem_bench.report.row import Row, main_representation

_FIELDS = {one.name for one in fields(Row)} - {"extra"}
_DEFAULTS: dict[str, Any] = {
    "table": "comparison",
    "suite": "quick",
    "method": "byol",
    "ip": None,
    "backbone": "resnet18",
    "epochs": 10,
    "embedding": "none",
    "embedding_config": {"type": "none"},
    "dataset": "shapes",
    "recipe": "small",
    "fraction": 1.0,
    "column": "100%",
    "metric": "top1",
    "representation": "h",
    "tau_d": None,
    "mean": None,
    "std": None,
    "n": 0,
    "digests": [],
    "notes": [],
}


def row_of(values: Mapping[str, Any]) -> Row:
    """A row from the keys of its JSON, or some of them; what else a row has may stand there too."""
    known = {name: value for name, value in values.items() if name in _FIELDS}
    extra = {name: value for name, value in values.items() if name not in _FIELDS}
    whole = _DEFAULTS | known
    return Row(**{"main": main_representation(whole)} | whole, extra=extra)


def rows_of(values: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Several."""
    return [row_of(one) for one in values]
