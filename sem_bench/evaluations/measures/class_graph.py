"""Semantic relevance of features: do classes that share features share a superclass?

The formula of the SEM presentation. A head's weights make a bipartite graph of classes and features, W_K: each class
keeps the K features with its largest weights. Two classes are neighbours if they keep a feature in common. Relevance is
the sum over classes of the share of neighbours that lie in the class's superclass.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Weight = npt.NDArray[np.floating]
BoundedCache = npt.NDArray[np.int64]
Relation = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Null:
    """The mean per class when the classes are dealt to the superclasses at random, on the same graph."""

    mean: float
    low: float  # the 2.5th percentile
    high: float  # the 97.5th percentile


@dataclass(frozen=True)
class Relevance:
    """Semantic relevance, and what it has to be compared with."""

    relevance: float  # 0 to C; a class without neighbours adds 0
    per_class: float  # relevance / C
    connected: float  # mean over the classes that have a neighbour; 0 where none has
    base_rate: float  # mean over classes of the share of all other classes that lie in the superclass
    null: Null  # of per_class
    neighbours_per_class: float
    without_neighbours: float  # share of the classes
    distinct_features: int  # kept by at least one class
    features: list[list[int]]  # that each class keeps, the largest weight first
    neighbours: list[list[int]]  # of each class, in order


def measure(weight: Weight, superclass: Sequence[int], *, top_k: int, permutations: int, seed: int) -> Relevance:
    """The relevance of a head's weight (C, F) for the superclass of each class.

    The null has the mean base_rate * (1 - without_neighbours). ValueError as in `graph`, for another number of
    superclasses than classes, and without permutations.
    """
    if len(superclass) != len(weight):
        raise ValueError(f"{len(superclass)} superclasses for {len(weight)} classes")
    if permutations < 1:
        raise ValueError(f"at least 1 permutation, not {permutations}")
    kept = graph(weight, top_k=top_k)
    relation = neighbours(kept)
    of = np.unique(superclass, return_inverse=True)[1]
    everyone = ~np.eye(len(of), dtype=bool)
    random = np.random.default_rng(seed)
    null = [shares(relation, random.permutation(of)).mean() for _ in range(permutations)]
    low, high = np.percentile(null, [2.5, 97.5])
    found = shares(relation, of)
    return Relevance(
        relevance=float(found.sum()),
        per_class=float(found.mean()),
        connected=float(found.sum() / max(relation.any(1).sum(), 1)),
        base_rate=float(shares(everyone, of).mean()),
        null=Null(float(np.mean(null)), float(low), float(high)),
        neighbours_per_class=float(relation.sum(1).mean()),
        without_neighbours=float((~relation.any(1)).mean()),
        distinct_features=len(np.unique(kept)),
        features=kept.tolist(),
        neighbours=[np.flatnonzero(row).tolist() for row in relation],
    )


def least_k(weight: Weight, neighbours_per_class: int) -> int:
    """The smallest K with which a class has so many neighbours on average, so that graphs can be compared.

    Without it wide features look incoherent: with the same K their classes seldom share one. ValueError where
    there are not so many other classes.
    """
    if not 0 < neighbours_per_class < len(weight):
        raise ValueError(f"{neighbours_per_class} neighbours of each of {len(weight)} classes")

    def enough(k: int) -> bool:
        return bool(neighbours(graph(weight, top_k=k)).sum(1).mean() >= neighbours_per_class)

    low, high = 0, 1  # too few, perhaps enough: more features make more neighbours
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def graph(weight: Weight, *, top_k: int) -> BoundedCache:
    """W_K of a weight (C, F): the features (C, min(K, F)) with each class's largest signed weights, the largest first.

    Of equal weights the lower feature comes first. ValueError for K < 0, no classes, and weights that are not finite.
    """
    if top_k < 0:
        raise ValueError(f"top_k is at least 0, not {top_k}")
    if weight.ndim != 2 or not len(weight):
        raise ValueError(f"a weight has the shape (classes, features), not {weight.shape}")
    if not np.isfinite(weight).all():
        raise ValueError("weights must be finite")
    k = min(top_k, weight.shape[1])
    kept = np.empty((len(weight), k), dtype=np.int64)
    if k:
        for row, best in zip(weight, kept, strict=True):
            candidates = np.flatnonzero(row >= np.partition(row, -k)[-k])  # more than k where the last are tied
            best[:] = candidates[np.argsort(-row[candidates], kind="stable")[:k]]
    return kept


def neighbours(kept: BoundedCache) -> Relation:
    """Which classes share a kept feature (C, C); none is its own neighbour. kept (C, K) as `graph` gives it."""
    classes, k = kept.shape
    distinct, column = np.unique(kept, return_inverse=True)
    keeps = np.zeros((classes, len(distinct)), dtype=np.float32)  # floats, for a fast product
    keeps[np.repeat(np.arange(classes), k), column.ravel()] = 1
    relation: Relation = keeps @ keeps.T > 0
    np.fill_diagonal(relation, False)
    return relation


def shares(relation: Relation, superclass: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Of each class (C,) the share of its neighbours in its own superclass; 0 for a class without neighbours."""
    alike = relation & (superclass[:, None] == superclass)
    found: npt.NDArray[np.float64] = alike.sum(1) / np.maximum(relation.sum(1), 1)
    return found
