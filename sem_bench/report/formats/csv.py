"""CSV: the rows, for programs."""

import csv
import io
from collections.abc import Sequence

from sem_bench.base.digest import canonical_json
from sem_bench.errors import printable
from sem_bench.report.row import Row
from sem_bench.report.text_table import TextTable

END = "csv"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how cells begin that a spreadsheet computes


def render(tables: Sequence[TextTable], rows: Sequence[Row]) -> str:
    """The rows of the JSON: lists joined by ";", mappings as JSON, nothing for null."""
    file = io.StringIO()
    flat = [row.as_json() for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writerow({name: _plain(name) for name in names})
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in flat)
    return file.getvalue().rstrip("\n")


def _plain(value: object) -> object:
    """Text is one line that no terminal obeys, and no spreadsheet takes for a formula."""
    if isinstance(value, list):
        value = ";".join(map(str, value))
    if isinstance(value, dict):
        value = canonical_json(value)
    if not isinstance(value, str):
        return value
    return ("'" if value.startswith(FORMULA) else "") + printable(value)
