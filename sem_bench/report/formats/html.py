"""One HTML page."""

import html
from collections.abc import Sequence

from tabulate import tabulate

from sem_bench.report.formats._parts import alignment
from sem_bench.report.row import Row
from sem_bench.report.text_table import TextCell, TextTable

END = None


def render(tables: Sequence[TextTable], rows: Sequence[Row]) -> str:
    """The tables as one page."""
    parts = ['<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>sem-bench</title>']
    for table in tables:
        parts.append(f"<h2>{html.escape(table.title)}</h2>")
        body = [[_cell(cell) for cell in line] for line in table.body]
        header = [html.escape(column) for column in table.columns]
        columns = alignment(table.columns)
        parts.append(str(tabulate(body, header, tablefmt="unsafehtml", disable_numparse=True, colalign=columns)))
        notes = [f"<sup>{i}</sup> {html.escape(note)}" for i, note in enumerate(table.notes, 1)]
        lines = [*map(html.escape, table.legend), *notes]
        parts.append("\n".join(["<ul>", *(f"<li>{line}</li>" for line in lines), "</ul>"]))
    return "\n".join([*parts, "</html>"])


def _cell(cell: TextCell) -> str:
    text = html.escape(cell.text)
    marks = f"<sup>{','.join(map(str, cell.marks))}</sup>" if cell.marks else ""
    return (f"<b>{text}</b>" if cell.bold else text) + marks
