"""The paired bootstrap against one that draws images, and the packed predictions."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sem_bench.report.bootstrap import Right, paired, unpacked


def answers(both: int, only_a: int, only_b: int, neither: int) -> tuple[Right, Right]:
    counts = [both, only_a, only_b, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def slow(a: Right, b: Right, resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """Differences in points, each of images drawn with replacement."""
    drawn = np.random.default_rng(seed).integers(len(a), size=(resamples, len(a)))
    found: npt.NDArray[np.float64] = 100 * (a[drawn].mean(1) - b[drawn].mean(1))
    return found


def test_the_difference_by_hand() -> None:
    a, b = answers(5, 4, 1, 10)
    assert paired(a, b, seed=0)[0] == 15
    assert paired(b, a, seed=0)[0] == -15


@pytest.mark.parametrize("counts", [(600, 100, 50, 250), (0, 600, 400, 0), (900, 60, 5, 35)])
def test_equals_a_bootstrap_that_draws_images(counts: tuple[int, int, int, int]) -> None:
    a, b = answers(*counts)
    order = np.random.default_rng(0).permutation(len(a))
    drawn = slow(a[order], b[order], 4000, seed=1)
    _, low, high = paired(a[order], b[order], resamples=4000, seed=2)
    # Between two such draws an end varies by 0.06 standard deviations, and it comes in steps of up to 0.14.
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.25 * drawn.std())
    assert low < paired(a, b, seed=0)[0] < high


def test_the_interval_has_the_width_of_the_normal_law() -> None:
    # Variance of a paired difference: (only_a + only_b - (only_a - only_b)^2 / n) / n^2.
    a, b = answers(30_000, 2_000, 1_500, 16_500)
    difference, low, high = paired(a, b, resamples=20_000, seed=0)
    half = 1.96 * 100 * np.sqrt(3_500 - 500**2 / 50_000) / 50_000
    assert (difference, low, high) == pytest.approx((1, 1 - half, 1 + half), abs=0.01)


def test_most_intervals_hold_the_true_difference() -> None:
    random = np.random.default_rng(0)
    cells = random.choice(4, p=[0.5, 0.2, 0.12, 0.18], size=(500, 400))  # both, only a, only b, neither
    intervals = [paired(cell < 2, (cell == 0) | (cell == 2), seed=i)[1:] for i, cell in enumerate(cells)]
    covered = np.mean([low <= 8 <= high for low, high in intervals])
    assert 0.92 <= covered <= 0.98


def test_equal_answers_do_not_differ() -> None:
    right = np.array([True, False, True])
    assert paired(right, right, seed=0) == (0, 0, 0)
    assert paired(np.array([True]), np.array([False]), seed=0) == (100, 100, 100)


def test_only_the_pairing_and_the_seed_decide() -> None:
    a, b = answers(100, 30, 20, 50)
    order = np.random.default_rng(0).permutation(len(a))
    assert paired(a, b, seed=5) == paired(a, b, seed=5) == paired(a[order], b[order], seed=5)
    assert len({paired(a, b, resamples=101, seed=seed) for seed in range(20)}) > 1
    _, low, high = paired(a, b, seed=5)
    _, broad_low, broad_high = paired(a, b[order], seed=5)
    assert broad_high - broad_low > 1.2 * (high - low)


def test_senseless_input_is_refused() -> None:
    a, b = answers(1, 1, 1, 1)
    for one, other in ((a, b[:3]), (a[:0], b[:0]), (a[None], b[None])):
        with pytest.raises(ValueError, match="for each image"):
            paired(one, other, seed=0)
    with pytest.raises(ValueError, match="right or wrong"):
        paired(a, b.astype(np.int64), seed=0)
    with pytest.raises(ValueError, match="resample"):
        paired(a, b, resamples=0, seed=0)


@given(st.integers(1, 4).flatmap(lambda rows: st.lists(st.lists(st.booleans(), min_size=rows, max_size=rows))))
def test_predictions_come_back(columns: list[list[bool]]) -> None:
    right = np.array(columns, dtype=bool).T if columns else np.zeros((1, 0), dtype=bool)
    for row in right:
        found = unpacked(np.packbits(row).tobytes(), len(row))
        assert found.dtype == np.bool_
        assert np.array_equal(found, row)


def test_a_row_of_other_size_is_refused() -> None:
    packed = np.packbits(np.ones(10, dtype=bool)).tobytes()
    assert unpacked(packed, 10).all()
    for images in (1, 8, 17, 20):
        with pytest.raises(ValueError, match=f"2 bytes, not {images} bits"):
            unpacked(packed, images)
    with pytest.raises(ValueError, match="more than 9 bits"):
        unpacked(packed, 9)
