"""A waterfall: from one end of a total to the other, part by part, with the seeds as dots."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sem_bench.report.figures.look import INK, PALE, Look, printable
from sem_bench.report.figures.panels import Drawn, footnote, panels_of, rows_of
from sem_bench.report.layout import Contrast, Table
from sem_bench.report.row import ARM, Row, grouped
from sem_bench.report.text_table import plus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UP, DOWN = "#0072B2", "#D55E00"  # Okabe and Ito's


def draw(rows: Sequence[Row], look: Look, table: Table) -> Drawn:
    """A panel for each arm, and for the methods together, at each fraction of the labels."""
    shown = [contrast for contrast in table.contrasts if contrast.role != "apart"]
    parts = [contrast for contrast in shown if contrast.role == "part"]
    total = next((contrast for contrast in shown if contrast.role == "total"), None)
    if total is None:
        return
    own = rows_of(rows, table.name, *(contrast.name for contrast in shown))
    for column, same in grouped(own, lambda row: row.column).items():
        lines = [{row.metric: row for row in line} for line in grouped(same, lambda row: row.key(ARM)).values()]
        whole = [line for line in lines if all(c.name in line and line[c.name].mean is not None for c in shown)]
        if not whole:
            continue
        first = whole[0][total.name]
        size = (0.75 * (len(parts) + 2), 2.6)
        figure, panels = panels_of(first, f"Parts of the gain, {column} of labels", grid=(1, len(whole)), size=size)
        cut = [_waterfall(axis, line, parts, total) for axis, line in zip(panels[0], whole, strict=True)]
        panels[0, 0].set_ylabel("top-1 [%]")
        drawn = [row for line in whole for row in line.values()]
        bars = any(row.gain_low is not None for row in drawn)
        texts = (
            "dots: seeds, from where a part begins",
            "bars: 95 % interval of the part" * bars,
            "arrows: the interval goes on" * any(cut),
        )
        totals = [row for row in same if row.metric == total.name]
        footnote(figure, totals, look, drawn, *texts, markers=False)
        yield column.replace("%", "pc"), figure


def _waterfall(axis: "Axes", line: Mapping[str, Row], parts: Sequence[Contrast], total: Contrast) -> bool:
    """From the start of the total to its end; whether an interval goes on beyond the panel."""
    row = line[total.name]
    start, end = row.extra["less"], row.extra["of"]
    level, seen, intervals = start, [start, end], list[tuple[float, float, float]]()
    for x, part in enumerate(parts, 1):
        one = line[part.name]
        size = one.mean or 0.0
        axis.bar(x, size, bottom=level, width=0.6, color=UP if size >= 0 else DOWN, alpha=0.75, zorder=2)
        axis.plot([x - 1, x + 0.3], [level, level], color=PALE, linewidth=0.8, zorder=1)
        if one.gain_low is not None and one.gain_high is not None:
            intervals.append((x + 0.15, level + one.gain_low, level + one.gain_high))
        dots = [level + value for _, value in one.gain_by_seed]
        axis.plot([x - 0.15] * len(dots), dots, "o", color=INK, markersize=3, mfc="white", zorder=4)
        above = axis.get_xaxis_transform()  # the number stands at the top, where no dot and no bar hides it
        axis.text(x, 0.98, plus(size, 1), transform=above, ha="center", va="top", fontsize=7, zorder=5)
        seen += [level, level + size, *dots]
        level += size
    for x, value in ((0, start), (len(parts) + 1, end)):
        axis.bar(x, value, width=0.6, color=PALE, zorder=2)
    margin = 0.3 * max(max(seen) - min(seen), 1.0)
    low, high = max(0.0, min(seen) - margin), max(seen) + margin  # bars of levels are cut: the steps matter
    axis.set_ylim(low, high + margin / 2)
    cut = [_interval(axis, *one, low, high) for one in intervals]
    names = [total.less.reads, *(part.name for part in parts), total.of.reads]
    axis.set_xticks(range(len(names)), [printable(name) for name in names], rotation=45, ha="right")
    axis.grid(visible=False, axis="x")
    axis.set_title(printable(f"{row.method_label}, {row.embedding_label}"))
    return any(cut)


def _interval(axis: "Axes", x: float, start: float, end: float, low: float, high: float) -> bool:
    """An interval as far as the panel reaches, with an arrow where it goes on; whether it does."""
    axis.plot([x] * 2, [max(start, low), min(end, high)], color=INK, linewidth=1, zorder=3)
    for goes_on, y, marker in ((start < low, low, "v"), (end > high, high, "^")):
        if goes_on:
            axis.plot([x], [y], marker, color=INK, markersize=4, zorder=3, clip_on=False)
    return start < low or end > high
