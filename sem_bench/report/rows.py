"""Results pooled over seeds, and the gains over the baseline: the rows of every table.

A row is one of the flat objects of `table --format json`. Nothing is averaged over a hole.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sem_bench.base.digest import canonical_json
from sem_bench.report import published
from sem_bench.report.gains import Cell, add_gains, seeds_text
from sem_bench.report.layout import Table
from sem_bench.report.results import Evaluated, Manifest, Measurement, ResultReader, evaluated, reader
from sem_bench.report.row import ARM, TAU_NOTE, FigureKey, Row


def evaluation_rows(found: Sequence[Manifest], results: Path) -> list[Row]:
    """The flat objects of manifests in their order.

    Accuracies and gains are in percent, unrounded; None is a hole. A result that cannot be read counts as missing.
    """
    read = reader(results)
    return [cell.row for manifest in found for cell in _cells(manifest, read)]


def _cells(manifest: Manifest, read: ResultReader) -> list[Cell]:
    arms = [
        (manifest.tables[jobs[0]["kind"]], [evaluated(job, read, manifest.tables[job["kind"]]) for job in jobs])
        for jobs in manifest.arms.values()
    ]
    seen: dict[str, list[FigureKey]] = {}  # arms alike have the same columns: one without results shows its holes
    for _, runs in arms:
        seen.setdefault(_alike(runs), []).extend(key for run in runs for key in run.figures)
    cells = []
    for table, runs in arms:
        keys = dict.fromkeys(seen[_alike(runs)])
        known = {(column, fraction) for column, fraction, *_ in keys}
        owed = dict.fromkeys(key for run in runs for key in run.job["owes"])
        for key in [*keys, *(key for key in owed if (key[0], key[1]) not in known)]:
            configs = dict.fromkeys(run.config for run in runs if key in run.figures)
            cells += [_cell(manifest.name, table, runs, key, config) for config in configs or [""]]
    add_gains(cells)
    return cells


def _alike(runs: Sequence[Evaluated]) -> str:
    job = runs[0].job
    return canonical_json([job["kind"], job["embedding_config"]["type"], job["dataset"]])


def _cell(suite: str, table: Table, runs: Sequence[Evaluated], key: FigureKey, config: str) -> Cell:
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
    row: Row = {"table": table.name, "suite": suite} | {name: runs[0].job[name] for name in ARM}
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
    above = {
        seed: statistics.fmean(_above_chance(draw, table) for draw in run.figures[key]) for seed, run in used.items()
    }
    attached = bool(runs[0].job.get("baseline"))
    external = bool(runs[0].job.get("external")) and not attached
    if external and len(values) > 1:
        notes.append("one encoder: the seeds vary the probe alone")
    row["notes"] = list(dict.fromkeys(notes))
    extras = [draw.extra for draw in draws]
    row |= {name: _mean([extra[name] for extra in extras]) for name in (extras[0] if extras else {})}
    single = {seed: run.figures[key][0].predictions for seed, run in used.items() if len(run.figures[key]) == 1}
    predictions = {seed: found for seed, found in single.items() if found}
    pretrained = {seed: run.job.get("baseline") or run.job["inputs"]["pretrain"] for seed, run in used.items()}
    return Cell(row, table.metric(metric), above, settings, predictions, absent, external, attached, pretrained)


def _above_chance(draw: Measurement, table: Table) -> float:
    """What chance gives may stand beside a figure, and embeddings may differ in it."""
    return draw.value - float(draw.extra.get(table.chance) or 0.0)


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


def _absent(runs: Iterable[Evaluated], used: dict[int, Evaluated], key: FigureKey) -> str:
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
    return "; ".join(f"{reason}: {seeds_text(seeds)}" for reason, seeds in by_reason.items())
