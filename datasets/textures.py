"""Drawn textures: the class is the kind of pattern. Transfer set for encoders trained elsewhere.

Scale, angle, stretch, phase, both colours, contrast and noise are drawn anew for every image, whatever its class, so
that neither colour nor mean brightness gives the kind away. Image i of a split depends on (split, seed, i) alone, so a
smaller data set is a prefix of a larger one.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from sem_bench.errors import UserError

SPLITS = {"train": 0, "test": 1}  # the numbers enter the random streams: never renumber
SUPERSAMPLING = 3
CELLS = 24  # random patterns repeat after so many periods; no image shows as many

Floats = NDArray[np.float64]
Ink = NDArray[np.bool_]
Rng = np.random.Generator


def _stripes(x: Floats, y: Floats, rng: Rng) -> Ink:
    return _saw(x) < 0.5


def _waves(x: Floats, y: Floats, rng: Rng) -> Ink:
    return _saw(x + 0.3 * np.sin(2 * np.pi * y / 1.5)) < 0.5


def _checks(x: Floats, y: Floats, rng: Rng) -> Ink:
    return (_saw(x) < 0.5) ^ (_saw(y) < 0.5)


def _crosshatch(x: Floats, y: Floats, rng: Rng) -> Ink:
    return (_saw(x) < 0.25) | (_saw(y) < 0.25)


def _dots(x: Floats, y: Floats, rng: Rng) -> Ink:
    return np.hypot(_saw(x) - 0.5, _saw(y) - 0.5) < 0.31


def _rings(x: Floats, y: Floats, rng: Rng) -> Ink:
    across, down = rng.uniform(-1.0, 1.0, size=2)
    return _saw(np.hypot(x - x.mean() - across, y - y.mean() - down)) < 0.5


def _bricks(x: Floats, y: Floats, rng: Rng) -> Ink:
    return (_saw(y) < 0.22) | (_saw(x / 2 + np.floor(y) / 2) < 0.12)


def _weave(x: Floats, y: Floats, rng: Rng) -> Ink:
    upright = (_saw(x / 2) < 0.5) ^ (_saw(y / 2) < 0.5)
    return _saw(np.where(upright, 2 * x, 2 * y)) < 0.5


def _speckle(x: Floats, y: Floats, rng: Rng) -> Ink:
    cells = rng.random((CELLS, CELLS)) < 0.5
    return np.asarray(cells[np.floor(2 * x).astype(int) % CELLS, np.floor(2 * y).astype(int) % CELLS])


def _blobs(x: Floats, y: Floats, rng: Rng) -> Ink:
    height = map_coordinates(rng.random((CELLS, CELLS)), [1.2 * x, 1.2 * y], order=3, mode="grid-wrap")
    return np.asarray(height < np.median(height))


def _saw(x: Floats) -> Floats:
    return x % 1.0


_PATTERNS: dict[str, Callable[[Floats, Floats, Rng], Ink]] = {
    "stripes": _stripes, "waves": _waves, "checks": _checks, "crosshatch": _crosshatch, "dots": _dots,
    "rings": _rings, "bricks": _bricks, "weave": _weave, "speckle": _speckle, "blobs": _blobs,
}  # fmt: skip
CLASSES = list(_PATTERNS)


def draw(name: str, rng: Rng, *, image_size: int = 32) -> NDArray[np.uint8]:
    """One image (image_size, image_size, 3) of the class `name`."""
    period = rng.uniform(0.18, 0.34)  # of the image's side
    stretch = np.exp(rng.uniform(-0.15, 0.15))
    angle = rng.uniform(0.0, 2 * np.pi)
    phase = rng.uniform(0.0, CELLS, size=2)
    steps = np.arange(SUPERSAMPLING * image_size) / (SUPERSAMPLING * image_size) / period
    across, down = np.meshgrid(steps, steps)
    x = stretch * (across * np.cos(angle) + down * np.sin(angle)) + phase[0]
    y = (down * np.cos(angle) - across * np.sin(angle)) / stretch + phase[1]
    fine = np.asarray(_PATTERNS[name](x, y, rng), np.float64)
    pattern = fine.reshape(image_size, SUPERSAMPLING, image_size, SUPERSAMPLING).mean((1, 3))
    # Standardised, so that the share of ink, which the kind determines, does not show as brightness.
    pattern = (pattern - pattern.mean()) / pattern.std()

    mean = rng.uniform(0.35, 0.65) + 0.06 * rng.standard_normal(3)
    change = rng.choice([-1.0, 1.0]) * rng.uniform(0.06, 0.14) + 0.04 * rng.standard_normal(3)
    noise = rng.uniform(0.03, 0.06) * rng.standard_normal((image_size, image_size, 1))
    image: Floats = mean + change * pattern[..., None] + noise
    return np.round(255 * image.clip(0.0, 1.0)).astype(np.uint8)


def load(split: str, *, count: int, image_size: int = 32, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (count, image_size, image_size, 3) and labels (count,) of a split; the classes take turns."""
    if split not in SPLITS:
        raise UserError(f"textures has no split {split!r}; it has {', '.join(SPLITS)}")
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    images = np.empty((count, image_size, image_size, 3), np.uint8)
    for i, label in enumerate(labels):
        rng = np.random.default_rng([seed, SPLITS[split], i])
        images[i] = draw(CLASSES[label], rng, image_size=image_size)
    return images, labels
