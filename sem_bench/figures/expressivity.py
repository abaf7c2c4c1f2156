"""Accuracy on the labelled images, on test and their gap against the number of labels."""

from collections.abc import Sequence

from sem_bench.figures.look import DASHES, INK, Look, shades_of
from sem_bench.figures.panels import SPREAD, Drawn, by, legend, mark, note, of, panels_of, there
from sem_bench.records import Row


def draw(rows: Sequence[Row], look: Look) -> Drawn:
    """Accuracy on the labelled images, on test and their gap against the number of labels; a figure for each method."""
    metrics = {
        "train": "accuracy on the labelled images [%]",
        "test": "test accuracy [%]",
        "gap": "gap, train − test [points]",
    }
    for method, found in by(of(rows, "expressivity", *metrics), look.method).items():
        drawn = there(found, "labels")
        if not drawn:
            continue
        shown = [metric for metric in metrics if any(row["metric"] == metric for row in drawn)]
        figure, panels = panels_of(drawn[0], f"Expressivity: {method}", grid=(1, len(shown)), size=(2.5, 2.6))
        ticks = sorted({row["labels"] for row in drawn})
        for axis, metric in zip(panels[0], shown, strict=True):
            axis.set(xscale="log", xlabel="labels", ylabel=metrics[metric])
            axis.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks], rotation=90 if len(ticks) > 4 else 0)
            axis.minorticks_off()
        taus = sorted({row["tau_d"] for row in drawn if row["tau_d"] is not None})
        shades = dict(zip(taus, shades_of(look.colour(drawn[0]), len(taus)), strict=True))
        handles = []
        for line in by(drawn, lambda row: (look.embedding(row), row["representation"], row["tau_d"])).values():
            tau_d, single = line[0]["tau_d"], all(row["n"] == 1 for row in line)
            style = {"color": shades.get(tau_d, INK), "linestyle": "-" if tau_d is not None else DASHES[1]}
            style |= look.marker(line[0], hollow=single)
            name = line[0]["representation"] if tau_d is None else f"τ_d = {tau_d:g}"
            handles.append(mark(f"{look.embedding(line[0])}: {name}", **style))
            for axis, metric in zip(panels[0], shown, strict=True):
                points = sorted(
                    (row["labels"], row["mean"], row["std"] or 0) for row in line if row["metric"] == metric
                )
                if points:
                    axis.errorbar(*zip(*points, strict=True), elinewidth=0.8, **style)
        legend(figure, handles)
        note(figure, found, look, drawn, SPREAD if any(row["std"] for row in drawn) else "")
        yield method, figure
