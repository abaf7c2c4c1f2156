"""Sparsemax, hard codes and finite scalar quantisation: what stands in the place of SEM's softmax."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

import sem_bench
from sem_bench.cli import main
from sem_bench.embedding import Embedding
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.nets.embeddings.argmax import ArgmaxEmbedding
from sem_bench.nets.embeddings.fsq import FsqEmbedding, bounded
from sem_bench.nets.embeddings.sparsemax import SparsemaxEmbedding, sparsemax
from sem_bench.training.health import simplex_entropy
from tests.helpers.nets import build_embedding
from tests.helpers.toy import replace_text

SIZES = st.tuples(st.integers(1, 5), st.integers(2, 7))
TAUS = st.floats(0.01, 100)
SEEDS = st.integers(0, 1000)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def built(kind: type[Embedding], **arguments: object) -> Embedding:
    torch.manual_seed(0)
    return kind(6, L=4, V=5, **arguments).double()


# --- sparsemax ---


def test_sparsemax_by_hand() -> None:
    z = torch.tensor([[0.5, 0.0, -3.0], [2.0, 0.0, 0.0], [7.0, 7.0, 7.0], [1.0, 0.8, 0.1]])
    # two share: t = (0.5 + 0 - 1) / 2; one has all; three alike; t = (1 + 0.8 - 1) / 2 = 0.4 leaves out 0.1
    expected = torch.tensor([[0.75, 0.25, 0], [1, 0, 0], [1 / 3] * 3, [0.6, 0.4, 0]])
    torch.testing.assert_close(sparsemax(z, 1), expected)
    torch.testing.assert_close(sparsemax(z.T, 0), expected.T)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(-3, 3), min_size=2, max_size=5))
def test_sparsemax_is_the_nearest_point_of_the_simplex(z: list[float]) -> None:
    """As a general solver finds it."""
    target = torch.tensor(z, dtype=torch.float64)
    whole = {"type": "eq", "fun": lambda p: p.sum() - 1}
    start = [1 / len(z)] * len(z)
    best = minimize(
        lambda p: ((p - target.numpy()) ** 2).sum(), start, bounds=[(0, 1)] * len(z), constraints=[whole], tol=1e-14
    )
    torch.testing.assert_close(sparsemax(target, 0), torch.from_numpy(best.x), atol=1e-5, rtol=0)


@settings(deadline=None)
@given(SIZES, TAUS, SEEDS)
def test_sparsemax_gives_probability_vectors(size: tuple[int, int], tau: float, seed: int) -> None:
    L, V = size
    torch.manual_seed(seed)
    embedding = SparsemaxEmbedding(6, L=L, V=V, tau=tau).eval()
    p = embedding(torch.randn(3, 6) * 10).unflatten(1, (V, L))
    assert p.dtype == torch.float32 and (p >= 0).all()
    assert torch.allclose(p.sum(1), torch.ones(3, L), atol=1e-5)


@settings(deadline=None)
@given(SIZES, SEEDS)
def test_sparsemax_keeps_the_order_and_does_not_mind_a_shift(size: tuple[int, int], seed: int) -> None:
    z = numbers(3, *size, seed=seed)
    p = sparsemax(z, -1)
    falling = z.sort(-1, descending=True).indices
    assert (p.gather(-1, falling).diff(dim=-1) <= 1e-12).all()
    assert torch.allclose(sparsemax(z + 1000, -1), p, atol=1e-10)
    assert torch.allclose(sparsemax(p, -1), p, atol=1e-12)  # it is there already


def test_the_gradient_of_sparsemax_is_exact() -> None:
    z = numbers(4, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: sparsemax(z / 0.7, 1), z)
    assert torch.autograd.gradgradcheck(lambda z: sparsemax(z / 0.7, 1), z)
    row = torch.tensor([1.0, 0.8, 0.1], requires_grad=True)  # support: the first two
    (sparsemax(row, 0) * torch.tensor([3.0, 1.0, 9.0])).sum().backward()
    assert row.grad is not None
    torch.testing.assert_close(row.grad, torch.tensor([1.0, -1.0, 0.0]))


def test_the_temperature_of_sparsemax() -> None:
    embedding, h = built(SparsemaxEmbedding, tau=1.0).eval(), numbers(50, 6)
    zeros = [float((embedding(h, tau) == 0).double().mean()) for tau in (1e-4, 1.0, 100.0)]
    assert zeros[0] == pytest.approx(0.8) and 0.1 < zeros[1] < 0.8 and zeros[2] == 0
    module = build_embedding(EmbeddingSettings(type="sparsemax", L=4, V=5, tau=0.5, tau_target=2.0), 6)
    assert (module.temperature, module.target_temperature, module.groups) == (0.5, 2.0, (4, 5))


# --- argmax ---


def test_codes_by_hand() -> None:
    embedding = built(ArgmaxEmbedding, tau=1.0, train="hard").eval()
    h = numbers(9, 6)
    z = embedding.raw(h).unflatten(1, (5, 4)).tolist()
    codes = embedding(h).unflatten(1, (5, 4))
    for image in range(9):
        for group in range(4):
            column = [z[image][v][group] for v in range(5)]
            assert codes[image, :, group].tolist() == [float(v == column.index(max(column))) for v in range(5)]


@settings(deadline=None)
@given(SIZES, TAUS, SEEDS, st.booleans())
def test_codes_are_one_hot_at_every_temperature(size: tuple[int, int], tau: float, seed: int, training: bool) -> None:
    L, V = size
    torch.manual_seed(seed)
    embedding = ArgmaxEmbedding(6, L=L, V=V, tau=tau, train="hard").train(training)
    embedding.norm.eval()  # the same z in both
    h = torch.randn(3, 6)
    codes = embedding(h)
    assert set(codes.unique().tolist()) <= {0.0, 1.0}  # to the last bit, with a gradient too
    assert torch.equal(codes.unflatten(1, (V, L)).sum(1), torch.ones(3, L))
    with torch.no_grad():
        assert torch.equal(codes, embedding(h, 0.5))


def test_codes_are_straight_through() -> None:
    embedding = built(ArgmaxEmbedding, tau=0.6, train="hard")
    h, weight = numbers(7, 6).requires_grad_(), numbers(7, 20, seed=1)
    (hard,) = torch.autograd.grad((embedding(h) * weight).sum(), h)
    soft = (embedding.raw(h).unflatten(1, (5, 4)) / 0.6).softmax(1).flatten(1)
    (expected,) = torch.autograd.grad((soft * weight).sum(), h)
    torch.testing.assert_close(hard, expected)


def test_codes_after_training_with_sem() -> None:
    settings = {"L": 4, "V": 5, "tau": 0.5}
    torch.manual_seed(0)
    embedding = build_embedding(EmbeddingSettings(type="argmax", **settings, train="soft"), 6)  # type: ignore[arg-type, call-arg]
    torch.manual_seed(0)
    sem = build_embedding(EmbeddingSettings(type="sem", **settings), 6)  # type: ignore[arg-type]
    h = torch.randn(8, 6)
    p = sem(h)
    assert torch.equal(embedding(h), p)
    sem.load_state_dict(embedding.state_dict())
    sem.eval()
    codes = embedding.eval()(h).unflatten(1, (5, 4))
    assert torch.equal(codes.argmax(1), sem(h).unflatten(1, (5, 4)).argmax(1)) and torch.equal(
        codes.amax(1), codes.sum(1)
    )


# --- finite scalar quantisation ---


def test_quantisation_by_hand() -> None:
    """The paper's example: three levels are -1, 0, 1; eight are -4 to 3."""
    z = torch.tensor([-9.0, -0.4, 0.0, 0.4, 9.0])
    assert bounded(z, 3).round().tolist() == [-1, 0, 0, 0, 1]
    assert bounded(z, 8).round().tolist() == [-4, -1, 0, 1, 3]  # 3.5035 tanh(z + atanh(0.5 / 3.5035)) - 0.5
    assert bounded(torch.tensor([0.6]), 3).item() == pytest.approx(1.001 * math.tanh(0.6), rel=1e-6)


@settings(deadline=None)
@given(st.integers(3, 12))
def test_every_level_is_reached_and_no_other(levels: int) -> None:
    torch.manual_seed(0)
    embedding = FsqEmbedding(6, L=4, V=levels)
    embedding.eval()
    z = torch.linspace(-8, 8, 4001)[:, None].expand(-1, 4)
    embedding.raw = lambda h: h  # type: ignore[method-assign]
    codes = embedding(z)
    low = -(levels // 2)
    assert codes.unique().tolist() == pytest.approx([(low + i) / (levels // 2) for i in range(levels)])
    assert (codes.diff(dim=0) >= 0).all()


def test_quantisation_is_straight_through() -> None:
    embedding = built(FsqEmbedding)
    h, weight = numbers(7, 6).requires_grad_(), numbers(7, 4, seed=1)
    codes = embedding(h)
    assert torch.equal((codes * 2).round(), codes * 2)  # five levels: halves, to the last bit
    (hard,) = torch.autograd.grad((codes * weight).sum(), h)
    (expected,) = torch.autograd.grad((bounded(embedding.raw(h), 5) / 2 * weight).sum(), h)
    torch.testing.assert_close(hard, expected)
    wide = numbers(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: bounded(z, 8), wide)


# --- all of them in a run ---


def by_hand(p: Tensor) -> float:
    """Mean entropy of vectors (n, V, L) as a share of log V."""
    return float(torch.special.entr(p.double()).sum(1).mean()) / math.log(p.shape[1])


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: SparsemaxEmbedding(6, L=4, V=5, tau=0.8), None),
        (lambda: ArgmaxEmbedding(6, L=4, V=5, tau=0.8, train="hard"), 0.0),
    ],
)
def test_the_entropy_is_that_of_the_output(build: Callable[[], Embedding], expected: float | None) -> None:
    torch.manual_seed(0)
    embedding, h = build().eval(), torch.randn(64, 6)
    with torch.no_grad():
        p = embedding(h).unflatten(1, (5, 4))
        softmax = (embedding.raw(h).unflatten(1, (5, 4)) / 0.8).softmax(1)
    measured = simplex_entropy(embedding, h)
    assert measured == pytest.approx(by_hand(p), abs=1e-6)
    assert expected is None or measured == pytest.approx(expected, abs=1e-6)
    assert abs(measured - by_hand(softmax)) > 0.1


ALL = (
    "{none: {}, sem: {L: 4, V: 3}, sparsemax: {L: 4, V: 3}, argmax: {L: 4, V: 3}, "
    "codes: {type: argmax, L: 4, V: 3, train: soft}, fsq: {L: 4, V: 3}}"
)


def test_all_in_a_run_with_none_as_their_baseline(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace_text(folder / "suite.yaml", "{none: {}, sem: {L: 4, V: 3}}", ALL)
    replace_text(folder / "suite.yaml", "  knn: {k: 5}", "  knn: {k: 5}\n  relevance: {top_k: [2]}\n  entropy: {}")
    replace_text(folder / "suite.yaml", "[1.0, 0.1]", "[1.0]")
    assert main(["run", "suite.yaml"]) == 0
    table = capsys.readouterr().out
    rows = [row for row in sem_bench.load("results") if row.representation != "h"]
    compared = {row.embedding: row for row in rows if row.table == "comparison" and row.column == "100%"}
    assert compared.keys() == {"sem", "sparsemax", "argmax", "codes", "fsq"}
    assert all(row.gain is not None for row in compared.values()) and "fsq" in table
    assert compared["fsq"].embedding_label == "fsq (L=4, V=3)"
    searched = {name: row.tau_d is not None for name, row in compared.items()}
    assert searched == {"sem": True, "sparsemax": True, "argmax": False, "codes": False, "fsq": False}
    entropy = {row.embedding: row.mean for row in rows if row.table == "entropy" and row.metric == "entropy_share"}
    assert entropy.keys() == {"sem", "sparsemax", "argmax", "codes"}  # fsq has no probabilities
    sparse = entropy["sparsemax"]
    assert entropy["argmax"] == pytest.approx(0, abs=1e-6) and sparse is not None and 0 < sparse < 1
    assert {row.embedding for row in rows if row.table == "relevance"} == compared.keys()


def test_they_are_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "embeddings"]) == 0
    listed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (
        "Martins and Astudillo" in listed["sparsemax"] and "Mentzer" in listed["fsq"] and "one-hot" in listed["argmax"]
    )


def test_mistakes_in_their_settings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, line in (
        ("{fsq: {L: 4, V: 3, tau: 1}}", "embedding type fsq takes no tau"),
        ("{argmax: {L: 4, V: 3, train: softly}}", "unknown value 'softly'; did you mean 'soft'?"),
        ("{sparsmax: {type: sparsmax, L: 4, V: 3}}", "unknown type 'sparsmax'; did you mean 'sparsemax'?"),
    ):
        assert main(["plan", "suite.yaml", "--set", f"grid.embeddings={wrong}"]) == 2
        assert line in capsys.readouterr().err
