"""The table that probe, nearest neighbours and augmented heads share, and its figure of gains."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sem_bench.base.digest import canonical_json
from sem_bench.report.figures.look import INK, Look, printable
from sem_bench.report.figures.panels import (
    Drawn,
    complete_rows,
    footnote,
    legend,
    legend_entry,
    main_rows,
    panels_of,
    rows_of,
    widen,
    width_of,
)
from sem_bench.report.gains import pooled
from sem_bench.report.layout import FIXED_TAU, Metric, Table
from sem_bench.report.row import Row, at_fixed_tau, grouped

if TYPE_CHECKING:
    from matplotlib.axes import Axes


COMPARISON = Table(
    name="comparison",
    metrics=[
        Metric(name=f"top1{FIXED_TAU}", images=True),
        Metric(name="knn_top1"),
        Metric(name="knn_centred_top1"),
        Metric(name="top1", header="{column} searched", images=True, published=True),
        *(
            Metric(name=f"{name}{end}", header=f"{{column}} {said}{more}", unit=f"{said} in percent")
            for name, said in (("map", "mAP"), ("macro_f1", "macro F1"))
            for end, more in ((FIXED_TAU, ""), ("", " searched"))
        ),
    ],
    by_metric=True,
    order=10,
    legend="probe: l2 logistic regression on frozen features; test read once",
    headline=True,
)

METRICS = [metric.name for metric in COMPARISON.metrics]
DRAWN = (f"top1{FIXED_TAU}", "knn_top1")


def draw(rows: Sequence[Row], look: Look) -> Drawn:
    """Gains over none with their intervals: a panel for each column, a line for each method, the pooled ones below."""
    own = at_fixed_tau([row for row in rows if row.table == COMPARISON.name], METRICS)
    arms = [row for row in main_rows(rows_of(own, COMPARISON.name, *DRAWN)) if not row.baseline]
    drawn = complete_rows(arms, "gain")
    if not drawn:
        return
    means = list(_pooled(arms, look))
    shown = drawn + [row for row in means if row.gain is not None]
    columns, embeddings = list(grouped(drawn, lambda row: row.column)), list(grouped(drawn, look.embedding))
    lines = {name: float(number) for number, name in enumerate(grouped(drawn, look.method))}
    lines |= {name: len(lines) + 0.3 + number for number, name in enumerate(grouped(shown[len(drawn) :], look.method))}
    size = (2.0, 0.5 + len(lines) * max(0.3, 0.17 * len(embeddings)))
    figure, panels = panels_of(rows[0], "Gain over none", grid=(1, len(columns)), size=size, sharex=True, sharey=True)
    # Two seeds can have intervals that dwarf all gains. All panels have one scale: a point is as long in each of them.
    reach = max(1.0, *(3 * abs(row.gain or 0.0) for row in shown))
    cut = False
    for axis, column in zip(panels[0], columns, strict=True):
        axis.axvline(0, color=INK, linewidth=0.8, zorder=1)
        own = [row for row in shown if row.column == column]
        for row in own:
            y = lines[look.method(row)] + 0.8 * ((embeddings.index(look.embedding(row)) + 0.5) / len(embeddings) - 0.5)
            cut |= _gain(axis, row, y, look, reach)
        name = f"probe, {column} of labels" if column.endswith("%") else column
        axis.set(title=printable(name), xlabel="gain in top-1 [points]")
        axis.grid(visible=False, axis="y")
        axis.tick_params(axis="y", left=False)
    panels[0, 0].set_yticks(list(lines.values()), list(lines))
    panels[0, 0].set_ylim(max(lines.values()) + 0.6, -0.6)
    widen(figure, width_of(lines))
    firsts = grouped(drawn, look.embedding).items()
    legend(figure, [legend_entry(name, **look.marker(first[0], hollow=False)) for name, first in firsts])
    bars = any(row.gain_low is not None for row in drawn)
    texts = (
        "bars: 95 % t-interval of the gain, paired by seed" * bars,
        "arrows: the interval goes on" * cut,
        f"pooled: mean of the methods{'; bars: new seeds and methods of this kind' * bars}" * (len(shown) > len(drawn)),
    )
    footnote(figure, arms + means, look, shown, *texts)
    yield "", figure


def _gain(axis: "Axes", row: Row, y: float, look: Look, reach: float) -> bool:
    """A gain and its interval as far as the panel reaches; whether the interval goes on."""
    colour, low, high = look.colour(row), row.gain_low, row.gain_high
    goes_on = False
    if low is not None and high is not None:
        goes_on = max(-low, high) > reach
        axis.plot([max(low, -reach), min(high, reach)], [y, y], color=colour, solid_capstyle="butt")
        for end, marker in ((-low, "<"), (high, ">")):
            if end > reach:
                axis.plot([reach if marker == ">" else -reach], [y], marker, color=colour, markersize=4)
    axis.plot([row.gain or 0.0], [y], color=colour, linestyle="None", **look.marker(row, hollow=low is None))
    return goes_on


def _pooled(arms: Sequence[Row], look: Look) -> Iterator[Row]:
    """The pooled lines of the comparison as rows. A hole among the methods makes a hole."""
    for part in grouped(arms, lambda row: (look.embedding(row), canonical_json(row.ip))).values():
        methods = list(grouped(part, look.method))
        for same in grouped(part, lambda row: row.column).values() if len(methods) > 1 else ():
            by_method = {look.method(row): row for row in same}
            gain = pooled([by_method.get(method) for method in methods])
            line = replace(same[0], method=f"pooled ({len(methods)})", twin=-1, notes=[], gain_notes=[], choices="")
            yield replace(line, gain=gain.mean, gain_low=gain.low, gain_high=gain.high, n=max(row.n for row in same))
