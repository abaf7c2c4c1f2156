"""The probe's selection protocol: which representation and penalty, decided on the labels that a probe may read.

A candidate is a representation with a penalty. All of train: a stratified hold-out of 10 % judges the candidates. A
labelled fraction: stratified k-fold inside it, k = min(5, labels per class). Then a refit on every labelled row. Labels
are read through an accessor that sees row numbers, so a test can prove that no others are. The subset itself is drawn
with the labels of all rows, as any stratified draw is.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sem_bench.base import world
from sem_bench.base.device import rough_products
from sem_bench.base.limits import CHUNK
from sem_bench.base.machine import free_memory
from sem_bench.evaluations.measures.logistic import Fit, Head, Problem, compress, fit_chunks, fit_many
from sem_bench.evaluations.measures.memory_sizes import KEPT, WIDEST_GRAM
from sem_bench.evaluations.measures.sketch import Sketch, sketch

Rows = npt.NDArray[np.int64]
ValidationSplit = tuple[Rows, Rows]
"""Positions among the labelled rows: those to fit on, and those to validate on."""
FeatureReader = Callable[[Rows], Tensor]
"""Gives the features (n, d) of rows, already divided by their centred RMS norm."""
KeyedFeatures = tuple[float | None, FeatureReader]
"""A representation to choose among: its key (tau_d, or None where it has none) and its features."""
HOLDOUT = 0.1  # of the labels, for validation
MOST_FOLDS = 5
ROUGH, EXACT = 1e-4, 1e-7  # tolerances of the candidates' fits and of the chosen head's
EXACT_WIDE = 1e-6  # of the chosen head on wide features: a further digit costs as many passes again
IN_MEMORY = 2**27  # entries of features above which they are recomputed in each pass
FEW_ROWS = 1024  # up to so many rows, all candidates are fitted side by side


@dataclass(frozen=True)
class Choice:
    """The chosen candidate and its head, fitted on every labelled row."""

    key: float | None
    l2: float
    accuracy: float | None  # on the validation rows; None where nothing could be validated
    accuracies: list[list[float]]  # of all candidates: [representation][penalty]; empty where accuracy is None
    l2_on_edge: bool  # the smallest or largest of at least two penalties
    key_on_edge: bool  # the first or last of at least two representations
    head: Head
    converged: bool  # of the head's fit
    notes: list[str]


def stratified_subset(labels: npt.ArrayLike, fraction: float, *, seed: int) -> Rows:
    """Sorted rows: of each class with n_c of them, max(1, round(fraction * n_c)) at random."""
    if not 0 < fraction <= 1:
        raise ValueError(f"a fraction lies in (0, 1], not {fraction}")
    return np.sort(_joined(rows[: max(1, round(fraction * len(rows)))] for rows in _shuffled(labels, seed)))


def stratified_holdout(labels: npt.ArrayLike, share: float, *, seed: int) -> ValidationSplit:
    """Sorted positions to fit and to validate on: of each class about `share`, at least 1 on each side if it has 2."""
    if not 0 < share < 1:
        raise ValueError(f"a share lies in (0, 1), not {share}")
    held = (rows[: min(max(1, round(share * len(rows))), len(rows) - 1)] for rows in _shuffled(labels, seed))
    validation = np.sort(_joined(held))
    return np.setdiff1d(np.arange(np.size(labels)), validation), validation


def stratified_folds(labels: npt.ArrayLike, k: int, *, seed: int) -> list[ValidationSplit]:
    """k times sorted positions to fit and to validate on; each fold has its share of each class, give or take 1.

    Classes with a single label are on the fit side of every fold.
    """
    if k < 2:
        raise ValueError(f"at least 2 folds, not {k}")
    # Dealing on from one class to the next keeps the folds equally long.
    dealt = _joined(rows for rows in _shuffled(labels, seed) if len(rows) >= 2)
    everyone = np.arange(np.size(labels))
    return [(np.setdiff1d(everyone, dealt[i::k]), np.sort(dealt[i::k])) for i in range(k)]


def select(
    representations: Sequence[KeyedFeatures],
    labels_of: Callable[[Rows], npt.ArrayLike],
    rows: Rows,
    *,
    classes: int,
    l2: Sequence[float],
    validation: Literal["holdout", "folds"],
    seed: int,
    sketched: int | None = None,
) -> Choice:
    """Choose among representations x penalties by validation inside `rows`, then refit the choice on all of `rows`.

    Where features and rows are more than 4096, candidates are judged on a sketch of `sketched` numbers, and the chosen
    head is fitted on features rounded to bfloat16; None: candidates and head are fitted on the features as they are.
    Of equally accurate candidates: the strongest penalty, then the first representation. Where most classes have a
    single label nothing can be validated: the middle of both grids is taken, with a note.
    """
    labels = np.asarray(labels_of(rows), dtype=np.int64)
    splits, notes = _splits(labels, validation, seed)
    best, strength = len(representations) // 2, sorted(l2)[len(l2) // 2]
    accuracies: list[list[float]] = []
    readers = [_of_rows(of, rows) for _, of in representations]
    sketches = _Sketches(readers, len(rows), sketched, seed)
    if splits:
        right, unfinished = _validate(readers, sketches, labels, splits, classes, l2)
        notes += [f"{unfinished} candidate fits did not converge"] if unfinished else []
        accuracies = (right / sum(len(held) for _, held in splits)).tolist()
        best, column = min(np.argwhere(right == right.max()).tolist(), key=lambda at: (-l2[at[1]], at[0]))
        strength = l2[column]
    key, everyone = representations[best][0], np.arange(len(rows))
    if sketches.wanted(best):
        final = _fit_wide(readers[best], sketches.of(best), labels, classes, strength)
    else:
        final = next(_solve([(readers[best], everyone)], labels, classes, [strength], EXACT))
    return Choice(
        key=key,
        l2=strength,
        accuracy=max(map(max, accuracies)) if accuracies else None,
        accuracies=accuracies,
        l2_on_edge=bool(accuracies) and min(l2) < max(l2) and strength in (min(l2), max(l2)),
        key_on_edge=bool(accuracies) and len(representations) > 1 and best in (0, len(representations) - 1),
        head=final.heads[0],
        converged=final.converged[0],
        notes=notes,
    )


def _splits(
    labels: Rows, validation: Literal["holdout", "folds"], seed: int
) -> tuple[list[ValidationSplit], list[str]]:
    """How candidates are validated, and what a table should say of it; no splits where that is impossible."""
    counts = np.unique(labels, return_counts=True)[1]
    single = int((counts == 1).sum())
    if 2 * single > len(counts):
        return [], [f"no selection: {single} of {len(counts)} classes have a single label; middle of the grids"]
    notes = [f"{single} of {len(counts)} classes have a single label, on which nothing is validated"] if single else []
    if validation == "holdout":
        return [stratified_holdout(labels, HOLDOUT, seed=seed)], notes
    return stratified_folds(labels, min(MOST_FOLDS, int(counts[counts > 1].min())), seed=seed), notes


class _Sketches:
    """Sketches of representations that are too wide, made as they are asked for; the last one stays in memory."""

    def __init__(self, readers: Sequence[FeatureReader], rows: int, size: int | None, seed: int) -> None:
        self.readers, self.rows, self.size, self.seed = readers, rows, size, seed
        self.of = lru_cache(maxsize=1)(self._make)

    def wanted(self, number: int) -> bool:
        """Whether a representation is too wide to be fitted for each candidate."""
        if self.size is None or self.rows <= WIDEST_GRAM:
            return False
        return self.readers[number](np.arange(1)).shape[1] > WIDEST_GRAM

    def scores(self, number: int, at: Rows) -> Tensor:
        """Of rows `at`, on the sketch."""
        found = self.of(number).scores
        return found[torch.from_numpy(at).to(found.device)]

    def _make(self, number: int) -> Sketch:
        assert self.size is not None
        return sketch(lambda at: self.readers[number](at.numpy()), self.rows, self.size, seed=self.seed)


def _of_rows(of: FeatureReader, rows: Rows) -> FeatureReader:
    """A reader by positions in `rows`."""
    return lambda at: of(rows[at])


def _validate(
    readers: Sequence[FeatureReader],
    sketches: _Sketches,
    labels: Rows,
    splits: Sequence[ValidationSplit],
    classes: int,
    l2: Sequence[float],
) -> tuple[npt.NDArray[np.int64], int]:
    """Right answers on all validation rows (representations, penalties), and the fits that did not converge."""
    right, unfinished = np.zeros((len(readers), len(l2)), dtype=np.int64), 0
    features = [
        partial(sketches.scores, i) if sketches.wanted(i) else _features(of, len(labels))
        for i, of in enumerate(readers)
    ]
    tasks = list(product(range(len(features)), splits))
    fits = _solve([(features[i], fitted) for i, (fitted, _) in tasks], labels, classes, l2, ROUGH)
    for (i, (_, held)), fit in zip(tasks, fits, strict=True):
        unfinished += fit.converged.count(False)
        for part in _parts(held):
            x = features[i](part)
            truth = torch.from_numpy(labels[part]).to(x.device)
            right[i] += [int((head.predict(x).argmax(1) == truth).sum()) for head in fit.heads]
    world.from_first(torch.from_numpy(right))  # devices that round differently must not choose differently
    return right, unfinished


def _features(of: FeatureReader, rows: int) -> FeatureReader:
    """The same features; those of few rows are computed once, and compressed."""
    if rows > FEW_ROWS:
        return of
    small = compress(of(np.arange(rows)))
    return lambda at: small[torch.from_numpy(at).to(small.device)]


def _solve(
    tasks: Sequence[tuple[FeatureReader, Rows]], labels: Rows, classes: int, l2: Sequence[float], tolerance: float
) -> Iterator[Fit]:
    """The fits on the given positions: all at once where rows are few, else one after the other."""

    def problem(x: FeatureReader, at: Rows) -> Problem:
        features = x(at)
        return features, torch.from_numpy(labels[at]).to(features.device)

    if len(labels) <= FEW_ROWS:
        yield from fit_many([problem(x, at) for x, at in tasks], classes=classes, l2=l2, tolerance=tolerance)
        return
    for x, at in tasks:
        if len(at) * x(at[:1]).shape[1] <= IN_MEMORY:
            yield fit_many([problem(x, at)], classes=classes, l2=l2, tolerance=tolerance)[0]
        else:
            parts = partial(map, partial(problem, x), _parts(at[world.share(len(at))]))
            yield fit_chunks(parts, classes=classes, l2=l2, tolerance=tolerance)


def _fit_wide(of: FeatureReader, known: Sketch, labels: Rows, classes: int, l2: float) -> Fit:
    """The head on all numbers of features in bfloat16, which stay in memory where half of what is free holds them."""
    truth = torch.from_numpy(labels).to(known.scores.device)
    rough = fit_many([(known.scores, truth)], classes=classes, l2=[l2], tolerance=ROUGH)[0]
    parts = _parts(np.arange(len(labels))[world.share(len(labels))])

    def rounded(at: Rows) -> Problem:
        return of(at).bfloat16(), truth[torch.from_numpy(at).to(truth.device)]

    size = 2 * sum(map(len, parts)) * len(known.mean)
    kept = list(map(rounded, parts)) if size <= min(KEPT, _free(truth.device) / 2) else None
    with rough_products(truth.device):
        return fit_chunks(
            lambda: kept or map(rounded, parts),
            classes=classes,
            l2=[l2],
            tolerance=EXACT_WIDE,
            curvature=known.curvature,
            start=known.lifted(rough.heads[0]),
        )


def _free(device: torch.device) -> float:
    """Bytes of memory that nobody uses."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()


def _parts(at: Rows) -> list[Rows]:
    return [at[start : start + CHUNK] for start in range(0, len(at), CHUNK)]


def _shuffled(labels: npt.ArrayLike, seed: int) -> Iterator[Rows]:
    """The rows of each class that occurs, in random order."""
    labels, random = np.asarray(labels), np.random.default_rng(seed)
    for label in np.unique(labels):
        yield random.permutation(np.flatnonzero(labels == label))


def _joined(parts: Iterable[Rows]) -> Rows:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
