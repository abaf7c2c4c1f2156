"""The parts of which figures are made: chosen rows, panels, legend and the note below."""

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sem_bench.report.figures.look import INK, Look, printable
from sem_bench.report.row import Row

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Drawn = Iterator[tuple[str, "Figure"]]  # what the file's name ends in, and the figure
SPREAD = "bars: standard deviation over seeds"


def rows_of(rows: Iterable[Row], table: str, *metrics: str) -> list[Row]:
    """The rows of a table that hold one of the metrics."""
    return [row for row in rows if row.table == table and row.metric in metrics]


def main_rows(rows: Iterable[Row]) -> list[Row]:
    """The rows that stand for their arms."""
    return [row for row in rows if row.representation == row.main]


def complete_rows(rows: Iterable[Row], *names: str) -> list[Row]:
    """The rows that have a mean, and a value under each name."""
    return [row for row in rows if all(row.get(name) is not None for name in ("mean", *names))]


def panels_of(row: Row, what: str, *, grid: tuple[int, int], size: tuple[float, float], **options: Any) -> Any:
    """A figure and its array of panels, each of a size in inches, with room for the legend to the right."""
    from matplotlib.figure import Figure

    place = printable(row.heading)
    width = max(grid[1] * size[0] + 0.6, 0.3 + width_of((what, place)))
    figure = Figure((width, grid[0] * size[1] + 0.9), layout="constrained")
    figure.suptitle(f"{what}\n{place}", x=0.01, ha="left", fontsize=9)
    return figure, figure.subplots(*grid, squeeze=False, **options)


def heat_map(
    axis: "Axes",
    table: Sequence[Sequence[float | None]],
    columns: Sequence[str],
    lines: Sequence[str],
    *,
    limits: tuple[float, float] | None = None,
    digits: int = 0,
    bold: bool = False,
) -> Any:
    """A table of numbers as colours with the numbers in them, None left white; `bold` marks the best of each line."""
    known = [value for line in table for value in line if value is not None]
    low, high = limits or (min(known), max(known))
    high = max(high, low + 1)
    filled = [[math.nan if value is None else value for value in line] for line in table]
    image = axis.pcolormesh(filled, vmin=low, vmax=high, cmap="cividis", edgecolors="white", linewidth=0.5)
    for y, line in enumerate(table):
        best = max((value for value in line if value is not None), default=None)
        for x, value in enumerate(line):
            if value is None:
                continue
            colour = "white" if value < (low + high) / 2 else "black"
            weight = "bold" if bold and value == best else "normal"
            style: dict[str, Any] = {"color": colour, "weight": weight, "ha": "center", "va": "center", "fontsize": 7}
            text = axis.text(x + 0.5, y + 0.5, f"{value:.{digits}f}", **style)
            text.set_in_layout(False)  # it lies inside, and measuring all of them takes time
    axis.set_xticks([x + 0.5 for x in range(len(columns))], list(map(printable, columns)))
    axis.set_yticks([y + 0.5 for y in range(len(lines))], list(map(printable, lines)))
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return image


def legend_entry(label: str, **style: Any) -> "Artist":
    """An entry of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **{"color": INK, "linestyle": "None"} | style)


def legend(figure: "Figure", handles: Sequence["Artist"]) -> None:
    """To the right of the panels, which keep their width."""
    columns = math.ceil(len(handles) / (5 * figure.get_figheight()))
    widen(figure, columns * (0.6 + width_of(str(handle.get_label()) for handle in handles)))
    figure.legend(handles=handles, loc="outside right upper", ncols=columns)


def widen(figure: "Figure", inches: float) -> None:
    """Make a figure so much wider."""
    figure.set_figwidth(figure.get_figwidth() + inches)


def width_of(texts: Iterable[str]) -> float:
    """Of the longest text, in inches, about."""
    return 0.066 * max(map(len, texts))


def footnote(
    figure: "Figure",
    rows: Sequence[Row],
    look: Look,
    drawn: Sequence[Row],
    *texts: str,
    column: str = "{column}",
    markers: bool = True,
) -> None:
    """Below the panels: the number of seeds, what else there is to say, and which rows are not drawn, and why.

    `column` is what a row's column is called there; without `markers` of rows none of them can be hollow.
    """
    counts = sorted({row.n for row in drawn})
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    hollow = "hollow markers: one seed" if markers and counts[0] == 1 else ""
    kept = {id(row) for row in drawn}
    holes = list(dict.fromkeys(_hole(row, look, column) for row in rows if id(row) not in kept))
    more = f" and {len(holes) - 4} more" if len(holes) > 4 else ""
    left_out = f"left out: {', '.join(holes[:4])}{more}" if holes else ""
    text = "; ".join(filter(None, (f"n = {seeds} seed{'s' * (counts[-1] > 1)}", hollow, *texts, left_out)))
    remark(figure, text)


def remark(figure: "Figure", text: str) -> None:
    """Small print below the panels."""
    lines = textwrap.wrap(printable(text), int(16 * figure.get_figwidth()))
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7, color="#555555")


def _hole(row: Row, look: Look, column: str) -> str:
    notes = row.notes if row.mean is None else row.gain_notes
    reason = f" ({notes[0]})" if notes else ""
    return f"{look.method(row)} {look.embedding(row)} {column.format(column=row.column)}{reason}"
