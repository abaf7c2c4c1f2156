"""Suites: which arms, how to pretrain, what to evaluate."""

from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sem_bench.config.embeddings import Embedding
from sem_bench.config.fields import (
    EMBEDDINGS,
    BackboneName,
    BatchSize,
    Count,
    Fractions,
    Model,
    Name,
    Names,
    NonNegative,
    Penalties,
    Positive,
    Seeds,
    Temperature,
    Temperatures,
    unique,
)
from sem_bench.config.methods import IpIrm
from sem_bench.config.sweeps import SweepUse


def _typed(embeddings: object) -> object:
    """A label that is itself an embedding type needs no `type`; an empty value stands for {}."""
    if not isinstance(embeddings, dict):
        return embeddings
    filled = {label: {} if settings is None else settings for label, settings in embeddings.items()}
    return {
        label: {"type": label} | settings if isinstance(settings, dict) and label in EMBEDDINGS else settings
        for label, settings in filled.items()
    }


def _settings(value: object) -> object:
    """What is named without settings takes its defaults."""
    return {} if value is None else value


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
    embeddings: Annotated[dict[Name, Embedding], Field(min_length=1), BeforeValidator(_typed)]
    backbones: Annotated[list[BackboneName], Field(min_length=1), AfterValidator(unique)]
    datasets: Names
    ip: Annotated[IpIrm | None, BeforeValidator(_settings)] = None  # IP-IRM around each method
    checkpoint: Annotated[str | None, Field(exclude=True, min_length=1)] = (
        None  # method external: its weights, from the data folder
    )
    prefix: str | None = None  # what the keys of its encoder begin with; None: found out
    evaluate_on: Name | None = None  # another data set than that of pretraining
    images: Annotated[Images, BeforeValidator(_settings)] = Images()
    pretrain: Annotated[Changes, BeforeValidator(_settings)] = Changes()  # these arms' own, before the suite's


class ProbeSettings(Model):
    """Linear probes on frozen features, docs/protocol.md. `tau` is the grid of tau_d, `l2` its partner."""

    fractions: Fractions = [1.0, 0.01]
    tau: Temperatures = [0.1, 0.3, 1.0, 3.0, 10.0]
    l2: Penalties = [1e-7, 2e-6, 3e-5, 5e-4, 1e-2]

    @model_validator(mode="after")
    def _equal_search(self) -> Self:
        if len(self.tau) > 1 and len(self.l2) < 2:
            raise ValueError("l2 needs two values, or arms without a temperature could not search as many")
        return self


class KnnSettings(Model):
    """Weighted nearest neighbours, docs/protocol.md."""

    k: Annotated[int, Field(ge=1)] = 20
    temperature: Temperature = 0.1


class RobustnessSettings(Model):
    """The probe's head on shifted test sets: `shifts` are keys of the data set's card."""

    shifts: Names = ["v2", "r", "a", "c"]
    images: Annotated[int, Field(ge=1)] | None = None  # of each corruption at each severity; None: all


class TransferSettings(Model):
    """A probe on other data sets, on all their labels; grids of the probe's settings."""

    datasets: Names


class RelevanceSettings(Model):
    """Semantic relevance of the probe's head at all labels, for the top_k features of each class."""

    top_k: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1), AfterValidator(unique)] = [1, 2, 5, 10]
    permutations: Annotated[int, Field(ge=1, le=10**5)] = 200  # for the null


class EntropySettings(Model):
    """Entropy of the simplices on the training images; embeddings with a temperature only."""

    bins: Annotated[int, Field(ge=2, le=1000)] = 20


class ExpressivitySettings(Model):
    """Accuracy on train and test against the number of labels, of h and of SEM at each tau."""

    methods: Names | None = None  # None: all
    tau: Temperatures = [0.01, 0.1, 1.0, 10.0]
    fractions: Fractions = [0.01, 0.1, 1.0]


class AugmentedSettings(Model):
    """The original code's linear evaluation, beside the probe: SGD on augmented images; tau_d as the probe's."""

    epochs: Annotated[int, Field(ge=1, le=10**5)] = 100
    batch_size: BatchSize = 256
    lr: Penalties = [0.1, 1.0, 10.0]  # for each tau_d; features have a mean square length of 1


class Evaluate(Model):
    """Which stages follow pretraining."""

    probe: Annotated[ProbeSettings | None, BeforeValidator(_settings)] = None
    knn: Annotated[KnnSettings | None, BeforeValidator(_settings)] = None
    augmented: Annotated[AugmentedSettings | None, BeforeValidator(_settings)] = None
    robustness: Annotated[RobustnessSettings | None, BeforeValidator(_settings)] = None
    transfer: TransferSettings | None = None
    relevance: Annotated[RelevanceSettings | None, BeforeValidator(_settings)] = None
    entropy: Annotated[EntropySettings | None, BeforeValidator(_settings)] = None
    expressivity: Annotated[ExpressivitySettings | None, BeforeValidator(_settings)] = None

    @model_validator(mode="after")
    def _heads(self) -> Self:
        for name in ("robustness", "relevance"):
            if getattr(self, name) is not None and self.probe is None:
                raise ValueError(f"{name} reads the heads of the probe: add `probe`")
        if self.relevance is not None and self.probe is not None and 1.0 not in self.probe.fractions:
            raise ValueError("relevance reads the head at all labels: add 1.0 to the probe's fractions")
        return self


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
