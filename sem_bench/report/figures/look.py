"""What methods and embeddings are called in figures, and how they look."""

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sem_bench.base.digest import canonical_json
from sem_bench.report.row import ARM, Row, embedding_key

Colour = tuple[float, float, float]
METHODS = ("simclr", "byol", "moco", "swav", "dino", "simsiam", "barlow_twins", "vicreg", "supervised", "external")
COLOURS = (  # Okabe and Ito's first, which the colour-blind can tell apart
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"),
    *("#56B4E9", "#882255", "#8A8A2B", "#332288", "#777777"),
)
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
MARKERS = {"none": "o", "linear": "^", "sem": "s", "gumbel": "D", "untrained": "v"}  # where the manifest says none
INK, PALE = "#222222", "#8c8c8c"


def numbered(rows: Iterable[Row]) -> list[Row]:
    """The rows, each with its number among those of the same place: its results differ in configuration."""
    times = Counter[str]()
    found = []
    for row in rows:
        place = ("table", "suite", *ARM, "fraction", "column", "metric", "representation")
        key = canonical_json([*map(row.get, place), row.apart])
        found.append(replace(row, twin=times[key]))
        times[key] += 1
    return found


class Look:
    """Names, colours, dashes and markers, the same in all figures of these rows."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.methods = _names((method_key(row), row.method_label) for row in rows)
        self._embedding_key = embedding_key(rows)
        self.embeddings = _names((self._embedding_key(row), row.embedding_label) for row in rows)
        self.numbers: dict[str, int] = {}  # of the 40 pairs of colour and dashes
        for name in sorted(self.methods.values(), key=lambda name: (name not in METHODS, name)):
            base = name.removesuffix(" + IP")  # has its method's colour, with other dashes
            own = METHODS.index(base) + 10 * (name != base) if base in METHODS else None
            first = 20 + zlib.crc32(name.encode()) % 20 if own is None else own
            free = (number % 40 for number in range(first, first + 40) if number % 40 not in self.numbers.values())
            self.numbers[name] = next(free, first)
        self.markers: dict[str, str] = {}
        for row in rows:
            usual = row.marker or MARKERS.get(row.embedding_type, "v")
            wished = (usual, *"vPX<>ph*d8", *MARKERS.values())
            free_markers = (marker for marker in wished if marker not in self.markers.values())
            self.markers.setdefault(self.embedding(row), next(free_markers, "o"))

    def method(self, row: Row) -> str:
        """The name of the row's method."""
        return self.methods.get(method_key(row), row.method_label)

    def embedding(self, row: Row) -> str:
        """The name of the row's embedding."""
        return self.embeddings[self._embedding_key(row)]

    def colour(self, row: Row) -> str:
        """Of the method; ink for a pooled line."""
        number = self.numbers.get(self.method(row))
        return INK if number is None else COLOURS[number % 10]  # a pooled line is no method

    def dashes(self, row: Row) -> Any:
        """Of the method."""
        number = self.numbers[self.method(row)]
        return DASHES[(number + number // 10) % 4]

    def marker(self, row: Row, *, hollow: bool) -> dict[str, Any]:
        """Of the embedding, as matplotlib's options."""
        return {"marker": self.markers[self.embedding(row)]} | ({"mfc": "white"} if hollow else {})


def method_key(row: Row) -> str:
    """Rows of one method have one key."""
    return canonical_json([row.method, row.ip, row.twin])


def _names(labels: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A short printable name for each key, numbered where several keys would have the same."""
    found: dict[str, str] = {}
    for key, label in dict(labels).items():
        text = printable(label)
        name = short = text if len(text) <= 32 else f"{text[:31]}…"
        number = 1
        while name in found.values():
            number += 1
            name = f"{short} ({number})"
        found[key] = name
    return found


def printable(text: str) -> str:
    """The text without control characters."""
    return "".join(one if one.isprintable() else "?" for one in text)


def shades_of(colour: str, count: int) -> list[Colour]:
    """So many of a colour, from light to dark: grey print keeps them apart."""
    from matplotlib.colors import to_rgb

    found: list[Colour] = []
    for number in range(count):
        share = 0.5 - number / (count - 1) if count > 1 else 0.0
        red, green, blue = (one + abs(share) * ((share > 0) - one) for one in to_rgb(colour))
        found.append((red, green, blue))
    return found
