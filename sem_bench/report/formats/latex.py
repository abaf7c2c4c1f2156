"""LaTeX as papers print tables: rules of the package booktabs, the gain small beside its number.

As in a terminal intervals and most notes are left out; JSON, CSV and Markdown have them.
"""

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import NamedTuple

from sem_bench.report.formats._parts import BETTER, balanced
from sem_bench.report.row import Row
from sem_bench.report.text_table import DOT, TextCell, TextTable

END = "tex"
ROOM = 84.0  # characters of \footnotesize in a line of the class article
GAP = 2.0  # between columns, in such characters
SMALL = 0.7  # a character of \tiny beside one of them
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
        DOT: r"\textbullet{}",
    }
    | {character: f"\\{character}" for character in "&%$#_{}"}
)


class _Column(NamedTuple):
    form: str  # of the preamble
    head: str
    cells: list[str]
    width: float
    group: int


def render(tables: Sequence[TextTable], rows: Sequence[Row]) -> str:
    """The tables, one below the other."""
    return "\n\n".join(map(_table, tables))


def _table(table: TextTable) -> str:
    columns = list(_columns(table))
    stub = [column for column in columns if column.group == 0]
    others = [column for column in columns if column.group]
    room = ROOM - sum(column.width for column in stub)
    parts = balanced([column.width for column in others], room) if others else [slice(0)]
    size = f"; {table.size}" if table.size else ""
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{4pt}\renewcommand{\arraystretch}{1.15}",
            f"\\caption{{{_tex(table.title + size)}}}",
            "\n\\par\\medskip\n".join(_tabular(table, [*stub, *others[part]]) for part in parts),
            r"\par\smallskip\raggedright",
            " \\\\\n".join(_below(table)),
            r"\end{table}",
        ]
    )


def _tabular(table: TextTable, columns: Sequence[_Column]) -> str:
    begin = f"\\begin{{tabular}}{{@{{}}{''.join(column.form for column in columns)}@{{}}}}"
    lines = [begin, r"\toprule", _line([column.head for column in columns]), r"\midrule"]
    for number in range(len(table.body)):
        cells = [column.cells[number] for column in columns]
        if any(cell.strip("& ") for cell, column in zip(cells, columns, strict=True) if column.group):
            lines += [r"\midrule"] * (number == len(table.body) - table.pooled)
            lines.append(_line(cells))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _columns(table: TextTable) -> Iterator[_Column]:
    """The columns, each with the gains beside it."""
    for number, (name, group) in enumerate(zip(table.columns, table.groups, strict=True)):
        own = [line[number] for line in table.body]
        if group == 0:
            yield _Column("l", _tex(name), [_cell(cell) for cell in own], _width([name], own), group)
        elif not table.beside(number):
            cells, width, form = [_cell(cell) for cell in own], _width([], own), "r"
            if number + 1 < len(table.columns) and table.beside(number + 1):
                gains = [line[number + 1] for line in table.body]
                cells = [f"{cell} & {_gain(gain)}" for cell, gain in zip(cells, gains, strict=True)]
                width, form = width + SMALL * _width([], gains), r"r@{\,}l"
            head = wrap(name, max(round(width - GAP), *map(len, name.split()))) or [""]
            text = r"\\".join(map(_tex, head))
            text = f"\\shortstack{{{text}}}" if len(head) > 1 else text
            head_form = f"\\multicolumn{{2}}{{c}}{{{text}}}" if "l" in form else text
            yield _Column(form, head_form, cells, max([width, *(len(line) + GAP for line in head)]), group)


def _width(heads: Sequence[str], cells: Sequence[TextCell]) -> float:
    texts = [*map(len, heads), *(len(cell.brief) + SMALL * len(cell.marks) for cell in cells)]
    return max(texts, default=0) + GAP


def _cell(cell: TextCell) -> str:
    text = _number(cell.brief)
    marks = f"$^{{{','.join(map(str, cell.marks))}}}$" if cell.marks else ""
    text = f"\\underline{{{text}}}" if cell.better else text
    return (f"\\textbf{{{text}}}" if cell.bold else text) + marks


def _gain(cell: TextCell) -> str:
    return f"{{\\tiny {_cell(cell)}}}" if cell.text else ""


def _below(table: TextTable) -> list[str]:
    """What a reader needs, the notes last."""
    bold = any(cell.bold for line in table.body for cell in line)
    lines = [line for line in table.brief or table.legend if bold or not line.startswith(DOT)]
    lines = [_tex(re.sub(f"^{DOT}", "bold", line)) for line in lines]
    notes = [f"$^{{{number}}}$ {_tex(note)}" for number, note in enumerate(table.notes, 1)]
    return [*lines, *[BETTER] * table.better, *notes]


def _number(text: str) -> str:
    """A text, in which the sign before a number is a minus."""
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", _tex(text))


def _tex(text: str) -> str:
    """Escaped; the temperatures are the letters that they are called by."""
    text = text.translate(_LATEX).replace(r"\textgreater{}=", r"$\geq$")
    return re.sub(r"\btau(\\_d)?\b", lambda match: r"$\tau_d$" if match[1] else r"$\tau$", text)
