"""The 1,797 handwritten digits (8 x 8) that come with scikit-learn, enlarged smoothly; grey in three channels.

Every third image of each class, in scikit-learn's order, is a test image: 596 of them, and 1,201 for training.
The order of the images is kept, so a smaller data set is a prefix of a larger one.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sem_bench.errors import UserError


def load(split: str, *, count: int, image_size: int = 32) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (count, image_size, image_size, 3) and labels (count,) of a split."""
    if split not in ("train", "test"):
        raise UserError(f"digits has no split {split!r}; it has train, test")
    images, labels = _digits()
    rank = np.empty(len(labels), np.int64)  # of an image within its class
    for digit in range(10):
        rank[labels == digit] = np.arange((labels == digit).sum())
    rows = np.flatnonzero((rank % 3 == 2) == (split == "test"))
    if count > len(rows):
        raise UserError(f"digits has {len(rows)} {split} images, not {count}")
    rows = rows[:count]
    size = (image_size, image_size)
    grey = [
        np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        for pixels in np.round(images[rows] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    ]
    return np.repeat(np.stack(grey)[..., None], 3, axis=3), labels[rows].astype(np.int64)


def _digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Images (1797, 64), 0 to 16, and labels, as scikit-learn's `load_digits` gives them.

    From its file: to import scikit-learn takes two seconds, before the first job of a run and in each worker.
    """
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        raise UserError("digits: scikit-learn, which brings the images, is not installed")
    table = np.loadtxt(Path(found.origin).with_name("datasets") / "data" / "digits.csv.gz", delimiter=",")
    return table[:, :-1], table[:, -1].astype(np.int64)
