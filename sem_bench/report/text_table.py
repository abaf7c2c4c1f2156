"""A table for reading, before any format."""

from dataclasses import dataclass, replace

from sem_bench.errors import printable

HOLE = "—"
ENOUGH = 3  # seeds, and methods of a pooled line, from which on a gain can be bold
SURVIVES = "*"


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


def signed(mean: float, low: float | None, high: float | None, digits: int) -> str:
    """ "+4.3 [+0.5, +8.1]"."""
    interval = "" if low is None or high is None else f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"{mean:+.{digits}f}{interval}"


def excludes_zero(low: float | None, high: float | None) -> bool:
    """Whether there is an interval, and 0 lies outside."""
    return low is not None and high is not None and (low > 0 or high < 0)
