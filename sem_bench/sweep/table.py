"""The rows and tables of a sweep, from results/sweeps/NAME.json: one row for each trial and tau_d."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sem_bench.report.row import Row, grouped
from sem_bench.report.text_table import DOT, HOLE, TextCell, TextTable
from sem_bench.sweep.objectives import OBJECTIVES
from sem_bench.sweep.summary_file import SAMPLERS, Found, Study, SweepFile, Trial, load

EDGE = "tau_d on the edge of its grid"  # as the probe says it


def sweep_rows(results: Path, names: Iterable[str], say: Callable[[str], None] = lambda line: None) -> list[Row]:
    """The rows of sweeps, by the names of their files; a damaged or absent file has none. `say` hears of damage."""
    paths = [results / "sweeps" / f"{name}.json" for name in names]
    found = [load(path) for path in paths]
    for path, sweep in zip(paths, found, strict=True):
        if sweep is None and path.exists():
            say(f"passed over: {path}: damaged, or written by another version; `sweep` writes it again")
    return [row for sweep in found if sweep is not None for study in sweep.studies for row in _study_rows(sweep, study)]


def _study_rows(sweep: SweepFile, study: Study) -> list[Row]:
    return [
        _row(sweep, study, trial, one)
        for trial in study.trials
        for one in trial.tried or [Found(tau_d=None, value=None)]
    ]


def _row(sweep: SweepFile, study: Study, trial: Trial, one: Found) -> Row:
    chosen = study.best
    best = chosen is not None and trial.number == chosen.number and one.tau_d == trial.tau_d
    test = chosen.test if chosen and best else []
    searched = len(study.tau_d) > 1 and one.tau_d is not None and one.tau_d == trial.tau_d
    tried = [each.tau_d for each in trial.tried if each.tau_d is not None]  # a probe goes on beyond the edges of tau_d
    on_edge = searched and one.tau_d in (min(tried), max(tried))
    return Row(
        table="sweep",
        suite=sweep.suite,
        method=study.method,
        ip=study.ip,
        embedding=study.embedding,
        embedding_config=trial.embedding_config,
        backbone=study.backbone,
        dataset=study.dataset,
        recipe=study.recipe,
        epochs=study.epochs,
        fraction=1.0,
        column="hold-out",
        metric=OBJECTIVES[sweep.objective].metric,
        representation=study.representation,
        tau_d=one.tau_d,
        mean=one.value,
        std=None,
        n=0 if one.value is None else 1,
        digests=trial.digests,
        notes=[*trial.notes, *[EDGE] * on_edge],
        extra={
            "sweep": sweep.sweep,
            "trial": trial.number,
            "params": trial.params,
            "state": trial.state,
            "objective": sweep.objective,
            "value": one.value,
            "best": best,
            "test": statistics.fmean(test) if test else None,
            "test_std": statistics.stdev(test) if len(test) > 1 else None,
            "test_n": len(test),
            "test_tau_d": chosen.test_tau_d if chosen and best else [],
            "importance": study.importance,
            "importance_note": study.importance_note,
            "sampler": study.sampler | trial.made_with | {"own_first": study.own_first},
            "pruner": study.pruner,
        },
        main=study.representation,
        apart=(sweep.sweep, trial.number, one.tau_d),
    )


_TABLE = ("suite", "sweep", "dataset", "backbone", "recipe", "epochs", "objective")


def sweep_tables(rows: Sequence[Row]) -> list[TextTable]:
    """A table for each sweep, a line for each trial, the best first."""
    own = (row for row in rows if row.table == "sweep")
    return [_table(part) for part in grouped(own, lambda row: row.key(_TABLE)).values()]


def _table(rows: Sequence[Row]) -> TextTable:
    first = rows[0]
    names = list(dict.fromkeys(name for row in rows for name in row.extra["params"]))
    temperatures = sorted({row.tau_d for row in rows if row.tau_d is not None})
    figure = OBJECTIVES[first.extra["objective"]].column
    columns = ["method", "trial", *names, *(["tau_d"] if temperatures else []), figure, "test"]
    groups = [0, 0, *[1] * (len(columns) - 2)]
    columns += [f"at {tau:g}" for tau in temperatures]
    groups += [2] * len(temperatures)  # they stay together
    notes: dict[str, int] = {}
    body = []
    for trial in _trials(rows):
        top = max(
            trial, key=lambda row: (row.extra["best"], -1.0 if row.extra["value"] is None else row.extra["value"])
        )
        marks = tuple(notes.setdefault(note, len(notes) + 1) for note in top.notes)
        cells = [TextCell(_method(top)), TextCell(str(top.extra["trial"]))]
        cells += [TextCell(f"{top.extra['params'][name]:g}" if name in top.extra["params"] else "") for name in names]
        if temperatures:
            cells.append(TextCell("" if top.tau_d is None else f"{top.tau_d:g}"))
        value = top.extra["state"] if top.extra["value"] is None else f"{top.extra['value']:.1f}"
        cells += [TextCell(value, bold=any(row.extra["best"] for row in trial), marks=marks), TextCell(_test(trial))]
        at = {row.tau_d: row.extra["value"] for row in trial if row.extra["value"] is not None}
        cells += [TextCell(f"{at[tau]:.1f}" if tau in at else "") for tau in temperatures]
        body.append(cells)
    what = f"sweep {first.extra['sweep']}"
    legend = _legend(rows)
    return TextTable(
        title=f"{first.heading}: {what}",
        columns=columns,
        groups=groups,
        body=body,
        legend=legend,
        notes=list(notes),
        name="sweep",
        what=what,
        brief=[f"{DOT}: the best setting", *_legend(rows, bold="")],
        about=legend[0],
    )


def _trials(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each trial, by method, the best trial first."""
    found = grouped(rows, lambda row: (_method(row), row.extra["trial"]))
    methods = list(dict.fromkeys(_method(row) for row in rows))
    height = {
        key: max((row.extra["value"] for row in trial if row.extra["value"] is not None), default=-1.0)
        for key, trial in found.items()
    }
    order = sorted(found, key=lambda key: (methods.index(key[0]), -height[key], key[1]))
    return [found[key] for key in order]


def _method(row: Row) -> str:
    return f"{row.method_label}, {row.embedding}"


def _test(trial: Sequence[Row]) -> str:
    best = next((row for row in trial if row.extra["best"]), None)
    if best is None:
        return ""
    if best.extra["test"] is None:
        return HOLE
    return f"{best.extra['test']:.1f}" + ("" if best.extra["test_std"] is None else f" ± {best.extra['test_std']:.1f}")


def _legend(rows: Sequence[Row], bold: str = ", bold,") -> list[str]:
    first = rows[0]
    legend = [OBJECTIVES[first.extra["objective"]].legend]
    if any(row.tau_d is not None for row in rows):
        legend.append("at T: the same with tau_d = T; tau_d is searched in every trial, not sampled")
    counts = sorted({row.extra["test_n"] for row in rows if row.extra["test_n"]})
    if counts:
        heated = ", each with its own tau_d" * any(row.tau_d is not None for row in rows)
        legend.append(f"test: top-1 of the best setting{bold} with {counts[-1]} seeds{heated}; read after the choice")
    for own in grouped(rows, _method).values():
        top = own[0]
        best = next((row for row in own if row.extra["test_tau_d"]), None)
        if best and None not in best.extra["test_tau_d"]:
            legend.append(
                f"{_method(top)}: tau_d of the seeds: {', '.join(f'{tau:g}' for tau in best.extra['test_tau_d'])}"
            )
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in top.extra["importance"].items())
        if shares:
            complete = len({row.extra["trial"] for row in own if row.extra["state"] == "complete"})
            how = f"fANOVA, main effects scaled to 100 %, {complete} trials"
            legend.append(f"{_method(top)}: importance of the parameters ({how}): {shares}")
        elif top.extra["importance_note"]:
            legend.append(f"{_method(top)}: {top.extra['importance_note']}")
    legend.append(_search(rows))
    return legend


def _search(rows: Sequence[Row]) -> str:
    samplers = "; ".join(dict.fromkeys(SAMPLERS[row.extra["sampler"]["type"]] for row in rows))
    versions = ", ".join(dict.fromkeys(row.extra["sampler"]["optuna"] for row in rows))
    own = ", the suite's own setting first" * all(row.extra["sampler"]["own_first"] for row in rows)
    text = f"search: {samplers}{own}; Optuna {versions}"
    return text + (f"; pruner {rows[0].extra['pruner']['type']}" if rows[0].extra["pruner"] else "")
