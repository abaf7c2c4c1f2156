"""What is known of a sweep, as results/sweeps/NAME.json: all that its table needs, so that records can hold it.

A trial's value comes from validation alone; test figures are read of the confirmed setting, after the choice.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sem_bench.base.files import write_json
from sem_bench.base.seals import with_sum
from sem_bench.errors import UserError
from sem_bench.report.file_models import SCHEMA, validated
from sem_bench.runs.estimate import estimate
from sem_bench.runs.job import Job
from sem_bench.runs.store import Store
from sem_bench.sweep.objectives import Tried
from sem_bench.sweep.subjects import Subject, Subjects
from sem_bench.sweep.summary_file import SweepFile, load, read

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from sem_bench.sweep.study import Study


Content = dict[str, Any]
"""A part of the file."""


def searched(subject: Subject, jobs: Sequence[Job], store: Store) -> list[Tried]:
    """The validation figure of a finished trial at each tau_d; one without tau_d where there is no temperature."""
    metrics = {job.digest: (store.result(job) or {})["metrics"] for job in jobs}
    return subject.objective.search(subject, jobs, metrics)


def best_of(found: Sequence[Tried]) -> Tried | None:
    """The one of the highest value; of equal ones that which the probe has chosen, else the first."""
    return max(found, key=lambda one: (one["value"], one.get("chosen", False)), default=None)


def write(path: Path, subjects: Subjects, studies: "Sequence[Study]", store: Store) -> None:
    """Write it, atomically; a file that says the same stays as it is.

    Studies of other methods stay in it that the same sweep made earlier, of the same suite and data.
    """
    sweep = subjects.card.content
    content: Content = {
        "schema": SCHEMA,
        "sweep": subjects.card.name,
        "summary": sweep.summary,
        "suite": subjects.plan.suite.name,
        "objective": sweep.objective,
        "card": sweep.model_dump(mode="json", exclude_defaults=True),
    }
    before, made = read(path), {study.subject.name: _study(study, store) for study in studies}
    shared = {study["shared"] for study in made.values()}
    known = {study["name"]: study for study in (before or {"studies": []})["studies"] if study.get("shared") in shared}
    content["studies"] = list((known | made).values())
    if before != content:
        whole = _sealed(content)
        if whole is None or validated(SweepFile, whole) is None:
            raise UserError(f"{path}: not written: the trials in the storage are not what a sweep notes; it is damaged")
        write_json(path, whole)


def progress(subjects: Subjects, store: Store) -> tuple[int, float]:
    """How many trials are finished, and the seconds that the rest takes, taken for trials of one setting."""
    known = load(store.root / "sweeps" / f"{subjects.name}.json")
    finished, seconds = 0, 0.0
    for subject in subjects.each:
        mine = [study for study in known.studies if study.name == subject.name] if known else []
        done = sum(trial.state in ("complete", "pruned") for study in mine for trial in study.trials)
        if left := max(0, subjects.trials - done):
            whole, first = subject.jobs(subject.example), not done
            each = estimate(whole, store)
            patterns = [whole] * first + subject.ahead(left - first)
            seconds += sum(each[job.digest] for pattern in patterns for job in pattern)
        finished += done
    return finished, seconds


def _sealed(content: Content) -> dict[str, Any] | None:
    """With its sum; None where a number in it is none of JSON."""
    try:
        return with_sum(content)
    except ValueError:
        return None


def _study(study: "Study", store: Store) -> Content:
    """One method's study."""
    subject, best = study.subject, study.best
    jobs: dict[str, Job] = {}  # the finished ones
    trials = [_trial(study, trial, store, jobs) for trial in study.shown]
    chosen = None if best is None else _best(subject, study.params(best.params), best.number, store, jobs)
    cell = subject.jobs(subject.example)[-1].cell
    names = ("method", "ip", "embedding", "backbone", "dataset", "recipe", "epochs")
    importance, note = study.importance()
    return {
        "name": subject.name,
        "digest": study.digest,
        "shared": study.shared,
        "sampler": study.optuna.user_attrs["sampler"],
        "own_first": subject.own is not None,
        "pruner": study.optuna.user_attrs["pruner"],
        **{name: getattr(cell, name) for name in names},
        "representation": subject.objective.representation(subject),
        "parameters": subject.sweep.space.names,
        "tau_d": subject.tau_d,
        "trials": trials,
        "importance": importance,
        "importance_note": note,
        "best": chosen,
        "jobs": [{"kind": job.kind, "slug": job.slug, "digest": job.digest} for job in jobs.values()],
    }


def _trial(study: "Study", trial: "FrozenTrial", store: Store, jobs: dict[str, Job]) -> Content:
    params = study.params(trial.params) if trial.params.keys() == study.subject.sweep.space.axes.keys() else {}
    told = trial.user_attrs
    found: Content = {"number": trial.number, "state": _STATES[trial.state.name], "params": params}
    found |= {
        "value": trial.value if trial.state.name == "COMPLETE" else None,
        "tau_d": told.get("tau_d"),
        "search": told.get("search", []),
    }
    found["made_with"] = told.get("made_with", {})
    found["notes"] = [told["failed"]] if "failed" in told else []
    mine = study.subject.jobs(params) if params else []
    found["embedding_config"] = mine[-1].cell.embedding_config if mine else {}
    found["digests"] = [job.digest for job in mine] if trial.state.name == "COMPLETE" else []
    jobs |= {job.digest: job for job in mine if job.digest in found["digests"] and store.result(job)}
    return found


_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


def _best(subject: Subject, params: dict[str, Any], number: int, store: Store, jobs: dict[str, Job]) -> Content:
    """The chosen setting, and what it reaches on the test images with each seed; None for a seed without a result."""
    test: list[float | None] = []
    chosen: list[float | None] = []
    for _, needed in subject.confirmation(params) if subject.labelled else []:
        result = store.result(needed[-1])  # of the probe
        rows = result["metrics"]["rows"] if result else []
        mine = [row for row in rows if (row["metric"], row["representation"]) == ("top1", subject.representation)]
        test.append(mine[0]["value"] if mine else None)
        chosen.append(mine[0]["tau_d"] if mine else None)
        jobs |= {job.digest: job for job in needed if store.result(job)}
    whole = bool(test) and None not in test
    return {"number": number, "params": params, "test": test if whole else [], "test_tau_d": chosen if whole else []}
