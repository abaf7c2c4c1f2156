"""The probe's selection protocol: which representation and penalty, decided on the labels that a probe may read.

A candidate is a representation with a penalty. All of train: a split of its own judges the candidates where the data
have one, else a stratified hold-out of 10 %. A labelled fraction: stratified k-fold inside it, k = min(5, labels per
class). Then a refit on every labelled row of train. Labels
are read through an accessor that sees row numbers, so a test can prove that no others are. The subset itself is drawn
with the labels of all rows, as any stratified draw is.

A grid has no edge that decides: while the best candidate lies on one, the grid goes on there (`grids`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sem_bench.base import world
from sem_bench.base.device import rough_products
from sem_bench.base.limits import CHUNK
from sem_bench.base.machine import cores, free_memory
from sem_bench.config.fields import RuleName
from sem_bench.data.several_labels import strata
from sem_bench.evaluations.measures import grids
from sem_bench.evaluations.measures.logistic import Fit, Head, Problem, Remembered, compress, fit_chunks, fit_many
from sem_bench.evaluations.measures.memory_sizes import KEPT, WIDEST_EXACT, WIDEST_GRAM
from sem_bench.evaluations.measures.ranking import score_several
from sem_bench.evaluations.measures.sketch import Sketch, sketch

Rows = npt.NDArray[np.int64]
ValidationSplit = tuple[Rows, Rows]
"""Positions among the labelled rows: those to fit on, and those to validate on."""
FeatureReader = Callable[[Rows], Tensor]
"""Gives the features (n, d) of rows, already divided by their centred RMS norm."""
K = TypeVar("K")
KeyedFeatures = tuple[float | None, FeatureReader]
"""A representation to choose among: its key (tau_d, or None where it has none) and its features."""
HOLDOUT = 0.1  # of the labels, for validation
MOST_FOLDS = 5
ROUGH, EXACT = 1e-4, 1e-7  # tolerances of the candidates' fits and of the chosen head's
EXACT_WIDE = 1e-6  # of the chosen head on wide features: a further digit costs as many passes again
IN_MEMORY = 2**27  # entries of features above which they are recomputed in each pass
REMEMBERED = 8  # representations and rows whose moments stay in memory: up to 67 MB each
ALL = -1  # in the place of a split: all rows
FEW_ROWS = 1024  # up to so many rows, all candidates are fitted side by side


@dataclass(frozen=True)
class Choice:
    """The chosen candidate and its head, fitted on every labelled row."""

    key: float | None
    l2: float
    accuracy: float | None  # on the validation rows; None where nothing could be validated
    tried: dict[float | None, dict[float, float]]  # accuracies of all candidates, by key and penalty, both sorted
    best: dict[float | None, float]  # the penalty that is taken of each key
    l2_on_edge: bool  # the best l2 still lies on an edge of its grid, which may not be extended further
    key_on_edge: bool  # likewise the best representation
    head: Head
    converged: bool  # of the head's fit
    notes: list[str]

    @property
    def candidates(self) -> int:
        """How many were judged."""
        return sum(map(len, self.tried.values()))


@dataclass(frozen=True)
class _Line:
    """The penalties of one representation, judged."""

    right: dict[
        float, float
    ]  # answers on the validation rows; of several labels the sum of the mean average precisions
    taken: float  # a penalty
    on_edge: bool

    @property
    def most(self) -> float:
        """Right answers of the best penalty."""
        return max(self.right.values())


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
    rule: RuleName = "best",
) -> Choice:
    """Choose once among representations x penalties inside `rows`: `Selection`, `Selection.choose`."""
    selection = Selection(labels_of, rows, classes=classes, validation=validation, seed=seed, sketched=sketched)
    return selection.choose(representations, l2, rule=rule)


class Selection:
    """Choices on the same labels: what two of them have in common is fitted once.

    The same reader stands for the same representation. With more than 16,384 features and 4096 rows, candidates are
    judged on a sketch of `sketched` numbers, and the chosen head is fitted on features rounded to bfloat16; None:
    candidates and head are fitted on the features as they are. With labels (n, C), of rows that may have several
    classes, candidates are judged by mean average precision and not by accuracy. `judges` are rows beyond `rows` that
    validate, and that nothing is fitted on; None: `validation` takes them from `rows`.
    """

    def __init__(
        self,
        labels_of: Callable[[Rows], npt.ArrayLike],
        rows: Rows,
        *,
        classes: int,
        validation: Literal["holdout", "folds"],
        seed: int,
        sketched: int | None = None,
        judges: Rows | None = None,
    ) -> None:
        self.own, self.classes, self.seed = np.arange(len(rows)), classes, seed
        self.rows = rows if judges is None else np.concatenate([rows, judges])
        self.labels = np.asarray(labels_of(self.rows), dtype=np.int64)
        self.several = self.labels.ndim == 2
        if judges is None:
            self.splits, self.notes = _splits(strata(self.labels), validation, seed)
        else:
            self.splits, self.notes = [(self.own, np.arange(len(rows), len(self.rows)))], []
        self.sketched = sketched if len(rows) > WIDEST_GRAM else None
        self.sketch = lru_cache(maxsize=1)(self._make_sketch)  # made as it is asked for; the last one stays in memory
        self._right: dict[tuple[FeatureReader, float], float] = {}
        self._unfinished: set[tuple[FeatureReader, float]] = set()
        self._compressed: dict[FeatureReader, FeatureReader] = {}
        self._finals: dict[tuple[FeatureReader, float], Fit] = {}
        self._remembered: dict[tuple[FeatureReader, int], Remembered] = {}

    def choose(
        self,
        representations: Sequence[KeyedFeatures],
        l2: Sequence[float],
        *,
        between: int = 1,
        preferred: float | None = None,
        more: Callable[[float], FeatureReader] | None = None,
        rule: RuleName = "best",
    ) -> Choice:
        """Choose a representation and a penalty by validation, then refit the choice on all rows.

        Each representation's penalties are searched to the end, with `between` of them to each step of `l2`; then the
        best are compared, and `more` gives representations with other keys while the best lies on an edge. A choice
        judges at most `grids.MOST` times as many candidates as it begins with.

        Of equally accurate penalties: none on an edge, then the strongest; by the rule `median` the median, by
        `weakest` the weakest. Of representations: the nearest to the `preferred` key, then the first. By the rule
        `one_se` all that are at most a standard error below the best count as equally accurate. By each rule the same
        candidates are judged. Where most classes have a single label nothing can be validated: the preferred key, or
        the middle one, and the middle penalty are taken, with a note.
        """
        readers = dict(representations)
        start = grids.points(l2, between)
        if not self.splits:
            keys = list(readers)
            key = keys[len(keys) // 2] if preferred is None else min(keys, key=partial(_distance, preferred))
            return self._choice(readers, key, sorted(l2)[len(l2) // 2], {}, key_on_edge=False)
        if len(self.rows) <= FEW_ROWS:
            self._judge(list(readers.values()), start)  # side by side; below, nothing but what is added
        left = (grids.MOST - 1) * len(start) * len(readers)  # candidates that may be added
        lines: dict[float | None, _Line] = {}
        waiting: list[float | None] = list(readers)
        while waiting:
            for key in waiting:
                lines[key] = self._line(readers[key], l2, between, left, rule)
                left -= len(lines[key].right) - len(start)
            equal = self._equal({key: line.most for key, line in lines.items()}, rule)
            key = min(equal, key=partial(_distance, preferred))
            beyond = _beyond({key: line.most for key, line in lines.items()}, grids.TAU_D)
            waiting = [beyond] if more is not None and beyond is not None and left >= len(start) else []
            for new in waiting:
                assert more is not None and new is not None
                readers[new] = more(new)
                left -= len(start)
        edges = _edge({key: line.most for key, line in lines.items()}) is not None
        return self._choice(readers, key, lines[key].taken, lines, key_on_edge=edges)

    def _line(self, of: FeatureReader, l2: Sequence[float], between: int, left: int, rule: RuleName) -> _Line:
        """One representation's penalties, which go on beyond an edge where the best lies there."""
        steps, most = list(l2), grids.MOST * len(grids.points(l2, between))
        while True:
            points = grids.points(steps, between)
            right = dict(zip(points, self._judge([of], points)[0], strict=True))
            beyond = _beyond(right, grids.L2, steps)
            added = len(points) + between - len(grids.points(l2, between))
            if beyond is None or added > left or len(points) + between > most:
                break
            steps = sorted([*steps, beyond])
        return _Line(right, self._taken(right, rule), _edge(right) is not None)

    def _taken(self, right: Mapping[float, float], rule: RuleName) -> float:
        """The penalty that a rule takes of those judged, in increasing order."""
        inside = list(right)[1:-1]
        best = [value for value, count in right.items() if count == max(right.values())]
        best = [value for value in best if value in inside] or best
        if rule == "weakest":
            return best[0]
        if rule == "median":
            return best[len(best) // 2]
        if rule == "one_se":
            return max([best[-1], *(value for value in self._equal(right, rule) if value in inside)])
        return best[-1]

    def _equal(self, right: Mapping[K, float], rule: RuleName) -> list[K]:
        """What counts as equally accurate as the best."""
        most, slack = max(right.values()), 0.0
        if rule == "one_se":
            share = min(1.0, most / self._total)
            slack = self._total * math.sqrt(share * (1 - share) / self._validated)
        return [one for one, count in right.items() if count >= most - slack]

    @property
    def _validated(self) -> int:
        """How many rows judge a candidate."""
        return sum(len(held) for _, held in self.splits)

    @property
    def _total(self) -> int:
        """The most that a candidate can reach."""
        return len(self.splits) if self.several else self._validated

    def _choice(
        self,
        readers: dict[float | None, FeatureReader],
        key: float | None,
        l2: float,
        lines: dict[float | None, _Line],
        *,
        key_on_edge: bool,
    ) -> Choice:
        final, total = self.final(readers[key], l2), self._total
        unfinished = sum(
            (readers[one], value) in self._unfinished for one, line in lines.items() for value in line.right
        )
        return Choice(
            key=key,
            l2=l2,
            accuracy=lines[key].right[l2] / total if lines else None,
            tried={
                one: {value: right / total for value, right in lines[one].right.items()}
                for one in sorted(lines, key=lambda one: one or 0.0)
            },
            best={one: lines[one].taken for one in sorted(lines, key=lambda one: one or 0.0)},
            l2_on_edge=bool(lines) and lines[key].on_edge,
            key_on_edge=key_on_edge,
            head=final.heads[0],
            converged=final.converged[0],
            notes=self.notes + ([f"{unfinished} candidate fits did not converge"] if unfinished else []),
        )

    def final(self, of: FeatureReader, l2: float) -> Fit:
        """The head of a representation and penalty on all rows."""
        if (of, l2) not in self._finals:
            if self._is_sketched(of):
                sketched = self.sketch(of) if len(self.own) == len(self.rows) else self.sketch(of).at(self.own)
                self._finals[of, l2] = fit_wide(self._of_rows(of), sketched, self.labels[self.own], self.classes, l2)
            else:
                task = (self._of_rows(of), self.own, self._memory(of, ALL))
                self._finals[of, l2] = next(_solve([task], self.labels, self.classes, [l2], EXACT))
        return self._finals[of, l2]

    def _judge(self, readers: Sequence[FeatureReader], l2: Sequence[float]) -> Sequence[Sequence[float]]:
        """Right answers on all validation rows, [representation][penalty]; fits what has not been fitted."""
        new = [value for value in l2 if any((of, value) not in self._right for of in readers)]
        if new:
            features = [self._features(of) for of in readers]
            right = np.zeros((len(readers), len(new)))
            tasks = list(product(range(len(readers)), range(len(self.splits))))
            fits = _solve(
                [(features[i], self.splits[at][0], self._memory(readers[i], at)) for i, at in tasks],
                self.labels,
                self.classes,
                new,
                ROUGH,
            )
            for (i, at), fit in zip(tasks, fits, strict=True):
                held = self.splits[at][1]
                self._unfinished |= {
                    (readers[i], value) for value, good in zip(new, fit.converged, strict=True) if not good
                }
                right[i] += self._answers(features[i], held, fit.heads)
            world.from_first(torch.from_numpy(right))  # devices that round differently must not choose differently
            self._right |= {
                (of, value): float(right[i, j]) for i, of in enumerate(readers) for j, value in enumerate(new)
            }
        return [[self._right[of, value] for value in l2] for of in readers]

    def _answers(self, of: FeatureReader, held: Rows, heads: Sequence[Head]) -> npt.NDArray[np.float64]:
        """How well each head answers on validation rows."""
        right, logits = np.zeros(len(heads)), list[list[Tensor]]()
        for part in _parts(held):
            x = of(part)
            if self.several:
                logits.append([head.predict(x).cpu() for head in heads])
            else:
                truth = torch.from_numpy(self.labels[part]).to(x.device)
                right += [int((head.predict(x).argmax(1) == truth).sum()) for head in heads]
        if self.several:
            truth = torch.from_numpy(self.labels[held])
            return np.array([score_several(torch.cat(own), truth, "map") for own in zip(*logits, strict=True)])
        return right

    def _memory(self, of: FeatureReader, split: int) -> Remembered:
        """What earlier fits of a representation on the same rows found out; of the last few alone."""
        key = (of, split)
        self._remembered[key] = self._remembered.pop(key, Remembered())
        for old in list(self._remembered)[:-REMEMBERED]:
            del self._remembered[old]
        return self._remembered[key]

    def _features(self, of: FeatureReader) -> FeatureReader:
        """The features that judge, by positions in the rows; those of few rows are computed once, and compressed.

        To as many numbers as there are rows, without loss: wide ones up to 4096 rows.
        """
        if self._is_sketched(of):
            return partial(self._scores, of)
        if len(self.rows) > (WIDEST_GRAM if self._is_wide(of) else FEW_ROWS):
            return self._of_rows(of)
        if of not in self._compressed:
            small = compress(of(self.rows))
            self._compressed[of] = lambda at: small[torch.from_numpy(at).to(small.device)]
        return self._compressed[of]

    def _of_rows(self, of: FeatureReader) -> FeatureReader:
        """A reader by positions in the rows."""
        return lambda at: of(self.rows[at])

    def _is_sketched(self, of: FeatureReader) -> bool:
        """Whether candidates are judged on a sketch."""
        return self.sketched is not None and self._is_wide(of)

    def _is_wide(self, of: FeatureReader) -> bool:
        """Whether a representation is too wide to be fitted for each candidate."""
        return of(self.rows[:1]).shape[1] > WIDEST_EXACT

    def _scores(self, of: FeatureReader, at: Rows) -> Tensor:
        found = self.sketch(of).scores
        return found[torch.from_numpy(at).to(found.device)]

    def _make_sketch(self, of: FeatureReader) -> Sketch:
        assert self.sketched is not None
        return sketch(lambda at: of(self.rows[at.numpy()]), len(self.rows), self.sketched, seed=self.seed)


def _distance(preferred: float | None, key: float | None) -> float:
    """Of two temperatures, in factors; 0 where one has none."""
    return 0.0 if preferred is None or key is None else abs(math.log(key / preferred))


def _edge(right: Mapping[float | None, float] | Mapping[float, float]) -> Literal["low", "high"] | None:
    """On which edge of a grid the best lies: where it is better than all that is inside."""
    if len(right) < 2:
        return None
    low, *inside, high = (count for _, count in sorted(right.items(), key=lambda item: item[0] or 0.0))
    if max(low, high) <= max(inside, default=-1):
        return None
    return "high" if high >= low else "low"


def _beyond(
    right: Mapping[float | None, float] | Mapping[float, float],
    bounds: tuple[float, float],
    steps: Sequence[float] | None = None,
) -> float | None:
    """The next value of the grid beyond the edge where the best lies, inside bounds."""
    edge = _edge(right)
    if edge is None:
        return None
    new = grids.beyond(steps or sorted(value for value in right if value is not None), edge)
    return new if bounds[0] <= new <= bounds[1] else None


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


def _solve(
    tasks: Sequence[tuple[FeatureReader, Rows, Remembered]],
    labels: Rows,
    classes: int,
    l2: Sequence[float],
    tolerance: float,
) -> Iterator[Fit]:
    """The fits on the given positions: all at once where rows are few, else one after the other."""

    def problem(x: FeatureReader, at: Rows) -> Problem:
        features = x(at)
        return features, torch.from_numpy(labels[at]).to(features.device)

    if len(labels) <= FEW_ROWS:
        yield from fit_many([problem(x, at) for x, at, _ in tasks], classes=classes, l2=l2, tolerance=tolerance)
        return
    for x, at, known in tasks:
        if len(at) * x(at[:1]).shape[1] <= IN_MEMORY:
            one = [problem(x, at)]
            yield fit_many(one, classes=classes, l2=l2, tolerance=tolerance, remembered=known)[0]
        else:
            parts = partial(map, partial(problem, x), _parts(at[world.share(len(at))]))
            yield fit_chunks(parts, classes=classes, l2=l2, tolerance=tolerance, remembered=known)


def fit_wide(of: FeatureReader, known: Sketch, labels: Rows, classes: int, l2: float) -> Fit:
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
    """Bytes of memory that nobody uses; on a CPU this process's share, by its threads, for others may run beside it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory() * min(1.0, torch.get_num_threads() / cores())


def _parts(at: Rows) -> list[Rows]:
    return [at[start : start + CHUNK] for start in range(0, len(at), CHUNK)]


def _shuffled(labels: npt.ArrayLike, seed: int) -> Iterator[Rows]:
    """The rows of each class that occurs, in random order."""
    labels, random = np.asarray(labels), np.random.default_rng(seed)
    for label in np.unique(labels):
        yield random.permutation(np.flatnonzero(labels == label))


def _joined(parts: Iterable[Rows]) -> Rows:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
