"""Suites: which arms, how to pretrain, what to evaluate."""

from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sem_bench.config.fields import (
    BackboneName,
    BatchSize,
    Count,
    Model,
    Name,
    Names,
    NonNegative,
    Positive,
    Seeds,
    defaults_for_nothing,
    unique,
)
from sem_bench.evaluations.augmented import AugmentedSettings
from sem_bench.evaluations.entropy import EntropySettings
from sem_bench.evaluations.expressivity import ExpressivitySettings
from sem_bench.evaluations.knn import KnnSettings
from sem_bench.evaluations.probe import ProbeSettings
from sem_bench.evaluations.relevance import RelevanceSettings
from sem_bench.evaluations.robustness import RobustnessSettings
from sem_bench.evaluations.transfer import TransferSettings
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.training.card import IpIrmSettings


def _typed(embeddings: object) -> object:
    """A label that is itself an embedding type needs no `type`; an empty value stands for what is left out."""
    if not isinstance(embeddings, dict):
        return embeddings
    filled = {label: {} if settings is None else settings for label, settings in embeddings.items()}
    return {
        label: {"type": label} | {key: value for key, value in settings.items() if value is not None}
        if isinstance(settings, dict)
        else settings
        for label, settings in filled.items()
    }


class Images(Model):
    """How many images to use, of each class in proportion; a larger choice holds a smaller one."""

    pretrain: Annotated[int, Field(ge=1)] | None = None  # None: as `train` where both come from one data set
    train: Annotated[int, Field(ge=1)] | None = None  # labelled
    test: Annotated[int, Field(ge=1)] | None = None


class Changes(Model):
    """What to change in a recipe for every method alike."""

    recipe: Name | None = None
    epochs: Count | None = None
    batch_size: BatchSize | None = None
    accumulate: Annotated[int, Field(ge=1)] | None = None
    lr: Positive | None = None
    weight_decay: NonNegative | None = None


class Pretrain(Changes):
    """Which recipe, and what to change in it."""

    recipe: Name


class Grid(Model):
    """The arms: every method with every embedding on every backbone and data set."""

    methods: Names
    embeddings: Annotated[dict[Name, EmbeddingSettings], Field(min_length=1), BeforeValidator(_typed)]
    backbones: Annotated[list[BackboneName], Field(min_length=1), AfterValidator(unique)]
    datasets: Names
    ip: Annotated[IpIrmSettings | None, BeforeValidator(defaults_for_nothing)] = None  # IP-IRM around each method
    checkpoint: Annotated[str | None, Field(exclude=True, min_length=1)] = (
        None  # method external: its weights, from the data folder
    )
    prefix: str | None = None  # what the keys of its encoder begin with; None: found out
    evaluate_on: Name | None = None  # another data set than that of pretraining
    images: Annotated[Images, BeforeValidator(defaults_for_nothing)] = Images()
    pretrain: Annotated[Changes, BeforeValidator(defaults_for_nothing)] = (
        Changes()
    )  # these arms' own, before the suite's


class Evaluate(Model):
    """Which stages follow pretraining."""

    probe: Annotated[ProbeSettings | None, BeforeValidator(defaults_for_nothing)] = None
    knn: Annotated[KnnSettings | None, BeforeValidator(defaults_for_nothing)] = None
    augmented: Annotated[AugmentedSettings | None, BeforeValidator(defaults_for_nothing)] = None
    robustness: Annotated[RobustnessSettings | None, BeforeValidator(defaults_for_nothing)] = None
    transfer: TransferSettings | None = None
    relevance: Annotated[RelevanceSettings | None, BeforeValidator(defaults_for_nothing)] = None
    entropy: Annotated[EntropySettings | None, BeforeValidator(defaults_for_nothing)] = None
    expressivity: Annotated[ExpressivitySettings | None, BeforeValidator(defaults_for_nothing)] = None

    @model_validator(mode="after")
    def _heads(self) -> Self:
        for name in ("robustness", "relevance"):
            if getattr(self, name) is not None and self.probe is None:
                raise ValueError(f"{name} reads the heads of the probe: add `probe`")
        if self.relevance is not None and self.probe is not None and 1.0 not in self.probe.fractions:
            raise ValueError("relevance reads the head at all labels: add 1.0 to the probe's fractions")
        return self


class SweepUse(Model):
    """A sweep that a suite contains."""

    use: Name
    trials: Annotated[int, Field(ge=1)] | None = None  # None: as the sweep says
    methods: Names | None = None


class Suite(Model):
    """A suite file, after its profile."""

    name: Name
    profile: Name | None = None
    seeds: Seeds
    grid: Annotated[list[Grid], Field(min_length=1), BeforeValidator(lambda v: [v] if isinstance(v, dict) else v)]
    pretrain: Pretrain
    evaluate: Evaluate = Evaluate()
    sweeps: list[SweepUse] = []  # done last

    def pretraining(self, grid: Grid) -> Pretrain:
        """The suite's choice of recipe and changes, with those of a grid's own."""
        return self.pretrain.model_copy(update=grid.pretrain.model_dump(exclude_none=True))
