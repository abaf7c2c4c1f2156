"""JSON: the rows, for programs."""

import json
from collections.abc import Sequence

from sem_bench.report.row import Row
from sem_bench.report.text_table import TextTable

END = "json"


def render(tables: Sequence[TextTable], rows: Sequence[Row]) -> str:
    """A list of flat objects."""
    text = json.dumps([row.as_json() for row in rows], indent=1, ensure_ascii=False, allow_nan=False)
    return text if text.replace("\n", "").isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    shown = character == "\n" or character.isprintable()
    return character if shown else json.dumps(character)[1:-1]
