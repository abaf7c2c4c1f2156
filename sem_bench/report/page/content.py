"""What a page holds, as plain data. Its texts are raw: the template escapes them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sem_bench.report.formats._parts import BETTER
from sem_bench.report.summary import Summary
from sem_bench.report.text_table import TextTable, printed


class Head(NamedTuple):
    """The head of a column."""

    text: str
    of: str  # the column that it stands beside; "" where it stands for itself
    begins: bool  # whether a group of columns begins here
    number: bool  # whether its cells are numbers, and so stand to the right


@dataclass(frozen=True)
class PageTable:
    """A table with a place on the page."""

    anchor: str
    table: TextTable
    command: str = ""  # that prints it; "" where no command does
    names: int = 2  # columns on the left that hold names

    @property
    def heads(self) -> list[Head]:
        """Its columns: a gain says what it is the gain of."""
        found: list[Head] = []
        first = ""
        for number, (text, group) in enumerate(zip(self.table.columns, self.table.groups, strict=True)):
            begins = group != 0 and group != self.table.groups[number - 1]
            first = text if begins else first
            of = "" if begins or group == 0 else first
            found.append(Head(text, of if text in ("gain", "published") else "", begins, number >= self.names))
        return found


def page_table(anchor: str, table: TextTable, command: str = "", names: int = 2) -> PageTable:
    """The same, its texts in one line each and without control characters."""
    table = printed(table)
    return PageTable(anchor, replace(table, legend=table.legend + [BETTER] * table.better), command, names)


@dataclass(frozen=True)
class PageFigure:
    """A figure with a place on the page."""

    anchor: str
    name: str  # of its files
    title: str
    svg: str  # safe to stand in the page
    command: str


@dataclass(frozen=True)
class Curve:
    """A number after each epoch of pretraining, a line a seed, in a box of WIDTH x HEIGHT."""

    name: str
    lines: list[str]  # points of a polyline
    low: str
    high: str
    epochs: int


Pair = tuple[str, str]


@dataclass(frozen=True)
class Runs:
    """The jobs of an arm that differ in the seed alone: a column each."""

    title: str
    state: str
    settings: list[Pair]
    seeds: list[int]
    facts: list[tuple[str, list[str]]]  # provenance: a value for each seed


@dataclass(frozen=True)
class Strip:
    """A few small images beside each other."""

    caption: str
    data: str  # a data URI
    width: int
    height: int


@dataclass(frozen=True)
class Pictures:
    """What an arm sees, and what its simplices answer to; or why that is not shown."""

    strips: Sequence[Strip]
    note: str = ""


@dataclass(frozen=True)
class Arm:
    """A method with an embedding, and all that is known of it."""

    anchor: str
    title: str
    state: str
    settings: list[Pair]
    numbers: PageTable | None
    curves: Sequence[Curve]
    problems: Sequence[str]  # logs that are no curves
    runs: Sequence[Runs]
    pictures: Pictures | None = None


@dataclass(frozen=True)
class Page:
    """A suite."""

    title: str
    version: str
    written: str  # when the suite was run last
    state: str
    command: str  # that writes the page
    summaries: Sequence[Summary]
    lacking: PageTable | None  # jobs that are not done
    tables: Sequence[PageTable]
    figures: Sequence[PageFigure]
    published: PageTable | None
    arms: Sequence[Arm]
    problems: Sequence[str] = field(default=())
