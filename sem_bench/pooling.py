"""Results pooled over seeds, and the gains over `none`: the rows of the comparison (design, part 6).

A row is one of the flat objects of `table --format json`. Nothing is averaged over a hole.
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sem_bench import published, records
from sem_bench.digest import canonical_json
from sem_bench.records import ARM, Key, Manifest, Row, Run

Interval = tuple[float | None, float | None, float | None]  # mean, low, high

METHOD = ("method", "ip")
TAU_NOTE = "tau_d: "  # then the choices, where they differ
_MAIN = {
    "none": "h",
    "linear": "z",
    "sem": "sem",
    "gumbel": "sem",
    "untrained": "sem",
}  # what stands for an arm, by embedding type


def rows(results: Path, *, suite: str | None = None, all_suites: bool = False) -> list[Row]:
    """The comparison's flat objects in manifest order: of `suite`, of all suites, or of the one written last.

    Accuracies and gains are in percent, unrounded; None is a hole. A result that cannot be read counts as
    missing. Raises UserError where the folder, its manifests or the suite are not there.
    """
    found = records.manifests(results, suite=suite, all_suites=all_suites)
    read = records.reader(results)
    return [cell.row for manifest in found for cell in _cells(manifest, read)]


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


# --- cells and gains ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cell:
    """A row and, by seed, what its gain is made of."""

    row: Row
    values: dict[int, float]  # above chance, where chance is known
    settings: dict[int, str]
    predictions: dict[int, records.Predictions]  # of seeds with a single draw
    absent: str  # which seeds have no figure, and why
    external: bool  # an encoder that was trained elsewhere
    pretrained: dict[int, str]  # digest of what made the backbone

    @property
    def place(self) -> str:
        """What an arm's row and its `none` row have in common."""
        metric = self.row["metric"].replace("_fixed_tau", "")
        names = ("table", *METHOD, "backbone", "dataset", "recipe", "epochs", "column", "fraction")
        return canonical_json([*(self.row[name] for name in names), metric])


def _cells(manifest: Manifest, read: records.Reader) -> list[_Cell]:
    arms = [[records.run(job, read) for job in jobs] for jobs in manifest.arms.values()]
    seen: dict[str, list[Key]] = {}  # arms alike in this have the same columns: one without results shows its holes
    for runs in arms:
        seen.setdefault(_alike(runs), []).extend(key for run in runs for key in run.figures)
    cells = []
    for runs in arms:
        keys = dict.fromkeys(seen[_alike(runs)])
        known = {(column, fraction) for column, fraction, *_ in keys}
        planned = dict.fromkeys(key for run in runs for key in _planned(manifest, run.job))
        for key in [*keys, *(key for key in planned if (key[0], key[1]) not in known)]:
            configs = dict.fromkeys(run.config for run in runs if key in run.figures)
            cells += [_cell(manifest.name, runs, key, config) for config in configs or [""]]
    _add_gains(cells)
    return cells


def _alike(runs: Sequence[Run]) -> str:
    job = runs[0].job
    return canonical_json([job["kind"], job["embedding_config"]["type"], job["dataset"]])


def _planned(manifest: Manifest, job: Row) -> list[Key]:
    """The least that an arm's jobs were to give."""
    representations = dict.fromkeys((main_representation(job), "h"))
    if job["kind"] == "knn":
        return [("kNN", 1.0, "knn_top1", name) for name in representations]
    if job["kind"] != "probe":
        return [_least(job, column) for column in job.get("columns", [])]
    return [(f"{100 * f:g}%", f, "top1", name) for f in manifest.fractions for name in representations]


_LEAST = {
    "augmented": "top1",
    "robustness": "top1",
    "relevance": "relevance_per_class",
    "entropy": "entropy_share",
    "expressivity": "test",
}


def _least(job: Row, column: str) -> Key:
    """The figure of a column that stands for its job."""
    metric = job.get("metric") or _LEAST[job["kind"]]
    if job["kind"] == "expressivity":
        return column, job["fractions"][job["columns"].index(column)], metric, "h"
    return column, float(job.get("fraction", 1.0)), metric, main_representation(job)


def _cell(suite: str, runs: Sequence[Run], key: Key, config: str) -> _Cell:
    column, fraction, metric, representation = key
    used = {run.seed: run for run in runs if key in run.figures and run.config == config}
    draws = [draw for run in used.values() for draw in run.figures[key]]
    values = {seed: statistics.fmean(draw.value for draw in run.figures[key]) for seed, run in used.items()}
    absent = _absent(runs, used, key)
    chosen = Counter(draw.tau_d for draw in draws)
    settings = {seed: run.setting for seed, run in used.items()}
    notes = [absent] if absent else []
    if len(chosen) > 1:
        counts = sorted(chosen.items(), key=lambda choice: (choice[0] is None, choice[0]))
        texts = (f"{'none' if tau is None else f'{tau:g}'} x{count}" for tau, count in counts)
        notes.append(TAU_NOTE + ", ".join(texts))
    if len(set(settings.values())) > 1:
        notes.append("pools " + " and ".join(sorted(set(settings.values()))))
    notes += [note for run in used.values() for note in run.notes]
    notes += [note for draw in draws for note in draw.notes]
    row: Row = {"table": records.TABLES[runs[0].job["kind"]], "suite": suite} | {
        name: runs[0].job[name] for name in ARM
    }
    row |= {
        "fraction": fraction,
        "column": column,
        "metric": metric,
        "representation": representation.partition(" ")[0],
    }
    row["tau_d"] = next(iter(chosen)) if len(chosen) == 1 else None
    row["mean"] = None if absent else statistics.fmean(values.values())
    row["std"] = None if absent or len(values) < 2 else statistics.stdev(values.values())
    row["n"] = len(values)
    row |= dict.fromkeys(("gain", "gain_low", "gain_high")) | {"bootstrap": []}
    row["published"] = published.match(row)
    row["digests"] = [run.job["digest"] for run in used.values()]
    above = {seed: statistics.fmean(map(_above_chance, run.figures[key])) for seed, run in used.items()}
    external = bool(runs[0].job.get("external"))
    if external and len(values) > 1 and embedding_type(row) != "untrained":
        notes.append("one encoder: the seeds vary the probe alone")
    row["notes"] = list(dict.fromkeys(notes))
    extras = [draw.extra for draw in draws]
    row |= {name: _mean([extra[name] for extra in extras]) for name in (extras[0] if extras else {})}
    single = {seed: run.figures[key][0].predictions for seed, run in used.items() if len(run.figures[key]) == 1}
    predictions = {seed: found for seed, found in single.items() if found}
    pretrained = {seed: run.job.get("baseline") or run.job["inputs"]["pretrain"] for seed, run in used.items()}
    return _Cell(row, above, settings, predictions, absent, external, pretrained)


def _above_chance(draw: records.Figure) -> float:
    """Relevance has its null beside it, and embeddings differ in it."""
    return draw.value - float(draw.extra.get("null") or 0.0)


def _mean(values: Sequence[Any]) -> Any:
    """The mean of numbers, of each entry of lists and mappings; what is the same stays. None where they do not fit."""
    first = values[0]
    if all(value == first for value in values):
        return first
    if isinstance(first, dict):
        return {name: _mean([value[name] for value in values]) for name in first}
    if isinstance(first, list):
        return [_mean(list(parts)) for parts in zip(*values, strict=True)] if len({*map(len, values)}) == 1 else None
    return None if isinstance(first, str) else statistics.fmean(values)


def _absent(runs: Iterable[Run], used: dict[int, Run], key: Key) -> str:
    """The seeds of the manifest without a figure, by reason: "missing: seed 1; failed: seeds 2, 3"."""
    reasons: dict[int, str] = {}
    for run in (run for run in runs if run.seed not in used):
        column, fraction, *_ = key
        # Each fraction has a probe of its own, each shift and data set a job.
        other = run.job.get("fraction", fraction) != fraction or column not in run.job.get("columns", [column])
        reasons[run.seed] = reasons.get(run.seed, "missing") if other else run.absence or "missing"
    by_reason: dict[str, list[int]] = {}
    for seed, reason in reasons.items():
        by_reason.setdefault(reason, []).append(seed)
    return "; ".join(f"{reason}: {_seeds(seeds)}" for reason, seeds in by_reason.items())


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _add_gains(cells: Sequence[_Cell]) -> None:
    """Fill in each arm's gain over `none`, but of errors. Notes on the gain alone end in "gain"."""
    cells = [cell for cell in cells if has_gain(cell.row["metric"])]
    baselines: dict[str, dict[str, _Cell]] = {}
    for cell in cells:
        if embedding_type(cell.row) == "none":
            baselines.setdefault(cell.place, {})[canonical_json(cell.row["digests"])] = cell
    for cell in (cell for cell in cells if embedding_type(cell.row) != "none"):
        if cell.external and embedding_type(cell.row) != "untrained":
            cell.row["notes"].append("external encoders are no pair: no gain")
            continue
        found = list(baselines.get(cell.place, {}).values())
        if len(found) == 1:
            gain, note = _gain(cell, found[0])
            cell.row.update(zip(("gain", "gain_low", "gain_high"), gain, strict=True))
            if gain[0] is not None and cell.row["metric"].startswith("top1"):  # predictions count images alike
                cell.row["bootstrap"] = _bootstrap(cell, found[0])
        else:
            note = f"{'several' if found else 'no'} none arms to compare with: no gain"
        cell.row["notes"] += [note] if note else []


def _gain(cell: _Cell, base: _Cell) -> tuple[Interval, str]:
    hole: Interval = (None, None, None)
    if cell.absent:
        return hole, ""  # the cell's own note says why
    if base.absent:
        return hole, f"the none arm has holes ({base.absent}): no gain"
    common = [seed for seed in cell.values if seed in base.values]
    if embedding_type(cell.row) == "untrained" and any(cell.pretrained[s] != base.pretrained[s] for s in common):
        return hole, "stands on another pretraining than none: no gain"
    for here, there in ((cell.settings[seed], base.settings[seed]) for seed in common):
        if here != there or here == records.UNKNOWN:
            return hole, f"{here} against {there}: no gain"
    gain = interval([cell.values[seed] - base.values[seed] for seed in common])
    whole = len(common) == len(cell.values) == len(base.values)
    return gain, "" if whole else f"only {_seeds(common) if common else 'no seed'} paired in the gain"


def _bootstrap(cell: _Cell, base: _Cell) -> list[list[float]]:
    """[seed, gain, low, high] of each seed's own run: a paired 95 % bootstrap over its test images, not over seeds."""
    from sem_bench.bootstrap import paired, read_predictions

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


def has_gain(metric: str) -> bool:
    """Whether a difference to `none` is a gain: that of an error is not, nor of a fit to the training images."""
    return not metric.startswith(("mce", "gap", "train"))


def embedding_type(row: Row) -> str:
    """none, linear, sem, gumbel or untrained."""
    return str(row["embedding_config"]["type"])


def embedding_key(rows: Iterable[Row]) -> Callable[[Row], str]:
    """What tells the embeddings of these rows apart: label and size, and the temperatures where a method has several.

    Recipes have temperatures of their own, so those of one label may differ from method to method.
    """

    def short(row: Row) -> str:
        settings = row["embedding_config"]
        return canonical_json([row["embedding"], settings["type"], settings.get("L"), settings.get("V")])

    def full(row: Row) -> str:
        return canonical_json([row["embedding"], row["embedding_config"]])

    configs: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        configs.setdefault((short(row), canonical_json([row[name] for name in METHOD])), set()).add(full(row))
    ambiguous = {key for (key, _), found in configs.items() if len(found) > 1}
    return lambda row: full(row) if short(row) in ambiguous else short(row)


def main_representation(row: Row) -> str:
    """Which representation stands for the arm of a row or job."""
    return _MAIN.get(embedding_type(row), "z")
