"""A study whose trials are what their results say: a value that a storage tells and no result has is not believed.

Optuna changes no finished trial. So a study with a wrong one is written anew, with its trials, numbers and settings.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from sem_bench.errors import UserError
from sem_bench.runs.store import Store
from sem_bench.sweep.study import Study
from sem_bench.sweep.summary import best_of, searched


def mend(study: Study, store: Store, storage: BaseStorage, where: str) -> list[str]:
    """Let each finished trial have the value that its results have; returns a line for each that had another.

    Raises UserError where one has and other drivers are at work: they would lose the study.
    """
    with study.driver.alone():
        trials = study.trials()
        for position, trial in enumerate(trials):
            if why := _damage(study, trial, position):
                raise UserError(f"{where}: damaged: trial {position} of {study.subject.name} {why}")
        right = {trial.number: trial for trial in _differing(study, store)}
        lines = [
            f"{where}: trial {number} of {study.subject.name} has the value {trials[number].value:g}, and its results "
            f"{trial.value:g}, which counts"
            for number, trial in right.items()
            if trials[number].value != trial.value
        ]
        if right and study.driver.in_company:
            first = lines[0] if lines else f"{where}: {study.subject.name} is mended"
            raise UserError(f"{first} once no other driver is at work; wait for it, or stop it")
        if right:
            study.optuna = _anew(study.optuna, [right.get(trial.number, trial) for trial in trials], storage)
    return lines


def _damage(study: Study, trial: FrozenTrial, position: int) -> str:
    """What no driver has written; "" where nothing is wrong."""
    if trial.number != position:
        return f"has the number {trial.number!r}"
    if trial.state != TrialState.COMPLETE:
        return ""
    if not isinstance(trial.value, int | float) or not math.isfinite(trial.value):
        return f"has the value {trial.value!r}"
    if trial.params.keys() != study.subject.sweep.space.axes.keys():
        return "lacks a setting"
    made = [[job.kind, job.digest] for job in study.subject.jobs(study.params(trial.params))]
    return "" if trial.user_attrs.get("jobs", made) == made else "has other settings than its jobs"


def _differing(study: Study, store: Store) -> Iterator[FrozenTrial]:
    """The complete trials that do not say what their results do, as they should be.

    One whose results are not all there is held against the search that it noted itself.
    """
    for trial in study.trials(TrialState.COMPLETE):
        jobs = study.subject.jobs(study.params(trial.params))
        there = all(store.result(job) is not None for job in jobs)
        found = searched(study.subject, jobs, store) if there else trial.user_attrs.get("search", [])
        best = best_of(found)
        if best is None:
            continue
        own = trial.value, trial.user_attrs.get("tau_d"), _points(trial.user_attrs.get("search", found))
        if own != (best["value"], best["tau_d"], _points(found)):
            right = copy.deepcopy(trial)
            right.value = best["value"]
            for name, value in (("search", found), ("tau_d", best["tau_d"])):
                right.set_user_attr(name, value)
            yield right


def _points(found: Sequence[dict[str, Any]]) -> list[tuple[Any, Any]]:
    return [(one["tau_d"], one["value"]) for one in found]


def _anew(study: optuna.Study, trials: Sequence[FrozenTrial], storage: BaseStorage) -> optuna.Study:
    """The study with these trials. Who dies in between loses no result: the same trials follow at no cost."""
    name, notes = study.study_name, study.user_attrs
    optuna.delete_study(study_name=name, storage=storage)
    made = optuna.create_study(study_name=name, storage=storage, direction="maximize", pruner=study.pruner)
    for key, value in notes.items():
        made.set_user_attr(key, value)
    made.add_trials(trials)
    return made
