"""Data sets as jobs and digests know them."""

from sem_bench.config.fields import Classes, ClassName, Fraction, Members, Model, Name, Score, SplitName
from sem_bench.data.card import Normalisation
from sem_bench.data.sources import AnySource


class Data(Model):
    """What matters of a data set to whoever reads it."""

    name: Name
    source: AnySource
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
    val: int | None = None  # images that judge the candidates of a probe; None: a hold-out of train does, or folds
    classes: Classes
    superclasses: dict[ClassName, Members] = {}
    multi_label: Score | None = None  # what probes are judged by where an image may have several classes

    @property
    def counts(self) -> dict[SplitName, int]:
        """Train, test, and val where it is read."""
        val: dict[SplitName, int] = {} if self.val is None else {"val": self.val}
        return {"train": self.train, **val, "test": self.test}

    def used(self, split: SplitName) -> int:
        """How many of a split's images are used."""
        limits: dict[SplitName, int | None] = {"train": self.limit, "test": self.test_limit}
        return limits.get(split) or self.counts[split]


class ShiftedData(Data):
    """A test set of another distribution: some of the base set's classes, prepared as the base set."""

    test: int
    test_limit: int | None = None  # use so many of its images
    classes: Classes
    left_out: list[ClassName] = []  # more classes of the set, which the base set lacks: their images are not used
    reference_errors: dict[Name, Fraction] = {}

    @property
    def counts(self) -> dict[SplitName, int]:
        """Test alone."""
        return {"test": self.test}

    def used(self, split: SplitName) -> int:
        """How many of the images are used."""
        return self.test_limit or self.test
