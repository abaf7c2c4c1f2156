"""Weighted nearest neighbours against a reference that goes query by query in numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sem_bench.evaluations.measures import neighbours
from sem_bench.evaluations.measures.neighbours import centred, predict

CLASSES = 6


def data(n: int, m: int, d: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(n + m)
    labels = torch.randint(CLASSES, (n,), generator=random)
    centres = torch.randn(CLASSES, d, generator=random)
    train = centres[labels] + 2 * torch.randn(n, d, generator=random)
    queries = centres[torch.randint(CLASSES, (m,), generator=random)] + 2 * torch.randn(m, d, generator=random)
    return train, labels, queries


def reference(train: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float) -> list[int]:
    """The formula, a query at a time; equal similarities by row, equal votes by class."""
    rows = train.double().numpy()
    found = []
    for query in queries.double().numpy():
        lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
        similarity = np.where(lengths > 0, rows @ query / np.where(lengths > 0, lengths, 1), 0)
        votes = np.zeros(CLASSES)
        for row in np.argsort(-similarity, kind="stable")[:k]:
            votes[labels[row]] += np.exp(similarity[row] / temperature)
        found.append(int(votes.argmax()))
    return found


@pytest.mark.parametrize("k", [1, 5, 20, 200, 1000])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_equals_the_formula(k: int, temperature: float) -> None:
    train, labels, queries = data(200, 300)
    found = predict(train, labels, queries, classes=CLASSES, k=k, temperature=temperature)
    assert found.tolist() == reference(train, labels, queries, k, temperature)


def test_the_weights_decide() -> None:
    # Class 1 once at similarity 1, class 0 twice at 0.8: exp(0.2 / T) against 2, even at T = 0.2 / ln 2 = 0.289.
    train = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.8, -0.6]])
    labels = torch.tensor([1, 0, 0])
    query = torch.tensor([[2.0, 0.0]])
    assert predict(train, labels, query, classes=2, k=3, temperature=0.28).tolist() == [1]
    assert predict(train, labels, query, classes=2, k=3, temperature=0.30).tolist() == [0]


def test_lengths_do_not_matter() -> None:
    train, labels, queries = data(100, 50)
    plain = predict(train, labels, queries, classes=CLASSES, k=7, temperature=0.1)
    stretched = predict(train * 8, labels, queries / 4, classes=CLASSES, k=7, temperature=0.1)
    assert torch.equal(plain, stretched)


def test_centred_similarities_are_those_without_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean is that of the representation over the images that vote, computed in parts."""
    monkeypatch.setattr(neighbours, "CHUNK", 64)
    train, labels, queries = data(200, 300)

    def of(h: Tensor) -> Tensor:
        return h.float().relu() + 3

    mean = of(train).double().mean(0).float()
    found = predict(train, labels, queries, classes=CLASSES, k=20, temperature=0.1, of=centred(of, train))
    assert found.tolist() == reference(of(train) - mean, labels, of(queries) - mean, 20, 0.1)
    assert found.tolist() != predict(train, labels, queries, classes=CLASSES, k=20, temperature=0.1, of=of).tolist()


def test_the_size_of_chunks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    train, labels, queries = data(100, 50)
    whole = predict(train, labels, queries, classes=CLASSES, k=7, temperature=0.1)
    monkeypatch.setattr(neighbours, "ENTRIES", 300)
    assert torch.equal(predict(train, labels, queries, classes=CLASSES, k=7, temperature=0.1), whole)


def test_of_equal_neighbours_the_first_rows_vote_and_of_equal_votes_the_first_class_wins() -> None:
    labels = torch.tensor([3, 3, 1, 1, 1, 2])
    train = torch.ones(6, 2)
    query = torch.tensor([[1.0, 1.0]])
    found = [predict(train, labels, query, classes=4, k=k, temperature=0.1).item() for k in (1, 2, 3, 4, 5, 6)]
    assert found == [3, 3, 3, 1, 1, 1]


def test_ties_beside_nearer_neighbours() -> None:
    train = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    found = predict(train, torch.tensor([2, 0, 1, 1]), torch.tensor([[1.0, 0.0]]), classes=3, k=2, temperature=10.0)
    assert found.tolist() == [0]
    assert neighbours._nearest(torch.tensor([[0.0, 1.0, 0.0, 0.0]]), 2).sort().values.tolist() == [[0, 1]]


def test_zero_vectors_are_neighbours_of_similarity_zero() -> None:
    train = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    labels = torch.tensor([2, 1, 0])
    queries = torch.tensor([[0.0, 0.0], [-3.0, 0.0]])
    assert predict(train, labels, queries, classes=3, k=1, temperature=0.1).tolist() == [2, 1]
    assert predict(train, labels, queries, classes=3, k=3, temperature=0.1).tolist() == [0, 1]


def test_low_temperatures_neither_overflow_nor_vanish() -> None:
    train, labels, queries = data(100, 50)
    cold = predict(train, labels, queries, classes=CLASSES, k=10, temperature=1e-6)
    assert torch.equal(cold, predict(train, labels, queries, classes=CLASSES, k=1, temperature=1.0))


def test_no_queries() -> None:
    train, labels, queries = data(10, 5)
    assert predict(train, labels, queries[:0], classes=CLASSES, k=3, temperature=0.1).shape == (0,)


def test_senseless_input_is_refused() -> None:
    train, labels, queries = data(10, 5)
    for k, temperature in ((0, 0.1), (3, 0.0), (3, float("nan"))):
        with pytest.raises(ValueError, match="expected"):
            predict(train, labels, queries, classes=CLASSES, k=k, temperature=temperature)
    with pytest.raises(ValueError, match="expected"):
        predict(train[:0], labels[:0], queries, classes=CLASSES, k=3, temperature=0.1)
    queries[2, 3] = float("nan")
    with pytest.raises(ValueError, match="some of queries are not"):
        predict(train, labels, queries, classes=CLASSES, k=3, temperature=0.1)


@pytest.mark.parametrize("k", [1, 5, 20, 200])
def test_parts_of_a_wide_representation_find_the_same(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs in 16 dimensions have length 4, so similarities are exact, and many tie, also across the parts."""
    train, labels, queries = data(200, 70, d=16)
    train, queries = train.sign(), queries.sign()
    expected = reference(train, labels, queries, k, 0.3)
    seen = []

    def of(h: Tensor) -> Tensor:
        seen.append(len(h))
        return h.float() * 2

    for rows in (7, 50, 199, 200):
        monkeypatch.setattr(neighbours, "WIDE", rows * 16)
        found = predict(train.half(), labels, queries.half(), classes=CLASSES, k=k, temperature=0.3, of=of)
        assert found.tolist() == expected
        assert max(seen) <= rows
        seen.clear()


def test_wide_representations_are_compared_in_bfloat16_without_what_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Similarities of simplices are near 1; what tells them apart must survive the rounding."""
    h = torch.randn(90, 24)
    weight = torch.randn(24, 60)
    monkeypatch.setattr(neighbours, "SLICE", 16)
    monkeypatch.setattr(neighbours, "precision", lambda device: "bf16")

    def of(part: Tensor) -> Tensor:
        return (part @ weight / 30).view(-1, 4, 15).softmax(1).flatten(1)

    mean = normalize(of(h[:20])).mean(0)
    rough = neighbours._rows(h[60:], of, mean).similarity(neighbours._rows(h[:60], of, mean))
    exact = normalize(of(h[60:])) @ normalize(of(h[:60])).T
    assert exact.min() > 0.9 and (exact - rough).abs().max() < 1e-4
    labels = torch.randint(CLASSES, (60,))
    asked = torch.cat([h[60:], h[:60]])
    expected = predict(h[:60], labels, asked, classes=CLASSES, k=3, temperature=0.1, of=of)
    monkeypatch.setattr(neighbours, "WIDE", 40 * 60)
    found = predict(h[:60], labels, asked, classes=CLASSES, k=3, temperature=0.1, of=of)
    assert (found != expected).sum() <= 1
