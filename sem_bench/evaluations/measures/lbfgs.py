"""L-BFGS (Liu & Nocedal 1989) for many l2-penalised problems at once; a problem that is done leaves the batch.

The problems are those of `logistic` beside it: C linear functions on r axes whose variances are known, so that the
inverse Hessian can start near the truth.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from sem_bench.base.alive import alive

MEMORY = 10  # steps that L-BFGS remembers
BACKTRACKS = 12
RISE = 1e-4  # of the objective, that its rounding in float32 can feign
Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(weights (p, C, r + 1), problems (p,)) -> value (p,), gradient (p, C, r + 1), mean p_c (1 - p_c) (p, C)."""


class Curvature(NamedTuple):
    """What is known of the features' variances: along each coordinate, or along some orthonormal axes."""

    variances: Tensor  # (P, r); with axes (k,)
    axes: Tensor | None = None  # (r, k)
    rest: float = 0.0  # the variance in every direction beside the axes

    def of(self, problems: int) -> "Curvature":
        """The same for each of that many problems, where it is that of one."""
        return self if self.axes is not None else self._replace(variances=self.variances.expand(problems, -1))


def minimise(
    loss: Objective,
    l2: Tensor,
    curvature: Curvature,
    start: Tensor,
    *,
    tolerance: float,
    max_iter: int,
) -> tuple[Tensor, list[tuple[bool, int, float]]]:
    """L-BFGS from `start` (P, C, r + 1), for penalties l2 (P,). A problem that is done leaves the batch.

    Gives weights (P, C, r + 1), the bias last, and for each problem: converged, iterations, objective.
    """
    P, _, width = start.shape
    penalty = pad(l2[:, None].expand(P, width - 1), (0, 1))[:, None]

    def objective(weights: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        value, gradient, spread = loss(weights, which)
        shrinkage = weights * penalty[which]
        return value + _dot(weights, shrinkage).double() / 2, gradient + shrinkage, spread

    final = start.clone()
    ends = [(False, 0, 0.0)] * P
    left = torch.arange(P, device=l2.device)  # the problems still in the batch
    weights = final.clone()
    value, gradient, spread = objective(weights, left)
    stuck = torch.zeros_like(left, dtype=torch.bool)
    history: list[tuple[Tensor, Tensor, Tensor]] = []
    for iteration in range(max_iter + 1):
        alive()
        scale = spread.sqrt().clamp_min(1e-4)[..., None] / 2
        direction = _direction(gradient, _preconditioner(curvature, scale, l2, left), history)
        slope = _dot(gradient, direction).double()
        settled = -slope / 2 <= tolerance * value
        leaving = settled | stuck | (iteration == max_iter)
        if leaving.any():
            final[left[leaving]] = weights[leaving]
            for i, good, end in zip(left.tolist(), settled.tolist(), value.tolist(), strict=True):
                ends[i] = good, iteration, end  # of those that stay it is overwritten later
            stay = ~leaving
            left, weights, value, gradient = left[stay], weights[stay], value[stay], gradient[stay]
            direction, slope = direction[stay], slope[stay]
            history = [(step[stay], change[stay], inverse[stay]) for step, change, inverse in history]
        if not len(left):
            break
        moved, stuck, (value, new_gradient, spread) = _search(objective, left, weights, value, direction, slope)
        step, change = moved - weights, new_gradient - gradient
        inner = _dot(step, change)  # positive, since the objective is strictly convex, but for rounding
        history = [*history[-MEMORY + 1 :], (step, change, torch.where(inner > 0, 1 / inner, 0.0))]
        weights, gradient = moved, new_gradient
    return final, ends


def _preconditioner(curvature: Curvature, scale: Tensor, l2: Tensor, left: Tensor) -> Callable[[Tensor], Tensor]:
    """The inverse of about the Hessian of the problems `left` (p,), for vectors (p, C, r + 1).

    The Hessian is taken as the covariance of the features times scale (p, C, 1), which differs by class, and l2.
    """
    variances, axes, rest = curvature
    if axes is None:
        penalty = pad(l2[left, None].expand(-1, variances.shape[1]), (0, 1))[:, None]
        diagonal = scale * pad(variances[left], (0, 1), value=1.0)[:, None] + penalty
        return lambda vectors: vectors / diagonal
    beside = 1 / (scale * rest + l2[left, None, None])
    along = 1 / (scale * variances + l2[left, None, None]) - beside

    def solve(vectors: Tensor) -> Tensor:
        inner, bias = vectors[..., :-1], vectors[..., -1:]
        return torch.cat([inner * beside + (inner @ axes * along) @ axes.T, bias / scale], -1)

    return solve


def _direction(
    gradient: Tensor, solve: Callable[[Tensor], Tensor], history: Sequence[tuple[Tensor, Tensor, Tensor]]
) -> Tensor:
    """- (inverse Hessian) gradient, by the two-loop recursion started from a multiple of `solve`."""
    result = -gradient
    factors = []
    for step, change, inverse in reversed(history):
        factors.append(inverse * _dot(step, result))
        result -= _each(factors[-1]) * change
    result = solve(result)
    if history:
        _, change, inverse = history[-1]
        length = inverse * _dot(change, solve(change))
        result *= _each(torch.where(length > 0, 1 / length, 1.0))
    for (step, change, inverse), factor in zip(history, reversed(factors), strict=True):
        result += _each(factor - inverse * _dot(change, result)) * step
    return result


def _search(
    objective: Objective, which: Tensor, weights: Tensor, value: Tensor, direction: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Backtracking from a full step: new weights, who found no acceptable step, and the objective there.

    A step is accepted for the decrease (Armijo) or, as that can drown in rounding, for the slope at its end (Hager &
    Zhang 2005): on a convex function it shows the minimum along the line to be near.
    """
    length = torch.ones_like(slope)
    moved = weights + direction
    new_value, gradient, spread = objective(moved, which)
    stuck = torch.zeros_like(which, dtype=torch.bool)
    for _ in range(BACKTRACKS):
        new_slope = _dot(gradient, direction).double()
        lower = new_value <= value + 1e-4 * length * slope
        flat = (new_value <= (1 + RISE) * value) & (new_slope <= -0.8 * slope)
        stuck = ~(lower | flat)
        if not stuck.any():
            break
        bad = stuck.nonzero()[:, 0]
        length[bad] *= (slope / (slope - new_slope))[bad].nan_to_num(0.1).clamp(0.1, 0.5)
        moved[bad] = weights[bad] + (_each(length) * direction)[bad].to(weights.dtype)
        new_value[bad], gradient[bad], spread[bad] = objective(moved[bad], which[bad])
    return moved, stuck, (new_value, gradient, spread)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.einsum("pi,pi->p", a.flatten(1), b.flatten(1))


def _each(factor: Tensor) -> Tensor:
    return factor[:, None, None]
