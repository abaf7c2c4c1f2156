"""Labels of images that may have several classes: (N, C), 1 where a class is there, else 0."""

import numpy as np
import numpy.typing as npt


def occurring(labels: npt.NDArray[np.integer]) -> set[int]:
    """The classes that labels (N,) or (N, C) have."""
    found = labels if labels.ndim == 1 else np.flatnonzero(labels.any(0))
    return set(found.tolist())


def strata(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """The class (N,) in whose proportion draws are made: of an image with several its rarest; -1 of one with none."""
    if labels.ndim == 1:
        return labels.astype(np.int64)
    often = np.where(labels > 0, labels.sum(0, dtype=np.int64), len(labels) + 1)
    return np.where(labels.any(1), often.argmin(1), -1)
