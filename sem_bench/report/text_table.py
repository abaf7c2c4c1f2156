"""A table for reading, before any format."""

from dataclasses import dataclass, replace

from sem_bench.errors import printable

HOLE = "—"


@dataclass(frozen=True)
class TextCell:
    """A cell's text and the numbers of its footnotes."""

    text: str = ""
    bold: bool = False
    marks: tuple[int, ...] = ()


@dataclass(frozen=True)
class TextTable:
    """A table for reading. A format may split a wide one between groups of columns, repeating group 0."""

    title: str
    columns: list[str]
    groups: list[int]
    body: list[list[TextCell]]
    legend: list[str]
    notes: list[str]  # footnotes 1, 2, ...
    name: str = ""  # which of the tables


def printed(table: TextTable) -> TextTable:
    """The same in texts of one line each that every terminal can show, and none obeys."""
    return replace(
        table,
        title=printable(table.title),
        columns=[printable(column) for column in table.columns],
        body=[[replace(cell, text=printable(cell.text)) for cell in line] for line in table.body],
        legend=[printable(line) for line in table.legend],
        notes=[printable(note) for note in table.notes],
    )
