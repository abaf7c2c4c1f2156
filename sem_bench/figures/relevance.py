"""Semantic relevance against K, beside what chance gives."""

import math
from collections.abc import Sequence

from sem_bench.figures.look import INK, PALE, Look, shades_of
from sem_bench.figures.panels import SPREAD, Drawn, by, legend, main, mark, note, of, panels_of, there
from sem_bench.records import Row


def draw(rows: Sequence[Row], look: Look) -> Drawn:
    """Semantic relevance against K, beside what chance gives; a panel for each method."""
    arms = main(of(rows, "relevance", "relevance_per_class"))
    drawn = there(arms)
    if not drawn:
        return
    methods, embeddings = by(drawn, look.method), list(by(drawn, look.embedding))
    height = math.ceil(len(methods) / 4)
    columns = math.ceil(len(methods) / height)
    figure, panels = panels_of(
        drawn[0], "Semantic relevance", grid=(height, columns), size=(1.9, 1.9), sharex=True, sharey=True
    )
    ticks = sorted({int(row["column"]) for row in drawn})
    base_rate = {"color": INK, "linestyle": "--", "linewidth": 0.9}
    panels[0, 0].set_xscale("log", base=2)
    panels[0, 0].set_xticks(ticks, list(map(str, ticks)), minor=False)
    for number, axis in enumerate(panels.flat):
        if number >= len(methods):
            axis.remove()
        elif number + columns >= len(methods):  # nothing below it
            axis.set(xlabel="K")
            axis.tick_params(labelbottom=True)
    for axis, (method, found) in zip(panels.flat, methods.items(), strict=False):
        axis.set(title=method)
        for name, line in by(found, look.embedding).items():
            line = sorted(line, key=lambda row: int(row["column"]))
            ks = [int(row["column"]) for row in line]
            colour = shades_of(look.colour(line[0]), len(embeddings))[embeddings.index(name)]
            style = look.marker(line[0], hollow=all(row["n"] == 1 for row in line))
            axis.errorbar(ks, [row["mean"] for row in line], [row["std"] or 0 for row in line], color=colour, **style)
            null = there(line, "null_low", "null_high")
            if null:
                edges = ([row[end] for row in null] for end in ("null_low", "null_high"))
                axis.fill_between([int(row["column"]) for row in null], *edges, color=colour, alpha=0.2, linewidth=0)
            base = there(line, "base_rate")
            axis.plot([int(row["column"]) for row in base], [row["base_rate"] for row in base], **base_rate)
    figure.supylabel("semantic relevance", fontsize=9)
    from matplotlib.patches import Patch

    shades = dict(zip(embeddings, shades_of(PALE, len(embeddings)), strict=True))
    firsts = by(drawn, look.embedding).items()
    handles = [mark(name, color=shades[name], ls="-", **look.marker(row[0], hollow=False)) for name, row in firsts]
    band = Patch(color=PALE, alpha=0.4, linewidth=0, label="chance, 95 %")
    legend(
        figure,
        [
            *handles,
            *[band] * bool(there(drawn, "null_low", "null_high")),
            *[mark("base rate", **base_rate)] * bool(there(drawn, "base_rate")),
        ],
    )
    spread = SPREAD if any(row["std"] for row in drawn) else ""
    chance = "chance: classes permuted among superclasses" if there(drawn, "null_low", "null_high") else ""
    note(figure, arms, look, drawn, "mean over classes, of the K largest weights of each", spread, chance)
    yield "", figure
