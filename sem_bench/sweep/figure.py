"""What a sweep found: validation figures against each parameter, and heat maps by setting and tau_d, and by L and V."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from sem_bench.report.figures.look import INK, Look
from sem_bench.report.figures.panels import Drawn, heat_map, legend, legend_entry, panels_of, remark
from sem_bench.report.row import Row, grouped
from sem_bench.sweep.objectives import OBJECTIVES

SIDE = 0.42  # inches of a cell of a heat map


def draw(rows: Sequence[Row], look: Look) -> Drawn:
    """A figure for each sweep and method, a panel for each parameter, and heat maps beside it."""
    found = [row for row in rows if row.table == "sweep"]
    for (sweep, method), part in grouped(found, lambda row: (row.extra["sweep"], look.method(row))).items():
        trials = _trials(part)
        if not trials:
            continue
        name = f"{sweep}-{method}"
        yield name, _curves(part, trials, look)
        temperatures = sorted({row.tau_d for row in part if row.extra["value"] is not None and row.tau_d is not None})
        if len(temperatures) > 1:
            yield f"{name}-tau_d", _by_tau_d(part, trials, temperatures)
        if {"L", "V"} <= trials[0].extra["params"].keys() and len(trials) > 1:
            yield f"{name}-LV", _by_size(part, trials)


def _trials(rows: Sequence[Row]) -> list[Row]:
    """The row of each complete trial that has its value."""
    complete = grouped((row for row in rows if row.extra["value"] is not None), lambda row: row.extra["trial"]).values()
    return [max(trial, key=lambda row: (row.extra["best"], row.extra["value"])) for trial in complete]


def _label(row: Row) -> str:
    return OBJECTIVES[row.extra["objective"]].axis


def _title(row: Row, what: str) -> str:
    return f"Sweep {row.extra['sweep']}, {row.method} {row.embedding}: {what}"


def _curves(rows: Sequence[Row], trials: Sequence[Row], look: Look) -> Any:
    """Every trial as a point; a line through the means of equal settings, with their spread."""
    names = list(trials[0].extra["params"])
    figure, panels = panels_of(
        rows[0], _title(rows[0], "each trial"), grid=(1, len(names)), size=(2.6, 2.6), sharey=True
    )
    best = next((row for row in trials if row.extra["best"]), None)
    colour = look.colour(trials[0])
    tested = best is not None and best.extra["test"] is not None
    spread = False
    for axis, name in zip(panels[0], names, strict=True):
        at = grouped(trials, lambda row, name=name: row.extra["params"][name])  # type: ignore[misc]
        values = sorted(at)
        axis.set(xlabel=name)
        if values[0] > 0 and values[-1] >= 8 * values[0]:
            axis.set_xscale("log")
            ticks = values if name in ("L", "V") else _decades(values[0], values[-1])
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.minorticks_off()
        axis.plot(
            *zip(*((row.extra["params"][name], row.extra["value"]) for row in trials), strict=True),
            "o",
            color=colour,
            mfc="white",
        )
        means = [statistics.fmean(row.extra["value"] for row in at[value]) for value in values]
        if len(values) < len(trials) or len(names) == 1:
            bars = [statistics.stdev(row.extra["value"] for row in at[v]) if len(at[v]) > 1 else 0.0 for v in values]
            spread |= any(bars)
            axis.errorbar(values, means, bars if any(bars) else None, color=colour, elinewidth=0.8)
        if best is not None:
            axis.plot([best.extra["params"][name]], [best.extra["value"]], "o", color=colour)
            if tested:
                bar = best.extra["test_std"] or 0
                axis.errorbar(
                    [best.extra["params"][name]], [best.extra["test"]], [bar], fmt="D", color=INK, elinewidth=0.8
                )
    panels[0, 0].set_ylabel(_label(rows[0]))
    handles = [
        legend_entry("a trial", marker="o", color=colour, mfc="white"),
        legend_entry("the best", marker="o", color=colour),
    ]
    if tested:
        assert best is not None
        handles.append(legend_entry(f"its test, {best.extra['test_n']} seeds", marker="D"))
    legend(figure, handles)
    texts = [f"{len(trials)} trials, one seed"]
    texts += ["bar of the test: standard deviation over seeds"] * (
        tested and best is not None and bool(best.extra["test_std"])
    )
    texts += ["bars: standard deviation over trials of equal setting"] * spread
    remark(figure, "; ".join(texts))
    return figure


def _decades(low: float, high: float) -> list[float]:
    """1 and 3 times the powers of ten around a range; of a long one the powers alone."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    leads = (1, 3) if last - first < 4 else (1,)
    ticks = [float(f"{lead}e{power}") for power in range(first, last + 1) for lead in leads]
    return [tick for tick in ticks if 0.9 * low <= tick <= 1.1 * high]


def _by_tau_d(rows: Sequence[Row], trials: Sequence[Row], temperatures: Sequence[float]) -> Any:
    """A line for each trial, by its parameters."""
    order = sorted(trials, key=lambda row: tuple(row.extra["params"].values()))
    value = {(row.extra["trial"], row.tau_d): row.extra["value"] for row in rows}
    table = [[value.get((row.extra["trial"], tau)) for tau in temperatures] for row in order]
    names = [" / ".join(f"{number:g}" for number in row.extra["params"].values()) for row in order]
    size = (0.6 + SIDE * len(temperatures), 0.5 + 0.24 * len(order))
    figure, panels = panels_of(rows[0], _title(rows[0], "by tau_d"), grid=(1, 1), size=size)
    image = heat_map(panels[0, 0], table, [f"{tau:g}" for tau in temperatures], names, digits=1, bold=True)
    panels[0, 0].set(xlabel="tau_d", ylabel=" / ".join(trials[0].extra["params"]))
    figure.colorbar(image, ax=panels[0, 0], label=_label(rows[0]))
    remark(figure, "one seed; bold: the best of a trial")
    return figure


def _by_size(rows: Sequence[Row], trials: Sequence[Row]) -> Any:
    """The mean of the trials at each L and V."""
    at = grouped(trials, lambda row: (row.extra["params"]["L"], row.extra["params"]["V"]))
    numbers, sizes = (sorted({key[i] for key in at}) for i in (0, 1))
    table = [[_mean(at.get((number, size), [])) for size in sizes] for number in numbers]
    figure, panels = panels_of(
        rows[0], _title(rows[0], "L by V"), grid=(1, 1), size=(0.6 + SIDE * len(sizes), 0.5 + 0.24 * len(numbers))
    )
    image = heat_map(panels[0, 0], table, list(map(str, sizes)), list(map(str, numbers)), digits=1)
    panels[0, 0].set(xlabel="V", ylabel="L")
    figure.colorbar(image, ax=panels[0, 0], label=_label(rows[0]))
    remark(figure, "one seed; white: not tried")
    return figure


def _mean(rows: Sequence[Row]) -> float | None:
    return statistics.fmean(row.extra["value"] for row in rows) if rows else None
