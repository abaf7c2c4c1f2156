"""The figures that an arm reports, and the candidates among which each is chosen.

A candidate is a representation with the value of one more setting: a penalty of the probe, or a learning rate of SGD.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sem_bench.config.fields import RuleName
from sem_bench.evaluations.measures.features import Features, Representation
from sem_bench.report.layout import FIXED_TAU


@dataclass(frozen=True)
class Contest:
    """A figure to report, and its candidates: each of the representations with each value of the grid.

    A probe's grid goes on where the best lies on its edge (`grids`), SGD's does not.
    """

    metric: str
    representations: list[Representation]
    grid: list[float]
    between: int = 1  # candidates for each step of the grid
    preferred: float | None = None  # the temperature that is taken where several are as good
    more: Callable[[float], Representation] | None = None  # representations at further temperatures
    rule: RuleName = "best"  # of a probe: which of the judged candidates is taken


def reported(
    found: Features,
    *,
    tau: Sequence[float],
    fixed_tau: float | None,
    grid: list[float],
    fixed_grid: list[float],
) -> list[Contest]:
    """What SGD's heads report of an arm: h; z of a linear embedding; SEM with tau_d searched and, apart, fixed.

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


def probed(
    found: Features,
    *,
    tau: Sequence[float],
    fixed_tau: float | None,
    l2: list[float],
    between: int,
    rule: RuleName = "best",
) -> list[Contest]:
    """What probes report of an arm: each representation at the temperature of pretraining, then with the search.

    In the first every representation has the same penalties. In the search SEM has each of `tau` with each penalty;
    what has no temperature has `between` times as many penalties instead, so that both have as many candidates.
    """
    plain = [found.h] if tau else found.representations(None)
    contests = [
        contest
        for one in plain
        for contest in (
            Contest(f"top1{FIXED_TAU}", [one], l2, rule=rule),
            Contest("top1", [one], l2, between=between, rule=rule),
        )
    ]
    if tau:
        assert fixed_tau is not None, "an arm with temperatures has one in pretraining"
        contests.append(Contest(f"top1{FIXED_TAU}", [found.output(fixed_tau)], l2, rule=rule))
        heated = [found.output(one) for one in tau]
        contests.append(Contest("top1", heated, l2, preferred=fixed_tau, more=found.output, rule=rule))
    return contests
