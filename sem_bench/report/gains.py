"""Gains over the baseline, paired by seed, with their intervals."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sem_bench.base.digest import canonical_json
from sem_bench.report.layout import FIXED_TAU, PRIMARY, Metric
from sem_bench.report.results import UNKNOWN
from sem_bench.report.row import ARM, BASELINE, FLOOR, METHOD, Predictions, Row

SETTING = ("table", "backbone", "dataset", "recipe", "epochs", "column", "fraction")
T = TypeVar("T")
# Seeds, and methods of a pooled line, from which on a gain can be bold; and seeds of a pooled interval, for from two it
# holds too seldom (docs/protocol.md, Statistics).
ENOUGH = 3
NO_BETTER = "no better than the random backbone"

Interval = tuple[float | None, float | None, float | None]  # mean, low, high


def interval(values: Sequence[float]) -> Interval:
    """Mean and two-sided 95 % t-interval; below two values there is no interval, without values no mean."""
    if len(values) < 2:
        return (values[0] if values else None), None, None
    from scipy.special import stdtrit  # slow to import, and not always needed

    mean = statistics.fmean(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def _alike(values: Sequence[float]) -> bool:
    """Whether they differ by rounding alone: then nothing is known of their spread."""
    return max(values) - min(values) <= 1e-9 * max(map(abs, values))


def p_value(values: Sequence[float]) -> float | None:
    """Of the two-sided t-test that their mean is 0; there is none of fewer than two values, or of equal ones."""
    if len(values) < 2 or _alike(values):
        return None
    mean = statistics.fmean(values)
    return _two_sided(mean, statistics.stdev(values) / math.sqrt(len(values)), len(values) - 1)


def _two_sided(mean: float, error: float, df: float) -> float:
    """The p-value of a mean with this standard error and these degrees of freedom."""
    from scipy.special import stdtr

    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * float(stdtr(df, -abs(mean) / error))


@dataclass(frozen=True)
class Pooled:
    """The mean gain of several methods; an interval and its p-value from three seeds on that all of them share."""

    mean: float | None = None  # None: a hole among them
    low: float | None = None
    high: float | None = None
    p: float | None = None
    seeds: int = 0


def pooled(rows: Sequence[Row | None]) -> Pooled:
    """Over the gains of methods on the same data; a hole among them makes it a hole."""
    gains = [row.gain for row in rows if row is not None and row.gain is not None]
    if not gains or len(gains) < len(rows):
        return Pooled()
    by_method = [{int(seed): gain for seed, gain in row.gain_by_seed} for row in rows if row is not None]
    seeds = [seed for seed in by_method[0] if all(seed in own for own in by_method)]
    if len(rows) < 2 or len(seeds) < ENOUGH or any(len(own) > len(seeds) for own in by_method):
        return Pooled(statistics.fmean(gains), seeds=len(seeds))  # seeds that only some methods have pair with nothing
    return crossed([[own[seed] for seed in seeds] for own in by_method])


def crossed(gains: Sequence[Sequence[float]]) -> Pooled:
    """The mean of gains (methods, seeds) with a 95 % interval for other methods of this kind and other seeds.

    Both are random and crossed (Searle, Casella and McCulloch, 1992, chapter 4): methods share the draw of a seed, so
    neither are methods independent of each other nor seeds. The variance of the mean is estimated from the mean
    squares of methods, seeds and rest as (methods + seeds - rest) / (number of gains), and never below what methods or
    seeds alone give; the degrees of freedom are Satterthwaite's. Two of each are needed.
    """
    from scipy.special import stdtrit

    m, s = len(gains), len(gains[0])
    mean = statistics.fmean(value for own in gains for value in own)
    methods = [statistics.fmean(own) - mean for own in gains]
    seeds = [statistics.fmean(column) - mean for column in zip(*gains, strict=True)]
    rest = [
        value - mean - method - seed
        for own, method in zip(gains, methods, strict=True)
        for value, seed in zip(own, seeds, strict=True)
    ]
    of_methods = s * math.fsum(d * d for d in methods) / (m - 1)
    of_seeds = m * math.fsum(d * d for d in seeds) / (s - 1)
    of_rest = math.fsum(d * d for d in rest) / ((m - 1) * (s - 1))
    variance, df = of_methods + of_seeds - of_rest, 1.0
    if variance <= max(of_methods, of_seeds) or variance < 1e-150:  # whose square is 0
        variance, df = max((of_methods, m - 1), (of_seeds, s - 1))
    else:
        parts = (of_methods, m - 1), (of_seeds, s - 1), (of_rest, (m - 1) * (s - 1))
        df = variance**2 / math.fsum(square**2 / own for square, own in parts)
    error = math.sqrt(variance / (m * s))
    half = float(stdtrit(df, 0.975)) * error
    return Pooled(mean, mean - half, mean + half, _two_sided(mean, error, df), s)


def holm(p_values: Sequence[float], level: float = 0.05) -> float:
    """The largest of the p-values that survives Holm's correction (1979) over all of them; below 0 if none does."""
    largest = -1.0
    for number, p in enumerate(sorted(p_values)):
        if p * (len(p_values) - number) > level:
            break
        largest = p
    return largest


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

    def place(self, *names: str) -> str:
        """What a row has in common with those that it is compared with, as far as `names` and SETTING say it."""
        return self._alike((*names, *SETTING), self.row.metric)

    def facing(self, found: Mapping[str, T], *names: str) -> T | None:
        """What stands in the place of the cell, as far as `names` and SETTING say it.

        What has no temperature may have one figure alone: it faces that at the fixed temperature, too.
        """
        metrics = (self.row.metric, self.row.metric.removesuffix(FIXED_TAU))
        return next(
            (found[at] for at in (self._alike((*names, *SETTING), one) for one in metrics) if at in found), None
        )

    def _alike(self, names: Sequence[str], metric: str) -> str:
        return canonical_json([*map(self.row.get, names), metric])


def seeds_text(seeds: Sequence[int]) -> str:
    """ "seed 1", "seeds 2, 3"."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def with_gains(cells: Sequence[Cell]) -> list[Row]:
    """The rows of cells; those of arms with an embedding with their gain over the baseline, but of errors.

    Figures that do not beat the random backbone say so, and so do gains over such a baseline.
    """
    baselines = _baselines(cells)
    floors = {cell.place(): cell for cell in cells if cell.row.method == FLOOR}
    low = {id(cell) for cell in cells if _at_the_floor(cell, cell.facing(floors))}
    rows = []
    for cell in cells:
        row = cell.row
        if not (row.baseline or not cell.metric.gain):
            own = cell.facing(baselines, *METHOD) or []
            row = _with_gain(cell, own, floored=any(id(base) in low for base in own))
        rows.append(replace(row, notes=[*row.notes, NO_BETTER]) if id(cell) in low else row)
    return rows


def spreads(cells: Sequence[Cell]) -> list[float]:
    """The standard deviation over seeds of each arm's gain in the primary contrast, in points; of three seeds or more.

    The contrast is at tau_d = tau, where an arm has a temperature.
    """
    baselines, by_arm = _baselines(cells), dict[str, list[float]]()
    for cell in sorted(cells, key=lambda cell: cell.row.metric.endswith(FIXED_TAU)):  # the last one counts
        row = cell.row
        if row.column == PRIMARY and cell.metric.gain and not row.baseline and row.representation == row.main:
            by_arm[row.key(ARM)] = list(_gains(cell, cell.facing(baselines, *METHOD) or [])[0].values())
    return [statistics.stdev(gains) for gains in by_arm.values() if len(gains) >= ENOUGH]


def _baselines(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """The baselines of each place, each once."""
    found: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        if cell.row.baseline and cell.metric.gain:
            found.setdefault(cell.place(*METHOD), {})[canonical_json(cell.row.digests)] = cell
    return {place: list(own.values()) for place, own in found.items()}


def _at_the_floor(cell: Cell, floor: Cell | None) -> bool:
    """Whether a figure does not beat that of a random backbone.

    From three paired seeds on the interval of the difference decides, below it each seed's test images, where it is
    known which of them are right.
    """
    if floor is None or floor is cell or not cell.metric.gain or cell.absent or floor.absent:
        return False
    common = [seed for seed in cell.values if seed in floor.values]
    differences = [cell.values[seed] - floor.values[seed] for seed in common]
    if len(common) >= ENOUGH:
        return (interval(differences)[1] or 0.0) <= 0
    low = {int(seed): least for seed, _, least, _ in _bootstrap(cell, floor)} if cell.metric.images else {}
    return any(low.get(seed, difference) <= 0 for seed, difference in zip(common, differences, strict=True))


def _with_gain(cell: Cell, baselines: Sequence[Cell], *, floored: bool) -> Row:
    gains, note = _gains(cell, baselines)
    notes = [note] if note else []
    notes += [f"{BASELINE} is {NO_BETTER}"] * (floored and bool(gains))
    gain, low, high = interval(list(gains.values()))
    pairs = _pairs(cell, baselines[0]) if gains and cell.metric.images else {}
    return replace(
        cell.row,
        gain=gain,
        gain_low=low,
        gain_high=high,
        gain_p=p_value(list(gains.values())),
        gain_by_seed=[[seed, value] for seed, value in gains.items()],
        bootstrap=_bootstrap(cell, baselines[0]) if pairs else [],
        pairs=tuple(pairs.values()),
        notes=cell.row.notes + notes,
        gain_notes=notes,
    )


def _gains(cell: Cell, baselines: Sequence[Cell]) -> tuple[dict[int, float], str]:
    """The gain of each seed that both have, and what is to be said of them, or why there are none."""
    if cell.external:
        return {}, "external encoders are no pair: no gain"
    if len(baselines) != 1:
        return {}, f"{'several' if baselines else 'no'} {BASELINE} arms to compare with: no gain"
    (base,) = baselines
    if cell.absent:
        return {}, ""  # the cell's own note says why
    if base.absent:
        return {}, f"the {BASELINE} arm has holes ({base.absent}): no gain"
    common = [seed for seed in cell.values if seed in base.values]
    if cell.attached and any(cell.pretrained[s] != base.pretrained[s] for s in common):
        return {}, f"stands on another pretraining than {BASELINE}: no gain"
    if unlike := unlike_settings(cell, base, common):
        return {}, f"{unlike}: no gain"
    gains = {seed: cell.values[seed] - base.values[seed] for seed in common}
    whole = len(common) == len(cell.values) == len(base.values)
    return gains, "" if whole else f"only {seeds_text(common) if common else 'no seed'} paired in the gain"


def unlike_settings(cell: Cell, base: Cell, seeds: Sequence[int]) -> str:
    """ "cpu bf16 against cuda bf16" of the first seed in which they differ, or are not known; else ""."""
    pairs = ((cell.settings[seed], base.settings[seed]) for seed in seeds)
    return next((f"{here} against {there}" for here, there in pairs if here != there or here == UNKNOWN), "")


def _pairs(cell: Cell, base: Cell) -> dict[int, tuple[Predictions, Predictions]]:
    """Where it stands, seed by seed, which test images the two get right."""
    return {
        seed: (cell.predictions[seed], base.predictions[seed])
        for seed in sorted(cell.predictions.keys() & base.predictions.keys())
    }


def _bootstrap(cell: Cell, base: Cell) -> list[list[float]]:
    """[seed, gain, low, high] of each seed's own run: a paired 95 % bootstrap over its test images, not over seeds."""
    from sem_bench.report.bootstrap import of_pairs

    found = ((seed, of_pairs([pair], seed=seed)) for seed, pair in _pairs(cell, base).items())
    return [[seed, *one] for seed, one in found if one]
