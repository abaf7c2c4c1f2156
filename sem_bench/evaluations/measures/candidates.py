"""The figures that an arm reports, and the candidates among which each is chosen.

A candidate is a representation with the value of one more setting: a penalty of the probe, or a learning rate of SGD.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sem_bench.evaluations.measures.features import Features, Representation
from sem_bench.report.layout import FIXED_TAU


@dataclass(frozen=True)
class Contest:
    """A figure to report, and its candidates: each of the representations with each value of the grid."""

    metric: str
    representations: list[Representation]
    grid: list[float]


def reported(
    found: Features,
    *,
    tau: Sequence[float],
    fixed_tau: float | None,
    grid: list[float],
    fixed_grid: list[float],
) -> list[Contest]:
    """What is reported of an arm: h; z of a linear embedding; SEM with tau_d searched and, apart, as in pretraining.

    `grid` goes with each of `tau`, `fixed_grid` with representations that have no temperature to search.
    """
    if not tau:
        return [Contest("top1", [one], fixed_grid) for one in found.representations(None)]
    assert fixed_tau is not None, "an arm with temperatures has one in pretraining"
    return [
        Contest("top1", [found.h], fixed_grid),
        Contest("top1", [found.output(one) for one in tau], grid),
        Contest(f"top1{FIXED_TAU}", [found.output(fixed_tau)], fixed_grid),
    ]
