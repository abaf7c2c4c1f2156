"""Generic corruptions of images at five severities, in the spirit of Hendrycks & Dietterich 2019 (arXiv 1903.12261).

The names and ideas are theirs, the constants are ours: lengths are shares of the image's side, so that 8 px and
photographs are treated alike. Errors under them are therefore not ImageNet-C's, and no mCE against AlexNet's follows.
Image by image: what happens to an image depends on its pixels, its number, the name, the severity and the seed alone.
"""

import io
import zlib
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sem_bench.errors import UserError

SEVERITIES = (1, 2, 3, 4, 5)
Pixels = NDArray[np.uint8]  # (S, S, 3)
Floats = NDArray[np.float64]
Values = NDArray[Any]  # (S, S, 3) on the scale 0 to 255, not yet rounded or clipped
Rng = np.random.Generator
Apply = Callable[[Pixels, float, Rng], Values]  # its number is one of five strengths; what it measures, each says


def corrupt(images: Pixels, *, name: str, severity: int, first: int = 0, seed: int = 0) -> Pixels:
    """The images (N, S, S, 3) corrupted; `first` is the number of the first one, for work in batches.

    Raises UserError for an unknown name or severity.
    """
    if name not in KINDS:
        raise UserError(f"no corruption {name!r}; there are {', '.join(KINDS)}")
    if severity not in SEVERITIES:
        raise UserError(f"no severity {severity!r}; there are {', '.join(map(str, SEVERITIES))}")
    apply, strengths = KINDS[name]
    strength = strengths[severity - 1]
    corrupted = np.empty_like(images)
    for i, image in enumerate(images):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), severity, first + i])
        corrupted[i] = np.round(apply(image, strength, rng)).clip(0, 255)
    return corrupted


def published(images: Pixels, *, name: str, severity: int, first: int = 0, seed: int = 0) -> Pixels:
    """As `corrupt`, by the package imagecorruptions: the code and the constants of ImageNet-C, from 32 px on.

    It draws from numpy's one global generator, except where it takes a seed: so one image at a time, and the generator
    is put back.
    """
    from imagecorruptions import corrupt as apply

    corrupted = np.empty_like(images)
    for i, image in enumerate(images):
        own = np.random.default_rng([seed, zlib.crc32(name.encode()), severity, first + i])
        number = int(own.integers(2**32))
        with _ONE_GENERATOR:
            before = np.random.get_state()
            np.random.seed(number)
            try:
                told = {"seed": number} if name in _SEEDED else {}
                corrupted[i] = apply(image, severity=severity, corruption_name=name, **told)
            finally:
                np.random.set_state(before)
    return corrupted


_SEEDED = ("impulse_noise", "glass_blur")  # they ignore the global generator
_ONE_GENERATOR = Lock()


def _gaussian_noise(image: Pixels, deviation: float, rng: Rng) -> Values:
    return image + 255 * deviation * rng.standard_normal(image.shape)


def _shot_noise(image: Pixels, photons: float, rng: Rng) -> Values:
    """`photons` reach a white pixel."""
    return rng.poisson(image * (photons / 255)) * (255 / photons)


def _impulse_noise(image: Pixels, share: float, rng: Rng) -> Values:
    """That share of the numbers becomes black or white."""
    fate = rng.random(image.shape)
    salted = np.where(fate < share / 2, 0, image)
    return np.where(fate > 1 - share / 2, 255, salted).astype(np.uint8)


def _defocus_blur(image: Pixels, radius: float, rng: Rng) -> Values:
    """The mean over a disc; its edge is a pixel wide, so that radii below a pixel count."""
    radius *= len(image)
    reach = int(np.ceil(radius))
    x = np.arange(-reach, reach + 1)
    return _filtered(image, (radius + 1 - np.hypot(x, x[:, None])).clip(0, 1))


def _motion_blur(image: Pixels, length: float, rng: Rng) -> Values:
    """The mean over a line at a random angle."""
    half = length * len(image) / 2
    angle = rng.uniform(0, np.pi)
    reach = int(np.ceil(half))
    x = np.arange(-reach, reach + 1)
    steps = np.linspace(-half, half, 4 * reach + 1)
    # Each point of the line is shared among the four pixels around it.
    down, along = ((1 - abs(x[:, None] - at)).clip(0) for at in (steps * np.sin(angle), steps * np.cos(angle)))
    return _filtered(image, down @ along.T)


def _zoom_blur(image: Pixels, zoom: float, rng: Rng) -> Values:
    """The mean of eight views, from the whole image to one magnified by 1 + zoom."""
    side = len(image)
    margins = [side / 2 * (1 - 1 / (1 + zoom * step / 7)) for step in range(8)]
    original = Image.fromarray(image)
    views = [original.resize((side, side), Image.Resampling.BILINEAR, (m, m, side - m, side - m)) for m in margins]
    return np.asarray(np.mean([np.asarray(view) for view in views], axis=0))


def _filtered(image: Pixels, kernel: Floats) -> Floats:
    """The image convolved with a square kernel of odd side, scaled to sum 1; edges are mirrored."""
    reach = len(kernel) // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    shape = padded.shape[:2]
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * np.fft.rfft2(kernel / kernel.sum(), shape)[..., None]
    return np.fft.irfft2(spectrum, shape, axes=(0, 1))[2 * reach :, 2 * reach :]


def _fog(image: Pixels, density: float, rng: Rng) -> Values:
    """Light grey clouds, thick in places."""
    thickness = density * (0.5 + _clouds(len(image), rng))[..., None]
    return np.asarray(image + thickness.clip(0, 1) * (230.0 - image))


def _brightness(image: Pixels, shift: float, rng: Rng) -> Values:
    return image + 255 * shift


def _contrast(image: Pixels, share: float, rng: Rng) -> Values:
    """Differences from the image's mean colour shrink to that share."""
    mean = image.mean((0, 1))
    return np.asarray(mean + share * (image - mean))


def _elastic_transform(image: Pixels, reach: float, rng: Rng) -> Values:
    """Every pixel comes from a place that a smooth random field names."""
    from scipy.ndimage import map_coordinates  # half a second to import

    side = len(image)
    shifts = np.stack([reach * side * (2 * _clouds(side, rng, cells=(5,)) - 1) for _ in range(2)])
    places = np.mgrid[:side, :side] + shifts
    moved = [map_coordinates(image[..., c].astype(np.float64), places, order=1, mode="nearest") for c in range(3)]
    return np.stack(moved, axis=-1)


def _pixelate(image: Pixels, share: float, rng: Rng) -> Values:
    """The image at that share of its side, in blocks."""
    side = len(image)
    small = Image.fromarray(image).resize([max(1, round(share * side))] * 2, Image.Resampling.BOX)
    return np.asarray(small.resize((side, side), Image.Resampling.NEAREST))


def _jpeg_compression(image: Pixels, quality: float, rng: Rng) -> Values:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file))


def _clouds(side: int, rng: Rng, *, cells: tuple[int, ...] = (3, 6, 12)) -> Floats:
    """A smooth random field (side, side) in [0, 1]: random grids of these sizes, enlarged; finer ones count less."""
    grids = (Image.fromarray(rng.random((n, n), np.float32)) for n in cells)
    total = sum(np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)) / 2**k for k, grid in enumerate(grids))
    field = np.asarray(total, np.float64)
    return np.asarray((field - field.min()) / np.ptp(field))


KINDS: dict[str, tuple[Apply, tuple[float, ...]]] = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.06, 0.09, 0.13, 0.18)),
    "shot_noise": (_shot_noise, (300, 150, 70, 35, 18)),
    "impulse_noise": (_impulse_noise, (0.01, 0.02, 0.04, 0.08, 0.14)),
    "defocus_blur": (_defocus_blur, (0.015, 0.025, 0.04, 0.055, 0.075)),
    "motion_blur": (_motion_blur, (0.06, 0.1, 0.15, 0.2, 0.27)),
    "zoom_blur": (_zoom_blur, (0.1, 0.18, 0.26, 0.35, 0.45)),
    "fog": (_fog, (0.12, 0.2, 0.3, 0.4, 0.5)),
    "brightness": (_brightness, (0.06, 0.12, 0.18, 0.25, 0.33)),
    "contrast": (_contrast, (0.8, 0.65, 0.5, 0.37, 0.25)),
    "elastic_transform": (_elastic_transform, (0.03, 0.05, 0.07, 0.09, 0.12)),
    "pixelate": (_pixelate, (0.8, 0.65, 0.5, 0.4, 0.3)),
    "jpeg_compression": (_jpeg_compression, (60, 35, 20, 12, 6)),
}
