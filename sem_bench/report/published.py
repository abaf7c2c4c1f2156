"""The tables of Lavoie et al. (arXiv 2204.00616) as data, and how a measured row finds its number in them.

The data are results/published/*.yaml, one file a table. What a file says of all its rows stands at its top;
`mark` is the printed dagger and `marks` says what it stands for.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sem_bench.base.files import BUILTIN
from sem_bench.report.layout import Metric
from sem_bench.report.row import BASELINE, Row


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One printed number: `value` in percent for pretraining on `dataset`, probed on `column`.

    A column is a share of the labels, a shift or a transfer set, as the measured tables call them.
    """

    table: str
    dataset: str
    backbone: str
    method: str
    column: str
    value: float
    epochs: int | None  # None: not known, and so the number matches no run
    ip: bool = False
    embedding: str = BASELINE  # the type
    mark: str = ""
    note: str = ""


@cache
def entries() -> tuple[Entry, ...]:
    """Every number of every table, in the order of print."""
    paths = sorted((BUILTIN / "results" / "published").glob("*.yaml"))
    return tuple(entry for path in paths for entry in _read(path))


def _read(path: Path) -> list[Entry]:
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    shared = {key: table[key] for key in ("table", "dataset", "backbone", "epochs")}
    result = []
    for row in table["rows"]:
        notes = [table.get("marks", {}).get(row.get("mark")), table.get("note"), row.get("note")]
        fields = shared | {key: value for key, value in row.items() if key != "values"}
        fields["note"] = "; ".join(note for note in notes if note)
        result += [Entry(**fields, column=column, value=value) for column, value in row["values"].items()]
    return result


def match(row: Row, metric: Metric) -> dict[str, Any] | None:
    """The published counterpart of a row as {value, table, epochs, note}, or None.

    Data set, backbone, method, IP-IRM, embedding type, epochs and column must agree, and the row must be the accuracy
    that is published (its metric says so), at 100 % of the labels, of the representation that stands for its arm. L and
    V need not agree: the note has the published ones where they are known.
    """
    if not metric.published or row.metric != metric.name or row.representation != row.main or row.fraction != 1.0:
        return None
    place = (row.dataset, row.backbone, row.method, row.ip is not None, row.embedding_type, row.epochs, row.column)
    for e in entries():
        found = (e.dataset, e.backbone, e.method, e.ip, e.embedding, e.epochs, e.column)
        if e.epochs is not None and found == place:
            return {"value": e.value, "table": e.table, "epochs": e.epochs, "note": e.note}
    return None
