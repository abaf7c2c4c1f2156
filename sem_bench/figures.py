"""The figures of a suite as PNG and SVG: gains, entropy, expressivity, corruptions and relevance.

They show the flat rows of `table --format json` and nothing else, and the same rows give the same bytes. A method has
its colour and dashes and an embedding its marker in every figure. A hollow marker is one seed: it has no spread.
"""

import math
import re
import textwrap
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sem_bench.digest import canonical_json
from sem_bench.files import write_atomic
from sem_bench.pooling import embedding_type, main_representation, pooled
from sem_bench.records import ARM, Row

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Drawn = Iterator[tuple[str, "Figure"]]  # what the file's name ends in, and the figure
Colour = tuple[float, float, float]

_GROUP = ("suite", "dataset", "backbone", "recipe", "epochs")
_METHODS = ("simclr", "byol", "moco", "swav", "dino", "simsiam", "barlow_twins", "vicreg", "supervised", "external")
_COLOURS = (  # Okabe and Ito's first, which the colour-blind can tell apart
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"),
    *("#56B4E9", "#882255", "#8A8A2B", "#332288", "#777777"),
)
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
_MARKERS = {"none": "o", "linear": "^", "sem": "s", "gumbel": "D"}
_INK, _PALE = "#222222", "#8c8c8c"
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


def write(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw each figure for which there is a figure, and return the files: NAME[-GROUP][-METHOD].{png,svg}.

    GROUP holds the suite, data set, backbone, recipe and epochs, those of them in which the rows differ.
    """
    rows = _numbered(rows)
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
        look = _Look(rows)
        for part in _by(rows, lambda row: tuple(row[name] for name in _GROUP)).values():
            group = "-".join(f"{part[0][name]}{'epochs' * (name == 'epochs')}" for name in differing)
            for name, draw in _FIGURES.items():
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


# --- what methods and embeddings are called, and how they look -----------------------------------------------


def _numbered(rows: Iterable[Row]) -> list[Row]:
    """The rows, each with its number among those of the same place: its results differ in configuration."""
    times = Counter[str]()
    found = []
    for row in rows:
        place = [row[name] for name in ("table", "suite", *ARM, "fraction", "column", "metric", "representation")]
        key = canonical_json([*place, row["tau_d"] if row["table"] == "expressivity" else None])
        found.append(row | {"twin": times[key]})
        times[key] += 1
    return found


class _Look:
    """Names, colours, dashes and markers, the same in all figures of these rows."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.methods = _names((_method_key(row), _method(row)) for row in rows)
        self.embeddings = _names((_embedding_key(row), _embedding(row)) for row in rows)
        self.numbers: dict[str, int] = {}  # of the 40 pairs of colour and dashes
        for name in sorted(self.methods.values(), key=lambda name: (name not in _METHODS, name)):
            base = name.removesuffix(" + IP")  # has its method's colour, with other dashes
            own = _METHODS.index(base) + 10 * (name != base) if base in _METHODS else None
            first = 20 + zlib.crc32(name.encode()) % 20 if own is None else own
            free = (number % 40 for number in range(first, first + 40) if number % 40 not in self.numbers.values())
            self.numbers[name] = next(free, first)
        self.markers: dict[str, str] = {}
        for row in rows:
            wished = (_MARKERS.get(row["embedding"], "v"), *"vPX<>ph*d8", *_MARKERS.values())
            free_markers = (marker for marker in wished if marker not in self.markers.values())
            self.markers.setdefault(self.embedding(row), next(free_markers, "o"))

    def method(self, row: Row) -> str:
        return self.methods.get(_method_key(row), _method(row))

    def embedding(self, row: Row) -> str:
        return self.embeddings[_embedding_key(row)]

    def colour(self, row: Row) -> str:
        number = self.numbers.get(self.method(row))
        return _INK if number is None else _COLOURS[number % 10]  # a pooled line is no method

    def dashes(self, row: Row) -> Any:
        number = self.numbers[self.method(row)]
        return _DASHES[(number + number // 10) % 4]

    def marker(self, row: Row, *, hollow: bool) -> dict[str, Any]:
        return {"marker": self.markers[self.embedding(row)]} | ({"mfc": "white"} if hollow else {})


def _method_key(row: Row) -> str:
    return canonical_json([row["method"], row["ip"], row["twin"]])


def _method(row: Row) -> str:
    return str(row["method"]) + (" + IP" if row["ip"] is not None else "")


def _embedding_key(row: Row) -> str:
    return canonical_json([row["embedding"], row["embedding_config"]])


def _embedding(row: Row) -> str:
    settings = [f"{name}={row['embedding_config'][name]}" for name in ("L", "V") if name in row["embedding_config"]]
    return str(row["embedding"]) + (f" ({', '.join(settings)})" if settings else "")


def _names(labels: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A short printable name for each key, numbered where several keys would have the same."""
    found: dict[str, str] = {}
    for key, label in dict(labels).items():
        text = _printable(label)
        name = short = text if len(text) <= 32 else f"{text[:31]}…"
        number = 1
        while name in found.values():
            number += 1
            name = f"{short} ({number})"
        found[key] = name
    return found


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)


def _shades(colour: str, count: int) -> list[Colour]:
    """So many of a colour, from light to dark: grey print keeps them apart."""
    from matplotlib.colors import to_rgb

    found: list[Colour] = []
    for number in range(count):
        share = 0.5 - number / (count - 1) if count > 1 else 0.0
        red, green, blue = (one + abs(share) * ((share > 0) - one) for one in to_rgb(colour))
        found.append((red, green, blue))
    return found


# --- parts of a figure ----------------------------------------------------------------------------------------


def _by(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """The rows by key, in the order in which the keys first come."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def _of(rows: Iterable[Row], table: str, *metrics: str) -> list[Row]:
    return [row for row in rows if row["table"] == table and row["metric"] in metrics]


def _main(rows: Iterable[Row]) -> list[Row]:
    """The rows that stand for their arms."""
    return [row for row in rows if row["representation"] == main_representation(row)]


def _there(rows: Iterable[Row], *names: str) -> list[Row]:
    return [row for row in rows if all(row.get(name) is not None for name in ("mean", *names))]


def _panels(row: Row, what: str, *, grid: tuple[int, int], size: tuple[float, float], **options: Any) -> Any:
    """A figure and its array of panels, each of a size in inches, with room for the legend to the right."""
    from matplotlib.figure import Figure

    place = _printable("{suite}: {dataset}, {backbone}, recipe {recipe}, {epochs} epochs".format_map(row))
    width = max(grid[1] * size[0] + 0.6, 0.3 + _width((what, place)))
    figure = Figure((width, grid[0] * size[1] + 0.9), layout="constrained")
    figure.suptitle(f"{what}\n{place}", x=0.01, ha="left", fontsize=9)
    return figure, figure.subplots(*grid, squeeze=False, **options)


def _mark(label: str, **style: Any) -> "Artist":
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **{"color": _INK, "linestyle": "none"} | style)


def _legend(figure: "Figure", handles: Sequence["Artist"]) -> None:
    """To the right of the panels, which keep their width."""
    columns = math.ceil(len(handles) / (5 * figure.get_figheight()))
    _widen(figure, columns * (0.6 + _width(str(handle.get_label()) for handle in handles)))
    figure.legend(handles=handles, loc="outside right upper", ncols=columns)


def _widen(figure: "Figure", inches: float) -> None:
    figure.set_figwidth(figure.get_figwidth() + inches)


def _width(texts: Iterable[str]) -> float:
    """Of the longest text, in inches, about."""
    return 0.066 * max(map(len, texts))


def _note(figure: "Figure", rows: Sequence[Row], look: _Look, drawn: Sequence[Row], *texts: str) -> None:
    """Below the panels: the number of seeds, what else there is to say, and which rows are not drawn, and why."""
    counts = sorted({row["n"] for row in drawn})
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    hollow = "hollow markers: one seed" if counts[0] == 1 else ""
    kept = {id(row) for row in drawn}
    holes = list(dict.fromkeys(_hole(row, look) for row in rows if id(row) not in kept))
    more = f" and {len(holes) - 4} more" if len(holes) > 4 else ""
    left_out = f"left out: {', '.join(holes[:4])}{more}" if holes else ""
    text = "; ".join(filter(None, (f"n = {seeds} seed{'s' * (counts[-1] > 1)}", hollow, *texts, left_out)))
    lines = textwrap.wrap(_printable(text), int(16 * figure.get_figwidth()))
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7, color="#555555")


def _hole(row: Row, look: _Look) -> str:
    notes = row["notes"] if row["mean"] is None else [note for note in row["notes"] if note.endswith("gain")]
    reason = f" ({notes[0]})" if notes else ""
    column = f"K = {row['column']}" if row["table"] == "relevance" else row["column"]
    return f"{look.method(row)} {look.embedding(row)} {column}{reason}"


# --- the figures ----------------------------------------------------------------------------------------------


def _gains(rows: Sequence[Row], look: _Look) -> Drawn:
    """A panel for each column, a line for each method, and below them the pooled ones."""
    arms = [row for row in _main(_of(rows, "comparison", "top1", "knn_top1")) if embedding_type(row) != "none"]
    drawn = _there(arms, "gain")
    if not drawn:
        return
    means = list(_pooled(arms, look))
    shown = drawn + [row for row in means if row["gain"] is not None]
    columns, embeddings = list(_by(drawn, lambda row: row["column"])), list(_by(drawn, look.embedding))
    lines = {name: float(number) for number, name in enumerate(_by(drawn, look.method))}
    lines |= {name: len(lines) + 0.3 + number for number, name in enumerate(_by(shown[len(drawn) :], look.method))}
    size = (2.0, 0.5 + len(lines) * max(0.3, 0.17 * len(embeddings)))
    figure, panels = _panels(rows[0], "Gain over none", grid=(1, len(columns)), size=size, sharey=True)
    cut = False
    for axis, column in zip(panels[0], columns, strict=True):
        axis.axvline(0, color=_INK, linewidth=0.8, zorder=1)
        own = [row for row in shown if row["column"] == column]
        reach = max(1.0, *(3 * abs(row["gain"]) for row in own))  # two seeds can have intervals that dwarf all gains
        for row in own:
            y = lines[look.method(row)] + 0.8 * ((embeddings.index(look.embedding(row)) + 0.5) / len(embeddings) - 0.5)
            cut |= _gain(axis, row, y, look, reach)
        name = f"probe, {column} of labels" if column.endswith("%") else column
        axis.set(title=_printable(name), xlabel="gain in top-1 [points]")
        axis.grid(visible=False, axis="y")
        axis.tick_params(axis="y", left=False)
    panels[0, 0].set_yticks(list(lines.values()), list(lines))
    panels[0, 0].set_ylim(max(lines.values()) + 0.6, -0.6)
    _widen(figure, _width(lines))
    firsts = _by(drawn, look.embedding).items()
    _legend(figure, [_mark(name, **look.marker(first[0], hollow=False)) for name, first in firsts])
    bars = any(row["gain_low"] is not None for row in drawn)
    texts = (
        "bars: 95 % t-interval of the gain, paired by seed" * bars,
        "arrows: the interval goes on" * cut,
        "pooled: mean of the methods, the methods as units" * (len(shown) > len(drawn)),
    )
    _note(figure, arms + means, look, shown, *texts)
    yield "", figure


def _gain(axis: "Axes", row: Row, y: float, look: _Look, reach: float) -> bool:
    """A gain and its interval as far as the panel reaches; whether the interval goes on."""
    colour, low, high = look.colour(row), row["gain_low"], row["gain_high"]
    if low is not None:
        axis.plot([max(low, -reach), min(high, reach)], [y, y], color=colour, solid_capstyle="butt")
        for end, marker in ((-low, "<"), (high, ">")):
            if end > reach:
                axis.plot([reach if marker == ">" else -reach], [y], marker, color=colour, markersize=4)
    axis.plot([row["gain"]], [y], color=colour, linestyle="none", **look.marker(row, hollow=low is None))
    return low is not None and max(-low, high) > reach


def _pooled(arms: Sequence[Row], look: _Look) -> Iterator[Row]:
    """The pooled lines of the comparison as rows. A hole among the methods makes a hole."""
    for part in _by(arms, lambda row: (_embedding_key(row), canonical_json(row["ip"]))).values():
        methods = list(_by(part, look.method))
        for same in _by(part, lambda row: row["column"]).values() if len(methods) > 1 else ():
            gains = {look.method(row): row["gain"] for row in same}
            interval = pooled([gains.get(method) for method in methods])
            mean = dict(zip(("gain", "gain_low", "gain_high"), interval, strict=True))
            name = {"method": f"pooled ({len(methods)})", "twin": -1, "notes": []}
            yield same[0] | mean | name | {"n": max(row["n"] for row in same)}


def _entropy(rows: Sequence[Row], look: _Look) -> Drawn:
    """How the entropies of the simplices are distributed, and their mean over training."""
    arms = _main(_of(rows, "entropy", "entropy_share"))
    counted = [row for row in _there(arms, "histogram") if sum(row["histogram"]) > 0]
    followed = [row for row in _there(arms, "course") if row["course"]]
    drawn = list({id(row): row for row in counted + followed}.values())
    if not drawn:
        return
    count = bool(counted) + bool(followed)
    figure, panels = _panels(rows[0], "Entropy of the simplices", grid=(1, count), size=(3.2, 2.9))
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
    _legend(figure, [_mark(f"{look.method(row)}, {look.embedding(row)}", **style) for row, style in marked])
    _note(figure, arms, look, drawn, "left: the marker is at the largest bin" if counted else "")
    yield "", figure


def _expressivity(rows: Sequence[Row], look: _Look) -> Drawn:
    """Accuracy on the labelled images, on test and their gap against the number of labels; a figure for each method."""
    metrics = {
        "train": "accuracy on the labelled images [%]",
        "test": "test accuracy [%]",
        "gap": "gap, train − test [points]",
    }
    for method, found in _by(_of(rows, "expressivity", *metrics), look.method).items():
        drawn = _there(found, "labels")
        if not drawn:
            continue
        shown = [metric for metric in metrics if any(row["metric"] == metric for row in drawn)]
        figure, panels = _panels(drawn[0], f"Expressivity: {method}", grid=(1, len(shown)), size=(2.5, 2.6))
        ticks = sorted({row["labels"] for row in drawn})
        for axis, metric in zip(panels[0], shown, strict=True):
            axis.set(xscale="log", xlabel="labels", ylabel=metrics[metric])
            axis.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks], rotation=90 if len(ticks) > 4 else 0)
            axis.minorticks_off()
        taus = sorted({row["tau_d"] for row in drawn if row["tau_d"] is not None})
        shades = dict(zip(taus, _shades(look.colour(drawn[0]), len(taus)), strict=True))
        handles = []
        for line in _by(drawn, lambda row: (look.embedding(row), row["representation"], row["tau_d"])).values():
            tau_d, single = line[0]["tau_d"], all(row["n"] == 1 for row in line)
            style = {"color": shades.get(tau_d, _INK), "linestyle": "-" if tau_d is not None else _DASHES[1]}
            style |= look.marker(line[0], hollow=single)
            name = line[0]["representation"] if tau_d is None else f"τ_d = {tau_d:g}"
            handles.append(_mark(f"{look.embedding(line[0])}: {name}", **style))
            for axis, metric in zip(panels[0], shown, strict=True):
                points = sorted(
                    (row["labels"], row["mean"], row["std"] or 0) for row in line if row["metric"] == metric
                )
                if points:
                    axis.errorbar(*zip(*points, strict=True), elinewidth=0.8, **style)
        _legend(figure, handles)
        _note(figure, found, look, drawn, _SPREAD if any(row["std"] for row in drawn) else "")
        yield method, figure


def _corruptions(rows: Sequence[Row], look: _Look) -> Drawn:
    """Accuracy by corruption and severity, an arm beside the other; a figure for each method, on one scale."""
    every = [row for row in _main(_of(rows, "robustness", "top1")) if row["mean"] is None or row.get("matrix")]
    matrices = [row for row in every if row["mean"] is not None]
    values = [value for row in matrices for line in row["matrix"]["values"] for value in line]
    places = {(row["column"], row["fraction"]) for row in matrices}
    for (method, *place), found in _by(every, lambda row: (look.method(row), row["column"], row["fraction"])).items():
        drawn = _there(found)
        if not drawn or not values:
            continue
        widest, tallest = (max(len(row["matrix"][name]) for row in drawn) for name in ("severities", "corruptions"))
        size = (0.3 + 0.36 * widest, 0.6 + 0.2 * tallest)
        first = drawn[0]["matrix"]["corruptions"]
        title = f"Accuracy under corruption: {method}, probe at {100 * place[1]:g}% of labels"
        figure, panels = _panels(drawn[0], title, grid=(1, len(drawn)), size=size)
        for axis, row in zip(panels[0], drawn, strict=True):
            image = _heat_map(axis, row["matrix"], (min(values), max(values)))
            axis.set(title=f"{look.embedding(row)}\nmean {row['mean']:.1f} %", xlabel="severity")
            axis.tick_params(labelleft=axis is panels[0, 0] or row["matrix"]["corruptions"] != first)
        figure.colorbar(image, ax=list(panels[0]), label="accuracy [%]", fraction=0.05)
        _note(figure, found, look, drawn)
        yield "-".join([method, place[0], f"{100 * place[1]:g}"] if len(places) > 1 else [method]), figure


def _heat_map(axis: "Axes", matrix: Row, limits: tuple[float, float]) -> Any:
    low, high = limits[0], max(limits[1], limits[0] + 1)
    image = axis.pcolormesh(matrix["values"], vmin=low, vmax=high, cmap="cividis", edgecolors="white", linewidth=0.5)
    for y, line in enumerate(matrix["values"]):
        for x, value in enumerate(line):
            colour = "white" if value < (low + high) / 2 else "black"
            text = axis.text(x + 0.5, y + 0.5, f"{value:.0f}", color=colour, ha="center", va="center", fontsize=7)
            text.set_in_layout(False)  # it lies inside, and measuring all of them takes time
    names = [_printable(str(name)).replace("_", " ") for name in matrix["corruptions"]]
    axis.set_xticks([x + 0.5 for x in range(len(matrix["severities"]))], list(map(str, matrix["severities"])))
    axis.set_yticks([y + 0.5 for y in range(len(names))], names)
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return image


def _relevance(rows: Sequence[Row], look: _Look) -> Drawn:
    """Semantic relevance against K, beside what chance gives; a panel for each method."""
    arms = _main(_of(rows, "relevance", "relevance_per_class"))
    drawn = _there(arms)
    if not drawn:
        return
    methods, embeddings = _by(drawn, look.method), list(_by(drawn, look.embedding))
    height = math.ceil(len(methods) / 4)
    columns = math.ceil(len(methods) / height)
    figure, panels = _panels(
        drawn[0], "Semantic relevance", grid=(height, columns), size=(1.9, 1.9), sharex=True, sharey=True
    )
    ticks = sorted({int(row["column"]) for row in drawn})
    base_rate = {"color": _INK, "linestyle": "--", "linewidth": 0.9}
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
        for name, line in _by(found, look.embedding).items():
            line = sorted(line, key=lambda row: int(row["column"]))
            ks = [int(row["column"]) for row in line]
            colour = _shades(look.colour(line[0]), len(embeddings))[embeddings.index(name)]
            style = look.marker(line[0], hollow=all(row["n"] == 1 for row in line))
            axis.errorbar(ks, [row["mean"] for row in line], [row["std"] or 0 for row in line], color=colour, **style)
            null = _there(line, "null_low", "null_high")
            if null:
                edges = ([row[end] for row in null] for end in ("null_low", "null_high"))
                axis.fill_between([int(row["column"]) for row in null], *edges, color=colour, alpha=0.2, linewidth=0)
            base = _there(line, "base_rate")
            axis.plot([int(row["column"]) for row in base], [row["base_rate"] for row in base], **base_rate)
    figure.supylabel("semantic relevance", fontsize=9)
    from matplotlib.patches import Patch

    shades = dict(zip(embeddings, _shades(_PALE, len(embeddings)), strict=True))
    firsts = _by(drawn, look.embedding).items()
    handles = [_mark(name, color=shades[name], ls="-", **look.marker(row[0], hollow=False)) for name, row in firsts]
    band = Patch(color=_PALE, alpha=0.4, linewidth=0, label="chance, 95 %")
    _legend(
        figure,
        [
            *handles,
            *[band] * bool(_there(drawn, "null_low", "null_high")),
            *[_mark("base rate", **base_rate)] * bool(_there(drawn, "base_rate")),
        ],
    )
    spread = _SPREAD if any(row["std"] for row in drawn) else ""
    chance = "chance: classes permuted among superclasses" if _there(drawn, "null_low", "null_high") else ""
    _note(figure, arms, look, drawn, "mean over classes, of the K largest weights of each", spread, chance)
    yield "", figure


_SPREAD = "bars: standard deviation over seeds"
_FIGURES: dict[str, Callable[[Sequence[Row], _Look], Drawn]] = {
    "gains": _gains,
    "entropy": _entropy,
    "expressivity": _expressivity,
    "corruptions": _corruptions,
    "relevance": _relevance,
}
