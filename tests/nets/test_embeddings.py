"""The embeddings against their plain definitions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sem_bench.nets.card import EmbeddingSettings
from sem_bench.nets.embeddings import sem
from sem_bench.nets.embeddings.gumbel import GumbelEmbedding
from sem_bench.nets.embeddings.linear import LinearEmbedding
from tests.helpers.nets import build_embedding

SIZES = st.tuples(st.integers(1, 6), st.integers(2, 6))
TAUS = st.floats(0.01, 100)


def by_hand(z: list[float], *, L: int, V: int, tau: float) -> list[float]:
    """The seed's formula, number by number."""
    out: list[float] = []
    for group in range(L):
        powers = [math.exp((z[group * V + i] - max(z[group * V : group * V + V])) / tau) for i in range(V)]
        out += [power / sum(powers) for power in powers]
    return out


@settings(deadline=None)
@given(SIZES, TAUS, st.integers(0, 1000))
def test_each_group_is_a_probability_vector(size: tuple[int, int], tau: float, seed: int) -> None:
    L, V = size
    z = torch.randn(3, L * V, generator=torch.Generator().manual_seed(seed)) * 10
    output = sem.simplicial_embedding(z, L=L, V=V, tau=tau)
    assert output.shape == z.shape
    assert (output >= 0).all()
    assert torch.allclose(output.unflatten(-1, (L, V)).sum(-1), torch.ones(3, L), atol=1e-5)


@settings(deadline=None)
@given(SIZES, TAUS, st.integers(0, 1000))
def test_the_definition(size: tuple[int, int], tau: float, seed: int) -> None:
    L, V = size
    z = torch.randn(2, L * V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = torch.tensor([by_hand(row.tolist(), L=L, V=V, tau=tau) for row in z], dtype=torch.float64)
    assert torch.allclose(sem.simplicial_embedding(z, L=L, V=V, tau=tau), expected, atol=1e-12)


@settings(deadline=None)
@given(SIZES, TAUS, st.integers(0, 1000))
def test_the_inner_order_gives_the_same_numbers(size: tuple[int, int], tau: float, seed: int) -> None:
    L, V = size
    z = torch.randn(4, L * V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    inner = sem.simplex_softmax(sem.from_group_major(z, L=L, V=V), L=L, V=V, tau=tau)
    assert torch.allclose(sem.to_group_major(inner, L=L, V=V), sem.simplicial_embedding(z, L=L, V=V, tau=tau))
    assert torch.equal(sem.to_group_major(sem.from_group_major(z, L=L, V=V), L=L, V=V), z)


def test_order_by_hand() -> None:
    # two groups of three: a = (1, 2, 3), b = (10, 20, 30)
    z = torch.tensor([1.0, 2, 3, 10, 20, 30])
    assert sem.from_group_major(z, L=2, V=3).tolist() == [1, 10, 2, 20, 3, 30]


def test_the_gradient_is_that_of_the_definition() -> None:
    z = torch.randn(2, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: sem.simplicial_embedding(z, L=3, V=4, tau=0.7), z)
    assert torch.autograd.gradcheck(lambda z: sem.simplex_softmax(z, L=3, V=4, tau=0.7), z)


def test_temperature_limits() -> None:
    z = torch.tensor([0.0, 1.0, 2.0])
    assert torch.allclose(sem.simplicial_embedding(z, L=1, V=3, tau=1e-3), torch.tensor([0.0, 0, 1]))
    assert torch.allclose(sem.simplicial_embedding(z, L=1, V=3, tau=1e6), torch.full((3,), 1 / 3), atol=1e-5)


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_temperatures_are_refused(tau: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        sem.simplicial_embedding(torch.zeros(1, 6), L=2, V=3, tau=tau)


def test_a_wrong_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"7 numbers, not L\*V = 2\*3 = 6"):
        sem.simplicial_embedding(torch.zeros(1, 7), L=2, V=3, tau=1)


def test_modules() -> None:
    h = torch.randn(8, 5)
    settings = EmbeddingSettings(type="sem", L=3, V=4, tau=0.5, tau_target=2.0)
    torch.manual_seed(0)
    module = build_embedding(settings, 5)
    torch.manual_seed(0)
    linear = build_embedding(EmbeddingSettings(type="linear", L=3, V=4), 5)
    assert isinstance(module, sem.SimplicialEmbedding) and isinstance(linear, LinearEmbedding)
    assert [name for name, _ in module.linear.named_parameters()] == ["weight"]  # no bias, as in the original code
    z = module.raw(h)
    assert torch.equal(z, linear(h))  # the control is SEM without its softmax, from the same weights
    expected = sem.simplicial_embedding(sem.to_group_major(z, L=3, V=4), L=3, V=4, tau=0.5)
    assert torch.allclose(sem.to_group_major(module(h), L=3, V=4), expected)
    assert not torch.allclose(module(h, module.target_temperature), module(h))
    assert module.out_dim == linear.out_dim == 12


def test_no_embedding() -> None:
    h = torch.randn(8, 5)
    none = build_embedding(EmbeddingSettings(type="none"), 5)
    assert torch.equal(none(h), h) and none.out_dim == 5


def gumbel(tau: float = 1.0) -> GumbelEmbedding:
    torch.manual_seed(0)
    return GumbelEmbedding(6, L=4, V=3, tau=tau)


def test_gumbel_samples_one_hot_in_training() -> None:
    h = torch.randn(16, 6)
    y = gumbel().train()(h).reshape(16, 3, 4)
    assert torch.equal(y.sum(1), torch.ones(16, 4)) and set(y.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("tau", [0.3, 1.0, 5.0])
def test_gumbel_samples_follow_the_softmax_of_z(tau: float) -> None:
    embedding = gumbel(tau)
    h = torch.randn(1, 6).expand(4000, 6)
    embedding.norm.eval()  # z the same in training mode
    z = embedding.raw(h[:1]).unflatten(1, (3, 4))
    shares = embedding(h).unflatten(1, (3, 4)).mean(0)
    assert torch.allclose(shares, z[0].softmax(0), atol=0.04)  # the Gumbel-max trick: whatever the temperature


def test_gumbel_is_sem_without_noise_at_evaluation() -> None:
    embedding = gumbel(0.5).eval()
    h = torch.randn(5, 6)
    expected = sem.simplex_softmax(embedding.raw(h), L=4, V=3, tau=0.5)
    assert torch.equal(embedding(h), expected) and torch.equal(embedding(h), embedding(h))


def test_gumbel_is_straight_through() -> None:
    embedding = gumbel()
    h = torch.randn(7, 6, requires_grad=True)
    weight = torch.randn(7, 12)
    torch.manual_seed(3)
    (embedding(h) * weight).sum().backward()
    assert h.grad is not None
    hard = h.grad.clone()
    h.grad.zero_()
    torch.manual_seed(3)
    z = embedding.raw(h).unflatten(1, (3, 4))
    noise = -torch.empty_like(z).exponential_().log()
    ((z + noise).softmax(1).flatten(1) * weight).sum().backward()  # the soft sample, same noise
    assert torch.allclose(hard, h.grad, atol=1e-6)


def test_a_large_batch_is_done_in_parts_with_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    z, slope = torch.randn(2, 7, 2, 12)
    found = []
    for part in (10**6, 30):
        monkeypatch.setattr(sem, "PART", part)
        leaf = z.clone().requires_grad_()
        out = sem.simplex_softmax(leaf, L=4, V=3, tau=0.3)
        (gradient,) = torch.autograd.grad(out, leaf, slope)
        found.append((out, gradient))
    assert all(map(torch.equal, *found))
    wide = z.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sem.simplex_softmax(x, L=4, V=3, tau=0.3), wide)
    assert torch.autograd.gradgradcheck(lambda x: sem.simplex_softmax(x, L=4, V=3, tau=0.3), wide)
