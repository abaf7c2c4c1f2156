"""Three shifted test sets of `shapes`, drawn with its own code.

v2: the same recipe repeated later: most nuisances have slightly other ranges.
r:  renditions, one of three at random for each image: the outline; a sketch (three loose outlines over hatching); the
    stencil, where paint is sprayed around the figure. The training set has filled figures only.
a:  hard ones: small, of low contrast, in more noise and clutter, and partly hidden by a bar or blob whose grey lies
    between the figure's and the background's.
r and a have some of the classes; labels index those, in the order of shapes. The ranges were chosen with a
supervised network and SimCLR (docs/LOG.md), never SEM. Image i depends on (shift, seed, i) alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sem_bench.cards import load_code
from sem_bench.errors import UserError

shapes = load_code(Path(__file__).with_name("shapes.py"))

Floats = NDArray[np.float64]
Figure = tuple[tuple[int, Floats], ...]  # as in shapes: posed polygons in the unit square
Rng = np.random.Generator
Render = Callable[[Rng, Figure, int], Floats]  # figure, image size -> mask (size, size, 1) in [0, 1]

PEN = 0.022  # half the width of a drawn line, in units of the image's side
PALE = 0.6  # the filling of an outline
SPRAY = 2.6  # standard deviation of a stencil's paint, in radii of the figure


def filled(rng: Rng, figure: Figure, image_size: int) -> Floats:
    """As in the training set."""
    return _mask(figure, image_size)


def outline(rng: Rng, figure: Figure, image_size: int) -> Floats:
    """A soft line along every edge, over a pale filling."""
    mask = _mask(figure, image_size)
    return np.asarray(np.maximum(_edges(mask), PALE * mask))


def sketch(rng: Rng, figure: Figure, image_size: int) -> Floats:
    """Three loose outlines over hatching."""
    centre, radius = _extent(figure)
    lines = np.zeros((image_size, image_size, 1))
    for _ in range(3):
        matrix = np.eye(2) + 0.1 * rng.standard_normal((2, 2))
        shift = centre + 0.05 * radius * rng.standard_normal(2)
        loose = tuple((ink, (points - centre) @ matrix + shift) for ink, points in figure)
        lines += 0.5 * _edges(_mask(loose, image_size))
    return np.asarray(np.maximum(lines.clip(0.0, 1.0), _mask(figure, image_size) * _hatching(rng, image_size)))


def stencil(rng: Rng, figure: Figure, image_size: int) -> Floats:
    """Paint sprayed around the figure, which stays free."""
    centre, radius = _extent(figure)
    x, y = ((np.arange(image_size) + 0.5) / image_size - c for c in centre)
    spray = np.exp(-0.5 * (x**2 + y[:, None] ** 2) / (SPRAY * radius) ** 2)[..., None]
    return np.asarray(spray * (1.0 - _mask(figure, image_size)))


def occluded(rng: Rng, figure: Figure, image_size: int) -> Floats:
    """Filled, with a bar or a blob of an intermediate grey over a part."""
    centre, radius = _extent(figure)
    bar, blob = shapes.regular(4, start=45.0) * (1.8, 0.28), shapes.regular(28) * (0.45, 0.35)
    angle = rng.uniform(0.0, np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    place = centre + 0.5 * radius * rng.uniform(-1.0, 1.0, size=2)
    occluder = radius * (bar if rng.random() < 0.5 else blob) @ turn + place
    mask = _mask(figure, image_size)
    return mask + _mask(((1, occluder),), image_size) * (rng.uniform(0.0, 0.5) - mask)


def _mask(figure: Figure, image_size: int) -> Floats:
    return np.asarray(shapes.coverage(figure, image_size))


def _extent(figure: Figure) -> tuple[Floats, float]:
    """The centre (2,) and half the longer side of the box around a figure."""
    points = np.concatenate([points for ink, points in figure if ink])
    low, high = points.min(0), points.max(0)
    return (low + high) / 2, float((high - low).max() / 2)


def _edges(mask: Floats) -> Floats:
    soft = gaussian_filter(mask, PEN * mask.shape[0], axes=(0, 1))
    return np.asarray(4.0 * soft * (1.0 - soft))  # 1 where the blurred edge passes through a half


def _hatching(rng: Rng, image_size: int) -> Floats:
    """About 11 soft lines across the image (image_size, image_size, 1), from 0.3 to 0.9."""
    angle, phase = rng.uniform(0.0, np.pi), rng.uniform(0.0, 2 * np.pi)
    y, x = np.mgrid[:image_size, :image_size] / image_size
    wave = np.sin(22 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    return np.asarray(0.6 + 0.3 * wave[..., None])


@dataclass(frozen=True)
class Shift:
    """A shifted test set. `stream` enters the random streams beside shapes' SPLITS: never renumber."""

    stream: int
    classes: list[str]
    nuisances: Any  # shapes.Nuisances
    renders: tuple[Render, ...]  # each image draws one


SHIFTS = {
    "v2": Shift(
        stream=2,
        classes=shapes.CLASSES,
        nuisances=replace(
            shapes.STANDARD,
            diameter=(0.39, 0.83),
            rotation=47.0,
            stretch=0.17,
            background=(0.4, 0.6),
            contrast=(0.19, 0.34),
            clutter=(0, 4),
            noise=(0.032, 0.05),
        ),
        renders=(filled,),
    ),
    "r": Shift(
        stream=3,
        classes=[
            "dome", "triangle", "square", "ring", "crescent", "horseshoe", "four_pointed", "five_pointed",
            "tee", "plus", "trio", "quintet",
        ],
        nuisances=shapes.STANDARD,
        renders=(outline, sketch, stencil),
    ),
    "a": Shift(
        stream=4,
        classes=["disc", "triangle", "target", "crescent", "four_pointed", "burst", "ell", "aitch", "trio", "quintet"],
        nuisances=replace(
            shapes.STANDARD,
            diameter=(0.38, 0.6),
            contrast=(0.16, 0.24),
            clutter=(2, 5),
            noise=(0.04, 0.06),
        ),
        renders=(occluded,),
    ),
}  # fmt: skip


def load(
    split: str, *, count: int, image_size: int = 32, shift: str, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (count, image_size, image_size, 3) and labels (count,) of a shift; its classes take turns."""
    if split != "test":
        raise UserError(f"a shifted set of shapes has no split {split!r}; it has test")
    if shift not in SHIFTS:
        raise UserError(f"shapes has no shift {shift!r}; it has {', '.join(SHIFTS)}")
    chosen = SHIFTS[shift]
    labels = np.arange(count, dtype=np.int64) % len(chosen.classes)
    images = np.empty((count, image_size, image_size, 3), np.uint8)
    for i, label in enumerate(labels):
        rng = np.random.default_rng([seed, chosen.stream, i])
        render = partial(chosen.renders[rng.integers(len(chosen.renders))], rng)
        images[i] = shapes.draw(
            chosen.classes[label], rng, image_size=image_size, nuisances=chosen.nuisances, render=render
        )
    return images, labels
