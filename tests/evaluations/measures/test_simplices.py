"""Statistics of simplices by hand, at extremes, and however the images come."""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sem_bench.embedding import Embedding
from sem_bench.evaluations.measures import simplices
from sem_bench.evaluations.measures.simplices import Simplices, measure
from sem_bench.nets.embeddings.sem import SimplicialEmbedding
from sem_bench.training.health import simplex_entropy

INF = float("inf")


def logits(*simplices: list[float]) -> Tensor:
    """(1, V, L) of one image, from the logits of each simplex."""
    return torch.tensor(simplices).T[None]


def found(*chunks: Tensor, tau: float = 1.0, bins: int = 4) -> Simplices:
    return measure(chunks, tau=tau, bins=bins, log_probabilities=Embedding().log_probabilities)


def test_one_hot() -> None:
    result = found(logits([0, 99, 0], [99, 0, 0]), tau=0.1)
    assert (result.entropy, result.entropy_std, result.normalised) == (0, 0, 0)
    assert (result.largest_probability, result.histogram, result.images) == (1, [2, 0, 0, 0], 1)
    assert (result.normalised_min, result.normalised_max) == (0, 0)


def test_uniform() -> None:
    result = found(torch.full((5, 3, 2), 7.0))
    assert result.entropy == pytest.approx(math.log(3))
    assert result.entropy_std == pytest.approx(0, abs=1e-6)
    assert result.normalised == pytest.approx(1)
    assert result.normalised <= 1 + 1e-12  # single precision alone is above by 1e-8
    assert result.largest_probability == pytest.approx(1 / 3)
    assert result.histogram == [0, 0, 0, 10]


def test_two_equal_of_four() -> None:
    result = found(logits([50, 0, 0, 50]), logits([0, 0, 90, 90]), bins=20)
    assert result.entropy == pytest.approx(math.log(2))
    assert result.normalised == pytest.approx(0.5)
    assert result.largest_probability == pytest.approx(0.5)
    assert result.histogram == [2 * (i == 10) for i in range(20)]


@pytest.mark.parametrize("equal", [2, 4, 8])
def test_on_the_edge_of_a_bin_the_upper_one_counts(equal: int) -> None:
    # The entropy of 8 equal of 16 comes out below 3/4 in single precision.
    result = found(logits([60.0] * equal + [0.0] * (16 - equal)))
    assert result.histogram == [i == math.log2(equal) for i in range(4)]


def test_a_mixture() -> None:
    # Simplex 0: one-hot, then uniform; simplex 1: uniform, then two equal of four.
    result = found(logits([99, 0, 0, 0], [1, 1, 1, 1]), logits([2, 2, 2, 2], [0, 99, 99, 0]))
    assert result.normalised == pytest.approx((0 + 1 + 1 + 0.5) / 4)
    assert result.entropy == pytest.approx(result.normalised * math.log(4))
    assert result.entropy_std == pytest.approx(math.log(4) * np.std([0, 1, 1, 0.5]))
    assert (result.normalised_min, result.normalised_max) == pytest.approx((0.5, 0.75))
    assert result.largest_probability == pytest.approx((1 + 0.25 + 0.25 + 0.5) / 4)
    assert result.histogram == [1, 0, 1, 2]


def test_the_temperature_divides() -> None:
    # Probabilities 1/5 and 4/5 at tau = 2.
    result = found(logits([0, 2 * math.log(4)]), tau=2)
    assert result.entropy == pytest.approx(math.log(5) - 0.8 * math.log(4))
    assert result.largest_probability == pytest.approx(0.8)


def test_a_dead_simplex_has_one_winner_for_all_images() -> None:
    first = logits([3, 0, 0], [0, 1, 0], [0, 0, 2], [5, 0, 0])
    second = logits([1, 0, 0], [0, 0, 1], [0, 0, 9], [0, 0, 5])
    assert found(first).dead == 1
    assert found(first, second).dead == found(torch.cat([first, second])).dead == 0.5
    assert found(first, second, second, first).dead == 0.5
    assert found(first, second, second.roll(1, dims=1)).dead == 0


def test_extreme_logits() -> None:
    for tau in (1e-3, 1.0, 1e3):
        z = torch.tensor([1e4, -1e4, 1e4 - 1]).view(1, 3, 1).repeat(2, 1, 1)
        result = found(z, tau=tau)
        weights = np.exp((np.array([0, -2e4, -1]) / tau).clip(-700))
        p = weights / weights.sum()
        assert result.entropy == pytest.approx(-(p * np.log(p)).sum(), abs=1e-3)
        assert result.largest_probability == pytest.approx(p.max(), abs=1e-3)
    nearly_uniform = found(torch.randn(50, 13, 3, generator=torch.Generator().manual_seed(0)), tau=1e4)
    assert nearly_uniform.normalised <= 1 and nearly_uniform.histogram == [0, 0, 0, 150]


def test_equals_the_entropy_that_pretraining_shows() -> None:
    torch.manual_seed(0)
    embedding = SimplicialEmbedding(5, L=4, V=3, tau=0.3).eval()
    h = torch.randn(20, 5)
    with torch.no_grad():
        z = embedding.raw(h).unflatten(1, (3, 4))
    assert found(z, tau=0.3).normalised == pytest.approx(simplex_entropy(embedding, h), rel=1e-6)


def test_a_small_spread_around_a_large_mean_is_kept() -> None:
    z = torch.zeros(4000, 13, 2)
    z[:, 0] = torch.linspace(0.1, 0.11, 4000)[:, None]
    p = np.exp(np.linspace(0.1, 0.11, 4000))
    p0, p1 = p / (p + 12), 1 / (p + 12)
    expected = np.std(-p0 * np.log(p0) - 12 * p1 * np.log(p1))
    assert expected < 1e-4
    assert found(*z.split(7)).entropy_std == pytest.approx(expected, rel=0.01)


@given(
    st.integers(1, 12), st.integers(2, 5), st.integers(1, 4), st.integers(0, 2**31), st.sampled_from([0.01, 1.0, 10.0])
)
def test_the_size_of_chunks_does_not_matter(n: int, V: int, L: int, seed: int, tau: float) -> None:
    random = torch.Generator().manual_seed(seed)
    z = torch.randint(-2, 3, (n, V, L), generator=random).float()
    whole = found(z, tau=tau)
    size = int(torch.randint(1, n + 1, (), generator=random))
    close(found(*z.split(size), z[:0], tau=tau), whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simplices, "ENTRIES", 2 * V * L)
        close(found(z, tau=tau), whole)
    assert sum(whole.histogram) == n * L
    ordered = [0, whole.normalised_min, whole.normalised, whole.normalised_max, 1]
    assert all(low <= high + 1e-12 for low, high in pairwise(ordered))
    assert 1 / V - 1e-6 <= whole.largest_probability <= 1


def close(one: Simplices, other: Simplices) -> None:
    assert (one.images, one.histogram, one.dead) == (other.images, other.histogram, other.dead)
    for name in ("entropy", "entropy_std", "normalised", "normalised_min", "normalised_max", "largest_probability"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-6)


def test_chunks_are_taken_one_at_a_time() -> None:
    alive: list[Tensor] = []

    def chunks() -> Iterator[Tensor]:
        for i in range(3):
            z = torch.full((2, 3, 2), float(i))
            alive.append(z)
            yield z
            assert len(alive) == i + 1

    assert measure(chunks(), tau=1.0, bins=2, log_probabilities=Embedding().log_probabilities).images == 6


def test_half_precision_is_measured_in_single() -> None:
    z = torch.randn(8, 13, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    close(found(z, tau=0.1), found(z.float(), tau=0.1))


def test_senseless_input_is_refused() -> None:
    z = torch.zeros(2, 3, 4)
    for tau in (0.0, -1.0, float("nan"), INF):
        with pytest.raises(ValueError, match="0 < tau"):
            found(z, tau=tau)
    with pytest.raises(ValueError, match="at least 1 bin"):
        found(z, bins=0)
    for nothing in ([], [z[:0]]):
        with pytest.raises(ValueError, match="no images"):
            found(*nothing)
    for other in (torch.zeros(2, 4, 3), torch.zeros(2, 3, 5), torch.zeros(2, 3)):
        with pytest.raises(ValueError, match="differ"):
            found(z, other)
    for shape in ((2, 1, 4), (2, 12), (2, 3, 0)):
        with pytest.raises(ValueError, match="shape"):
            found(torch.zeros(shape))
    for wrong in (float("nan"), INF, -INF, 1e38):
        z[1, 2, 3] = wrong
        with pytest.raises(ValueError, match="finite"):
            found(torch.zeros(2, 3, 4), z, tau=1e-3)
