"""Which gains a number of seeds can see."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from sem_bench.errors import UserError
from sem_bench.report.job_folder import JobFolders
from sem_bench.report.pooled_rows import gain_spreads
from sem_bench.report.results import Kind, manifests

MEASURED = (0.55, 1.4)  # points: BYOL's and SimCLR's gains on photographs, three seeds each (docs/protocol.md)


def half_width(spread: float, seeds: int) -> float:
    """Half of the 95 % t-interval of a mean gain, of seeds (two or more) whose gains have this standard deviation."""
    from scipy.special import stdtrit

    return float(stdtrit(seeds - 1, 0.975)) * spread / math.sqrt(seeds)


def sight(seeds: int, own: Sequence[float]) -> str:
    """One line: the gain that an arm of so many seeds can tell from 0, by spreads of gains measured before.

    `own` are those of earlier runs of the suite; without them it goes by those of this project.
    """
    low, high = (min(own), max(own)) if own else MEASURED
    where = "measured here" if own else "on photographs"
    enough = max(seeds, 3)
    least, most = (f"{half_width(spread, enough):.1f}" for spread in (low, high))
    points = least if least == most else f"{least} to {most}"
    spread = f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"
    few = f"{seeds} seed{'s' * (seeds > 1)}: nothing bold; {enough} seeds see"
    begin = few if seeds < enough else f"{seeds} seeds see"
    return f"{begin} a gain of {points} points (95 % interval; spread of seeds {spread}, {where})"


def spreads_in(results: Path, folders: JobFolders, suite: str, known: Mapping[str, Kind]) -> list[float]:
    """The spreads over seeds of the suite's own gains, as far as it was run there; `known` as `manifests` takes it.

    `folders` are those of the results, which may have been looked at before.
    """
    try:
        (manifest,) = manifests(results, suite=suite, all_suites=False, known=known)
    except UserError:
        return []
    return gain_spreads(manifest, folders)
