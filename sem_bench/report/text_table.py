"""A table for reading, before any format."""

from dataclasses import dataclass, field, replace

from sem_bench.errors import printable

HOLE = "—"
SURVIVES = "*"
DOT = "•"  # what stands for bold in plain text


@dataclass(frozen=True)
class TextCell:
    """A cell's text and the numbers of its footnotes."""

    text: str = ""
    bold: bool = False
    marks: tuple[int, ...] = ()
    short: str | None = None  # the same for a narrow table; None: as it is
    better: bool = False  # the better one of an arm and its baseline, whatever the interval of the gain says

    @property
    def brief(self) -> str:
        """Its text in a narrow table."""
        return self.text if self.short is None else self.short

    @property
    def parts(self) -> tuple[str, str]:
        """Its number, and what may stand small beside it: a spread or an interval."""
        number, blank, rest = self.text.partition(" ")
        return (self.text, "") if self.short is None else (number, blank + rest)


@dataclass(frozen=True)
class TextTable:
    """A table for reading. A format may split a wide one between groups of columns, repeating group 0.

    What stands last serves the compact form: it shows the `brief` of each cell, `size` beside the title, and below the
    table as many lines of `brief` as have room.
    """

    title: str
    columns: list[str]
    groups: list[int]
    body: list[list[TextCell]]
    legend: list[str]
    notes: list[str]  # footnotes 1, 2, ...
    name: str = ""  # which of the tables
    what: str = ""  # the end of the title: what tells it from other tables of the same suite and data
    size: str = ""  # "sem: L=64, V=8", where all arms beside the baseline have one size
    brief: list[str] = field(default_factory=list)  # the most important first
    about: str = ""  # what it shows
    gains: tuple[int, ...] = ()  # the columns that hold gains
    pooled: int = 0  # how many lines at the end are of several methods

    @property
    def better(self) -> bool:
        """Whether it marks the better ones of pairs."""
        return any(cell.better for line in self.body for cell in line)

    def beside(self, column: int) -> bool:
        """Whether a column holds the gains of the figures to its left."""
        return column in self.gains and self.groups[column] == self.groups[column - 1]


def printed(table: TextTable) -> TextTable:
    """The same in texts of one line each that every terminal can show, and none obeys."""
    return replace(
        table,
        title=printable(table.title),
        columns=[printable(column) for column in table.columns],
        body=[[_printed(cell) for cell in line] for line in table.body],
        legend=[printable(line) for line in table.legend],
        notes=[printable(note) for note in table.notes],
        what=printable(table.what),
        size=printable(table.size),
        brief=[printable(line) for line in table.brief],
        about=printable(table.about),
    )


def _printed(cell: TextCell) -> TextCell:
    return replace(cell, text=printable(cell.text), short=None if cell.short is None else printable(cell.short))


def rounded(value: float, digits: int) -> str:
    """ "40.0"; what rounds to 0 is "0.0", never "-0.0"."""
    return f"{value:z.{digits}f}"


def plus(value: float, digits: int) -> str:
    """ "+4.3"; what rounds to 0 is "0.0", without a sign."""
    text = f"{value:+z.{digits}f}"
    return text if text.strip("+0.") else text[1:]


def signed(mean: float, low: float | None, high: float | None, digits: int) -> str:
    """ "+4.3 [+0.5, +8.1]"; where 0 lies outside, no end reads as 0: "+0.4 [+0.03, +0.8]"."""
    if low is None or high is None:
        return plus(mean, digits)
    return f"{plus(mean, digits)} [{', '.join(ends(low, high, digits))}]"


def ends(low: float, high: float, digits: int) -> tuple[str, str]:
    """Those of an interval, one with a digit that is not 0 where rounding would hide that 0 lies outside."""

    def end(value: float) -> str:
        text = plus(value, digits)
        return f"{value:+.1g}" if excludes_zero(low, high) and not float(text) else text

    return end(low), end(high)


def excludes_zero(low: float | None, high: float | None) -> bool:
    """Whether there is an interval, and 0 lies outside."""
    return low is not None and high is not None and (low > 0 or high < 0)
