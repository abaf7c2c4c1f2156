"""The formats of `table`: github (Markdown), latex and html for people, csv and json for programs.

github and latex split a table that is wider than a terminal, between groups of columns.
"""

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tabulate import tabulate

from sem_bench import figures
from sem_bench.digest import canonical_json
from sem_bench.errors import UserError
from sem_bench.files import write_atomic
from sem_bench.records import Row
from sem_bench.tables import TextCell, TextTable

WIDTH = 120
FILES = {"github": "md", "csv": "csv", "latex": "tex", "json": "json"}
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "±": r"$\pm$",
        "—": "---",
        "†": r"$\dagger$",
        "‡": r"$\ddagger$",
    }
    | {character: f"\\{character}" for character in "&%$#_{}"}
)


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


def write_tables(folder: Path, rows: Sequence[Row], tables: Sequence[TextTable]) -> list[Path]:
    """Write the tables and their figures into a folder, each file atomically; returns the tables' paths.

    Figures take seconds, so they come first, and only where a table has changed or is not there.
    """
    texts = files(folder, rows, tables)
    if any(not path.exists() or path.read_text(encoding="utf-8") != text for path, text in texts.items()):
        figures.write(rows, folder)
    for path, text in texts.items():
        write_atomic(path, text)
    return list(texts)


# --- for people -------------------------------------------------------------------------------------------


def _github(table: TextTable) -> str:
    parts = [f"### {_markdown(table.title)}"]
    for columns, body in _split(table, _github_cell):
        header = [_markdown(column) for column in columns]
        parts.append(tabulate(body, header, tablefmt="github", disable_numparse=True, colalign=_alignment(columns)))
    notes = [f"{_superscript([i])} {_markdown(note)}" for i, note in enumerate(table.notes, 1)]
    lines = [_markdown(line) for line in table.legend] + notes
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in lines)])


def _github_cell(cell: TextCell) -> str:
    text = _markdown(cell.text)
    return f"{f'**{text}**' if cell.bold else text} {_superscript(cell.marks)}".rstrip()


def _markdown(text: str) -> str:
    """Escaped where Markdown would read it otherwise. An underscore inside a word is safe there."""
    escaped = re.sub(r"([\\|*`<~#])|(?<![^\W_])_|_(?![^\W_])", lambda match: f"\\{match[0]}", text)
    return escaped.replace("](", "]\\(")


def _superscript(marks: Sequence[int]) -> str:
    return " ".join(map(str, marks)).translate(_SUPERSCRIPTS)


def _latex(table: TextTable) -> str:
    parts = []
    for columns, body in _split(table, _latex_cell):
        header = [_tex(column) for column in columns]
        parts.append(tabulate(body, header, tablefmt="latex_raw", disable_numparse=True, colalign=_alignment(columns)))
    notes = [f"$^{{{i}}}$ {_tex(note)}" for i, note in enumerate(table.notes, 1)]
    below = " \\\\\n".join([*map(_tex, table.legend), *notes])
    above = f"\\begin{{table}}\n\\caption{{{_tex(table.title)}}}\n"
    middle = "\n\\par\\medskip\n".join(parts)
    return f"{above}{middle}\n\\par\\footnotesize\n{below}\n\\end{{table}}"


def _latex_cell(cell: TextCell) -> str:
    text = _tex(cell.text)
    marks = f"$^{{{','.join(map(str, cell.marks))}}}$" if cell.marks else ""
    return (f"\\textbf{{{text}}}" if cell.bold else text) + marks


def _tex(text: str) -> str:
    return text.translate(_LATEX)


def _html(tables: Iterable[TextTable]) -> str:
    parts = ['<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>sem-bench</title>']
    for table in tables:
        parts.append(f"<h2>{html.escape(table.title)}</h2>")
        body = [[_html_cell(cell) for cell in line] for line in table.body]
        header = [html.escape(column) for column in table.columns]
        alignment = _alignment(table.columns)
        parts.append(str(tabulate(body, header, tablefmt="unsafehtml", disable_numparse=True, colalign=alignment)))
        notes = [f"<sup>{i}</sup> {html.escape(note)}" for i, note in enumerate(table.notes, 1)]
        lines = [*map(html.escape, table.legend), *notes]
        parts.append("\n".join(["<ul>", *(f"<li>{line}</li>" for line in lines), "</ul>"]))
    return "\n".join([*parts, "</html>"])


def _html_cell(cell: TextCell) -> str:
    text = html.escape(cell.text)
    marks = f"<sup>{','.join(map(str, cell.marks))}</sup>" if cell.marks else ""
    return (f"<b>{text}</b>" if cell.bold else text) + marks


def _split(table: TextTable, show: Callable[[TextCell], str]) -> Iterator[tuple[list[str], list[list[str]]]]:
    """The table as parts (columns, body) that fit into WIDTH characters, each with the columns of group 0."""
    body = [[show(cell) for cell in line] for line in table.body]
    # tabulate gives a header two spaces more than it needs; three go to the bar and its spaces.
    headers = (f"{column}  " for column in table.columns)
    widths = [max(map(len, column)) + 3 for column in zip(headers, *body, strict=True)]
    stub = [i for i, group in enumerate(table.groups) if group == 0]
    parts: list[list[int]] = []
    for group in sorted(set(table.groups) - {0}):
        members = [i for i, own in enumerate(table.groups) if own == group]
        if not parts or 1 + sum(widths[i] for i in [*parts[-1], *members]) > WIDTH:
            parts.append(list(stub))
        parts[-1] += members
    for part in parts:
        yield [table.columns[i] for i in part], [[line[i] for i in part] for line in body]


def _alignment(columns: Sequence[str]) -> list[str]:
    return ["left", "left"] + ["right"] * (len(columns) - 2)


# --- for programs -----------------------------------------------------------------------------------------


def _csv(rows: Sequence[Row]) -> str:
    """The rows of the JSON: lists joined by ";", mappings as JSON, nothing for null."""
    file = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    return file.getvalue().rstrip("\n")


def _plain(value: object) -> object:
    if isinstance(value, list):
        return ";".join(map(str, value))
    return canonical_json(value) if isinstance(value, dict) else value
