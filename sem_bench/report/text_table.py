"""A table for reading, before any format."""

from dataclasses import dataclass

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
