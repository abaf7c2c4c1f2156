"""The embedded data set `shapes`: 20 classes of simple figures in 5 families, drawn on the fly with numpy and Pillow.

What the class fixes is the figure; position, size, rotation, stretch, tint, contrast, polarity, clutter and noise are
drawn anew for every image. The palette is near-grey and the background plain on purpose: instance discrimination
takes the cheapest cue that survives augmentation, and strong hues or background textures are such cues.
Image i of a split depends on (split, seed, i) alone, so a smaller data set is a prefix of a larger one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SPLITS = {"train": 0, "test": 1}
SUPERSAMPLING = 4

Points = NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True)
class Figure:
    """Polygons in the unit disc (y down), each drawn over the ones before it: ink 1 fills, ink 0 erases."""

    polygons: tuple[tuple[int, Points], ...]


def _ring_of_points(n: int, radius: float = 1.0, start: float = -90.0) -> Points:
    angles = np.deg2rad(start + 360.0 * np.arange(n) / n)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _disc(x: float = 0.0, y: float = 0.0, radius: float = 1.0) -> Points:
    return _ring_of_points(28, radius) + (x, y)


def _star(n: int, inner: float) -> Points:
    points = _ring_of_points(2 * n)
    points[1::2] *= inner
    return points


def _box(x0: float, y0: float, x1: float, y1: float) -> Points:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def _fill(*polygons: Points) -> Figure:
    return Figure(tuple((1, polygon) for polygon in polygons))


def _dots(*centres: tuple[float, float], radius: float = 0.3) -> Figure:
    return _fill(*(_disc(x, y, radius) for x, y in centres))


_T = 0.24  # half the thickness of a letter's strokes
FAMILIES: dict[str, dict[str, Figure]] = {
    "solids": {
        "disc": _fill(_disc(radius=0.85)),
        "dome": _fill(_ring_of_points(33, 1.0, 180.0)[:17] + (0.0, 0.4)),
        "triangle": _fill(_ring_of_points(3)),
        "square": _fill(_box(-0.75, -0.75, 0.75, 0.75)),
    },
    "rings": {
        "ring": Figure(((1, _disc(radius=0.95)), (0, _disc(radius=0.6)))),
        "target": Figure(((1, _disc(radius=1.0)), (0, _disc(radius=0.72)), (1, _disc(radius=0.4)))),
        "crescent": Figure(((1, _disc(radius=0.95)), (0, _disc(0.45, 0.0, 0.75)))),
        "horseshoe": Figure(((1, _disc(radius=0.95)), (0, _disc(radius=0.55)), (0, _box(-0.45, 0.0, 0.45, 1.1)))),
    },
    "stars": {
        "three_pointed": _fill(_star(3, 0.25)),
        "four_pointed": _fill(_star(4, 0.3)),
        "five_pointed": _fill(_star(5, 0.4)),
        "burst": _fill(_star(10, 0.55)),
    },
    "letters": {
        "tee": _fill(_box(-0.85, -0.85, 0.85, -0.85 + 2 * _T), _box(-_T, -0.85, _T, 0.9)),
        "ell": _fill(_box(-0.7, -0.9, -0.7 + 2 * _T, 0.9), _box(-0.7, 0.9 - 2 * _T, 0.7, 0.9)),
        "aitch": _fill(
            _box(-0.8, -0.85, -0.8 + 2 * _T, 0.85), _box(0.8 - 2 * _T, -0.85, 0.8, 0.85), _box(-0.8, -_T, 0.8, _T)
        ),
        "plus": _fill(_box(-0.95, -_T, 0.95, _T), _box(-_T, -0.95, _T, 0.95)),
    },
    "dots": {
        "pair": _dots((-0.55, 0.0), (0.55, 0.0), radius=0.42),
        "trio": _dots((0.0, -0.6), (-0.55, 0.4), (0.55, 0.4), radius=0.38),
        "quartet": _dots((-0.52, -0.52), (0.52, -0.52), (-0.52, 0.52), (0.52, 0.52), radius=0.34),
        "quintet": _dots((0, 0), (-0.65, -0.65), (0.65, -0.65), (-0.65, 0.65), (0.65, 0.65), radius=0.28),
    },
}
FIGURES = {name: figure for family in FAMILIES.values() for name, figure in family.items()}
CLASSES = list(FIGURES)
SUPERCLASSES = {family: list(members) for family, members in FAMILIES.items()}


@dataclass(frozen=True)
class Nuisances:
    """Ranges of what varies inside a class; lengths in units of the image's side, grey levels in [0, 1]."""

    diameter: Range = (0.6, 0.9)
    rotation: float = 20.0  # degrees, either way
    stretch: float = 0.15  # log of the aspect ratio, either way
    background: Range = (0.35, 0.65)
    contrast: Range = (0.2, 0.35)
    inverted: float = 0.5  # probability of a figure darker than its background
    tint: float = 0.02  # standard deviation of each colour channel, figure and background apart
    clutter: tuple[int, int] = (0, 3)  # number of small strokes
    clutter_contrast: float = 0.6  # relative to the figure's contrast
    noise: Range = (0.02, 0.05)


def draw(
    name: str, rng: np.random.Generator, *, image_size: int = 32, nuisances: Nuisances = Nuisances()  # noqa: B008
) -> NDArray[np.uint8]:
    """One image (image_size, image_size, 3) of the class `name`."""
    n = nuisances
    side = SUPERSAMPLING * image_size
    diameter, background, contrast, noise = (rng.uniform(*r) for r in (n.diameter, n.background, n.contrast, n.noise))
    sign = -1.0 if rng.random() < n.inverted else 1.0
    angle = np.deg2rad(rng.uniform(-n.rotation, n.rotation))
    stretch = np.exp(0.5 * rng.uniform(-n.stretch, n.stretch))
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    room = (1.0 - diameter) / 2
    centre = 0.5 + rng.uniform(-room, room, size=2)
    matrix = 0.5 * diameter * np.diag([stretch, 1 / stretch]) @ rotation

    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    for ink, polygon in FIGURES[name].polygons:
        points = side * (polygon @ matrix + centre)
        pen.polygon(points.ravel().tolist(), fill=255 * ink)

    strokes = Image.new("L", (side, side))
    pen = ImageDraw.Draw(strokes)
    for _ in range(rng.integers(n.clutter[0], n.clutter[1], endpoint=True)):
        start, (length, direction) = rng.uniform(size=2), rng.uniform((0.08, 0), (0.2, 2 * np.pi))
        end = start + length * np.array([np.cos(direction), np.sin(direction)])
        pen.line((side * np.concatenate([start, end])).tolist(), fill=255, width=side // 20)

    figure, clutter = (np.asarray(layer.reduce(SUPERSAMPLING), np.float64)[..., None] / 255 for layer in (mask, strokes))
    ground, ink_colour, stroke_colour = background + np.array([[0], [sign * contrast], [0]]) + rng.normal(
        0.0, n.tint, size=(3, 3)
    )
    stroke_colour = stroke_colour + rng.choice([-1.0, 1.0]) * n.clutter_contrast * contrast
    image = ground + clutter * (stroke_colour - ground)
    image = image + figure * (ink_colour - image)
    image = image + noise * rng.standard_normal((image_size, image_size, 1))
    return (255 * image.clip(0.0, 1.0) + 0.5).astype(np.uint8)


def load(
    split: str, *, count: int, image_size: int = 32, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (count, image_size, image_size, 3) and labels (count,) of one split; classes take turns."""
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    images = np.empty((count, image_size, image_size, 3), np.uint8)
    for i, label in enumerate(labels):
        rng = np.random.default_rng([seed, SPLITS[split], i])
        images[i] = draw(CLASSES[label], rng, image_size=image_size)
    return images, labels


def contact_sheet(path: Path, *, columns: int = 12, image_size: int = 32, zoom: int = 2, seed: int = 0) -> None:
    """Save a PNG with one row a class, in the order of CLASSES."""
    rows = len(CLASSES)
    images, _ = load("train", count=rows * columns, image_size=image_size, seed=seed)
    tiles = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    side = image_size + 2
    grid = tiles.reshape(columns, rows, side, side, 3).transpose(1, 2, 0, 3, 4).reshape(rows * side, columns * side, 3)
    Image.fromarray(grid).resize((zoom * columns * side, zoom * rows * side), Image.Resampling.NEAREST).save(path)
