"""Arms: one row of the comparison each, and the jobs that it takes.

Here the suite, the method's recipe and the data card become the resolved configuration of each job.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sem_bench.config.cards import Card
from sem_bench.config.fields import Score
from sem_bench.data.dataset import DataSet, Place
from sem_bench.data.described import LabelledData, ShiftedData, TrainingData
from sem_bench.evaluation import AnyEvaluation, Planned, Search, Stage, search
from sem_bench.evaluations.registry import builtin
from sem_bench.nets.card import EmbeddingCard, EmbeddingSettings, embedding_card
from sem_bench.nets.encoder_parts import EncoderParts, encoder_parts, own_code
from sem_bench.report.row import BASELINE, FLOOR
from sem_bench.runs.job import Cell, Job
from sem_bench.runs.suite import Changes, Grid, Images, Pretrain, Suite
from sem_bench.training.card import MethodCard, Recipe, Training
from sem_bench.training.job import PRETRAIN, MethodRef, PretrainJob

P = ParamSpec("P")
R = TypeVar("R")


def _once(method: Callable[Concatenate["Arm", P], R]) -> Callable[Concatenate["Arm", P], R]:
    """A method of an arm that looks for each answer once, and not for every seed anew: data may have many classes."""

    @wraps(method)
    def kept(arm: "Arm", /, *arguments: P.args, **keywords: P.kwargs) -> R:
        answers: dict[object, R] = vars(arm).setdefault(f"answers of {method.__name__}", {})
        asked = (*arguments, *keywords.items())
        if asked not in answers:
            answers[asked] = method(arm, *arguments, **keywords)
        return answers[asked]

    return kept


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One row of the comparison."""

    suite: Suite
    method: Card[MethodCard]
    label: str
    asked: EmbeddingSettings
    backbone: str
    dataset: DataSet  # of pretraining
    evaluated: DataSet  # often the same
    grid: Grid
    weights: Path | None = None  # the checkpoint of an external method
    weights_digest: str | None = None  # of its bytes
    others: Mapping[str, DataSet] = field(default_factory=dict)  # all data sets of the suite, by name
    evaluations: Mapping[str, AnyEvaluation] = field(default_factory=builtin)  # in their order
    below: "Arm | None" = None  # the random backbone below another arm: it stands in the same table

    def floor(self, nothing: Card[MethodCard]) -> "Arm":
        """The random backbone of its comparison: its network as nobody trained it, with the method that trains nothing.

        It has the evaluations of the comparison alone, and all arms with this network and data share its jobs.
        """
        return replace(
            self,
            method=nothing,
            label=BASELINE,
            asked=EmbeddingSettings(type=BASELINE),
            grid=self.grid.model_copy(update={"ip": None, "prefix": None, "input": "rgb", "pretrain": Changes()}),
            weights=None,
            weights_digest=None,
            evaluations={name: one for name, one in self.evaluations.items() if one.table.headline},
            below=self,
        )

    def jobs(self, seed: int) -> Iterator[Job]:
        """Pretraining, then what follows it."""
        if self.card.trained:
            yield from self._own_jobs(seed, {})
            return
        plain = (label for label, embedding in self.grid.embeddings.items() if embedding.type == BASELINE)
        without = replace(self, label=next(plain, f"baseline of {self.label}"), asked=EmbeddingSettings(type=BASELINE))
        baseline = next(without._own_jobs(seed, {}))
        yield baseline
        for job in self._own_jobs(seed, {"pretrain": baseline.digest}):
            yield replace(job, cell=replace(job.cell, baseline=baseline.digest))

    def _own_jobs(self, seed: int, baseline: dict[str, str]) -> Iterator[Job]:
        """Without the pretraining that an embedding stands on which is never trained."""
        pretrain = self._job(
            PRETRAIN, Planned(self._pretraining(seed), place=self.dataset.place, inputs=baseline), seed
        )
        yield pretrain
        before: dict[str, list[Job]] = {}
        for evaluation in self.evaluations.values():
            asked = self.asked_of(evaluation.name)
            if asked is None or self.method.name not in (getattr(asked, "methods", None) or [self.method.name]):
                continue
            built_on = {name: before.get(name, []) for name in evaluation.reads}
            if not all(built_on.values()):  # what it reads is for other methods
                continue
            before[evaluation.name] = [
                self._job(evaluation, replace(one, inputs={"pretrain": pretrain.digest, **one.inputs}), seed)
                for one in evaluation.jobs(asked, self, seed, built_on)
            ]
            yield from before[evaluation.name]

    @cached_property
    def _as_pretrained(self) -> dict[str, object]:
        """How another data set's images come to this network: in the size and with the constants that it knows."""
        card = self.dataset.card
        resize = None if card.resize == card.image_size else card.resize
        return {"normalise": card.normalise, "image_size": card.image_size, "resize": resize, "reduce": None}

    @property
    def _recipe(self) -> Recipe:
        return self.method.content.recipes[self._pretrain.recipe]

    @cached_property
    def _pretrain(self) -> Pretrain:
        """The recipe's name and the suite's changes to it; an external method has one recipe, and nothing changes."""
        if self.method.content.external:
            return Pretrain(recipe=next(iter(self.method.content.recipes)))
        return self.suite.pretraining(self.grid)

    @cached_property
    def training(self) -> Training:
        """The recipe with the suite's changes."""
        changes = self._pretrain.model_dump(exclude={"recipe"}, exclude_none=True)
        values = self._recipe.model_dump(exclude={"source", "sem"})
        values["optimizer"] |= {key: changes.pop(key) for key in ("lr", "weight_decay") if key in changes}
        return Training.model_validate(values | changes)

    @cached_property
    def embedding(self) -> EmbeddingSettings:
        """The embedding with its card's defaults and its temperatures: from the suite, else from the recipe.

        tau_target comes at last from tau.
        """
        asked = self.card.completed(self.asked)
        if not self.card.temperature:
            return asked
        recipe = self._recipe.sem
        tau = asked.tau or recipe.tau
        if not self.card.trained:
            return asked.model_copy(update={"tau": tau})
        open_target = recipe.tau_target if asked.tau is None else None
        return asked.model_copy(update={"tau": tau, "tau_target": asked.tau_target or open_target or tau})

    @cached_property
    def card(self) -> EmbeddingCard:
        """What the card of its embedding says."""
        return embedding_card(self.dataset.library, self.asked.type).content

    @cached_property
    def parts(self) -> EncoderParts:
        """What its encoder is built of."""
        return encoder_parts(self.dataset.library, self.embedding, self.backbone)

    def _pretraining(self, seed: int) -> PretrainJob:
        return PretrainJob(
            method=MethodRef(
                name=self.method.name,
                class_name=self.method.content.class_name,
                code=self.method.code_digest,
                labels=self.method.content.labels,
                contrasts=self.method.content.contrasts if self.training.mixup is not None else None,
            ),
            training=self.training,
            ip=self.grid.ip,
            weights=self.weights_digest,
            prefix=self.grid.prefix,
            input=self.grid.input,
            embedding=self.embedding,
            backbone=self.backbone,
            **own_code(self.dataset.library, self.embedding.type, self.backbone),
            data=self.pretrained_on()[0],
            seed=seed,
        )

    # --- what evaluations may ask (sem_bench.evaluation.Arm) ---

    @property
    def width(self) -> int | None:
        """How many numbers the embedding gives; None where it gives h, or its card does not say."""
        return self.parts.embedding.out_dim

    @property
    def read_at(self) -> float | None:
        """The temperature of pretraining, where what is read depends on one."""
        return self.embedding.tau if self.card.temperature is True else None

    @property
    def simplices(self) -> bool:
        """Whether the embedding's output is a number of probability vectors."""
        return self.embedding.heated and self.parts.groups is not None

    def asked_of(self, evaluation: str) -> Any:
        """The suite's settings of an evaluation; None where it does not ask for it."""
        return self.suite.asked(evaluation)

    @_once
    def labelled(self, *, superclasses: bool = True, val: bool = False) -> LabelledData:
        """The data of evaluation, as the network knows them; with the `val` split for what chooses on it."""
        left_out: dict[str, object] = {} if superclasses else {"superclasses": {}}
        return self._labelled.model_copy(update=left_out if val else left_out | {"val": None})

    @_once
    def images(self) -> LabelledData | TrainingData:
        """The same for what reads no labels: where there are none, the training images alone."""
        if self.evaluated.card.labelled:
            return self.labelled(superclasses=False)
        return self.evaluated.unlabelled(self._limits.train).model_copy(update=self._constants)

    @_once
    def pretrained_on(self) -> tuple[TrainingData, Place]:
        """The data of pretraining, and where they are."""
        return self.dataset.training(self._limits.pretrain), self.dataset.place

    @_once
    def subset(self, fraction: float) -> str | None:
        """The digest of the list of labelled images that the data card names for a fraction; None: they are drawn."""
        return self.evaluated.subset(fraction) if self._labelled.limit is None else None

    @_once
    def shifted(self, key: str) -> tuple[ShiftedData, Place]:
        """A shifted test set, by its key in the data card, with the constants of pretraining."""
        data, place = self.evaluated.shift(key)
        return data.model_copy(update={"normalise": self.dataset.card.normalise}), place

    @_once
    def other(self, dataset: str) -> tuple[LabelledData, Score, Place]:
        """Another labelled data set, as this network knows images; what its card measures; where it is."""
        other = self.others[dataset]
        data = other.labelled().model_copy(update=self._as_pretrained | {"superclasses": {}})
        return data, other.card.score, other.place

    def search(self, tau: Sequence[float] | None, grid: Sequence[float]) -> Search:
        """Both kinds of representation get the same number of candidates (docs/protocol.md)."""
        return search(self.read_at, tau, grid)

    def layers(self) -> list["Arm"]:
        """Itself, or the arms that the baseline is for, as far as their embedding is ours, heated and trained."""
        arms = self._compared() if self.embedding.type == BASELINE else [self]
        return [arm for arm in arms if arm.read_at is not None and arm.card.trained and not arm.parts.embedding.own]

    def _compared(self) -> Iterator["Arm"]:
        """The arms of the suite, of any grid, that stand beside this one in the tables."""
        for grid in self.suite.grid:
            named = self.method.name in grid.methods and self.backbone in grid.backbones
            sets = self.dataset.name in grid.datasets
            if named and sets and (grid.evaluate_on or self.dataset.name) == self.evaluated.name:
                arms = (replace(self, grid=grid, label=label, asked=asked) for label, asked in grid.embeddings.items())
                same = grid.ip == self.grid.ip
                yield from (arm for arm in arms if same and arm.comparison == self.comparison)

    @cached_property
    def _limits(self) -> Images:
        """How many images each stage uses."""
        same = self.evaluated.name == self.dataset.name
        asked = self.grid.images
        return asked if not same else asked.model_copy(update={"pretrain": asked.pretrain or asked.train})

    @cached_property
    def _labelled(self) -> LabelledData:
        return self.evaluated.labelled(self._limits.train, self._limits.test).model_copy(update=self._constants)

    @property
    def _constants(self) -> dict[str, object]:
        """What the network was trained on: its input's constants are a part of it."""
        return {"normalise": self.dataset.card.normalise}

    @cached_property
    def data_label(self) -> str:
        """The data in a word or two: which set, evaluated on which, and how many images where not all are used."""
        limits, text = self._limits, self.dataset.name
        if self.evaluated.name != self.dataset.name:
            text += f" > {self.evaluated.name}"
        used = {"pretrain": limits.pretrain, "train": limits.train, "test": limits.test}
        if limits.pretrain == limits.train:
            del used["pretrain"]
        said = ", ".join(f"{count} {name}" for name, count in used.items() if count is not None)
        return f"{text} ({said})" if said else text

    @cached_property
    def comparison(self) -> tuple[str, str, str, int]:
        """What the arms of one table of comparison share."""
        return self.data_label, self.backbone, self._pretrain.recipe, self.training.epochs

    @cached_property
    def _slug(self) -> str:
        """How the names of its jobs begin."""
        seen = re.sub(r"[^A-Za-z0-9._]+", "-", self.data_label).strip("-")
        method = FLOOR if self.below else self.method.name + ("" if self.grid.ip is None else "-ip")
        built = f"{_short(self.embedding, self.card)}-{self.backbone.replace('/', '-')}"
        return f"{method}-{built}-{seen}-e{self.training.epochs}"

    @_once
    def cell(self, seed: int) -> Cell:
        """Where its jobs of a seed stand in the tables."""
        shown = self.below or self
        return Cell(
            method=FLOOR if self.below else self.method.name,
            embedding=self.label,
            embedding_config=self.embedding.model_dump(exclude_none=True),
            ip=None if self.grid.ip is None else self.grid.ip.model_dump(),
            backbone=self.backbone,
            dataset=self.data_label,
            recipe=shown._pretrain.recipe,
            epochs=shown.training.epochs,
            seed=seed,
            external=self.method.content.external and self.below is None,  # its weights come from the seed
        )

    def _job(self, stage: Stage[Any], planned: Planned[Any], seed: int) -> Job:
        return Job(
            stage=stage,
            slug=f"{self._slug}-s{seed}{planned.suffix}",
            config=planned.job,
            inputs=dict(planned.inputs),
            cell=self.cell(seed),
            method_code=self.method.code,
            place=planned.place or self.evaluated.place,
            parts=self.parts,
            weights=self.weights,
        )


def _short(embedding: EmbeddingSettings, card: EmbeddingCard) -> str:
    """Type, numbers of vectors and of their elements, other parameters, temperatures: sem64x8-t1, vq-codes64."""
    text = embedding.type + "x".join(map(str, card.numbers(embedding.parameters) or []))
    for name, value in embedding.parameters.items():
        if name not in (card.groups or []):
            text += re.sub(
                r"[^A-Za-z0-9._+-]+", "-", f"-{name}{value:g}" if type(value) is float else f"-{name}{value}"
            )
    if embedding.tau is not None:
        text += f"-t{embedding.tau:g}"
    if embedding.tau_target not in (None, embedding.tau):
        text += f"-tt{embedding.tau_target:g}"
    return text
