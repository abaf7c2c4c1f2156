"""A sweep card held against a suite: which arm is studied, and the ordinary jobs that a trial is made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sem_bench.config.cards import Card, Library
from sem_bench.config.fields import Model, resolved
from sem_bench.config.validation import at, did_you_mean
from sem_bench.errors import UserError
from sem_bench.evaluations.knn import Knn, KnnSettings
from sem_bench.evaluations.probe import Probe, ProbeSettings
from sem_bench.nets.card import MAX_WIDTH, EmbeddingSettings
from sem_bench.runs.arm import Arm
from sem_bench.runs.job import Job, data_of
from sem_bench.runs.plan import Plan, read_plan, suite_file
from sem_bench.runs.store import Store
from sem_bench.runs.sweep_card import Params, Sweep, sweep_card
from sem_bench.sweep.objectives import OBJECTIVES, Objective

TRIAL_SEED = 0
SEEDS = (1, 2, 3)  # of the best setting: not the trials' own, whose luck is a part of why it was chosen
HEATED = ("tau", "tau_target")
TAU_D = [0.1, 0.3, 1.0, 3.0, 10.0]  # where neither sweep nor suite names any: not about a tau that is itself tried


@dataclass(frozen=True)
class Subject:
    """One method's study: the arm of the suite whose settings are tried."""

    card: Card[Sweep]
    arm: Arm
    others: int = 0  # more arms of the suite that would have fitted

    @property
    def name(self) -> str:
        """The study's, in its storage."""
        return f"{self.card.name}-{self.arm.suite.name}-{self.arm.method.name}"

    @property
    def sweep(self) -> Sweep:
        """What the card says."""
        return self.card.content

    @property
    def objective(self) -> Objective:
        """What is maximised."""
        return OBJECTIVES[self.sweep.objective]

    def settings(self, store: Store) -> dict[str, Any]:
        """All that a value depends on beside its trial's own parameters: what makes it the same study."""
        jobs = self._own_jobs
        return {
            "space": resolved(self.sweep.space),
            "objective": self.sweep.objective,
            "tau_d": self.tau_d,
            "jobs": {job.kind: resolved(job.config) for job in reversed(jobs)},
            "stages": {job.kind: job.stage.version for job in jobs},
            "data": {
                f"{data_of(job).name}/{split}": fingerprint[:12]
                for job in jobs
                for split, fingerprint in (store.fingerprints(job) or {}).items()
            },
        }

    @property
    def example(self) -> Params:
        """Some setting of the space."""
        space = self.sweep.space
        return space.settled({name: axis.first for name, axis in space.axes.items()})

    @cached_property
    def tau_d(self) -> list[float]:
        """The temperatures among which each trial's value is the best; empty where the arm has none."""
        if self.arm.read_at is None or not self.objective.heated:
            return []
        return self.sweep.tau_d or self.probe.tau or TAU_D

    @property
    def own(self) -> Params | None:
        """The suite's own setting, where it lies in the space: the first trial, which the suite may have done."""
        embedding, optimizer = self.arm.embedding, self.arm.training.optimizer
        known: Params = embedding.model_dump() | {"lr": optimizer.lr, "weight_decay": optimizer.weight_decay}
        axes = self.sweep.space.axes
        params = {name: known[name] for name in axes}
        inside = all(value is not None and value in axes[name] for name, value in params.items())
        found = self.sweep.space.settled(params) if inside else {}
        return params if inside and all(found[name] == known[name] for name in found) else None

    @property
    def representation(self) -> str:
        """What stands for the arm in a job's rows: h, or what its embedding's output is called."""
        return self.arm.parts.representation

    @property
    def labelled(self) -> bool:
        """Whether its data can be probed."""
        return self.arm.evaluated.card.labelled

    def jobs(self, params: Params, *, seed: int = TRIAL_SEED) -> list[Job]:
        """Pretraining with a trial's settings, and what its value is read from."""
        return self.objective.jobs(self, params, seed=seed)

    @property
    def _own_jobs(self) -> list[Job]:
        """Of an example, without the baseline that an embedding stands on which is never trained."""
        return [job for job in self.jobs(self.example) if job.cell.embedding == self.arm.label]

    def ahead(self, trials: int) -> list[list[Job]]:
        """Jobs like those of so many more trials and of the seeds that confirm the best.

        Trials share a baseline, unless the recipe is swept.
        """
        whole = self.jobs(self.example)
        anew = whole if {"lr", "weight_decay"} & self.sweep.space.axes.keys() else self._own_jobs
        return [anew] * trials + [whole] * len(SEEDS)

    def confirmation(self, params: Params) -> list[tuple[int, list[Job]]]:
        """Pretraining and probe with the chosen settings, by seed."""
        arm = self.with_params(params, probe=self.probe)
        return [(seed, list(arm.jobs(seed))) for seed in SEEDS]

    @property
    def where(self) -> str:
        """Backbone and data set of the arm."""
        return f"{self.arm.backbone}, {self.arm.data_label}"

    @property
    def knn(self) -> KnnSettings:
        """As the suite has it, else by default."""
        return self.arm.suite.asked(Knn.name) or KnnSettings()

    @property
    def probe(self) -> ProbeSettings:
        """At all labels, with the sweep's temperatures. Raises UserError where the suite's settings forbid these."""
        settings = self.arm.suite.asked(Probe.name) or ProbeSettings()
        changes = {"fractions": [1.0], "tau": self.sweep.tau_d or settings.tau or TAU_D}
        try:
            return ProbeSettings.model_validate(settings.model_dump() | changes)
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise UserError(f"evaluate.probe of the suite, with the sweep's tau {changes['tau']}: {said}") from None

    def with_params(self, params: Params, **evaluate: Model) -> Arm:
        """The arm with a trial's settings, and with these evaluations alone: their names in a suite, and settings."""
        arm = self.arm
        embedding = arm.asked.model_copy(update={name: params[name] for name in (*HEATED, "L", "V") if name in params})
        recipe: Params = {name: params[name] for name in ("lr", "weight_decay") if name in params}
        grid = arm.grid.model_copy(update={"pretrain": arm.grid.pretrain.model_copy(update=recipe)})
        suite = arm.suite.evaluated_by(**evaluate)
        return replace(arm, asked=embedding, grid=grid, suite=suite)


@dataclass(frozen=True)
class Subjects:
    """A sweep of a suite: a study for each of its methods."""

    card: Card[Sweep]
    plan: Plan
    each: list[Subject]
    trials: int  # of each study, in all

    @property
    def ahead(self) -> list[Job]:
        """Jobs like all those that it is made of."""
        return [job for subject in self.each for trial in subject.ahead(self.trials) for job in trial]

    @property
    def serial(self) -> bool:
        """Whether a trial's settings, or its end, hang on the trials before."""
        return self.card.content.sampler in ("tpe", "qmc") or self.card.content.pruner is not None

    @property
    def name(self) -> str:
        """Of its files and tables."""
        return f"{self.card.name}-{self.plan.suite.name}"


def read(
    name: str,
    *,
    suite: Path | None,
    assignments: Sequence[str],
    data: Path,
    trials: int | None,
    methods: Sequence[str] | None,
) -> Subjects:
    """The sweep of a name on its own suite, or on another. Raises UserError with all mistakes of a file."""
    library = Library(Path() if suite is None else suite_file(suite).parent)
    try:
        card = sweep_card(library, name)
    except KeyError:
        raise UserError(f"unknown sweep {name!r}{did_you_mean(name, library.names('sweep'))}") from None
    changes = [*card.content.set, *assignments] if suite is None else assignments
    try:
        plan = read_plan(suite or Path(card.content.suite), changes, data=data)
    except UserError as error:
        raise UserError([_of_card(card, problem) for problem in error.problems]) from None
    return subjects(card, plan, trials=trials, methods=methods)


def _of_card(card: Card[Sweep], problem: str) -> str:
    """A problem with one of the card's own changes to its suite names the card."""
    own = next((one for one in card.content.set if problem.startswith(f"--set {one}:")), None)
    return problem if own is None else at(card.document, ("set",), problem.removeprefix("--"))


def of_suite(plan: Plan) -> list[Subjects]:
    """The sweeps that a suite contains."""
    return [
        subjects(sweep_card(plan.library, use.use), plan, trials=use.trials, methods=use.methods)
        for use in plan.suite.sweeps
    ]


def subjects(card: Card[Sweep], plan: Plan, *, trials: int | None, methods: Sequence[str] | None) -> Subjects:
    """A sweep on a suite. Raises UserError where the suite has not what the sweep is to change."""
    found: list[Subject] = []
    problems: list[str] = []
    for name in dict.fromkeys(methods or card.content.methods):
        arms = [arm for arm in plan.arms if arm.method.name == name]
        if not arms:
            known = {arm.method.name for arm in plan.arms}
            text = f"{name!r} is no method of suite {plan.suite.name!r}{did_you_mean(name, sorted(known))}"
            problems.append(f"--methods: {text}" if methods else at(card.document, ("methods",), text))
            continue
        wanted = card.content.embedding
        named = [arm for arm in arms if arm.label == wanted] or [arm for arm in arms if arm.asked.type == wanted]
        if not named:
            labels = list(dict.fromkeys(arm.label for arm in arms))
            text = f"{name} has no embedding {wanted!r} in suite {plan.suite.name!r}{did_you_mean(wanted, labels)}"
            problems.append(at(card.document, ("embedding",), text))
            continue
        problems += [at(card.document, place, text) for place, text in _misfits(card.content, named[0])]
        found.append(Subject(card, named[0], others=sum(arm.label == named[0].label for arm in named[1:])))
    if problems:
        raise UserError(list(dict.fromkeys(problems)))
    return Subjects(card, plan, found, trials or card.content.trials)


def _misfits(sweep: Sweep, arm: Arm) -> Iterator[tuple[tuple[str, ...], str]]:
    """(place in the card, what is wrong) for sweeping an arm."""
    who = f"{arm.method.name} with {arm.label!r}"
    if arm.method.content.external:
        yield ("methods",), f"{arm.method.name} trains nothing: there is nothing to sweep"
        return
    names = sweep.space.names
    for name in names:
        if name in HEATED and not arm.card.temperature:
            yield ("space", name), f"{who} has no temperature, so no {name}"
        if name in ("L", "V") and name not in arm.card.parameters:
            place = name if name in sweep.space.axes else "product"
            yield ("space", place), f"{who} has no simplices, so no {name}"
    if sweep.tau_d and arm.read_at is None:
        yield ("tau_d",), f"{who} has no temperature, so no tau_d"
    if not arm.card.trained and "tau_target" in names:
        yield ("space", "tau_target"), f"{who} trains no branch, so no tau_target"
    objective = OBJECTIVES[sweep.objective]
    for text in objective.misfits(arm):
        yield ("objective",), f"{who} {text}"
    if {"L", "V"} <= arm.card.parameters.keys():
        yield from _too_wide(sweep, arm.embedding)
    if objective.labelled and not arm.evaluated.card.labelled:
        others = " and ".join(name for name, other in OBJECTIVES.items() if not other.labelled)
        text = f"{arm.evaluated.name!r} has no labels, which {sweep.objective} needs; {others} needs none"
        yield ("objective",), text
    if objective.labelled and arm.evaluated.card.multi_label:
        yield ("objective",), f"{arm.evaluated.name!r} has several classes an image; {sweep.objective} counts one"
    if sweep.pruner and objective.labelled and arm.dataset.card.classes is None:
        yield ("pruner",), f"{arm.dataset.name!r} has no labels, which the pruner reads"


def _too_wide(sweep: Sweep, embedding: EmbeddingSettings) -> Iterator[tuple[tuple[str, ...], str]]:
    axes = sweep.space.axes
    width = sweep.space.product
    if width is None:
        sizes = [axes[name].ends[1] if name in axes else getattr(embedding, name) for name in ("L", "V")]
        width = int(sizes[0] * sizes[1])
    if width > MAX_WIDTH and ("L" in axes or "V" in axes):
        yield ("space", "L" if "L" in axes else "V"), f"L*V = {width} is above the limit of {MAX_WIDTH}"
