"""The probe's solver: the optimum of the convex problem, as scikit-learn finds it, with every edge that data has."""

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from sem_bench.evaluations.measures import logistic
from sem_bench.evaluations.measures.logistic import Fit, Head, Remembered, compress, fit, fit_chunks, fit_many

PENALTIES = [1e-6, 1e-4, 1e-2]


def objective(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, l2: float) -> Tensor:
    logits = x.double() @ weight.double().T + bias.double()
    return torch.nn.functional.cross_entropy(logits, y) + l2 / 2 * weight.double().square().sum()


def slope(head: Head, x: Tensor, y: Tensor, l2: float) -> float:
    """The largest entry of the objective's gradient, by autograd, over the classes that have labels."""
    present = torch.unique(y)
    weight = head.weight[present].double().requires_grad_()
    bias = head.bias[present].double().requires_grad_()
    objective(weight, bias, x, torch.searchsorted(present, y), l2).backward()
    assert weight.grad is not None and bias.grad is not None
    return max(weight.grad.abs().max().item(), bias.grad.abs().max().item())


def blobs(n: int, d: int, classes: int, *, spread: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Overlapping Gaussians; different numbers of rows share their centres."""
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(99))
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=random)
    x = centres[y] + spread * torch.randn(n, d, generator=random)
    return x / (d * (1 + spread**2)) ** 0.5, y


def simplices(n: int, L: int, V: int, classes: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Like SEM: L softmaxes over V, so that rows sum to L; scaled to an RMS norm of 1."""
    x, y = blobs(n, 24, classes, spread=1.5, seed=seed)
    projection = torch.randn(24, L * V, generator=torch.Generator().manual_seed(7))
    z = torch.softmax((6 * x @ projection).view(n, L, V), -1).flatten(1)
    return z / 0.55 / L**0.5, y


def same(one: Fit, other: Fit, *, within: float) -> None:
    for a, b in zip(one.heads, other.heads, strict=True):
        torch.testing.assert_close(a.weight, b.weight, rtol=within, atol=within)
        torch.testing.assert_close(a.bias, b.bias, rtol=within, atol=within)


@pytest.mark.parametrize("way", ["memory", "chunks"])
@pytest.mark.parametrize("data", ["tall", "wide", "separable", "simplices"])
def test_equals_scikit_learn(data: str, way: str) -> None:
    def draw(n: int, seed: int) -> tuple[Tensor, Tensor]:
        if data == "simplices":
            return simplices(n, 12, 8, 10, seed=seed)
        return blobs(n, 160 if data == "wide" else 24, 10, spread=0.3 if data == "separable" else 1.6, seed=seed)

    (x, y), (x_test, y_test) = draw(100 if data == "wide" else 1000, 1), draw(2000, 2)
    if way == "memory":
        found = fit(x, y, classes=10, l2=PENALTIES)
    else:
        parts = list(zip(torch.split(x, 300), torch.split(y, 300), strict=True))
        found = fit_chunks(lambda: parts, classes=10, l2=PENALTIES)
    assert all(found.converged)
    for head, l2, value in zip(found.heads, PENALTIES, found.objective, strict=True):
        reference = LogisticRegression(C=1 / (len(x) * l2), tol=1e-7, max_iter=50_000)
        reference.fit(x.double().numpy(), y.numpy())
        best = objective(torch.tensor(reference.coef_), torch.tensor(reference.intercept_), x, y, l2).item()
        assert objective(head.weight, head.bias, x, y, l2).item() == pytest.approx(best, rel=1e-5)
        assert value == pytest.approx(best, rel=1e-5)
        ours = head.predict(x_test).argmax(1)
        theirs = torch.tensor(reference.predict(x_test.double().numpy()))
        assert (ours == theirs).float().mean() >= 0.995
        assert abs((ours == y_test).float().mean() - (theirs == y_test).float().mean()) <= 0.005


def test_a_case_by_hand() -> None:
    # x = +-1, weights +-w: log(1 + exp(-2 w)) + l2 w^2 has its minimum at w = 1 for l2 = 1 / (1 + e^2).
    found = fit(
        torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 1]), classes=2, l2=[1 / (1 + math.e**2)], tolerance=1e-12
    )
    torch.testing.assert_close(found.heads[0].weight, torch.tensor([[1.0], [-1.0]]), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.heads[0].bias, torch.zeros(2), rtol=0, atol=1e-5)
    assert found.objective[0] == pytest.approx(math.log1p(math.exp(-2)) + 1 / (1 + math.e**2))


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 14), d=st.integers(1, 9), classes=st.integers(1, 4), seed=st.integers(0, 10**6), data=st.data())
def test_small_data_of_every_shape_ends_where_the_gradient_is_zero(
    n: int, d: int, classes: int, seed: int, data: st.DataObject
) -> None:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + 3
    y = torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)))
    found = fit(x, y, classes=classes, l2=[1e-3, 1e-1], tolerance=1e-13)
    assert all(found.converged)
    for head, l2 in zip(found.heads, [1e-3, 1e-1], strict=True):
        assert head.weight.shape == (classes, d) and head.bias.shape == (classes,)
        assert slope(head, x, y, l2) < 1e-5


def test_the_bias_is_not_penalised() -> None:
    y = torch.tensor([0] * 6 + [1] * 3 + [2])
    head = fit(torch.full((10, 3), 2.0), y, classes=3, l2=[1.0]).heads[0]
    torch.testing.assert_close(head.predict(torch.full((1, 3), 2.0)).softmax(1)[0], torch.tensor([0.6, 0.3, 0.1]))


def test_moving_the_features_changes_only_the_bias() -> None:
    x, y = blobs(200, 5, 3, spread=1.0)
    here, there = (fit(x + shift, y, classes=3, l2=[1e-3], tolerance=1e-12).heads[0] for shift in (0, 10))
    torch.testing.assert_close(here.weight, there.weight, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(here.predict(x), there.predict(x + 10), rtol=1e-3, atol=1e-3)


def test_duplicated_columns_share_their_weight_and_constant_ones_get_none() -> None:
    x, y = blobs(200, 4, 3, spread=1.0)
    weight = fit(torch.cat([x, x[:, :1], torch.ones(200, 1)], 1), y, classes=3, l2=[1e-3]).heads[0].weight
    torch.testing.assert_close(weight[:, 0], weight[:, 4])
    torch.testing.assert_close(weight[:, 5], torch.zeros(3), rtol=0, atol=1e-6)


def test_a_class_without_labels_is_never_predicted_and_changes_nothing() -> None:
    x, y = blobs(300, 6, 3, spread=1.0)
    without, with_ = fit(x, y, classes=3, l2=[1e-4]), fit(x, torch.tensor([0, 2, 4])[y], classes=5, l2=[1e-4])
    head = with_.heads[0]
    assert torch.equal(head.bias.isinf(), torch.tensor([False, True, False, True, False]))
    assert torch.equal(head.weight[[1, 3]], torch.zeros(2, 6))
    torch.testing.assert_close(head.weight[[0, 2, 4]], without.heads[0].weight, rtol=1e-4, atol=1e-2)
    assert not torch.isin(head.predict(10 * x).argmax(1), torch.tensor([1, 3])).any()


def test_one_label_a_class() -> None:
    x = torch.randn(7, 40, generator=torch.Generator().manual_seed(0))
    found = fit(x, torch.arange(7), classes=7, l2=PENALTIES)
    assert all(found.converged)
    assert all(torch.equal(head.predict(x).argmax(1), torch.arange(7)) for head in found.heads)


def test_side_by_side_is_the_same_as_one_by_one() -> None:
    problems = [
        blobs(n, d, 4, spread=1.0, seed=seed) for seed, (n, d) in enumerate([(30, 8), (20, 50), (30, 60), (30, 8)])
    ]
    problems.append((problems[0][0], problems[0][1].clamp_max(2)))  # it lacks a class that its neighbours have
    together = fit_many(problems, classes=4, l2=PENALTIES, tolerance=1e-11)
    for (x, y), found in zip(problems, together, strict=True):
        alone = fit(x, y, classes=4, l2=PENALTIES, tolerance=1e-11)
        assert found.converged == alone.converged == [True] * 3
        assert found.objective == pytest.approx(alone.objective, rel=1e-9)
        same(found, alone, within=1e-2)  # at 1e-6 the optimum is flat


def test_large_data_are_solved_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(500, 12, 5, spread=1.0)
    small = fit(x, y, classes=5, l2=PENALTIES)
    monkeypatch.setattr(logistic, "SMALL", 100)
    monkeypatch.setattr(logistic, "ROWS", 64)
    monkeypatch.setattr(logistic, "LOGITS", 100)
    large = fit(x, y, classes=5, l2=PENALTIES)
    assert large.objective == pytest.approx(small.objective, rel=1e-5)
    assert large.objective != small.objective  # it is another path


def test_features_too_wide_to_rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(500, 12, 5, spread=1.0)
    small = fit(x, y, classes=5, l2=PENALTIES)
    monkeypatch.setattr(logistic, "WIDEST_GRAM", 8)
    wide = fit(x, y, classes=5, l2=PENALTIES)
    assert all(wide.converged)
    assert wide.objective == pytest.approx(small.objective, rel=1e-5)
    assert wide.iterations != small.iterations  # it is another path


class Chunks:
    """Blobs in parts, which count how often they are read."""

    def __init__(self) -> None:
        self.x, self.y = blobs(600, 10, 4, spread=1.0)
        self.passes = 0

    def __call__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.passes += 1
        yield from zip(self.x.split(100), self.y.split(100), strict=True)


def test_chunks_are_read_about_once_an_iteration() -> None:
    chunks = Chunks()
    found = fit_chunks(chunks, classes=4, l2=PENALTIES)
    assert all(found.converged)
    assert max(found.iterations) + 2 <= chunks.passes <= 1.5 * max(found.iterations) + 2


def test_what_is_remembered_of_features_costs_no_pass_and_changes_nothing() -> None:
    chunks = Chunks()
    remembered = Remembered()
    counts, found = [], []
    for known in (None, remembered, remembered):
        chunks.passes = 0
        found.append(fit_chunks(chunks, classes=4, l2=PENALTIES, remembered=known))
        counts.append(chunks.passes)
    assert counts == [counts[0], counts[0], counts[0] - 1]
    for other in found[1:]:
        assert all(torch.equal(a.weight, b.weight) for a, b in zip(found[0].heads, other.heads, strict=True))


def test_penalties_that_do_not_fit_together_are_solved_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(600, 10, 4, spread=1.0)
    parts = list(zip(torch.split(x, 100), torch.split(y, 100), strict=True))
    # At 1e-6 the optimum is flat: at the usual tolerance two CPUs' rounding may end 2e-2 apart.
    together = fit_chunks(lambda: parts, classes=4, l2=PENALTIES, tolerance=1e-9)
    monkeypatch.setattr(logistic, "SOLVER", 1)
    alone = fit_chunks(lambda: parts, classes=4, l2=PENALTIES, tolerance=1e-9)
    assert len(alone.heads) == len(PENALTIES) and all(alone.converged)
    assert alone.objective == pytest.approx(together.objective, rel=1e-5)
    for one, other in zip(alone.heads, together.heads, strict=True):
        assert torch.allclose(one.weight, other.weight, atol=1e-2)


def test_compressed_features_have_the_same_optimum() -> None:
    x, y = blobs(50, 300, 5, spread=2.0)
    small = compress(x)
    assert small.shape[1] < 50
    assert compress(small) is small
    one, other = (fit(features, y, classes=5, l2=[1e-3], tolerance=1e-11) for features in (x, small))
    assert other.objective == pytest.approx(one.objective, rel=1e-6)
    torch.testing.assert_close(other.heads[0].predict(small), one.heads[0].predict(x), rtol=1e-3, atol=1e-3)


def test_steps_are_shortened_where_full_ones_diverge() -> None:
    random = torch.Generator().manual_seed(1)
    x, y = torch.randn(60, 10, generator=random), torch.randint(3, (60,), generator=random)
    x[0] *= 1000
    found = fit(x, y, classes=3, l2=[1e-9, 1e-6, 1e-3])
    assert all(found.converged)
    assert max(found.objective) < 0.8  # log 3 = 1.1 at the start


def test_stopping_early_is_reported() -> None:
    x, y = blobs(300, 20, 5, spread=1.0)
    found = fit(x, y, classes=5, l2=[1e-6, 10.0], max_iter=3)
    assert found.converged == [False, True]
    assert found.iterations[0] == 3
    assert found.objective[0] == pytest.approx(
        objective(found.heads[0].weight, found.heads[0].bias, x, y, 1e-6).item(), rel=1e-5
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("way", ["memory", "chunks"])
def test_features_that_are_not_finite_are_named(value: float, way: str) -> None:
    x, y = blobs(10, 3, 2, spread=1.0)
    x[4, 2] = value
    with pytest.raises(ValueError, match=rf"row 4, column 2 is {value}"):
        if way == "memory":
            fit(x, y, classes=2, l2=[1.0])
        else:
            fit_chunks(lambda: [(x, y)], classes=2, l2=[1.0])


def test_senseless_input_is_refused() -> None:
    x, y = blobs(10, 3, 2, spread=1.0)
    for bad in (y - 1, y + 1):
        with pytest.raises(ValueError, match="labels must lie in"):
            fit(x, bad, classes=2, l2=[1.0])
    for penalties in ([0.0], [-1.0], [math.inf], [math.nan], []):
        with pytest.raises(ValueError, match="penalties must be positive"):
            fit(x, y, classes=2, l2=penalties)
    for features, labels in ((x, y[:9]), (x[0], y), (x[:0], y[:0])):
        with pytest.raises(ValueError, match="expected"):
            fit(features, labels, classes=2, l2=[1.0])
    with pytest.raises(ValueError, match="no rows"):
        fit_chunks(list, classes=2, l2=[1.0])
