"""A terminal's tables: plain columns, the gain beside its number, at most five lines below.

`notes` asks for all lines below a table, and in its cells for intervals and spreads. Without it, too, a missing number
says why it is missing.
"""

from collections.abc import Iterable, Iterator, Sequence
from textwrap import shorten, wrap
from typing import NamedTuple

from sem_bench.base import screen
from sem_bench.report.formats._parts import balanced, superscript
from sem_bench.report.row import Row, grouped
from sem_bench.report.text_table import DOT, HOLE, TextCell, TextTable

END = None
WIDTH = 100
GAP = 2  # between columns
BELOW = 5  # lines below a table
MORE = "--notes explains the rest, and shows intervals"
FURTHER = "Further tables; `table DIR --table NAME` prints one, `--table all` every one:"


class _Head(NamedTuple):
    text: str
    group: int
    tight: bool


class _Column(NamedTuple):
    head: list[str]  # its lines
    cells: list[str]
    width: int
    group: int


def render(tables: Sequence[TextTable], rows: Sequence[Row], *, notes: bool = False) -> str:
    """The tables, one below the other."""
    return "\n\n".join(_table(table, notes) for table in tables)


def overview(tables: Sequence[TextTable], first: str, *, notes: bool = False) -> str:
    """The tables of the name `first` whole, and a line for each of the others."""
    whole = [table for table in tables if table.name == first]
    others = [table for table in tables if table.name != first]
    ends = [f"--table {table.name}" for table in others]
    room = _room() - 2 - max(map(len, ends), default=0)
    texts = [_line(table, room) for table in others]
    width = max(map(len, texts), default=0)
    headings = [table.title.removesuffix(f": {table.what}") for table in others]
    lines, before = [FURTHER] * bool(others), headings[0] if len(set(headings)) == 1 else ""
    for heading, text, end in zip(headings, texts, ends, strict=True):
        lines += _wrapped(heading) if heading != before else []
        lines.append(f"{text.ljust(width)}  {end}")
        before = heading
    return "\n\n".join(filter(None, [render(whole, [], notes=notes), "\n".join(lines)]))


# --- a table ---


def _table(table: TextTable, notes: bool) -> str:
    whole = "; ".join(filter(None, [table.title, table.size]))
    parts = [[whole] if len(whole) <= _room() else [*_wrapped(table.title), *_wrapped(table.size)]]
    columns = list(_columns(table, notes, tight=False))
    if _width(columns) > _room():
        columns = list(_columns(table, notes, tight=True))
    for part in _parts(columns):
        height = max(len(column.head) for column in part)
        heads = [[""] * (height - len(column.head)) + column.head for column in part]
        lines = [number for number in range(len(table.body)) if _says(part, number)]
        cells = [
            *([head[number] for head in heads] for number in range(height)),
            ["-" * column.width for column in part],
            *([column.cells[number] for column in part] for number in lines),
        ]
        widths = [column.width for column in part]
        parts.append([(" " * GAP).join(map(str.ljust, line, widths)).rstrip() for line in cells])
    below = _everything(table) if notes else _below(table)
    return "\n\n".join("\n".join(lines) for lines in (*parts, below))


def _columns(table: TextTable, notes: bool, tight: bool) -> Iterator[_Column]:
    """The columns, `tight` with headers in several lines where the cells are narrower."""
    for number, (name, group) in enumerate(zip(table.columns, table.groups, strict=True)):
        own = [line[number] for line in table.body]
        if group == 0:
            cells = [cell.brief + _behind(cell) for cell in own]
            width = max(map(len, [name, *cells]))
            yield _Column([name], cells, width, group)
        elif not table.beside(number):
            beside = number + 1 < len(table.columns) and table.beside(number + 1)
            gains = (
                [_text(line[number + 1], notes) + _behind(line[number + 1]) for line in table.body] if beside else []
            )
            yield _numbers(_Head(name, group, tight), own, gains, notes)


def _numbers(of: _Head, own: Sequence[TextCell], gains: Sequence[str], notes: bool) -> _Column:
    """Numbers to the right, their marks behind them, then their gains; the header stands above the numbers."""
    texts, marks = [_text(cell, notes) for cell in own], [_behind(cell) for cell in own]
    digits, behind = (max(map(len, one), default=0) for one in (texts, marks))
    cells = [text.rjust(digits) + mark.ljust(behind) for text, mark in zip(texts, marks, strict=True)]
    if any(gains):
        gains = [f" {gain}" if gain[:1].isdigit() else gain for gain in gains]  # a 0 stands below the other digits
        most = max(map(len, gains))
        cells = [f"{cell} {gain.ljust(most)}" for cell, gain in zip(cells, gains, strict=True)]
    head = _wrapped(of.text, max([1, *map(len, [*cells, *of.text.split()])])) if of.tight else [of.text]
    width = max(map(len, [*head, *cells]))
    if not any(gains) and width > digits + behind:
        digits = width - behind
        cells = [cell.rjust(width) for cell in cells]
    return _Column([line.rjust(digits) for line in head], cells, width, of.group)


def _parts(columns: Sequence[_Column]) -> list[list[_Column]]:
    """The columns as they fit beside each other, those of a group together, each part with those of group 0."""
    stub = [column for column in columns if column.group == 0]
    by_group = grouped((column for column in columns if column.group), lambda column: column.group)
    groups = list(by_group.values())
    room = _room() - _width(stub)
    parts = balanced([_width(group) + GAP for group in groups], room) if groups else [slice(0)]
    return [stub + [column for group in groups[part] for column in group] for part in parts]


def _says(part: Sequence[_Column], line: int) -> bool:
    """Whether a line has more than its names there: a wide table may leave some of its parts empty."""
    return any(column.cells[line].strip() for column in part if column.group)


def _width(columns: Sequence[_Column]) -> int:
    return sum(column.width + GAP for column in columns) - GAP


def _text(cell: TextCell, notes: bool) -> str:
    return cell.text if notes else cell.brief


def _behind(cell: TextCell) -> str:
    return DOT * cell.bold + superscript(cell.marks)


# --- below it ---


def _everything(table: TextTable) -> list[str]:
    lines = [f"{DOT}: bold in the lines below"] * _bold(table) + table.legend + list(_notes(table).values())
    return [line for text in lines for line in _wrapped(text)]


def _below(table: TextTable) -> list[str]:
    """The notes of marks, then what has room of the most important lines. A note on a hole finds room in any case."""
    notes, room = _notes(table), BELOW - 1
    holes = {mark for line in table.body for cell in line if cell.text == HOLE for mark in cell.marks}

    def joined(marks: Iterable[int]) -> list[str]:
        return _wrapped("; ".join(notes[mark] for mark in sorted(marks)))

    shown = sorted(notes, key=lambda mark: mark not in holes)
    while len(joined(shown)) > max(room - 1, len(joined(holes))):
        shown.pop()
    lines = joined(shown)
    for text in table.brief:
        more = _wrapped(text)
        if text.startswith(DOT):
            lines += more if _bold(table) else []
        elif len(lines) + len(more) <= room:
            lines += more
    return [*lines, MORE]


def _notes(table: TextTable) -> dict[int, str]:
    return {number: f"{superscript([number])} {note}" for number, note in enumerate(table.notes, 1)}


def _bold(table: TextTable) -> bool:
    return any(cell.bold for line in table.body for cell in line)


# --- a line instead of it ---


def _line(table: TextTable, room: int) -> str:
    """What a table is, what is missing, and its gains as far as they fit: those pooled, or those of the only method."""
    holes = sum(line[at].text == HOLE for line in table.body for at in range(2, len(line)) if not table.beside(at))
    lines = table.body[-table.pooled :] if table.pooled else table.body
    lines = [line for line in lines if any(line[at].text for at in table.gains)]
    if len({line[0].text for line in lines}) > 1:
        lines = []
    items = [f"{holes} missing"] * bool(holes)
    for line in lines:
        name = f"{line[1].brief}: " * (len(lines) > 1)
        for at in table.gains:
            if line[at].text:
                items.append(f"{name}{table.columns[at - table.beside(at)]} {line[at].brief}")
                name = ""
    text = f"{table.what or table.name}:"
    for number, item in enumerate(items):
        more = f"{text}{';' * (number > 0)} {item}"
        if len(more) > room - 3 * (number + 1 < len(items)):
            return f"{text}{';' * (number > 0)} …"
        text = more
    about = f"{text}{';' * bool(items)} {table.about}"
    return text if lines or not table.about else shorten(about, room, placeholder=" …")


def _wrapped(text: str, width: int = 0) -> list[str]:
    return wrap(text, width or _room(), break_on_hyphens=False)


def _room() -> int:
    """Columns of a line: those of the terminal, or WIDTH where there is none."""
    return WIDTH if screen.width() == screen.UNLIMITED else screen.width()
