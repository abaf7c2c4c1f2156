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
    parts: list[list[int]] = []
    for group in sorted(set(table.groups) - {0}):
        members = [i for i, own in enumerate(table.groups) if own == group]
        if not parts or 1 + sum(widths[i] for i in [*parts[-1], *members]) > WIDTH:
            parts.append(list(stub))
        parts[-1] += members
    for part in parts:
        yield [table.columns[i] for i in part], [[line[i] for i in part] for line in body]


def superscript(marks: Sequence[int]) -> str:
    """ "¹,²"."""
    return ",".join(map(str, marks)).translate(_SUPERSCRIPTS)


def alignment(columns: Sequence[str]) -> list[str]:
    """Of each column: names to the left, numbers to the right."""
    return ["left", "left"] + ["right"] * (len(columns) - 2)
