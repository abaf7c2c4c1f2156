"""The figures of a suite as PNG and SVG.

They show the flat rows of `table --format json` and nothing else, and the same rows give the same bytes. A method has
its colour and dashes and an embedding its marker in every figure. A hollow marker is one seed: it has no spread.
"""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sem_bench.base.files import write_atomic
from sem_bench.report.figures.look import Look, numbered
from sem_bench.report.figures.panels import Drawn, grouped
from sem_bench.report.row import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Draw = Callable[[Sequence[Row], Look], Drawn]
"""Draws figures of the rows of one group: (what the file's name ends in, figure)."""

_GROUP = ("suite", "dataset", "backbone", "recipe", "epochs")
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


def write(rows: Sequence[Row], folder: Path, drawers: Mapping[str, Draw]) -> list[Path]:
    """Draw what each of the drawers has to draw, and return the files: NAME[-GROUP][-METHOD].{png,svg}.

    GROUP holds the suite, data set, backbone, recipe and epochs, those of them in which the rows differ.
    """
    rows = numbered(rows)
    if not rows:
        return []
    import matplotlib

    differing = [name for name in _GROUP if len({row[name] for row in rows}) > 1]
    paths: list[Path] = []
    used: set[str] = set()
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a box in the PNG; the SVG holds the text itself
        matplotlib.rcdefaults()
        for part_of_figure, style in _STYLE.items():
            matplotlib.rc(part_of_figure, **style)
        look = Look(rows)
        for part in grouped(rows, lambda row: tuple(row[name] for name in _GROUP)).values():
            group = "-".join(f"{part[0][name]}{'epochs' * (name == 'epochs')}" for name in differing)
            for name, draw in drawers.items():
                for end, figure in draw(part, look):
                    paths += _save(figure, folder / _stem(used, name, group, end))
    return paths


def _save(figure: "Figure", stem: Path) -> list[Path]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    # Figure.savefig would lay the figure out and draw it twice for each file.
    figure.set_dpi(150)
    png, svg = (stem.with_name(f"{stem.name}.{end}") for end in ("png", "svg"))
    write_atomic(png, partial(FigureCanvasAgg(figure).print_png, metadata={"Software": None}))
    figure.set_layout_engine("none")
    write_atomic(svg, partial(FigureCanvasSVG(figure).print_svg, metadata={"Date": None, "Creator": None}))
    return [png, svg]


def _stem(used: set[str], *parts: str) -> str:
    """A file's name that every file system takes, and that no other file has, also where case does not count."""
    base = "-".join(short for part in parts if (short := re.sub(r"[^A-Za-z0-9.-]+", "_", part)[:60].strip("._-")))
    stem, number = base, 1
    while stem.lower() in used:
        number += 1
        stem = f"{base}-{number}"
    used.add(stem.lower())
    return stem
