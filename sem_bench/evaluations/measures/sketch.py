"""A sketch of wide features: their coordinates on the principal axes of some of the rows.

The probe's candidates are judged on it, for 65,000 numbers an image are too many to fit fifty times. The chosen head is
fitted on all of the numbers: the sketch says where its solver starts, and what curvature it will meet.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sem_bench.base import world
from sem_bench.base.alive import alive
from sem_bench.base.device import precision
from sem_bench.base.limits import CHUNK
from sem_bench.evaluations.measures.lbfgs import Curvature
from sem_bench.evaluations.measures.logistic import Head

NOTHING = 1e-6  # of the largest variance: axes with less are rounding


@dataclass(frozen=True)
class Sketch:
    """n rows of d features on k axes."""

    mean: Tensor  # (d,)
    axes: Tensor  # (d, k), orthonormal
    scores: Tensor  # (n, k): (x - mean) @ axes
    rest: float  # the variance in each of the other d - k directions

    @property
    def curvature(self) -> Curvature:
        """What it says of the features' variances."""
        return Curvature(self.scores.var(0, correction=0), self.axes, self.rest)

    def at(self, rows: npt.NDArray[np.int64]) -> "Sketch":
        """That of some of the rows."""
        return replace(self, scores=self.scores[torch.from_numpy(rows).to(self.scores.device)])

    def lifted(self, head: Head) -> Head:
        """A head on scores as one on features."""
        weight = head.weight @ self.axes.T
        return Head(weight, head.bias - weight @ self.mean)


@torch.no_grad()
def sketch(of: Callable[[Tensor], Tensor], rows: int, size: int, *, seed: int) -> Sketch:
    """A sketch of `size` numbers, or fewer where features span no more. `of` gives the features (n, d) of rows (n,).

    The axes are those of `size` random rows. Memory: three times d x size numbers in float32, and n x size.
    """
    random = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(rows, generator=random)[:size].sort().values
    mean, axes = _principal(torch.cat([of(part) for part in drawn.split(CHUNK)]))
    scores, total = axes.new_zeros(rows, axes.shape[1]), axes.new_zeros(())
    rough = torch.bfloat16 if precision(axes.device) == "bf16" else torch.float32
    rounded = axes.to(rough)
    for part in torch.arange(rows)[world.share(rows)].split(CHUNK):
        alive()
        x = of(part).sub_(mean)
        total += torch.linalg.vector_norm(x) ** 2
        scores[part] = (x.to(rough) @ rounded).float()
    scores, total = world.total(scores), world.total(total)
    beside = max(0.0, float(total - scores.square().sum())) / rows
    decorrelated = _decorrelated(scores)
    return Sketch(mean, axes @ decorrelated, scores @ decorrelated, beside / max(1, len(axes) - axes.shape[1]))


def _principal(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (d,) of rows (m, d), and the axes (d, k) along which they vary. Overwrites x."""
    mean = x.mean(0)
    x -= mean
    variances, directions = torch.linalg.eigh((x @ x.T).double())
    kept = variances > NOTHING * variances[-1]
    if not kept.any():  # rows all alike, as a collapsed network gives them: an axis on which all are 0
        return mean, torch.eye(x.shape[1], 1, device=x.device)
    return mean, x.T @ (directions[:, kept] / variances[kept].sqrt()).float()


def _decorrelated(scores: Tensor) -> Tensor:
    """A rotation (k, k) onto the principal axes of scores (n, k)."""
    centred = scores - scores.mean(0)
    axes: Tensor = torch.linalg.eigh((centred.T @ centred).double()).eigenvectors
    return axes.float()
