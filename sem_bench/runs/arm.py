"""Arms: one row of the comparison each, and the jobs that it takes.

Here the suite, the method's recipe and the data card become the resolved configuration of each job.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from sem_bench.config.cards import Card
from sem_bench.config.fields import Model
from sem_bench.data.dataset import DataSet, Place
from sem_bench.data.described import LabelledData
from sem_bench.evaluations.augmented import AugmentedJob
from sem_bench.evaluations.entropy import EntropyJob
from sem_bench.evaluations.expressivity import ExpressivityJob
from sem_bench.evaluations.knn import KnnJob
from sem_bench.evaluations.probe import ProbeJob, ProbeSettings
from sem_bench.evaluations.relevance import RelevanceJob
from sem_bench.evaluations.robustness import RobustnessJob
from sem_bench.evaluations.transfer import TransferJob
from sem_bench.nets.card import BASELINE, EmbeddingCard, EmbeddingSettings, embedding_card
from sem_bench.nets.parts import EncoderParts, encoder_parts, own_code
from sem_bench.runs.job import Cell, Job
from sem_bench.runs.suite import Grid, Images, Pretrain, Suite
from sem_bench.training.card import MethodCard, Recipe, Training
from sem_bench.training.job import MethodRef, PretrainJob


@dataclass(frozen=True)
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
    transfer: Sequence[DataSet] = ()  # the data sets to probe on

    def jobs(self, seed: int) -> Iterator[Job]:
        """Pretraining, then what follows it."""
        if self.card.trained:
            yield from self._own_jobs(seed, {})
            return
        plain = (label for label, embedding in self.grid.embeddings.items() if embedding.type == BASELINE)
        without = replace(self, label=next(plain, f"baseline of {self.label}"), asked=EmbeddingSettings(type=BASELINE))
        baseline = without._job("pretrain", seed, without._pretraining(seed), self.dataset.place)
        yield baseline
        for job in self._own_jobs(seed, {"pretrain": baseline.digest}):
            yield replace(job, cell=replace(job.cell, baseline=baseline.digest))

    def _own_jobs(self, seed: int, baseline: dict[str, str]) -> Iterator[Job]:
        """Without the pretraining that an embedding stands on which is never trained."""
        pretrain = self._job("pretrain", seed, self._pretraining(seed), self.dataset.place, baseline)
        yield pretrain
        inputs, probes = {"pretrain": pretrain.digest}, dict[float, str]()
        if settings := self.suite.evaluate.probe:
            for fraction in settings.fractions:
                probe = self._probe(settings, fraction, seed)
                job = self._job("probe", seed, probe, self.evaluated.place, inputs, suffix=f"-{fraction * 100:g}pc")
                probes[fraction] = job.digest
                yield job
        if knn := self.suite.evaluate.knn:
            data = self._labelled.model_copy(update={"superclasses": {}})  # no vote reads them
            votes = KnnJob(data=data, tau=self.embedding.tau, k=knn.k, temperature=knn.temperature)
            yield self._job("knn", seed, votes, self.evaluated.place, inputs)
        yield from self._readers(seed, inputs, probes)
        yield from self._others(seed, inputs)

    def _readers(self, seed: int, inputs: dict[str, str], probes: dict[float, str]) -> Iterator[Job]:
        """What reads the probe's heads."""
        if robustness := self.suite.evaluate.robustness:
            for shift in robustness.shifts:
                data, place = self.evaluated.shift(shift)
                limit = robustness.images if data.source.kinds else None
                limit = None if limit is None or limit >= data.test else limit
                data = data.model_copy(update={"normalise": self.dataset.card.normalise, "test_limit": limit})
                for fraction, probe in probes.items():
                    job = RobustnessJob(data=data, shift=shift, classes=self._labelled.classes, fraction=fraction)
                    suffix = f"-{shift}-{fraction * 100:g}pc"
                    yield self._job("robustness", seed, job, place, inputs | {"probe": probe}, suffix=suffix)
        if relevance := self.suite.evaluate.relevance:
            graph = RelevanceJob(data=self._labelled, seed=seed, **relevance.model_dump())
            yield self._job("relevance", seed, graph, self.evaluated.place, inputs | {"probe": probes[1.0]})

    def _others(self, seed: int, inputs: dict[str, str]) -> Iterator[Job]:
        """What reads the encoder alone."""
        evaluate = self.suite.evaluate
        probe = evaluate.probe or ProbeSettings()
        for other in self.transfer:
            data = other.labelled().model_copy(update=self._as_pretrained | {"superclasses": {}})
            settings = self._probe(probe, 1.0, seed).model_copy(update={"data": data})
            job = TransferJob(**dict(settings), metric=other.card.metric)
            yield self._job("transfer", seed, job, other.place, inputs, suffix=f"-{other.name}")
        if not (evaluate.entropy or evaluate.augmented or evaluate.expressivity):
            return  # what nobody evaluates may have no labels
        plain = self._labelled.model_copy(update={"superclasses": {}})
        if evaluate.entropy and self.embedding.tau is not None and self.parts.groups is not None:
            entropy = EntropyJob(data=plain, tau=self.embedding.tau, bins=evaluate.entropy.bins)
            yield self._job("entropy", seed, entropy, self.evaluated.place, inputs)
        if augmented := evaluate.augmented:
            heated = self.embedding.heated
            heads = AugmentedJob(
                data=plain,
                tau=probe.tau if heated else [],
                fixed_tau=self.embedding.tau,
                lr=augmented.lr if heated else [],
                fixed_lr=finer(augmented.lr, len(probe.tau) * len(augmented.lr)),
                epochs=augmented.epochs,
                batch_size=augmented.batch_size,
                seed=seed,
            )
            yield self._job("augmented", seed, heads, self.evaluated.place, inputs)
        wanted = evaluate.expressivity
        if wanted and self.method.name in (wanted.methods or [self.method.name]):
            expressivity = ExpressivityJob(
                data=plain,
                fractions=sorted(wanted.fractions),
                tau=wanted.tau if self.embedding.heated else [],
                l2=probe.l2,
                seed=seed,
            )
            yield self._job("expressivity", seed, expressivity, self.evaluated.place, inputs)

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

    @property
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
            ),
            training=self.training,
            ip=self.grid.ip,
            weights=self.weights_digest,
            prefix=self.grid.prefix,
            embedding=self.embedding,
            backbone=self.backbone,
            **own_code(self.dataset.library, self.embedding.type, self.backbone),
            data=self.dataset.training(self._limits.pretrain),
            seed=seed,
        )

    def _probe(self, settings: ProbeSettings, fraction: float, seed: int) -> ProbeJob:
        """Both kinds of representation get the same number of candidates (docs/protocol.md)."""
        heated = self.embedding.heated
        return ProbeJob(
            data=self._labelled,
            fraction=fraction,
            tau=settings.tau if heated else [],
            fixed_tau=self.embedding.tau,
            l2=settings.l2 if heated else [],
            fixed_l2=finer(settings.l2, len(settings.tau) * len(settings.l2)),
            seed=seed,
            subset=self.evaluated.subset(fraction) if self._labelled.limit is None else None,
        )

    @cached_property
    def _limits(self) -> Images:
        """How many images each stage uses."""
        same = self.evaluated.name == self.dataset.name
        asked = self.grid.images
        return asked if not same else asked.model_copy(update={"pretrain": asked.pretrain or asked.train})

    @cached_property
    def _labelled(self) -> LabelledData:
        # What the network was trained on: its input's constants are a part of it.
        normalise = {"normalise": self.dataset.card.normalise}
        return self.evaluated.labelled(self._limits.train, self._limits.test).model_copy(update=normalise)

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

    def _job(
        self,
        kind: str,
        seed: int,
        settings: Model,
        place: Place,
        inputs: dict[str, str] | None = None,
        *,
        suffix: str = "",
    ) -> Job:
        seen = re.sub(r"[^A-Za-z0-9._]+", "-", self.data_label).strip("-")
        method = self.method.name + ("" if self.grid.ip is None else "-ip")
        slug = f"{method}-{_short(self.embedding, self.card)}-{self.backbone.replace('/', '-')}-{seen}"
        slug += f"-e{self.training.epochs}-s{seed}{suffix}"
        cell = Cell(
            method=self.method.name,
            embedding=self.label,
            embedding_config=self.embedding.model_dump(exclude_none=True),
            ip=None if self.grid.ip is None else self.grid.ip.model_dump(),
            backbone=self.backbone,
            dataset=self.data_label,
            recipe=self._pretrain.recipe,
            epochs=self.training.epochs,
            seed=seed,
            external=self.method.content.external,
        )
        return Job(kind, slug, settings, inputs or {}, cell, self.method.code, place, self.parts, self.weights)


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


def finer(grid: Sequence[float], count: int) -> list[float]:
    """`count` values, log-spaced over the range of a grid, so that each search has as many candidates."""
    low, high = min(grid), max(grid)
    if count == 1:
        return [low]
    if low == high:  # no range to fill: the same number of candidates is one value
        return [low]
    return [float(f"{low * (high / low) ** (i / (count - 1)):.6g}") for i in range(count)]
