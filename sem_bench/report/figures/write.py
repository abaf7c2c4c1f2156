"""The figures of a suite as PNG and SVG.

They show the rows of the tables and nothing else, and the same rows give the same bytes. A method has
its colour and dashes and an embedding its marker in every figure. A hollow marker is one seed: it has no spread.
"""

import inspect
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sem_bench.base.digest import digest
from sem_bench.base.files import file_digest, read_json, write_atomic, write_json
from sem_bench.errors import UserError, described
from sem_bench.report.figures.look import Look, numbered
from sem_bench.report.figures.panels import Drawn
from sem_bench.report.row import TABLE, Row, grouped

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Draw = Callable[[Sequence[Row], Look], Drawn]
"""Draws figures of the rows of one group: (what the file's name ends in, figure)."""
Problem = tuple[str, str]
"""The name of a figure's files, "" where the reason says it, and why it was not drawn."""

STAMP = ".figures"  # beside figures: what was drawn, and of what
_STYLE: Any = {
    "svg": {"hashsalt": "sem-bench", "fonttype": "none"},  # the same identifiers each time, and text as text
    "text": {"parse_math": False},  # a name may hold a $
    "font": {"size": 9},
    "axes": {"titlesize": 9, "labelsize": 9, "grid": True, "axisbelow": True},
    "axes.spines": {"top": False, "right": False},
    "legend": {"fontsize": 8, "frameon": False},
    "grid": {"color": "#e4e4e4", "linewidth": 0.6},
    "lines": {"linewidth": 1.4, "markersize": 5},
}


class NotDrawnError(UserError):
    """Figures that could not be drawn, a line each. The others are there, and the tables."""


def write(rows: Sequence[Row], folder: Path, drawers: Mapping[str, Draw]) -> list[Path]:
    """Draw what each of the drawers has to draw, and return the files: NAME[-GROUP][-METHOD].{png,svg}.

    GROUP holds the suite, data set, backbone, recipe and epochs, those of them in which the rows differ.
    Raises NotDrawnError at the end where one of them failed.
    """
    paths: list[Path] = []
    problems: list[Problem] = []
    with drawn(rows, drawers, problems) as figures:
        for stem, figure in figures:
            try:
                paths += _save(figure, folder / stem)
            except Exception as error:
                problems.append((stem, f"not drawn: {described(error)}"))
    if problems:
        raise NotDrawnError(dict.fromkeys(f"{folder / stem}: {why}" if stem else why for stem, why in problems))
    return paths


@contextmanager
def drawn(
    rows: Sequence[Row], drawers: Mapping[str, Draw], problems: list[Problem]
) -> "Iterator[Iterator[tuple[str, Figure]]]":
    """Gives the figures as they are drawn, each with the name of its files; within, matplotlib has our style.

    What cannot be drawn is noted in `problems`.
    """
    if not (rows := numbered(rows)):
        yield iter(())
        return
    import matplotlib

    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a box in the PNG; the SVG holds the text itself
        matplotlib.rcdefaults()
        for part_of_figure, style in _STYLE.items():
            matplotlib.rc(part_of_figure, **style)
        yield _figures(rows, drawers, problems)


def _figures(
    rows: Sequence[Row], drawers: Mapping[str, Draw], problems: list[Problem]
) -> "Iterator[tuple[str, Figure]]":
    differing = [name for name in TABLE if len({row.key([name]) for row in rows}) > 1]
    look, used = Look(rows), set[str]()
    for part in grouped(rows, lambda row: row.key(TABLE)).values():
        group = "-".join(f"{part[0].get(name)}{'epochs' * (name == 'epochs')}" for name in differing)
        for name, draw in drawers.items():
            try:
                for end, figure in draw(part, look):
                    yield _stem(used, name, group, end), figure
            except UserError as error:  # of a user's own drawer, with its line; the others draw on
                problems += [("", problem) for problem in error.problems]
            except Exception as error:
                problems.append((_stem(set(), name, group), f"not drawn: {described(error)}"))


def refresh(rows: Sequence[Row], folder: Path, drawers: Mapping[str, Draw], *, changed: bool) -> None:
    """`write`, where a figure is absent, or the rows or the code that draws are others than when it was drawn.

    .figures says what was drawn, and of what; `changed` draws in any case.
    """
    if changed or _fresh(rows, folder, drawers) is None:
        paths = write(rows, folder, drawers)
        write_json(folder / STAMP, {"of": _origin(rows, drawers), "files": [path.name for path in paths]})


def svgs(
    rows: Sequence[Row], drawers: Mapping[str, Draw], folder: Path, problems: list[Problem]
) -> list[tuple[str, str]]:
    """The name and SVG of each figure: from a folder where they lie, drawn of these rows, else drawn now.

    What cannot be drawn is noted in `problems`.
    """
    if (files := _fresh(rows, folder, drawers)) is not None:
        paths = [path for path in files if path.suffix == ".svg"]
        return [(path.stem, path.read_text(encoding="utf-8", errors="replace")) for path in paths]
    found: list[tuple[str, str]] = []
    with drawn(rows, drawers, problems) as figures:
        for stem, figure in figures:
            try:
                found.append((stem, _svg(figure)))
            except Exception as error:
                problems.append((stem, f"not drawn: {described(error)}"))
    return found


def _fresh(rows: Sequence[Row], folder: Path, drawers: Mapping[str, Draw]) -> list[Path] | None:
    """The files of a folder, where all are there, and were drawn of these rows by this code."""
    known = read_json(folder / STAMP)
    files = known.get("files") if isinstance(known, dict) else None
    if not isinstance(files, list) or known.get("of") != _origin(rows, drawers):
        return None
    paths = [folder / Path(str(name)).name for name in files]
    return paths if all(path.is_file() for path in paths) else None


def _origin(rows: Sequence[Row], drawers: Mapping[str, Draw]) -> str:
    """A digest of all that the figures depend on: rows, code and the library that draws."""
    # What a drawer uses lies beside it.
    folders = {
        Path(__file__).parent,
        *(Path(inspect.getfile(inspect.unwrap(draw))).parent for draw in drawers.values()),
    }
    code = [file_digest(path) for folder in folders for path in folder.glob("*.py")]
    shown = [[row.as_json(), row.main, row.marker, row.apart] for row in rows]
    return digest([shown, sorted(drawers), sorted(code), version("matplotlib")])


def _save(figure: "Figure", stem: Path) -> list[Path]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # Figure.savefig would lay the figure out and draw it twice for each file.
    figure.set_dpi(150)
    png, svg = (stem.with_name(f"{stem.name}.{end}") for end in ("png", "svg"))
    write_atomic(png, partial(FigureCanvasAgg(figure).print_png, metadata={"Software": None}))
    figure.set_layout_engine("none")
    write_atomic(svg, _svg_printer(figure))
    return [png, svg]


def _svg(figure: "Figure") -> str:
    """The same SVG as `_save` writes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(150)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # lays it out
    figure.set_layout_engine("none")
    _svg_printer(figure)(file := io.BytesIO())
    return file.getvalue().decode()


def _svg_printer(figure: "Figure") -> Callable[[BinaryIO], object]:
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    title = figure.get_suptitle().replace("\n", ": ") or None  # which is read aloud
    return partial(FigureCanvasSVG(figure).print_svg, metadata={"Title": title, "Date": None, "Creator": None})


def _stem(used: set[str], *parts: str) -> str:
    """A file's name that every file system takes, and that no other file has, also where case does not count."""
    base = "-".join(short for part in parts if (short := re.sub(r"[^A-Za-z0-9.-]+", "_", part)[:60].strip("._-")))
    stem, number = base, 1
    while stem.lower() in used:
        number += 1
        stem = f"{base}-{number}"
    used.add(stem.lower())
    return stem
