"""What formats share: a wide table in parts that fit into a terminal, and the numbers of footnotes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sem_bench.report.text_table import TextCell, TextTable

WIDTH = 120
BETTER = "underlined: the better one of an arm and its baseline, whatever the interval of the gain says"
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def split(table: TextTable, show: Callable[[TextCell], str]) -> Iterator[tuple[list[str], list[list[str]]]]:
    """The table as parts (columns, body) that fit into WIDTH characters, each with the columns of group 0.

    The mark of the better one of a pair takes no room.
    """
    body = [[show(cell) for cell in line] for line in table.body]
    plain = [[show(replace(cell, better=False)) for cell in line] for line in table.body]
    # tabulate gives a header two spaces more than it needs; three go to the bar and its spaces.
    headers = (f"{column}  " for column in table.columns)
    widths = [max(map(len, column)) + 3 for column in zip(headers, *plain, strict=True)]
    stub = [i for i, group in enumerate(table.groups) if group == 0]
    groups = [[i for i, own in enumerate(table.groups) if own == group] for group in sorted(set(table.groups) - {0})]
    room = WIDTH - 1 - sum(widths[i] for i in stub)
    for shared in balanced([sum(widths[i] for i in group) for group in groups], room):
        part = stub + [i for group in groups[shared] for i in group]
        yield [table.columns[i] for i in part], [[line[i] for i in part] for line in body]


def balanced(widths: Sequence[float], room: float) -> list[slice]:
    """Neighbours together in as few parts as `room` allows, the widest of them as narrow as can be."""
    fewest = len(_filled(widths, room))
    limits = (*range(max(int(room), 0) + 1), room)
    return next(parts for limit in limits if len(parts := _filled(widths, limit)) == fewest)


def _filled(widths: Sequence[float], room: float) -> list[slice]:
    """Parts of which each takes what it can; what is wider than the room stands alone."""
    parts: list[slice] = []
    for number in range(len(widths)):
        if parts and sum(widths[parts[-1].start : number + 1]) <= room:
            parts[-1] = slice(parts[-1].start, number + 1)
        else:
            parts.append(slice(number, number + 1))
    return parts


def superscript(marks: Sequence[int]) -> str:
    """ "¹,²"."""
    return ",".join(map(str, marks)).translate(_SUPERSCRIPTS)


def alignment(columns: Sequence[str]) -> list[str]:
    """Of each column: names to the left, numbers to the right."""
    return ["left", "left"] + ["right"] * (len(columns) - 2)
