"""How the entropies of the simplices are distributed, and their mean over training."""

from collections.abc import Sequence

from sem_bench.figures.look import Look
from sem_bench.figures.panels import Drawn, legend, main, mark, note, of, panels_of, there
from sem_bench.records import Row


def draw(rows: Sequence[Row], look: Look) -> Drawn:
    """How the entropies of the simplices are distributed, and their mean over training."""
    arms = main(of(rows, "entropy", "entropy_share"))
    counted = [row for row in there(arms, "histogram") if sum(row["histogram"]) > 0]
    followed = [row for row in there(arms, "course") if row["course"]]
    drawn = list({id(row): row for row in counted + followed}.values())
    if not drawn:
        return
    count = bool(counted) + bool(followed)
    figure, panels = panels_of(rows[0], "Entropy of the simplices", grid=(1, count), size=(3.2, 2.9))
    if counted:
        panels[0, 0].set(xlabel="normalised entropy H / log V", ylabel="probability density", xlim=(-0.02, 1.02))
    for row in counted:
        bins, total = len(row["histogram"]), sum(row["histogram"])
        density = [bins * number / total for number in row["histogram"]]
        colour, dashes = look.colour(row), look.dashes(row)
        edges = [number / bins for number in range(bins + 1)]
        panels[0, 0].stairs(density, edges, color=colour, linestyle=dashes, linewidth=1.4)
        peak = max(range(bins), key=lambda number: density[number])
        style = look.marker(row, hollow=row["n"] == 1) | {"color": colour, "linestyle": "none"}
        panels[0, 0].plot([(peak + 0.5) / bins], [density[peak]], **style)
    if followed:
        panels[0, -1].set(xlabel="epoch", ylabel="mean of H / log V", ylim=(-0.02, 1.02))
    for row in followed:
        epochs, shares = zip(*row["course"], strict=True)
        style = look.marker(row, hollow=row["n"] == 1) | {"markevery": max(1, len(epochs) // 6)}
        panels[0, -1].plot(epochs, shares, color=look.colour(row), linestyle=look.dashes(row), **style)
    styles = ((row, {"color": look.colour(row), "linestyle": look.dashes(row)}) for row in drawn)
    marked = ((row, style | look.marker(row, hollow=row["n"] == 1)) for row, style in styles)
    legend(figure, [mark(f"{look.method(row)}, {look.embedding(row)}", **style) for row, style in marked])
    note(figure, arms, look, drawn, "left: the marker is at the largest bin" if counted else "")
    yield "", figure
