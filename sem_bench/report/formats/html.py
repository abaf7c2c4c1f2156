"""One HTML page."""

import html
from collections.abc import Sequence

from tabulate import tabulate

from sem_bench.report.formats._parts import BETTER, alignment
from sem_bench.report.row import Row
from sem_bench.report.text_table import TextCell, TextTable

END = "html"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; }
:root { color-scheme: light dark; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .2em .8em; border-bottom: 1px solid #8884; white-space: nowrap; }
thead th { border-bottom: 2px solid; }
ul { font-size: 85%; }
.better { text-decoration: underline; }
"""


def render(tables: Sequence[TextTable], rows: Sequence[Row]) -> str:
    """The tables as one page."""
    title = html.escape(tables[0].title.partition(":")[0]) if tables else "sem-bench"
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">\n{view}\n<title>{title}</title>\n<style>{STYLE}</style>'
    parts = [f'<!doctype html>\n<html lang="en">\n{head}']
    for table in tables:
        parts.append(f"<h2>{html.escape(table.title)}</h2>")
        body = [[_cell(cell) for cell in line] for line in table.body]
        header = [html.escape(column) for column in table.columns]
        columns = alignment(table.columns)
        parts.append(str(tabulate(body, header, tablefmt="unsafehtml", disable_numparse=True, colalign=columns)))
        notes = [f"<sup>{i}</sup> {html.escape(note)}" for i, note in enumerate(table.notes, 1)]
        lines = [*map(html.escape, table.legend), *[BETTER] * table.better, *notes]
        parts.append("\n".join(["<ul>", *(f"<li>{line}</li>" for line in lines), "</ul>"]))
    return "\n".join([*parts, "</html>"])


def _cell(cell: TextCell) -> str:
    text = html.escape(cell.text)
    text = f'<span class="better">{text}</span>' if cell.better else text
    marks = f"<sup>{','.join(map(str, cell.marks))}</sup>" if cell.marks else ""
    return (f"<b>{text}</b>" if cell.bold else text) + marks
