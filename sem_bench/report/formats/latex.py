"""LaTeX, for papers."""

from collections.abc import Sequence

from tabulate import tabulate

from sem_bench.report.formats._parts import BETTER, alignment, split
from sem_bench.report.row import Row
from sem_bench.report.text_table import TextCell, TextTable

END = "tex"
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


def render(tables: Sequence[TextTable], rows: Sequence[Row]) -> str:
    """The tables, one below the other."""
    return "\n\n".join(map(_table, tables))


def _table(table: TextTable) -> str:
    parts = []
    for columns, body in split(table, _cell):
        header = [_tex(column) for column in columns]
        parts.append(tabulate(body, header, tablefmt="latex_raw", disable_numparse=True, colalign=alignment(columns)))
    notes = [f"$^{{{i}}}$ {_tex(note)}" for i, note in enumerate(table.notes, 1)]
    below = " \\\\\n".join([*map(_tex, table.legend), *[BETTER] * table.better, *notes])
    above = f"\\begin{{table}}\n\\caption{{{_tex(table.title)}}}\n"
    middle = "\n\\par\\medskip\n".join(parts)
    return f"{above}{middle}\n\\par\\footnotesize\n{below}\n\\end{{table}}"


def _cell(cell: TextCell) -> str:
    text = _tex(cell.text)
    marks = f"$^{{{','.join(map(str, cell.marks))}}}$" if cell.marks else ""
    text = f"\\underline{{{text}}}" if cell.better else text
    return (f"\\textbf{{{text}}}" if cell.bold else text) + marks


def _tex(text: str) -> str:
    return text.translate(_LATEX)
