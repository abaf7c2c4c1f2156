"""Multinomial logistic regression with l2: the optimum of the convex problem, for many penalties at once.

Minimises  mean cross-entropy + l2/2 * ||weight||^2  (the bias is free); scikit-learn's C is 1 / (n * l2).
Of rows that may have several classes, labels (n, C) of 0 and 1, it is the sum of C binary problems of this kind.
`fit` takes features that fit into memory, `fit_many` also solves small data sets side by side, `fit_chunks`
recomputes features that are too wide to keep. All penalties share each pass over the data.

The solver is L-BFGS (Liu & Nocedal 1989) on the principal axes of the centred features, where the Hessian is
close to diagonal. It starts from 1 / (s_c * lambda_j + l2): lambda_j is the variance along axis j, and the scale
s_c = sqrt(mean p_c (1 - p_c)) / 2 lies between the Hessian's mean and Boehning's bound on it (1992). A problem
has converged once the predicted decrease, -gradient . direction / 2, is at most `tolerance` times the objective.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

from sem_bench.base import world
from sem_bench.evaluations.measures.lbfgs import Curvature, minimise
from sem_bench.evaluations.measures.memory_sizes import COPIES, SOLVER, WIDEST_GRAM

SMALL = 2**20  # entries up to which a tall matrix is rotated as a whole, and solved in float64
ROWS = 4096  # rows of a larger matrix at a time
STACKED = 2**20  # entries, each counted once a penalty, of the data sets that are solved side by side
LOGITS = 2**19  # logits at a time: few enough to stay in a processor's cache
Problem = tuple[Tensor, Tensor]
"""Features (n, d) and labels (n,), or (n, C) of 0 and 1 where a row may have several."""
Chunks = Callable[[], Iterable[Problem]]
"""Gives the features and labels of all rows, part by part: called once a pass, the same each time."""


@dataclass(frozen=True)
class Head:
    """A linear classifier: weight (C, d) and bias (C,), float32. A class that had no label has bias -inf."""

    weight: Tensor
    bias: Tensor

    def predict(self, x: Tensor) -> Tensor:
        """Logits (n, C) of features (n, d)."""
        return x.to(self.weight.dtype) @ self.weight.T + self.bias


@dataclass(frozen=True)
class Fit:
    """The optima for the given penalties, in their order."""

    heads: list[Head]
    converged: list[bool]
    iterations: list[int]
    objective: list[float]


class Moments(NamedTuple):
    """What a fit knows of its features and labels before the first pass of the solver."""

    rows: int
    present: Tensor  # (C,) whether a class has a label
    mean: Tensor  # (d,)
    curvature: Curvature  # variances along the axes (d, r), or along the features if these are too wide
    axes: Tensor | None


@dataclass
class Remembered:
    """The moments of the same features and labels, from one fit to the next: an eigenvalue problem is seconds."""

    moments: Moments | None = None


def fit(
    x: Tensor, y: Tensor, *, classes: int, l2: Sequence[float], tolerance: float = 1e-7, max_iter: int = 1000
) -> Fit:
    """Fit features x (n, d) and labels y (n,) in 0..classes-1, once for each penalty.

    Memory beside x: three float64 copies if x is wide (n < d, n <= 4096) or has up to 2^20 entries, otherwise
    as `fit_chunks`. ValueError: features that are not finite, labels out of range, penalties that are not positive.
    """
    return fit_many([(x, y)], classes=classes, l2=l2, tolerance=tolerance, max_iter=max_iter)[0]


@torch.no_grad()
def fit_many(
    problems: Sequence[Problem],
    *,
    classes: int,
    l2: Sequence[float],
    tolerance: float = 1e-7,
    max_iter: int = 1000,
    remembered: Remembered | None = None,
) -> list[Fit]:
    """Fit several data sets, each as `fit` does; small ones of equal length are solved side by side.

    A single large one may be `remembered` from a fit before.
    """
    _check_penalties(l2)
    for x, y in problems:
        _check(x, y, classes)
    fits: dict[int, Fit] = {}
    lengths = [len(x) for x, _ in problems]
    for _, same in groupby(sorted(range(len(problems)), key=lengths.__getitem__), key=lengths.__getitem__):
        numbers = list(same)
        x, y = problems[numbers[0]]
        together = max(1, STACKED // (len(x) * min(x.shape) * len(l2)))
        for start in range(0, len(numbers), together):
            group = numbers[start : start + together]
            own = remembered if len(problems) == 1 else None
            found = _fit_stack([problems[i] for i in group], classes, l2, tolerance, max_iter, own)
            fits.update(zip(group, found, strict=True))
    return [fits[i] for i in range(len(problems))]


@torch.no_grad()
def fit_chunks(
    chunks: Chunks,
    *,
    classes: int,
    l2: Sequence[float],
    tolerance: float = 1e-7,
    max_iter: int = 1000,
    curvature: Curvature | None = None,
    start: Head | None = None,
    remembered: Remembered | None = None,
) -> Fit:
    """Fit features that are recomputed in each pass, as `fit` does: a pass for moments, then about one an iteration.

    It takes fewer from a `start` near the optimum, and with the `curvature` of features of more than 4096 numbers;
    no pass for moments where these are `remembered`.
    Of several devices each has chunks of its own share of the rows; sums are of all, so all take the same steps.
    Memory: three copies of a chunk, three d x d matrices in float64 where d <= 4096, and for the solver about
    26 * classes * d numbers in float32 for each penalty; so many penalties share the passes as fit into SOLVER.
    """
    _check_penalties(l2)
    moments = remembered.moments if remembered else None
    if moments is None:
        moments = _moments(chunks, classes, curvature)
    if remembered:
        remembered.moments = moments
    rows, present, mean, known, axes = moments
    first = mean.new_zeros(classes, (len(mean) if axes is None else axes.shape[1]) + 1)
    if start is not None:
        bias = (start.bias + start.weight @ mean).masked_fill(~present, 0.0)
        first = _on_axes(torch.cat([start.weight, bias[:, None]], 1), axes)

    room: list[Tensor] = []  # for a chunk; to take memory anew for each costs as much as the subtraction

    def centred(x: Tensor) -> Tensor:
        if not room or len(room[0]) < len(x):
            room[:] = [torch.empty(x.shape, dtype=mean.dtype, device=x.device)]
        return torch.sub(x, mean, out=room[0][: len(x)])

    def loss(weights: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = ((centred(x), y) for x, y in chunks())
        value, gradient, spread = map(world.total, _sums(parts, _on_features(weights, axes), present))
        return value / rows, _on_axes(gradient, axes) / rows, spread / rows

    found: list[Tensor] = []
    ends: list[tuple[bool, int, float]] = []
    for some in torch.tensor(l2, dtype=mean.dtype, device=mean.device).split(_together(classes, len(mean))):
        begin = first.expand(len(some), -1, -1)
        weights, own = minimise(loss, some, known.of(len(some)), begin, tolerance=tolerance, max_iter=max_iter)
        found.append(weights)
        ends += own
    return _fit(_on_features(torch.cat(found), axes), mean, present, ends)


def compress(x: Tensor) -> Tensor:
    """Features x (n, d) in at most n coordinates with the same inner products, hence with the same optima."""
    if len(x) >= x.shape[1]:
        return x
    scores = _principal(x)[0].to(x.dtype)
    return scores if scores.shape[1] else x[:, :1] * 0  # all rows alike, as a collapsed network gives them


def _together(classes: int, width: int) -> int:
    """How many penalties are solved at once."""
    return max(1, SOLVER // (COPIES * 4 * classes * width))


def _fit_stack(
    problems: Sequence[Problem],
    classes: int,
    l2: Sequence[float],
    tolerance: float,
    max_iter: int,
    remembered: Remembered | None,
) -> list[Fit]:
    """Problems of equal length: a large one in chunks; small ones in float64, padded to the same rank."""
    x, y = problems[0]
    n, d = x.shape
    if min(n, d) > WIDEST_GRAM or (n >= d and n * d > SMALL):
        own = world.share(n)
        parts = list(zip(x[own].split(ROWS), y[own].split(ROWS), strict=True))
        one = fit_chunks(
            lambda: parts, classes=classes, l2=l2, tolerance=tolerance, max_iter=max_iter, remembered=remembered
        )
        return [one]
    scores, variances, means, axes = zip(*(_principal(x) for x, _ in problems), strict=True)
    ranks = [len(v) for v in variances]
    scores_ = torch.stack([pad(s, (0, max(ranks) - r)) for s, r in zip(scores, ranks, strict=True)])
    variances_ = torch.stack([pad(v, (0, max(ranks) - r)) for v, r in zip(variances, ranks, strict=True)])
    labels = torch.stack([y for _, y in problems])
    present = torch.stack([_present(y, classes) for y in labels])

    def loss(weights: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        owner = which // len(l2)
        data = (scores_[0], labels[0]) if len(problems) == 1 else (scores_[owner], labels[owner])
        value, gradient, spread = _sums([data], weights, present[owner])
        return value / n, gradient / n, spread / n

    penalties = torch.tensor(l2, dtype=torch.float64, device=x.device).repeat(len(problems))
    variances_ = variances_.repeat_interleave(len(l2), 0)
    begin = variances_.new_zeros(len(penalties), classes, variances_.shape[1] + 1)
    weights, ends = minimise(loss, penalties, Curvature(variances_), begin, tolerance=tolerance, max_iter=max_iter)
    fits = []
    for i, rank in enumerate(ranks):
        own = slice(i * len(l2), (i + 1) * len(l2))
        inner = torch.cat([weights[own, :, :rank], weights[own, :, -1:]], 2)
        fits.append(_fit(_on_features(inner, axes[i]), means[i], present[i], ends[own]))
    return fits


def _sums(parts: Iterable[Problem], weights: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over rows of the loss (p,), its gradient (p, C, r + 1) and p_c (1 - p_c) (p, C).

    weights (p, C, r + 1), the bias last. Features (n, r) and labels (n,) are shared by the p problems, or they are
    (p, n, r) and (p, n). Classes that are not `present` ((C,) or (p, C)) have probability 0.
    """
    p, C, _ = weights.shape
    inner = weights[..., :-1].contiguous()
    bias = weights[..., -1].masked_fill(~present, -torch.inf)[:, None]
    value = weights.new_zeros(p, dtype=torch.float64)
    gradient, spread = torch.zeros_like(inner), weights.new_zeros(p, C)
    slopes = weights.new_zeros(p, C)
    size = max(1, LOGITS // (p * C))
    for features, labels in parts:
        for start in range(0, features.shape[-2], size):
            x, shared = features[..., start : start + size, :], features.ndim == 2
            logits = (x @ inner.view(p * C, -1).T).view(-1, p, C).transpose(0, 1) if shared else x @ inner.mT
            logits += bias
            if labels.ndim == features.ndim:  # several classes a row
                part, probability, error = _of_each(logits, labels[..., start : start + size, :])
                spread += (probability - probability.square()).sum(1)
            else:
                truth = labels[..., start : start + size].expand(p, -1)[..., None]
                logits -= logits.gather(2, truth)  # relative to the true class, so that a small loss keeps its digits
                top = logits.amax(2, keepdim=True)
                probability = logits.sub_(top).exp_()
                total = probability.sum(2, keepdim=True)
                part = (total.log() + top).sum((1, 2), dtype=torch.float64)
                probability /= total
                spread += (probability - probability.square()).sum(1)
                error = probability.scatter_add_(2, truth, torch.full_like(total, -1.0))
            value += part
            slopes += error.sum(1)
            if shared:
                gradient += (error.transpose(0, 1).reshape(-1, p * C).T @ x).view(p, C, -1)
            else:
                gradient += error.mT @ x
    return value, torch.cat([gradient, slopes[..., None]], 2), spread


def _of_each(logits: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of one class against the rest: the losses' sum (p,), probabilities and errors (p, n, C)."""
    signs = 2 * there.to(logits.dtype) - 1
    probability = logits.sigmoid()
    return softplus(-signs * logits).sum((1, 2), dtype=torch.float64), probability, probability - there


def _principal(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores (n, r), variances (r,), mean (d,) and axes (d, r) in float64: x - mean = scores @ axes.T."""
    mean = x.mean(0, dtype=torch.float64)
    centred = x.double() - mean
    if len(x) >= x.shape[1]:
        variances, axes = _decompose(centred.T @ centred / len(x))
        return centred @ axes, variances, mean, axes
    variances, directions = _decompose(centred @ centred.T / len(x))
    lengths = (len(x) * variances).sqrt()
    return directions * lengths, variances, mean, centred.T @ directions / lengths


def _moments(chunks: Chunks, classes: int, curvature: Curvature | None) -> Moments:
    """A pass. Where the `curvature` of wide features is known, their variances are not computed."""
    rows, present, total, second = 0, torch.tensor(0), torch.tensor(0.0), torch.tensor(0.0)
    for x, y in chunks():
        _check(x, y, classes)
        rows += len(x)
        present = present.to(x.device) + _present(y, classes)
        total = total.to(x.device) + x.sum(0, dtype=torch.float64)
        if x.shape[1] <= WIDEST_GRAM:
            wide = x.double()
            second = second.to(x.device) + wide.T @ wide
        elif curvature is None:
            second = second.to(x.device) + x.double().square().sum(0)
    if not rows:
        raise ValueError("there are no rows to fit")
    rows = int(world.total(torch.tensor(rows)))
    present, total, second = map(world.total, (present, total, second))
    mean, axes = total / rows, None
    if second.ndim == 2:
        variances, axes = _decompose(second / rows - mean.outer(mean))
        axes = axes.float()
    else:
        variances = (second / rows - mean.square()).clamp_min(0)
    return Moments(rows, present > 0, mean.float(), curvature or Curvature(variances.float()[None]), axes)


def _decompose(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors, without those that are zero but for rounding."""
    values, vectors = torch.linalg.eigh(gram)
    kept = values > torch.finfo(values.dtype).eps * len(values) * values[-1]
    return values[kept], vectors[:, kept]


def _on_features(weights: Tensor, axes: Tensor | None) -> Tensor:
    return weights if axes is None else torch.cat([weights[..., :-1] @ axes.T, weights[..., -1:]], -1)


def _on_axes(weights: Tensor, axes: Tensor | None) -> Tensor:
    return weights if axes is None else torch.cat([weights[..., :-1] @ axes, weights[..., -1:]], -1)


def _fit(weights: Tensor, mean: Tensor, present: Tensor, ends: Sequence[tuple[bool, int, float]]) -> Fit:
    bias = (weights[..., -1] - weights[..., :-1] @ mean).masked_fill(~present, -torch.inf)
    heads = [Head(w[:, :-1].float().contiguous(), b.float()) for w, b in zip(weights, bias, strict=True)]
    converged, iterations, objective = (list(column) for column in zip(*ends, strict=True))
    return Fit(heads, converged, iterations, objective)


def _present(y: Tensor, classes: int) -> Tensor:
    return y.sum(0) > 0 if y.ndim == 2 else torch.bincount(y, minlength=classes) > 0


def _check_penalties(l2: Sequence[float]) -> None:
    if not l2 or not all(0 < value < float("inf") for value in l2):
        raise ValueError(f"penalties must be positive and finite, not {list(l2)}")


def _check(x: Tensor, y: Tensor, classes: int) -> None:
    if x.ndim != 2 or y.shape not in (x.shape[:1], (len(x), classes)) or not x.numel():
        raise ValueError(f"features (n, d) and labels (n,) expected, not {tuple(x.shape)} and {tuple(y.shape)}")
    if not torch.isfinite(x).all():
        row, column = (~torch.isfinite(x)).nonzero()[0].tolist()
        raise ValueError(f"features must be finite, but row {row}, column {column} is {x[row, column].item()}")
    last = 1 if y.ndim == 2 else classes - 1
    if y.min() < 0 or y.max() > last:
        raise ValueError(f"labels must lie in 0..{last}, not {y.min().item()}..{y.max().item()}")
