"""Grids that go on where the best value lies on their edge: the same rule for every arm (docs/protocol.md, Probe)."""

from collections.abc import Sequence
from typing import Literal

MOST = 3  # times as many candidates as a search begins with, it may judge
L2 = 1e-9, 10.0  # beyond, float32 no longer tells one optimum from the next
TAU_D = 0.01, 100.0  # beyond, a softmax is an argmax, or even


def beyond(grid: Sequence[float], edge: Literal["low", "high"]) -> float:
    """The next value of an increasing grid of two or more, by its own ratio: of 1, 3, 10 it is 30, or 0.3."""
    ordered = sorted(grid, reverse=edge == "low")
    before = ordered[-3] if len(ordered) > 2 else None  # two steps back, so that 1, 3, 10 stay round
    ratio = ordered[-1] / ordered[-2] if before is None else ordered[-1] / before
    return _rounded(ordered[-1 if before is None else -2] * ratio)


def points(grid: Sequence[float], between: int) -> list[float]:
    """An increasing grid with `between` values for each of its own: itself, and those up to the next, evenly in log."""
    if between == 1 or len(grid) < 2:
        return sorted(grid)
    steps = sorted(grid)
    ends = [*steps[1:], beyond(steps, "high")]
    return [
        _rounded(low * (high / low) ** (i / between))
        for low, high in zip(steps, ends, strict=True)
        for i in range(between)
    ]


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
