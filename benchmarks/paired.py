"""Paired timing: the contestants of a case take turns (A B A B ...), so that a slow minute of the machine hits all.

A ratio is taken in each turn, then the median of the turns. Spread is the middle half (interquartile range) over the
median.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any, Literal

import torch

Role = Literal["ours", "peer", "floor", "other", "part"]  # a part of the work has no ratio


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    device: torch.device
    threads: int
    repeats: int = 5
    quick: bool = False  # tiny sizes: does it run at all?
    case: str = ""

    def wants(self, case: str) -> bool:
        """Whether a case is asked for."""
        return self.case in case


@dataclass
class Contestant:
    """One way to do the work of a case. Without `work` it could not be had, and the note says why."""

    who: str
    work: Callable[[], float | None] | None  # a repetition; the seconds, where it measures itself
    role: Role = "other"
    units: int = 1  # of work in a repetition, such as steps; seconds are given for one
    note: Callable[[], str] = str  # asked when all is measured


@dataclass
class Case:
    """Contestants that do the same."""

    case: str
    contestants: list[Contestant]
    images: int = 0  # in a unit of work
    threads: int | None = None  # None: as asked
    repeats: int | None = None  # None: as asked
    warm_up: bool = True
    close: Callable[[], object] = field(default=lambda: None)


def drop(_: object) -> None:
    """A repetition returns nothing, unless seconds."""


def synchronize(device: torch.device) -> None:
    """Wait for what a GPU still does; nothing to wait for on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(name: str, case: Case, options: Options) -> list[dict[str, Any]]:
    """A row for each contestant of a case."""
    threads = case.threads or options.threads
    repeats = case.repeats or options.repeats
    torch.set_num_threads(threads)
    try:
        running = [one for one in case.contestants if one.work is not None]
        for one in running if case.warm_up else ():
            _seconds(one, options.device)
        found: dict[str, list[float]] = {one.who: [] for one in running}
        for _ in range(repeats):
            for one in running:
                found[one.who].append(_seconds(one, options.device))
        return [_row(name, case, one, found, threads, options.device, repeats) for one in case.contestants]
    finally:
        case.close()
        gc.collect()


def _seconds(one: Contestant, device: torch.device) -> float:
    """Of a unit of work."""
    assert one.work is not None
    synchronize(device)
    began = time.perf_counter()
    own = one.work()
    synchronize(device)
    return (time.perf_counter() - began if own is None else own) / one.units


def _row(
    name: str,
    case: Case,
    one: Contestant,
    found: dict[str, list[float]],
    threads: int,
    device: torch.device,
    repeats: int,
) -> dict[str, Any]:
    seconds = found.get(one.who)
    row: dict[str, Any] = {
        "name": name,
        "case": case.case,
        "who": one.who,
        "role": one.role,
        "threads": threads,
        "device": device.type,
        "repeats": repeats,
        "median_s": median(seconds) if seconds else None,
        "spread": _spread(seconds) if seconds else None,
        "images_per_s": case.images / median(seconds) if seconds and case.images and one.role != "part" else None,
    }
    for role in ("peer", "floor"):
        rival = _best(case.contestants, role, found)
        ratios: list[float] = []
        if rival and seconds and one.role not in (role, "floor", "part"):
            ratios = [theirs / own for theirs, own in zip(rival, seconds, strict=True)]
        row[f"ratio_vs_{role}"] = median(ratios) if ratios else None
        row[f"ratio_vs_{role}_spread"] = _spread(ratios) if ratios else None
    return row | {"note": one.note()}


def _best(contestants: Sequence[Contestant], role: str, found: dict[str, list[float]]) -> list[float] | None:
    """The seconds of the fastest in a role."""
    rivals = [found[one.who] for one in contestants if one.role == role and one.who in found]
    return min(rivals, key=median) if rivals else None


def _spread(values: Sequence[float]) -> float | None:
    """None of one turn."""
    if len(values) < 2:
        return None
    low, _, high = quantiles(values, n=4, method="inclusive")
    return (high - low) / median(values)
