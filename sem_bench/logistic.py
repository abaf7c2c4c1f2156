"""Multinomial logistic regression with l2: the optimum of the convex problem, for many penalties and data sets at once.

Minimises  mean cross-entropy + l2/2 * ||weight||^2  (the bias is free); scikit-learn's C is 1 / (n * l2). `fit` takes
features that fit into memory, `fit_many` also solves small data sets side by side, `fit_chunks` recomputes features that
are too wide to keep. All penalties share each pass over the data.

The solver is L-BFGS (Liu & Nocedal 1989) on centred features in their principal axes, where the Hessian is close to
diagonal. It starts from 1 / (s_c * lambda_j + l2): lambda_j is the variance along axis j and s_c = sqrt(mean p_c (1 - p_c))
/ 2 lies between the mean Hessian and Boehning's bound on it (1992). A problem has converged once the predicted decrease,
-gradient . direction / 2, is at most `tolerance` times the objective; one that has not says so in `Fit.converged`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

WIDEST_GRAM = 4096  # rows of the largest Gram matrix that is decomposed: seconds on a CPU
SMALL = 2**22  # entries of features up to which the solver works in float64
LOGITS = 2**19  # logits at a time: few enough to stay in a processor's cache
STACKED_ROWS = 512  # data sets of at most so many rows are solved side by side ...
STACKED_LOGITS = 2**24  # ... as long as their logits are no more than these
MEMORY = 10  # steps that L-BFGS remembers
BACKTRACKS = 30

Problem = tuple[Tensor, Tensor]
"""Features (n, d) and labels (n,)."""

Chunks = Callable[[], Iterable[Problem]]
"""Gives the features and labels of all rows, part by part: called once a pass, the same each time."""

_Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(weights (p, C, r + 1), their problems (p,)) -> mean loss (p,), gradient (p, C, r + 1), mean p_c (1 - p_c) (p, C)."""


@dataclass(frozen=True)
class Head:
    """A linear classifier: weight (C, d) and bias (C,), float32. The bias of a class that had no label is -inf."""

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


def fit(
    x: Tensor, y: Tensor, *, classes: int, l2: Sequence[float], tolerance: float = 1e-7, max_iter: int = 1000
) -> Fit:
    """Fit features x (n, d) and labels y (n,) in 0..classes-1, once for each penalty.

    Memory: the rotated features, n * min(n, d) numbers (float64 up to 2^22 entries, float32 above), and about
    26 * len(l2) * classes * min(n, d) numbers for the solver. ValueError if x, y or l2 are not such numbers.
    """
    return fit_many([(x, y)], classes=classes, l2=l2, tolerance=tolerance, max_iter=max_iter)[0]


def fit_many(
    problems: Sequence[Problem], *, classes: int, l2: Sequence[float], tolerance: float = 1e-7, max_iter: int = 1000
) -> list[Fit]:
    """Fit several data sets, each as `fit` does. Small ones with equally many rows are solved side by side."""
    fits: dict[int, Fit] = {}
    for x, y in problems:
        _check(x, y, classes)
    lengths = [len(x) for x, _ in problems]
    for length, same in groupby(sorted(range(len(problems)), key=lengths.__getitem__), key=lengths.__getitem__):
        numbers = list(same)
        size = max(1, STACKED_LOGITS // (length * classes * len(l2))) if length <= STACKED_ROWS else 1
        for start in range(0, len(numbers), size):
            group = numbers[start : start + size]
            found = _fit_stack([problems[i] for i in group], classes, l2, tolerance, max_iter)
            fits.update(zip(group, found, strict=True))
    return [fits[i] for i in range(len(problems))]


@torch.no_grad()
def fit_chunks(
    chunks: Chunks, *, classes: int, l2: Sequence[float], tolerance: float = 1e-7, max_iter: int = 1000
) -> Fit:
    """Fit features that are recomputed in each pass, as `fit` does; a pass for the moments, then one an iteration.

    Memory: a chunk, d^2 doubles where d <= 4096, and about 26 * len(l2) * classes * d floats for the solver.
    """
    mean, second, present, rows = _moments(chunks, classes)
    if second.ndim == 2:
        variances, axes = _decompose(second)
        axes = axes.float()
    else:
        variances, axes = second, None

    def evaluate(weights: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raw = _to_features(weights, mean, axes)
        loss, gradient, spread = _accumulate(((x.float(), y) for x, y in chunks()), raw, present)
        inner, bias = gradient[..., :-1], gradient[..., -1:]
        inner = inner - bias * mean
        inner = inner if axes is None else inner @ axes
        return loss / rows, torch.cat([inner, bias], 2) / rows, spread / rows

    mean, variances = mean.float(), variances.float()
    penalties = torch.tensor(_checked(l2), device=mean.device)
    weights, *report = _minimise(evaluate, penalties, variances.expand(len(l2), -1), classes, tolerance, max_iter)
    return _fit(_to_features(weights, mean, axes), present, *report)


@torch.no_grad()
def compress(x: Tensor) -> Tensor:
    """Features x (n, d) with d > n as (n, r), r < n: other coordinates, same inner products, so the same optimum."""
    return principal(x)[0].to(x.dtype) if x.shape[1] > len(x) else x
