"""The embedded data set `shapes`: 20 figures in 5 families, drawn on the fly with numpy and Pillow.

The class fixes the figure; position, size, rotation, stretch, polarity, tint, contrast, clutter and noise are
drawn anew for every image. The palette is near-grey and the background plain on purpose: instance
discrimination takes the cheapest cue that survives augmentation, and strong hues or background textures are such
cues. The ranges are calibrated (docs/LOG.md): changing one changes the data set.
Image i of a split depends on (split, seed, i) alone, so a smaller data set is a prefix of a larger one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sem_bench.errors import UserError

SPLITS = {"train": 0, "test": 1}  # the numbers enter the random streams: never renumber
SUPERSAMPLING = 4

Floats = NDArray[np.float64]
Range = tuple[float, float]
Figure = tuple[tuple[int, Floats], ...]  # polygons in the unit disc (y down), one over another: 1 inks, 0 erases


def regular(n: int, *, radius: float = 1.0, start: float = -90.0) -> Floats:
    """Corners (n, 2) of a regular polygon, the first at `start` degrees (-90 is up)."""
    angles = np.deg2rad(start + 360.0 * np.arange(n) / n)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _disc(radius: float, *, x: float = 0.0, y: float = 0.0) -> Floats:
    return np.add(regular(28, radius=radius), (x, y))


def _star(n: int, *, inner: float) -> Floats:
    points = regular(2 * n)
    points[1::2] *= inner
    return points


def _box(left: float, top: float, right: float, bottom: float) -> Floats:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _ink(*polygons: Floats) -> Figure:
    return tuple((1, polygon) for polygon in polygons)


def _dots(radius: float, *centres: Range) -> Figure:
    return _ink(*(_disc(radius, x=x, y=y) for x, y in centres))


_FAMILIES: dict[str, dict[str, Figure]] = {
    "solids": {
        "disc": _ink(_disc(0.85)),
        "dome": _ink(np.add(regular(33, start=180.0)[:17], (0.0, 0.4))),
        "triangle": _ink(regular(3)),
        "square": _ink(_box(-0.75, -0.75, 0.75, 0.75)),
    },
    "rings": {
        "ring": ((1, _disc(0.95)), (0, _disc(0.6))),
        "target": ((1, _disc(1.0)), (0, _disc(0.72)), (1, _disc(0.4))),
        "crescent": ((1, _disc(0.95)), (0, _disc(0.75, x=0.45))),
        "horseshoe": ((1, _disc(0.95)), (0, _disc(0.55)), (0, _box(-0.45, 0.0, 0.45, 1.1))),
    },
    "stars": {
        "three_pointed": _ink(_star(3, inner=0.25)),
        "four_pointed": _ink(_star(4, inner=0.3)),
        "five_pointed": _ink(_star(5, inner=0.4)),
        "burst": _ink(_star(10, inner=0.55)),
    },
    "letters": {
        "tee": _ink(_box(-0.85, -0.85, 0.85, -0.37), _box(-0.24, -0.85, 0.24, 0.9)),
        "ell": _ink(_box(-0.7, -0.9, -0.22, 0.9), _box(-0.7, 0.42, 0.7, 0.9)),
        "aitch": _ink(_box(-0.8, -0.85, -0.32, 0.85), _box(0.32, -0.85, 0.8, 0.85), _box(-0.8, -0.24, 0.8, 0.24)),
        "plus": _ink(_box(-0.95, -0.24, 0.95, 0.24), _box(-0.24, -0.95, 0.24, 0.95)),
    },
    "dots": {
        "pair": _dots(0.42, (-0.55, 0.0), (0.55, 0.0)),
        "trio": _dots(0.38, (0.0, -0.6), (-0.55, 0.4), (0.55, 0.4)),
        "quartet": _dots(0.34, (-0.52, -0.52), (0.52, -0.52), (-0.52, 0.52), (0.52, 0.52)),
        "quintet": _dots(0.28, (0.0, 0.0), (-0.65, -0.65), (0.65, -0.65), (-0.65, 0.65), (0.65, 0.65)),
    },
}
_FIGURES = {name: figure for members in _FAMILIES.values() for name, figure in members.items()}

CLASSES: list[str] = list(_FIGURES)
SUPERCLASSES: dict[str, list[str]] = {family: list(members) for family, members in _FAMILIES.items()}


@dataclass(frozen=True)
class Nuisances:
    """What varies inside a class: lengths in units of the image's side, grey levels in [0, 1]."""

    diameter: Range = (0.4, 0.85)
    rotation: float = 45.0  # degrees, either way
    stretch: float = 0.15  # log of the aspect ratio, either way
    background: Range = (0.42, 0.58)
    contrast: Range = (0.2, 0.35)
    inverted: float = 0.5  # share of figures darker than their background
    tint: float = 0.012  # standard deviation of each channel of each colour
    clutter: tuple[int, int] = (0, 3)  # number of small strokes under the figure
    clutter_length: Range = (0.08, 0.2)
    clutter_contrast: float = 0.6  # relative to the figure's
    noise: Range = (0.03, 0.05)  # standard deviation of grey noise, pixel by pixel


STANDARD = Nuisances()


def coverage(figure: Figure, image_size: int) -> Floats:
    """The share (image_size, image_size, 1) of each pixel that a figure in the unit square inks."""
    side = SUPERSAMPLING * image_size
    canvas = Image.new("L", (side, side))
    pen = ImageDraw.Draw(canvas)
    for ink, points in figure:
        pen.polygon((side * points).ravel().tolist(), fill=255 * ink)
    return np.asarray(canvas.reduce(SUPERSAMPLING), np.float64)[..., None] / 255


def draw(
    name: str,
    rng: np.random.Generator,
    *,
    image_size: int = 32,
    nuisances: Nuisances = STANDARD,
    render: Callable[[Figure, int], Floats] = coverage,
) -> NDArray[np.uint8]:
    """One image (image_size, image_size, 3) of the class `name`; `render` makes the posed figure's mask."""
    ranges = (nuisances.diameter, nuisances.background, nuisances.contrast, nuisances.noise)
    diameter, background, contrast, noise = (rng.uniform(low, high) for low, high in ranges)
    figure = render(_pose(_FIGURES[name], diameter, rng, nuisances), image_size)
    clutter = coverage(_strokes(rng, nuisances), image_size)

    # One grey level each for background, clutter and figure; the figure covers the clutter.
    signs = np.where(rng.random(2) < (0.5, nuisances.inverted), -1.0, 1.0)
    levels = background + contrast * np.array([0.0, signs[0] * nuisances.clutter_contrast, signs[1]])
    colours = levels[:, None] + nuisances.tint * rng.standard_normal((3, 3))
    image: Floats = colours[0] + clutter * (colours[1] - colours[0])
    image = image + figure * (colours[2] - image)
    image = image + noise * rng.standard_normal((image_size, image_size, 1))
    return np.round(255 * image.clip(0.0, 1.0)).astype(np.uint8)


def _pose(figure: Figure, diameter: float, rng: np.random.Generator, nuisances: Nuisances) -> Figure:
    """The figure rotated, stretched, scaled and moved to where its disc lies inside the unit square."""
    angle = np.deg2rad(rng.uniform(-nuisances.rotation, nuisances.rotation))
    aspect = np.exp(rng.uniform(-nuisances.stretch, nuisances.stretch) / 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = 0.5 + rng.uniform(-0.5, 0.5, size=2) * (1.0 - diameter)
    matrix = turn * (diameter / 2 * np.array([aspect, 1 / aspect]))
    return tuple((ink, points @ matrix + centre) for ink, points in figure)


def _strokes(rng: np.random.Generator, nuisances: Nuisances) -> Figure:
    """A few small bars anywhere in the unit square."""
    count = rng.integers(*nuisances.clutter, endpoint=True)
    centres, angles = rng.uniform(size=(count, 2)), rng.uniform(0.0, 180.0, size=count)
    lengths = rng.uniform(*nuisances.clutter_length, size=count)
    # Four points 12 degrees off the axis, two at each end, span a bar about five times as long as thick.
    bars = (
        np.add(np.stack([length / 2 * regular(1, start=a + off)[0] for off in (-12, 12, 168, 192)]), centre)
        for centre, a, length in zip(centres, angles, lengths, strict=True)
    )
    return _ink(*bars)


def load(split: str, *, count: int, image_size: int = 32, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (count, image_size, image_size, 3) and labels (count,) of a split; the classes take turns."""
    if split not in SPLITS:
        raise UserError(f"shapes has no split {split!r}; it has {', '.join(SPLITS)}")
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    images = np.empty((count, image_size, image_size, 3), np.uint8)
    for i, label in enumerate(labels):
        rng = np.random.default_rng([seed, SPLITS[split], i])
        images[i] = draw(CLASSES[label], rng, image_size=image_size)
    return images, labels


def contact_sheet(path: Path, *, columns: int = 12, image_size: int = 32, zoom: int = 2, seed: int = 0) -> None:
    """Save a PNG of train images, one row a class in the order of CLASSES."""
    rows, side = len(CLASSES), image_size + 2
    images, _ = load("train", count=rows * columns, image_size=image_size, seed=seed)
    tiles = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    sheet = tiles.reshape(columns, rows, side, side, 3).transpose(1, 2, 0, 3, 4)
    sheet = sheet.reshape(rows * side, columns * side, 3).repeat(zoom, axis=0).repeat(zoom, axis=1)
    Image.fromarray(sheet).save(path, optimize=True)
