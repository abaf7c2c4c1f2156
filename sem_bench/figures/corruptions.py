"""Heat maps of accuracy by corruption and severity."""

from collections.abc import Iterable, Sequence

from sem_bench.figures.look import Look
from sem_bench.figures.panels import Drawn, by, heat_map, main, note, of, panels_of, there
from sem_bench.records import Row


def draw(rows: Sequence[Row], look: Look) -> Drawn:
    """Accuracy by corruption and severity, an arm beside the other; a figure for each method, one scale a fraction."""
    every = [row for row in main(of(rows, "robustness", "top1")) if row["mean"] is None or row.get("matrix")]
    places = {(row["column"], row["fraction"]) for row in every if row["mean"] is not None}
    limits = {place: _limits(row for row in every if (row["column"], row["fraction"]) == place) for place in places}
    for (method, *place), found in by(every, lambda row: (look.method(row), row["column"], row["fraction"])).items():
        drawn = there(found)
        if not drawn:
            continue
        widest, tallest = (max(len(row["matrix"][name]) for row in drawn) for name in ("severities", "corruptions"))
        size = (0.3 + 0.36 * widest, 0.6 + 0.2 * tallest)
        first = drawn[0]["matrix"]["corruptions"]
        title = f"Accuracy under corruption: {method}, probe at {100 * place[1]:g}% of labels"
        figure, panels = panels_of(drawn[0], title, grid=(1, len(drawn)), size=size)
        for axis, row in zip(panels[0], drawn, strict=True):
            names = [str(name).replace("_", " ") for name in row["matrix"]["corruptions"]]
            severities = list(map(str, row["matrix"]["severities"]))
            image = heat_map(axis, row["matrix"]["values"], severities, names, limits=limits[tuple(place)])
            axis.set(title=f"{look.embedding(row)}\nmean {row['mean']:.1f} %", xlabel="severity")
            axis.tick_params(labelleft=axis is panels[0, 0] or row["matrix"]["corruptions"] != first)
        figure.colorbar(image, ax=list(panels[0]), label="accuracy [%]", fraction=0.05)
        counts = {row["matrix"]["images"] for row in drawn if row["matrix"].get("images")}
        note(figure, found, look, drawn, *(f"{count:g} images of each corruption and severity" for count in counts))
        yield "-".join([method, place[0], f"{100 * place[1]:g}"] if len(places) > 1 else [method]), figure


def _limits(rows: Iterable[Row]) -> tuple[float, float]:
    """The lowest and the highest value of their matrices."""
    values = [value for row in rows if row["mean"] is not None for line in row["matrix"]["values"] for value in line]
    return min(values), max(values)
