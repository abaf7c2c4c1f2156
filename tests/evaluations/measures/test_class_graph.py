"""Semantic relevance by hand, against the formula pair by pair, and its null."""

import math
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sem_bench.evaluations.measures.class_graph import Relevance, Weight, graph, least_k, measure, neighbours

# Which features each of four classes keeps at K = 2: 0 and 1 share feature 1, 1 and 2 share feature 2, 3 is alone.
CHAIN = np.array(
    [
        [3.0, 2.0, -9.0, 0.0, 0.0],
        [0.0, 1.0, 4.0, 0.5, 0.0],
        [-1.0, -2.0, 0.1, 0.2, -5.0],
        [-4.0, -5.0, -6.0, -7.0, -1.0],
    ]
)
GROUPS = [0, 0, 1, 1]


def found(weight: Weight, superclass: list[int], *, top_k: int = 2, permutations: int = 50, seed: int = 0) -> Relevance:
    return measure(weight, superclass, top_k=top_k, permutations=permutations, seed=seed)


def reference(weight: Weight, superclass: list[int], k: int) -> tuple[float, list[set[int]]]:
    """The formula, pair by pair."""
    kept = [set(sorted(range(len(row)), key=lambda i: (-row[i], i))[:k]) for row in weight.tolist()]
    classes = range(len(kept))
    near = [{j for j in classes if j != i and kept[i] & kept[j]} for i in classes]
    return sum(sum(superclass[i] == superclass[j] for j in n) / len(n) for i, n in enumerate(near) if n), near


@st.composite
def heads(draw: st.DrawFn, *, ties: bool = True) -> tuple[npt.NDArray[np.float32], list[int], int]:
    """A weight, superclasses and K. Without ties each class ranks the features in an order of its own."""
    classes, features = draw(st.integers(1, 8)), draw(st.integers(1, 9))
    value = st.integers(-2, 2)
    row = st.lists(value, min_size=features, max_size=features) if ties else st.permutations(range(features))
    weight = np.array([draw(row) for _ in range(classes)], dtype=np.float32)
    superclass = draw(st.lists(st.integers(0, 3), min_size=classes, max_size=classes))
    return weight, superclass, draw(st.integers(0, features + 1))


def test_the_graph_keeps_the_largest_signed_weights_the_largest_first() -> None:
    assert graph(CHAIN, top_k=2).tolist() == [[0, 1], [2, 1], [3, 2], [4, 0]]
    assert graph(CHAIN, top_k=1).tolist() == [[0], [2], [3], [4]]


def test_of_equal_weights_the_lower_feature_is_kept() -> None:
    weight = np.array([[1.0, 2.0, 1.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0], [-0.0, 0.0, 0.0, -0.0, 1.0]])
    assert graph(weight, top_k=3).tolist() == [[1, 3, 0], [0, 1, 2], [4, 0, 1]]
    assert graph(weight, top_k=1).tolist() == [[1], [0], [4]]


def test_k_above_the_number_of_features_keeps_all() -> None:
    assert np.sort(graph(CHAIN, top_k=99), axis=1).tolist() == [[0, 1, 2, 3, 4]] * 4
    assert graph(CHAIN[:, :0], top_k=3).shape == (4, 0)


def test_by_hand() -> None:
    # Class 3 keeps feature 0 beside 4, which only class 0 has. So 0: {1, 3}, 1: {0, 2}, 2: {1}, 3: {0}.
    result = found(CHAIN, GROUPS)
    assert result.neighbours == [[1, 3], [0, 2], [1], [0]]
    assert result.features == [[0, 1], [2, 1], [3, 2], [4, 0]]
    assert result.relevance == 1 / 2 + 1 / 2 + 0 + 0
    assert result.per_class == 0.25
    assert result.base_rate == pytest.approx(1 / 3)
    assert result.neighbours_per_class == 1.5
    assert (result.distinct_features, result.without_neighbours) == (5, 0.0)


def test_another_superclass_of_a_class_is_another_relevance() -> None:
    assert found(CHAIN, [0, 1, 1, 0]).relevance == 1 / 2 + 1 / 2 + 1 + 1
    assert found(CHAIN, [0, 1, 0, 1]).relevance == 0


def test_k_1_leaves_every_class_alone() -> None:
    result = found(CHAIN, GROUPS, top_k=1)
    assert (result.relevance, result.per_class, result.without_neighbours) == (0, 0, 1)
    assert (result.neighbours, result.distinct_features) == ([[]] * 4, 4)
    assert (result.null.mean, result.null.low, result.null.high) == (0, 0, 0)


def test_k_0_keeps_nothing() -> None:
    result = found(CHAIN, GROUPS, top_k=0)
    assert (result.features, result.neighbours) == ([[]] * 4, [[]] * 4)
    assert (result.relevance, result.distinct_features, result.neighbours_per_class) == (0, 0, 0)


def test_one_superclass_and_one_for_each() -> None:
    result = found(CHAIN, [7, 7, 7, 7])
    assert (result.relevance, result.per_class, result.base_rate) == (4, 1, 1)
    assert (result.null.mean, result.null.low, result.null.high) == (1, 1, 1)
    result = found(CHAIN, [3, 1, 0, 2])
    assert (result.relevance, result.base_rate, result.null.mean) == (0, 0, 0)


def test_a_single_class() -> None:
    result = found(CHAIN[:1], [0])
    assert (result.relevance, result.base_rate, result.neighbours) == (0, 0, [[]])


def random_head(classes: int = 30) -> tuple[Weight, list[int]]:
    """About a tenth of the classes alone; superclasses of unequal size."""
    weight = np.random.default_rng(1).normal(size=(classes, 100))
    return weight, [min(i // 4, 3) for i in range(classes)]


def test_the_null_has_the_mean_that_chance_gives() -> None:
    weight, superclass = random_head()
    result = found(weight, superclass, permutations=4000)
    assert 0 < result.without_neighbours < 0.5
    chance = result.base_rate * (1 - result.without_neighbours)
    spread = (result.null.high - result.null.low) / 4  # a standard deviation, roughly
    assert result.null.mean == pytest.approx(chance, abs=4 * spread / math.sqrt(4000))
    dense = found(weight, superclass, top_k=20, permutations=4000)
    assert dense.without_neighbours == 0
    assert dense.null.mean == pytest.approx(dense.base_rate, abs=0.002)


def test_the_null_is_that_of_every_permutation() -> None:
    deals = [[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]]  # all, up to names; equally likely
    values = sorted(reference(CHAIN, deal, 2)[0] / 4 for deal in deals)
    assert values == [0, 0.25, 0.75]
    result = found(CHAIN, GROUPS, permutations=3000)
    assert (result.null.low, result.null.high) == (0, 0.75)
    assert result.null.mean == pytest.approx(1 / 3, abs=0.02)


def test_the_null_holds_95_percent_of_the_permutations() -> None:
    weight, superclass = random_head()
    null = found(weight, superclass, top_k=4, permutations=4000).null
    random = np.random.default_rng(9)
    values = np.array([reference(weight, random.permutation(superclass).tolist(), 4)[0] / 30 for _ in range(500)])
    assert 0.93 <= ((null.low <= values) & (values <= null.high)).mean() <= 0.97


def test_features_of_superclasses_lie_above_the_null() -> None:
    weight, superclass = random_head()
    chance = found(weight, superclass)
    assert chance.null.low <= chance.per_class <= chance.null.high
    for row, group in zip(weight, superclass, strict=True):
        row[group] += 9
    result = found(weight, superclass)
    assert result.null.high < result.per_class < 1


def test_the_seed_decides_the_null_and_nothing_else() -> None:
    weight, superclass = random_head()
    first, again, other = (found(weight, superclass, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first.null != other.null
    assert (first.relevance, first.neighbours) == (other.relevance, other.neighbours)


@given(heads())
def test_equals_the_formula(head: tuple[Weight, list[int], int]) -> None:
    weight, superclass, k = head
    relevance, near = reference(weight, superclass, k)
    result = found(weight, superclass, top_k=k, permutations=1)
    assert result.relevance == pytest.approx(relevance)
    assert [set(found) for found in result.neighbours] == near
    assert 0 <= result.relevance <= len(weight)


@given(heads())
def test_neighbours_are_mutual_and_others(head: tuple[Weight, list[int], int]) -> None:
    weight, _, k = head
    relation = neighbours(graph(weight, top_k=k))
    assert np.array_equal(relation, relation.T)
    assert not relation.diagonal().any()


@given(heads(ties=False), st.randoms(use_true_random=False))
def test_the_order_of_features_does_not_matter(head: tuple[Weight, list[int], int], random: Random) -> None:
    weight, superclass, k = head
    order = list(range(weight.shape[1]))
    random.shuffle(order)
    first, second = (found(w, superclass, top_k=k, permutations=3) for w in (weight, weight[:, order]))
    assert [[order[i] for i in row] for row in second.features] == first.features
    assert (second.relevance, second.neighbours, second.null) == (first.relevance, first.neighbours, first.null)


def test_classes_without_neighbours_do_not_count_among_the_connected() -> None:
    # 0 and 1 are neighbours, and so are 1 and 2; 3 is alone. Shares 1, 1/2, 0: their mean is 1/2, over all four 3/8.
    relevance = found(CHAIN, GROUPS)
    assert (relevance.connected, relevance.per_class) == (0.5, 0.375)
    assert (relevance.without_neighbours, relevance.neighbours_per_class) == (0.25, 1.0)
    alone = found(CHAIN, GROUPS, top_k=1)
    assert (alone.connected, alone.per_class, alone.without_neighbours) == (0.0, 0.0, 1.0)


@given(heads(), st.integers(1, 7))
def test_k_is_the_smallest_with_so_many_neighbours(head: tuple[Weight, list[int], int], count: int) -> None:
    weight, _, _ = head
    if count >= len(weight):
        with pytest.raises(ValueError, match=f"{count} neighbours of each of {len(weight)} classes"):
            least_k(weight, count)
        return
    means = [neighbours(graph(weight, top_k=k)).sum(1).mean() for k in range(weight.shape[1] + 1)]
    assert least_k(weight, count) == next(k for k, mean in enumerate(means) if mean >= count)


def test_wide_features_are_compared_at_equal_numbers_of_neighbours() -> None:
    random = np.random.default_rng(0)
    ks = [least_k(random.normal(size=(20, width)), 4) for width in (64, 512, 4096)]
    assert ks[0] < ks[1] < ks[2]


def test_senseless_input_is_refused() -> None:
    with pytest.raises(ValueError, match="3 superclasses for 4 classes"):
        found(CHAIN, [0, 0, 1])
    with pytest.raises(ValueError, match="at least 0, not -1"):
        found(CHAIN, GROUPS, top_k=-1)
    with pytest.raises(ValueError, match="at least 1 permutation"):
        found(CHAIN, GROUPS, permutations=0)
    with pytest.raises(ValueError, match="shape"):
        graph(CHAIN[0], top_k=1)
    with pytest.raises(ValueError, match="shape"):
        found(CHAIN[:0], [])
    for wrong in (float("nan"), float("inf"), -float("inf")):
        weight = CHAIN.copy()
        weight[1, 2] = wrong
        with pytest.raises(ValueError, match="finite"):
            found(weight, GROUPS)
