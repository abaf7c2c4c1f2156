"""LaTeX, for papers."""

from tabulate import tabulate

from sem_bench.report.formats.parts import alignment, split
from sem_bench.report.text_table import TextCell, TextTable

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


def _latex(table: TextTable) -> str:
    parts = []
    for columns, body in split(table, _latex_cell):
        header = [_tex(column) for column in columns]
        parts.append(tabulate(body, header, tablefmt="latex_raw", disable_numparse=True, colalign=alignment(columns)))
    notes = [f"$^{{{i}}}$ {_tex(note)}" for i, note in enumerate(table.notes, 1)]
    below = " \\\\\n".join([*map(_tex, table.legend), *notes])
    above = f"\\begin{{table}}\n\\caption{{{_tex(table.title)}}}\n"
    middle = "\n\\par\\medskip\n".join(parts)
    return f"{above}{middle}\n\\par\\footnotesize\n{below}\n\\end{{table}}"


def _latex_cell(cell: TextCell) -> str:
    text = _tex(cell.text)
    marks = f"$^{{{','.join(map(str, cell.marks))}}}$" if cell.marks else ""
    return (f"\\textbf{{{text}}}" if cell.bold else text) + marks


def _tex(text: str) -> str:
    return text.translate(_LATEX)
