"""The rows and tables of a sweep, from results/sweeps/NAME.json: one row for each trial and tau_d."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from sem_bench.base.digest import canonical_json
from sem_bench.base.files import read_json
from sem_bench.report.results import SCHEMA
from sem_bench.report.row import Row
from sem_bench.report.text_table import HOLE, TextCell, TextTable
from sem_bench.sweep.objectives import OBJECTIVES

EDGE = "tau_d on the edge of its grid"  # as the probe says it
_BROKEN = (ValueError, TypeError, KeyError, AttributeError, IndexError)


def read(path: Path) -> Row | None:
    """What a sweep left, as summary.write wrote it; None where the file is absent or damaged."""
    content = read_json(path)
    try:
        whole = content["schema"] == SCHEMA and {"suite", "sweep", "objective", "card"} <= content.keys()
        for study in content["studies"]:
            whole &= all(job.keys() == {"kind", "slug", "digest"} for job in study["jobs"])
        _rows(content)
    except _BROKEN:
        return None
    return content if whole else None


def sweep_rows(results: Path, names: Iterable[str]) -> list[Row]:
    """The flat objects of sweeps, by the names of their files; a damaged or absent file has none."""
    found = [read(results / "sweeps" / f"{name}.json") for name in names]
    return [row for content in found if content is not None for row in _rows(content)]


def _rows(content: Row) -> list[Row]:
    return [row for study in content["studies"] for row in _study_rows(content, study)]


def _study_rows(content: Row, study: Row) -> list[Row]:
    found = []
    for trial in study["trials"]:
        tried = trial["search"] if trial["state"] == "complete" else []
        for one in tried or [{"tau_d": None, "value": None}]:
            found.append(_row(content, study, trial, one))
    return found


def _row(content: Row, study: Row, trial: Row, one: Row) -> Row:
    chosen = study["best"] or {}
    best = trial["number"] == chosen.get("number") and one["tau_d"] == trial["tau_d"]
    test = chosen["test"] if best else []
    row: Row = {"table": "sweep", "suite": content["suite"]}
    row |= {name: study[name] for name in ("method", "ip", "embedding")}
    row["embedding_config"] = trial["embedding_config"]
    row |= {name: study[name] for name in ("backbone", "dataset", "recipe", "epochs")}
    row |= {"fraction": 1.0, "column": "hold-out", "metric": OBJECTIVES[content["objective"]].metric}
    row |= {"representation": study["representation"], "tau_d": one["tau_d"], "mean": one["value"], "std": None}
    row["n"] = 0 if one["value"] is None else 1
    row |= dict.fromkeys(("gain", "gain_low", "gain_high")) | {"bootstrap": [], "published": None}
    tried = study["tau_d"]
    edge = one["tau_d"] is not None and one["tau_d"] == trial["tau_d"] and one["tau_d"] in (min(tried), max(tried))
    row |= {"digests": trial["digests"], "notes": [*trial["notes"], *[EDGE] * (edge and len(tried) > 1)]}
    row |= {"sweep": content["sweep"], "trial": trial["number"], "params": trial["params"], "state": trial["state"]}
    row |= {"objective": content["objective"], "value": one["value"], "best": best}
    row["test"] = statistics.fmean(test) if test else None
    row["test_std"] = statistics.stdev(test) if len(test) > 1 else None
    row |= {"test_n": len(test), "test_tau_d": chosen["test_tau_d"] if best else []}
    row |= {"importance": study["importance"], "importance_note": study["importance_note"]}
    sampler = study["sampler"] | trial.get("made_with", {}) | {"own_first": study.get("own_first", True)}
    return row | {"sampler": sampler, "pruner": study["pruner"]}


_TABLE = ("suite", "sweep", "dataset", "backbone", "recipe", "epochs", "objective")


def sweep_tables(rows: Sequence[Row]) -> list[TextTable]:
    """A table for each sweep, a line for each trial, the best first."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        if row["table"] == "sweep":
            parts.setdefault(canonical_json([row[name] for name in _TABLE]), []).append(row)
    return [_table(part) for part in parts.values()]


def _table(rows: Sequence[Row]) -> TextTable:
    first = rows[0]
    names = list(dict.fromkeys(name for row in rows for name in row["params"]))
    temperatures = sorted({row["tau_d"] for row in rows if row["tau_d"] is not None})
    figure = OBJECTIVES[first["objective"]].column
    columns = ["method", "trial", *names, *(["tau_d"] if temperatures else []), figure, "test"]
    groups = [0, 0, *[1] * (len(columns) - 2)]
    columns += [f"at {tau:g}" for tau in temperatures]
    groups += [2] * len(temperatures)  # they stay together
    notes: dict[str, int] = {}
    body = []
    for trial in _trials(rows):
        top = max(trial, key=lambda row: (row["best"], -1.0 if row["value"] is None else row["value"]))
        marks = tuple(notes.setdefault(note, len(notes) + 1) for note in top["notes"])
        cells = [TextCell(_method(top)), TextCell(str(top["trial"]))]
        cells += [TextCell(f"{top['params'][name]:g}" if name in top["params"] else "") for name in names]
        if temperatures:
            cells.append(TextCell("" if top["tau_d"] is None else f"{top['tau_d']:g}"))
        value = top["state"] if top["value"] is None else f"{top['value']:.1f}"
        cells += [TextCell(value, bold=any(row["best"] for row in trial), marks=marks), TextCell(_test(trial))]
        at = {row["tau_d"]: row["value"] for row in trial if row["value"] is not None}
        cells += [TextCell(f"{at[tau]:.1f}" if tau in at else "") for tau in temperatures]
        body.append(cells)
    place = "{suite}: {dataset}, {backbone}, recipe {recipe}, {epochs} epochs: sweep {sweep}"
    return TextTable(place.format_map(first), columns, groups, body, _legend(rows), list(notes), name="sweep")


def _trials(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each trial, by method, the best trial first."""
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((_method(row), row["trial"]), []).append(row)
    methods = list(dict.fromkeys(_method(row) for row in rows))
    height = {
        key: max((row["value"] for row in trial if row["value"] is not None), default=-1.0)
        for key, trial in found.items()
    }
    order = sorted(found, key=lambda key: (methods.index(key[0]), -height[key], key[1]))
    return [found[key] for key in order]


def _method(row: Row) -> str:
    return f"{row['method']}{' + IP' * (row['ip'] is not None)}, {row['embedding']}"


def _test(trial: Sequence[Row]) -> str:
    best = next((row for row in trial if row["best"]), None)
    if best is None:
        return ""
    if best["test"] is None:
        return HOLE
    return f"{best['test']:.1f}" + ("" if best["test_std"] is None else f" ± {best['test_std']:.1f}")


def _legend(rows: Sequence[Row]) -> list[str]:
    first = rows[0]
    legend = [OBJECTIVES[first["objective"]].legend]
    if any(row["tau_d"] is not None for row in rows):
        legend.append("at T: the same with tau_d = T; tau_d is searched in every trial, not sampled")
    counts = sorted({row["test_n"] for row in rows if row["test_n"]})
    if counts:
        heated = ", each with its own tau_d" * any(row["tau_d"] is not None for row in rows)
        legend.append(f"test: top-1 of the best setting, bold, with {counts[-1]} seeds{heated}; read after the choice")
    for own in _by_method(rows):
        top = own[0]
        best = next((row for row in own if row["test_tau_d"]), None)
        if best and None not in best["test_tau_d"]:
            legend.append(f"{_method(top)}: tau_d of the seeds: {', '.join(f'{tau:g}' for tau in best['test_tau_d'])}")
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in top["importance"].items())
        if shares:
            complete = len({row["trial"] for row in own if row["state"] == "complete"})
            how = f"fANOVA, main effects scaled to 100 %, {complete} trials"
            legend.append(f"{_method(top)}: importance of the parameters ({how}): {shares}")
        elif top["importance_note"]:
            legend.append(f"{_method(top)}: {top['importance_note']}")
    legend.append(_search(rows))
    return legend


def _by_method(rows: Sequence[Row]) -> list[list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(_method(row), []).append(row)
    return list(found.values())


def _search(rows: Sequence[Row]) -> str:
    names = {
        "tpe": "TPE, its first 10 trials at random",
        "qmc": "quasi-random (Sobol)",
        "random": "random",
        "grid": "grid",
    }
    samplers = "; ".join(dict.fromkeys(names[row["sampler"]["type"]] for row in rows))
    versions = ", ".join(dict.fromkeys(row["sampler"]["optuna"] for row in rows))
    own = ", the suite's own setting first" * all(row["sampler"]["own_first"] for row in rows)
    text = f"search: {samplers}{own}; Optuna {versions}"
    return text + (f"; pruner {rows[0]['pruner']['type']}" if rows[0]["pruner"] else "")
