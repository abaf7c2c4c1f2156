"""Heat maps of accuracy by corruption and severity."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sem_bench.figures.look import Look, printable
from sem_bench.figures.panels import Drawn, by, main, note, of, panels_of, there
from sem_bench.records import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(rows: Sequence[Row], look: Look) -> Drawn:
    """Accuracy by corruption and severity, an arm beside the other; a figure for each method, on one scale."""
    every = [row for row in main(of(rows, "robustness", "top1")) if row["mean"] is None or row.get("matrix")]
    matrices = [row for row in every if row["mean"] is not None]
    values = [value for row in matrices for line in row["matrix"]["values"] for value in line]
    places = {(row["column"], row["fraction"]) for row in matrices}
    for (method, *place), found in by(every, lambda row: (look.method(row), row["column"], row["fraction"])).items():
        drawn = there(found)
        if not drawn or not values:
            continue
        widest, tallest = (max(len(row["matrix"][name]) for row in drawn) for name in ("severities", "corruptions"))
        size = (0.3 + 0.36 * widest, 0.6 + 0.2 * tallest)
        first = drawn[0]["matrix"]["corruptions"]
        title = f"Accuracy under corruption: {method}, probe at {100 * place[1]:g}% of labels"
        figure, panels = panels_of(drawn[0], title, grid=(1, len(drawn)), size=size)
        for axis, row in zip(panels[0], drawn, strict=True):
            image = _heat_map(axis, row["matrix"], (min(values), max(values)))
            axis.set(title=f"{look.embedding(row)}\nmean {row['mean']:.1f} %", xlabel="severity")
            axis.tick_params(labelleft=axis is panels[0, 0] or row["matrix"]["corruptions"] != first)
        figure.colorbar(image, ax=list(panels[0]), label="accuracy [%]", fraction=0.05)
        note(figure, found, look, drawn)
        yield "-".join([method, place[0], f"{100 * place[1]:g}"] if len(places) > 1 else [method]), figure


def _heat_map(axis: "Axes", matrix: Row, limits: tuple[float, float]) -> Any:
    low, high = limits[0], max(limits[1], limits[0] + 1)
    image = axis.pcolormesh(matrix["values"], vmin=low, vmax=high, cmap="cividis", edgecolors="white", linewidth=0.5)
    for y, line in enumerate(matrix["values"]):
        for x, value in enumerate(line):
            colour = "white" if value < (low + high) / 2 else "black"
            text = axis.text(x + 0.5, y + 0.5, f"{value:.0f}", color=colour, ha="center", va="center", fontsize=7)
            text.set_in_layout(False)  # it lies inside, and measuring all of them takes time
    names = [printable(str(name)).replace("_", " ") for name in matrix["corruptions"]]
    axis.set_xticks([x + 0.5 for x in range(len(matrix["severities"]))], list(map(str, matrix["severities"])))
    axis.set_yticks([y + 0.5 for y in range(len(names))], names)
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return image
