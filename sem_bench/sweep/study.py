"""A study in Optuna's storage, by ask and tell.

Several drivers may share a study. They share the results folder too, where each holds a lock as long as it lives: a
running trial whose driver has lost its lock is given up, and its settings are the next to be tried. Every change to the
list of trials happens under one lock, so the number of trials is exact and no setting is tried twice.
"""

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sem_bench.base.digest import canonical_json, digest
from sem_bench.errors import UserError
from sem_bench.runs.sweep_card import Params
from sem_bench.sweep.samplers import distribution_of, pruner_of, sampler_of
from sem_bench.sweep.storage import Driver
from sem_bench.sweep.subjects import Subject

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
REPEATS = 20  # settings in a row that were tried before, after which there is nothing new


class Study:
    """A subject's trials. Raises UserError where the storage has a study of this name with other settings.

    A `shared` storage is one that several results folders could use; a study in it belongs to one of them.
    """

    def __init__(
        self,
        subject: Subject,
        settings: dict[str, Any],
        storage: BaseStorage,
        driver: Driver,
        where: str,
        *,
        shared: bool,
    ) -> None:
        self.subject, self.driver, self.digest = subject, driver, digest(settings)
        of_all = {name: value for name, value in settings.items() if name != "jobs"}
        suite = subject.arm.suite.model_dump(mode="json", exclude={"seeds", "sweeps"})
        self.shared = digest([of_all, suite])[:12]  # studies of other methods that have it belong to one table
        self.points = subject.sweep.space.points
        self.mended: list[str] = []  # a line for each trial that had another value than its results
        self.failed_here: set[int] = set()  # by this driver: a later one may try them again
        with driver.alone():
            self.optuna = self._opened(settings, storage, where)
            if shared:
                self._claim(where)
            self._note_search()

    def _opened(self, settings: dict[str, Any], storage: BaseStorage, where: str) -> optuna.Study:
        """The study in the storage, of these settings; created where it is not there."""
        name, pruner = self.subject.name, pruner_of(self.subject.sweep.pruner)
        known_names = optuna.get_all_study_names(storage)  # to create what is there would be written down too
        make = optuna.load_study if name in known_names else partial(optuna.create_study, direction="maximize")
        study = make(study_name=name, storage=storage, pruner=pruner)
        if study.directions != [StudyDirection.MAXIMIZE]:
            raise UserError(f"{where}: the study {name!r} there does not maximise one value")
        known = study.user_attrs.get("settings")
        if known is None and study.get_trials(deepcopy=False):
            raise UserError(f"{where}: {name!r} there is no study of sem_bench")
        if known is not None and digest(known) != self.digest:
            text = f"{where}: the study {name!r} there is another one: {difference(known, settings)}"
            raise UserError(f"{text}; another --storage or --results keeps both")
        if known is None:
            study.set_user_attr("settings", settings)
        return study

    def _claim(self, where: str) -> None:
        """Let the study belong to this results folder, unless it is another's."""
        home = self.driver.home
        owner = self.optuna.user_attrs.get("results")
        if owner is None:
            self.optuna.set_user_attr("results", home)
        elif owner != home:
            text = f"{where}: the study {self.subject.name!r} there belongs to another results folder"
            raise UserError(f"{text}; drivers that share trials share --results")

    def _note_search(self) -> None:
        """Note in the study how trials are sampled and pruned from now on: a later call may change it."""
        sweep = self.subject.sweep
        sampler = {"type": sweep.sampler, "seed": sweep.seed, "optuna": optuna.__version__}
        pruner = sweep.pruner.model_dump() if sweep.pruner else None
        for name, value in (("sampler", sampler), ("pruner", pruner)):
            if self.optuna.user_attrs.get(name, "") != value:
                self.optuna.set_user_attr(name, value)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Those in one of the states, by number."""
        return self.optuna.get_trials(deepcopy=False, states=states or None)

    @property
    def shown(self) -> list[FrozenTrial]:
        """The trials that count for a reader: not those given up, whose settings were tried by another."""
        return [
            trial
            for trial in self.trials(*FINISHED, TrialState.RUNNING, TrialState.FAIL)
            if trial.state != TrialState.FAIL or "failed" in trial.user_attrs
        ]

    @property
    def finished(self) -> int:
        """How many trials are finished: complete or pruned."""
        return len(self.trials(*FINISHED))

    @property
    def running(self) -> int:
        """How many are running, in this driver or another."""
        return len(self.trials(TrialState.RUNNING))

    @property
    def best(self) -> FrozenTrial | None:
        """The complete trial of the highest value, the first of equal ones."""
        complete = [trial for trial in self.trials(TrialState.COMPLETE) if trial.value is not None]
        return max(complete, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)

    def ask(self, wanted: int) -> tuple[optuna.Trial, Params] | None:
        """The next trial and its settings; None where `wanted` trials are finished or running, or nothing is new."""
        with self.driver.alone():
            self._give_up_stale()
            if self.subject.own and not self.trials():
                self.optuna.enqueue_trial(self.subject.own)
            for _ in range(REPEATS):
                if self.finished + self.running + len(self.failed_here) >= wanted:
                    return None
                if not self._foresee():
                    return None
                trial = self._sampled()
                trial.set_user_attr("driver", self.driver.name)
                made_with = {"type": self.subject.sweep.sampler, "optuna": optuna.__version__}
                trial.set_user_attr("made_with", made_with)
                params = self.params(trial.params)
                others = [other for other in self._tried() if other.number != trial.number]
                if params not in [self.params(other.params) for other in others]:
                    return trial, params
                trial.set_user_attr("repeated", True)
                self.optuna.tell(trial, state=TrialState.FAIL)
        return None

    def params(self, params: Params) -> Params:
        """A trial's settings, from what Optuna keeps of them."""
        return self.subject.sweep.space.settled(params)

    def complete(self, trial: optuna.Trial, value: float, **details: Any) -> bool:
        """A trial has its value; False where another driver took this one for dead, and tries its settings again."""
        return self._tell(trial, details, state=TrialState.COMPLETE, values=value)

    def prune(self, trial: optuna.Trial) -> None:
        """A trial was ended early."""
        self._tell(trial, {}, state=TrialState.PRUNED)

    def fail(self, trial: optuna.Trial, reason: str) -> None:
        """A trial has no value."""
        self.failed_here.add(trial.number)
        self._tell(trial, {"failed": reason}, state=TrialState.FAIL)

    def importance(self) -> tuple[dict[str, float], str]:
        """Each sampled parameter's share of the differences between values, or none and the reason."""
        complete = self.trials(TrialState.COMPLETE)
        varied = [name for name in self.subject.sweep.space.axes if len({t.params[name] for t in complete}) > 1]
        if len(self.subject.sweep.space.axes) < 2:
            return {}, ""
        if len(complete) < 2 or not varied or len({trial.value for trial in complete}) < 2:
            return {}, "no importance of the parameters: it needs two complete trials that differ"
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(self.optuna, evaluator=evaluator)
        if not all(0 <= share <= 1 for share in found.values()) or not sum(found.values()):
            return {}, "no importance of the parameters: the trials do not tell them apart"
        return found, ""

    def _tell(self, trial: optuna.Trial, details: dict[str, Any], **outcome: Any) -> bool:
        """Write a trial's end down; False where another driver took it for dead."""
        with self.driver.alone():
            try:
                for name, value in details.items():
                    trial.set_user_attr(name, value)
                self.optuna.tell(trial, **outcome)
            except (optuna.exceptions.UpdateFinishedTrialError, ValueError):
                if self.trials()[trial.number].state == TrialState.RUNNING:
                    raise
                return False  # another driver took this one for dead
        return True

    def _give_up_stale(self) -> None:
        """Fail the running trials whose driver is dead; their settings come next."""
        for trial in self.trials(TrialState.RUNNING):
            if not self.driver.lives(trial.user_attrs.get("driver")):
                params = trial.params
                if params.keys() != self.subject.sweep.space.axes.keys():  # it died before all of them were written
                    params = trial.system_attrs.get("fixed_params", {})
                if params:
                    self.optuna.enqueue_trial(params)  # first: to try them twice is better than not at all
                self.optuna.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _tried(self) -> list[FrozenTrial]:
        """Trials with all their settings that count as tried: finished, running, or failed in this driver."""
        failed = [trial for trial in self.trials(TrialState.FAIL) if trial.number in self.failed_here]
        whole = self.subject.sweep.space.axes.keys()
        return [t for t in [*self.trials(*FINISHED, TrialState.RUNNING), *failed] if t.params.keys() == whole]

    def _foresee(self) -> bool:
        """Of a finite space, let the next trial be one that is left, where the sampler could repeat itself.

        False where nothing is left.
        """
        if self.points is None or self.trials(TrialState.WAITING):
            return True
        tried = {tuple(trial.params[name] for name in self.points[0]) for trial in self._tried()}
        left = next((point for point in self.points if tuple(point.values()) not in tried), None)
        if left and (self.subject.sweep.sampler == "grid" or self._repeated()):
            self.optuna.enqueue_trial(left)
        return left is not None

    def _repeated(self) -> bool:
        """Whether the last trial was given up for repeating another."""
        return any("repeated" in trial.user_attrs for trial in self.trials()[-1:])

    def _sampled(self) -> optuna.Trial:
        """A new trial: the settings that were enqueued, else the sampler's."""
        sweep, trials = self.subject.sweep, self.trials()
        # A function of the trials that were not given up: a study that was killed is the same as one without a break.
        number = sum(t.state != TrialState.FAIL or bool(t.user_attrs.keys() & {"failed", "repeated"}) for t in trials)
        seed = int(digest([sweep.seed, self.subject.name, number])[:8], 16)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            named = any(trial.state == TrialState.WAITING for trial in trials)
            self.optuna.sampler = optuna.samplers.RandomSampler() if named else sampler_of(sweep, seed)
            return self.optuna.ask({name: distribution_of(name, axis) for name, axis in sweep.space.axes.items()})


def difference(there: Any, here: Any, path: Sequence[str] = ()) -> str:
    """The first place where two settings differ, as text: "space.tau.high is 5 there and 3 here"."""
    if isinstance(there, dict) and isinstance(here, dict):
        for name in {**here, **there}:
            if canonical_json(there.get(name)) != canonical_json(here.get(name)):
                return difference(there.get(name), here.get(name), (*path, name))
    return f"{'.'.join(path)} is {_brief(there)} there and {_brief(here)} here"


def _brief(value: Any) -> str:
    text = "nothing" if value is None else canonical_json(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
