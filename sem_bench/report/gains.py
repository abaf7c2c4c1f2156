"""Gains over the baseline, paired by seed, with their intervals."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sem_bench.base.digest import canonical_json
from sem_bench.report.layout import FIXED_TAU, Metric
from sem_bench.report.results import UNKNOWN, Predictions
from sem_bench.report.row import BASELINE, METHOD, Row

Interval = tuple[float | None, float | None, float | None]  # mean, low, high


def interval(values: Sequence[float]) -> Interval:
    """Mean and two-sided 95 % t-interval; below two values there is no interval, without values no mean."""
    if len(values) < 2:
        return (values[0] if values else None), None, None
    from scipy.special import stdtrit  # slow to import, and not always needed

    mean = statistics.fmean(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def pooled(gains: Sequence[float | None]) -> Interval:
    """The `interval` over methods' mean gains, the methods as units; a hole among them makes it a hole."""
    there = [gain for gain in gains if gain is not None]
    return interval(there) if len(there) == len(gains) else (None, None, None)


@dataclass(frozen=True)
class Cell:
    """A row and, by seed, what its gain is made of."""

    row: Row
    metric: Metric
    values: dict[int, float]  # above chance, where chance is known
    settings: dict[int, str]
    predictions: dict[int, Predictions]  # of seeds with a single draw
    absent: str  # which seeds have no figure, and why
    external: bool  # an encoder that was trained elsewhere
    attached: bool  # an embedding that stands on the finished baseline
    pretrained: dict[int, str]  # digest of what made the backbone

    @property
    def place(self) -> str:
        """What an arm's row and its `none` row have in common."""
        names = ("table", *METHOD, "backbone", "dataset", "recipe", "epochs", "column", "fraction")
        return canonical_json([*map(self.row.get, names), self.row.metric.replace(FIXED_TAU, "")])


def seeds_text(seeds: Sequence[int]) -> str:
    """ "seed 1", "seeds 2, 3"."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def with_gains(cells: Sequence[Cell]) -> list[Row]:
    """The rows of cells; those of arms with an embedding with their gain over the baseline, but of errors."""
    baselines: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        if cell.row.baseline and cell.metric.gain:
            baselines.setdefault(cell.place, {})[canonical_json(cell.row.digests)] = cell
    return [
        cell.row
        if cell.row.baseline or not cell.metric.gain
        else _with_gain(cell, list(baselines.get(cell.place, {}).values()))
        for cell in cells
    ]


def _with_gain(cell: Cell, baselines: Sequence[Cell]) -> Row:
    (gain, low, high), note = _gain(cell, baselines)
    notes = [note] if note else []
    bootstrap = _bootstrap(cell, baselines[0]) if gain is not None and cell.metric.images else []
    return replace(
        cell.row,
        gain=gain,
        gain_low=low,
        gain_high=high,
        bootstrap=bootstrap,
        notes=cell.row.notes + notes,
        gain_notes=notes,
    )


def _gain(cell: Cell, baselines: Sequence[Cell]) -> tuple[Interval, str]:
    hole: Interval = (None, None, None)
    if cell.external:
        return hole, "external encoders are no pair: no gain"
    if len(baselines) != 1:
        return hole, f"{'several' if baselines else 'no'} {BASELINE} arms to compare with: no gain"
    (base,) = baselines
    if cell.absent:
        return hole, ""  # the cell's own note says why
    if base.absent:
        return hole, f"the {BASELINE} arm has holes ({base.absent}): no gain"
    common = [seed for seed in cell.values if seed in base.values]
    if cell.attached and any(cell.pretrained[s] != base.pretrained[s] for s in common):
        return hole, f"stands on another pretraining than {BASELINE}: no gain"
    for here, there in ((cell.settings[seed], base.settings[seed]) for seed in common):
        if here != there or here == UNKNOWN:
            return hole, f"{here} against {there}: no gain"
    gain = interval([cell.values[seed] - base.values[seed] for seed in common])
    whole = len(common) == len(cell.values) == len(base.values)
    return gain, "" if whole else f"only {seeds_text(common) if common else 'no seed'} paired in the gain"


def _bootstrap(cell: Cell, base: Cell) -> list[list[float]]:
    """[seed, gain, low, high] of each seed's own run: a paired 95 % bootstrap over its test images, not over seeds."""
    from sem_bench.report.bootstrap import paired, read_predictions

    found = []
    for seed in sorted(cell.predictions.keys() & base.predictions.keys()):
        right = []
        for at in (cell.predictions[seed], base.predictions[seed]):
            try:
                right.append(read_predictions(at.path, rows=at.rows, images=at.images)[at.row])
            except (OSError, ValueError):
                break
        if len(right) == 2 and len(right[0]) == len(right[1]):
            found.append([seed, *paired(right[0], right[1], seed=seed)])
    return found
