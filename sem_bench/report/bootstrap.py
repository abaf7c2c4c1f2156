"""Do two heads differ on these test images? A paired percentile bootstrap (Efron and Tibshirani, 1993, chapter 13).

It says how much the difference depends on which images are in the test set, and nothing about seeds.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sem_bench.report.row import Predictions

Right = npt.NDArray[np.bool_]


def paired(right_a: Right, right_b: Right, *, resamples: int = 2000, seed: int) -> tuple[float, float, float]:
    """Accuracy of a less that of b, with its 95 % interval: (difference, low, high), in percentage points.

    right_a and right_b (N,) say which of the same images each gets right. ValueError if they are not, or are empty.
    """
    if right_a.shape != right_b.shape or right_a.ndim != 1 or not len(right_a):
        raise ValueError(f"two answers for each image expected, not {right_a.shape} and {right_b.shape}")
    return averaged(right_a[None], right_b[None], resamples=resamples, seed=seed)


def averaged(right_a: Right, right_b: Right, *, resamples: int = 2000, seed: int) -> tuple[float, float, float]:
    """The mean difference of R pairs of heads, likewise: all of them on the same resampled images.

    right_a and right_b (R, N). ValueError as above.
    """
    if right_a.shape != right_b.shape or right_a.ndim != 2 or not right_a.size:
        raise ValueError(f"two answers for each image expected, not {right_a.shape} and {right_b.shape}")
    if right_a.dtype != np.bool_ or right_b.dtype != np.bool_:
        raise ValueError(f"right or wrong expected, not {right_a.dtype} and {right_b.dtype}")
    if resamples < 1:
        raise ValueError(f"at least 1 resample, not {resamples}")
    pairs, n = right_a.shape
    # Images with the same difference are alike: of a resample only the counts of each difference matter.
    values, counts = np.unique(right_a.sum(0, dtype=np.int64) - right_b.sum(0, dtype=np.int64), return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    low, high = np.percentile(100 * (drawn @ values) / (n * pairs), [2.5, 97.5])
    return 100 * int(counts @ values) / (n * pairs), float(low), float(high)


def of_pairs(pairs: Sequence[tuple[Predictions, Predictions]], *, seed: int) -> tuple[float, float, float] | None:
    """`averaged` over the predictions of arms and their baselines.

    None where there are none, where one is damaged, or where they are not of the same number of images.
    """
    try:
        right = [[unpacked(one.packed, one.images) for one in pair] for pair in pairs]
        return averaged(np.array([a for a, _ in right]), np.array([b for _, b in right]), seed=seed)
    except ValueError:
        return None


def unpacked(packed: bytes, images: int) -> Right:
    """Which images were right (images,), from a row of a predictions.bin, which zeros pad to whole bytes.

    ValueError for a row of another size or with other padding.
    """
    if len(packed) != -(-images // 8):
        raise ValueError(f"{len(packed)} bytes, not {images} bits padded to bytes")
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8)).astype(bool)
    if bits[images:].any():
        raise ValueError(f"more than {images} bits")
    return bits[:images]
