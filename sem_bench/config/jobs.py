"""The configuration of every kind of job: all that a digest sees."""

from typing import Annotated, Literal

from pydantic import Field

from sem_bench.config.data import Normalisation, Source
from sem_bench.config.embeddings import Embedding
from sem_bench.config.fields import (
    BackboneName,
    BatchSize,
    Classes,
    ClassName,
    Fraction,
    Members,
    Model,
    Name,
    Penalties,
    Positive,
    Seed,
    SplitName,
    Temperature,
)
from sem_bench.config.methods import IpIrm, Training


class MethodRef(Model):
    """A method as a digest sees it: its name, its class and the hash of its code."""

    name: Name
    class_name: Name
    code: str
    labels: bool = False


class Data(Model):
    """What matters of a data set to whoever reads it."""

    name: Name
    source: Source
    code: str  # hash of the source's code; "" where it has none
    image_size: int
    normalise: Normalisation
    resize: int | None = None
    reduce: int | None = None

    @property
    def counts(self) -> dict[SplitName, int]:
        """The splits that are read, and how many images each has."""
        raise NotImplementedError

    def used(self, split: SplitName) -> int:
        """How many of a split's images are used."""
        return self.counts[split]


class TrainingData(Data):
    """A data set as pretraining sees it."""

    train: int
    limit: int | None = None  # use so many of its training images
    by_class: bool = True  # of each class in proportion; False: there are no classes

    @property
    def counts(self) -> dict[SplitName, int]:
        """Train alone."""
        return {"train": self.train}

    def used(self, split: SplitName) -> int:
        """How many of a split's images are used."""
        return self.limit or self.train


class LabelledData(TrainingData):
    """A data set as evaluation sees it."""

    test: int
    test_limit: int | None = None
    classes: Classes
    superclasses: dict[ClassName, Members] = {}

    @property
    def counts(self) -> dict[SplitName, int]:
        """Both splits."""
        return {"train": self.train, "test": self.test}

    def used(self, split: SplitName) -> int:
        """How many of a split's images are used."""
        return self.test_limit or self.test if split == "test" else super().used(split)


class ShiftedData(Data):
    """A test set of another distribution: some of the base set's classes, prepared as the base set."""

    test: int
    test_limit: int | None = None  # use so many of its images
    classes: Classes
    reference_errors: dict[Name, Fraction] = {}

    @property
    def counts(self) -> dict[SplitName, int]:
        """Test alone."""
        return {"test": self.test}

    def used(self, split: SplitName) -> int:
        """How many of the images are used."""
        return self.test_limit or self.test


class PretrainJob(Model):
    """Everything that pretraining depends on."""

    method: MethodRef
    training: Training
    ip: IpIrm | None = None
    weights: str | None = None  # digest of the file that the encoder's weights come from; nothing is trained then
    prefix: str | None = None  # what its keys begin with
    embedding: Embedding
    backbone: BackboneName
    data: TrainingData
    seed: Seed


class ProbeJob(Model):
    """Everything that a probe depends on, beside the pretrained encoder."""

    data: LabelledData
    fraction: Fraction
    tau: list[Temperature]  # empty: the representation has no temperature
    fixed_tau: Temperature | None  # also reported: tau_d at the pretraining tau, without search
    l2: list[Positive]  # for each of `tau`
    fixed_l2: Penalties  # as many candidates for representations without a temperature
    seed: Seed
    subset: str | None = None  # digest of the list that names the labelled images; None: they are drawn


class KnnJob(Model):
    """Everything that the nearest neighbours depend on, beside the pretrained encoder."""

    data: LabelledData
    tau: Temperature | None
    k: int
    temperature: Temperature
    holdout: Seed | None = None  # classify a hold-out of train, drawn with this seed, and not the test images


class RobustnessJob(Model):
    """Everything that a shifted test set's accuracy depends on, beside the encoder and the probe's heads."""

    data: ShiftedData
    shift: Name  # the key in the base set's card
    classes: Classes  # of the base set: what the heads tell apart
    fraction: Fraction  # of the probe

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return [self.shift]


class TransferJob(ProbeJob):
    """Everything that a probe on another data set depends on, beside the pretrained encoder."""

    metric: Literal["top1", "mean_per_class"] = "top1"

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return [self.data.name]


class RelevanceJob(Model):
    """Everything that semantic relevance depends on, beside the probe's heads."""

    data: LabelledData
    top_k: list[int]
    permutations: int
    seed: Seed

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return [str(k) for k in self.top_k]


class EntropyJob(Model):
    """Everything that the simplices' entropy depends on, beside the pretrained encoder."""

    data: LabelledData
    tau: Temperature
    bins: int

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return ["train"]


class ExpressivityJob(Model):
    """Everything that accuracy against labels depends on, beside the pretrained encoder."""

    data: LabelledData
    fractions: list[Fraction]
    tau: list[Temperature]  # empty: the representation has no temperature
    l2: Penalties
    seed: Seed

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return [f"{100 * fraction:g}%" for fraction in self.fractions]


class AugmentedJob(Model):
    """Everything that heads on augmented images depend on, beside the pretrained encoder."""

    data: LabelledData
    tau: list[Temperature]  # empty: the representation has no temperature
    fixed_tau: Temperature | None  # also reported: tau_d at the pretraining tau, without search
    lr: list[Positive]  # for each of `tau`
    fixed_lr: list[Positive]  # as many candidates for representations without a temperature
    epochs: Annotated[int, Field(ge=1)] = 100
    batch_size: BatchSize = 256
    seed: Seed

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return ["100% aug"]
