"""Results pooled over seeds, and the gains over the baseline: the rows of every table.

Nothing is averaged over a hole.
"""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sem_bench.base.digest import canonical_json
from sem_bench.report import published
from sem_bench.report.contrasts import contrast_rows
from sem_bench.report.gains import Cell, seeds_text, spreads, with_gains
from sem_bench.report.job_folder import JobFolders
from sem_bench.report.layout import Table
from sem_bench.report.results import Evaluated, Key, Manifest, Measurement, evaluated
from sem_bench.report.row import ONE_ENCODER, Row


def evaluation_rows(found: Sequence[Manifest], folders: JobFolders) -> list[Row]:
    """The rows of manifests in their order, from the job folders.

    Accuracies and gains are in percent, unrounded; None is a hole. A result that cannot be read counts as missing.
    """
    rows: list[Row] = []
    for manifest in found:
        cells = _cells(manifest, folders)
        rows += with_gains(cells) + contrast_rows(cells, manifest.tables)
    return rows


def gain_spreads(manifest: Manifest, folders: JobFolders) -> list[float]:
    """`spreads` of what is there of the suite's first table, at all labels."""
    arms = {
        arm: own
        for arm, jobs in manifest.arms.items()
        if manifest.tables[jobs[0].kind].headline and (own := [job for job in jobs if job.fraction == 1])
    }
    return spreads(_cells(replace(manifest, arms=arms), folders))


def _cells(manifest: Manifest, folders: JobFolders) -> list[Cell]:
    arms = [
        (manifest.tables[jobs[0].kind], [evaluated(job, folders, manifest.tables[job.kind]) for job in jobs])
        for jobs in manifest.arms.values()
    ]
    seen: dict[str, list[Key]] = {}  # arms alike have the same columns: one without results shows its holes
    for _, runs in arms:
        seen.setdefault(_alike(runs), []).extend(key for run in runs for key in run.figures)
    cells = []
    for table, runs in arms:
        keys = dict.fromkeys(seen[_alike(runs)])
        known = {(key.column, key.fraction) for key in keys}
        owed = dict.fromkeys(Key(*key) for run in runs for key in run.job.owes or ())
        for key in [*keys, *(key for key in owed if (key.column, key.fraction) not in known)]:
            configs = dict.fromkeys(run.config for run in runs if key in run.figures)
            cells += [_cell(manifest.name, table, runs, key, config) for config in configs or [""]]
    return cells


def _alike(runs: Sequence[Evaluated]) -> str:
    job = runs[0].job
    return canonical_json([job.kind, job.embedding_config["type"], job.dataset])


def _cell(suite: str, table: Table, runs: Sequence[Evaluated], key: Key, config: str) -> Cell:
    job, metric = runs[0].job, table.metric(key.metric)
    used = {run.job.seed: run for run in runs if key in run.figures and run.config == config}
    draws = [draw for run in used.values() for draw in run.figures[key]]
    values = {seed: statistics.fmean(draw.value for draw in run.figures[key]) for seed, run in used.items()}
    settings = {seed: run.setting for seed, run in used.items()}
    absent, chosen = _absent(runs, used, key), Counter(draw.tau_d for draw in draws)
    choices = _choices(chosen) if len(chosen) > 1 else ""
    pools = "pools " + " and ".join(sorted(set(settings.values()))) if len(set(settings.values())) > 1 else ""
    notes = [absent, choices, pools]
    notes += [note for run in used.values() for note in run.notes]
    notes += [note for draw in draws for note in draw.notes]
    varied = "the layer and the probe" if job.baseline else "the probe alone"
    notes += [f"{ONE_ENCODER}: the seeds vary {varied}"] * (job.external and len(values) > 1)
    extras = [draw.extra for draw in draws]
    row = Row(
        table=table.name,
        suite=suite,
        method=job.method,
        ip=job.ip,
        embedding=job.embedding,
        embedding_config=job.embedding_config,
        backbone=job.backbone,
        dataset=job.dataset,
        recipe=job.recipe,
        epochs=job.epochs,
        fraction=key.fraction,
        column=key.column,
        metric=key.metric,
        representation=key.representation,
        tau_d=next(iter(chosen)) if len(chosen) == 1 else None,
        mean=None if absent else statistics.fmean(values.values()),
        std=None if absent or len(values) < 2 else statistics.stdev(values.values()),
        n=len(values),
        by_seed=[[seed, value] for seed, value in values.items()],
        digests=[run.job.digest for run in used.values()],
        notes=list(dict.fromkeys(filter(None, notes))),
        extra={name: _mean([extra.get(name) for extra in extras]) for name in (extras[0] if extras else {})},
        main=job.representation,
        marker=job.marker,
        apart=(key.tau_d,) if table.every else (),
        choices=choices,
        setting="" if pools else next(iter(settings.values()), ""),
        guess=_guess(config) if table.headline else None,
    )
    single = {seed: run.figures[key][0].predictions for seed, run in used.items() if len(run.figures[key]) == 1}
    if counterpart := published.match(row, metric):
        row = replace(row, published=counterpart)
    return Cell(
        row=row,
        metric=metric,
        values={
            seed: statistics.fmean(_above_chance(draw, table) for draw in run.figures[key])
            for seed, run in used.items()
        },
        settings=settings,
        predictions={seed: found for seed, found in single.items() if found},
        absent=absent,
        external=job.external and not job.baseline,
        attached=bool(job.baseline),
        pretrained={seed: run.job.pretrained for seed, run in used.items()},
    )


@cache
def _guess(config: str) -> float | None:
    """What guessing among the classes gives, in percent, by the configuration of an evaluation."""
    data = json.loads(config or "{}").get("data")
    classes = data.get("classes") if isinstance(data, dict) and not data.get("multi_label") else None
    return 100 / len(classes) if isinstance(classes, list) and classes else None


def _choices(chosen: Mapping[float | None, int]) -> str:
    """Which temperatures were chosen, and how often: "tau_d: 0.3 x3, 1 x1"."""
    counts = sorted(chosen.items(), key=lambda choice: (choice[0] is None, choice[0]))
    return "tau_d: " + ", ".join(f"{'none' if tau is None else f'{tau:g}'} x{count}" for tau, count in counts)


def _above_chance(draw: Measurement, table: Table) -> float:
    """What chance gives may stand beside a figure, and embeddings may differ in it."""
    return draw.value - float(draw.extra.get(table.chance) or 0.0)


def _mean(values: Sequence[Any]) -> Any:
    """The mean of numbers, of each entry of lists and mappings; what is the same stays. None where they do not fit."""
    first = values[0]
    if all(value == first for value in values):
        return first
    if isinstance(first, dict) and all(isinstance(value, dict) and value.keys() == first.keys() for value in values):
        return {name: _mean([value[name] for value in values]) for name in first}
    if isinstance(first, list) and all(isinstance(value, list) and len(value) == len(first) for value in values):
        return [_mean(list(parts)) for parts in zip(*values, strict=True)]
    return statistics.fmean(values) if all(isinstance(value, int | float) for value in values) else None


def _absent(runs: Iterable[Evaluated], used: Mapping[int, Evaluated], key: Key) -> str:
    """The seeds of the manifest without a figure, by reason: "missing: seed 1; failed: seeds 2, 3"."""
    reasons: dict[int, str] = {}
    for run in (run for run in runs if run.job.seed not in used):
        job = run.job
        # Each fraction has a probe of its own, each shift and data set a job.
        other = job.fraction not in (None, key.fraction) or (job.columns is not None and key.column not in job.columns)
        reasons[job.seed] = reasons.get(job.seed, "missing") if other else run.absence or "missing"
    by_reason: dict[str, list[int]] = {}
    for seed, reason in reasons.items():
        by_reason.setdefault(reason, []).append(seed)
    return "; ".join(f"{reason}: {seeds_text(seeds)}" for reason, seeds in by_reason.items())
