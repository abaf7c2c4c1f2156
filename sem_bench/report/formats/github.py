"""Markdown as GitHub reads it."""

import re
from collections.abc import Sequence

from tabulate import tabulate

from sem_bench.report.formats._parts import alignment, split, superscript
from sem_bench.report.row import Row
from sem_bench.report.text_table import TextCell, TextTable

END = "md"


def render(tables: Sequence[TextTable], rows: Sequence[Row]) -> str:
    """The tables, one below the other."""
    return "\n\n".join(map(_table, tables))


def _table(table: TextTable) -> str:
    parts = [f"### {_markdown(table.title)}"]
    for columns, body in split(table, _cell):
        header = [_markdown(column) for column in columns]
        parts.append(tabulate(body, header, tablefmt="github", disable_numparse=True, colalign=alignment(columns)))
    notes = [f"{superscript([i])} {_markdown(note)}" for i, note in enumerate(table.notes, 1)]
    lines = [_markdown(line) for line in table.legend] + notes
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in lines)])


def _cell(cell: TextCell) -> str:
    text = _markdown(cell.text)
    return f"{f'**{text}**' if cell.bold else text} {superscript(cell.marks)}".rstrip()


def _markdown(text: str) -> str:
    """Escaped where Markdown would read it otherwise. An underscore inside a word is safe there."""
    escaped = re.sub(r"([\\|*`<~#])|(?<![^\W_])_|_(?![^\W_])", lambda match: f"\\{match[0]}", text)
    return escaped.replace("](", "]\\(")
