"""The formats of `table`: github (Markdown), latex and html for people, csv and json for programs.

github and latex split a table that is wider than a terminal, between groups of columns.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from sem_bench.base.files import write_atomic
from sem_bench.errors import UserError
from sem_bench.report.figures import write
from sem_bench.report.formats.csv import _csv
from sem_bench.report.formats.github import _github
from sem_bench.report.formats.html import _html
from sem_bench.report.formats.latex import _latex
from sem_bench.report.row import Row
from sem_bench.report.text_table import TextTable

FILES = {"github": "md", "csv": "csv", "latex": "tex", "json": "json"}


def render(tables: Sequence[TextTable], rows: Sequence[Row], format: str) -> str:
    """The text of a format, without the last line end. Raises UserError for an unknown format.

    github, latex and html show the tables, csv and json the rows.
    """
    match format:
        case "github":
            return "\n\n".join(map(_github, tables))
        case "latex":
            return "\n\n".join(map(_latex, tables))
        case "html":
            return _html(tables)
        case "csv":
            return _csv(rows)
        case "json":
            return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False)
    raise UserError(f"--format {format}: there is github, latex, csv, html, json")


def files(folder: Path, rows: Sequence[Row], tables: Sequence[TextTable]) -> dict[Path, str]:
    """TABLE.{md,csv,tex,json} of each table, in a folder, with their texts."""
    texts: dict[Path, str] = {}
    for kind in dict.fromkeys(table.name for table in tables) or ["comparison"]:
        shown, own = [table for table in tables if table.name == kind], [row for row in rows if row["table"] == kind]
        texts |= {folder / f"{kind}.{end}": render(shown, own, f) + "\n" for f, end in FILES.items()}
    return texts


def write_tables(
    folder: Path, rows: Sequence[Row], tables: Sequence[TextTable], drawers: Mapping[str, write.Draw]
) -> list[Path]:
    """Write the tables and their figures into a folder, each file atomically; returns the tables' paths.

    Figures take seconds, so they come first, and only where a table has changed or is not there.
    """
    texts = files(folder, rows, tables)
    if any(not path.exists() or path.read_text(encoding="utf-8") != text for path, text in texts.items()):
        write.write(rows, folder, drawers)
    for path, text in texts.items():
        write_atomic(path, text)
    return list(texts)
