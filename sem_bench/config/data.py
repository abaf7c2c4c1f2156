"""Data set cards and the sources of images."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from sem_bench.config.fields import (
    CORRUPTIONS,
    PUBLISHED_CORRUPTIONS,
    Channels,
    Classes,
    ClassName,
    FileName,
    Fraction,
    ImageSize,
    Members,
    Model,
    Name,
    Names,
    Percent,
    PositiveChannels,
    Scalar,
    SplitName,
    Where,
    unique,
)
from sem_bench.validation import did_you_mean

Severities = Annotated[list[Annotated[int, Field(ge=1, le=5)]], AfterValidator(unique)]
Kind = tuple[str, int]
"""A corruption and its severity."""


class AnySource(Model):
    """Where images come from."""

    @property
    def kinds(self) -> list[Kind]:
        """What a corrupted set holds, each a test set of its own; empty for any other set."""
        return []


class PythonSource(AnySource):
    """`load(split, **arguments)` in a .py beside the card gives images and labels int (N,).

    The images are an array uint8 (N, H, W, 3), or a list of the paths of files, which are read when they are needed.
    """

    type: Literal["python"]
    code: FileName | None = None  # None: NAME.py
    uses: Annotated[list[FileName], AfterValidator(unique)] = []  # other files beside the card that the code loads
    arguments: dict[str, Scalar] = {}

    @model_validator(mode="after")
    def _free(self) -> Self:
        if taken := {"split", "count", "image_size", "root", "classes"} & self.arguments.keys():
            raise ValueError(f"arguments must not hold {min(taken)!r}, which the card's other keys give")
        return self


class CorruptibleSource(AnySource):
    """Images that may be there under corruptions at several severities."""

    corruptions: Annotated[list[Name], AfterValidator(unique)] = []
    severities: Severities = []

    @model_validator(mode="after")
    def _both(self) -> Self:
        if bool(self.corruptions) != bool(self.severities):
            raise ValueError("corruptions and severities belong together")
        return self

    @property
    def kinds(self) -> list[Kind]:
        """All pairs of a corruption and a severity."""
        return [(name, severity) for name in self.corruptions for severity in self.severities]


class FolderSource(CorruptibleSource):
    """Image files: PATH/SPLIT/CLASS/FILE, or anywhere below PATH/SPLIT where the card names no classes.

    With corruptions PATH/CORRUPTION/SEVERITY/CLASS/FILE, test images only.
    """

    type: Literal["folder"]
    path: Where = ""
    folders: Annotated[dict[SplitName, str], Field(exclude=True)] = {}  # a split's folder, where it has another name
    names: Literal["classes", "numbers"] = "classes"  # numbers: folder i is that of the i-th class in sorted order
    archive: Where = ""  # what PATH is unpacked from while it is absent


class NpySource(CorruptibleSource):
    """Arrays in files of their own in the folder PATH, not read before they are needed; as in an .npz otherwise.

    With corruptions each of them has a file of images, the severities one after the other in equal blocks.
    """

    type: Literal["npy"]
    path: Where = ""
    images: str = "{split}_images.npy"  # {split} or {corruption} stands for the name
    labels: str = "{split}_labels.npy"


class NpzSource(AnySource):
    """Arrays in one .npz: images uint8 (N, S, S, 3) or grey (N, S, S), labels of an integer type (N,) or (N, 1)."""

    type: Literal["npz"]
    path: Where = ""
    images: str = "{split}_images"
    labels: str = "{split}_labels"


Arguments = dict[str, Scalar]


class TorchvisionSource(AnySource):
    """A data set class of torchvision.datasets."""

    type: Literal["torchvision"]
    class_name: Name = Field(alias="class")
    path: Where = ""  # what the class gets as `root`
    download: Annotated[bool, Field(exclude=True)] = False  # let the class fetch what is absent
    # Of the class, by split; else from its own `train` or `split`. A list of them: all these together are the split.
    arguments: dict[SplitName, Arguments | Annotated[list[Arguments], Field(min_length=1)]] = {}


class CorruptedSource(CorruptibleSource):
    """The test images of another data set, corrupted: by sem_bench.corruptions, or by the package imagecorruptions."""

    type: Literal["corrupted"]
    of: Name
    using: Literal["sem_bench", "imagecorruptions"] = "sem_bench"
    corruptions: Names
    severities: Annotated[Severities, Field(min_length=1)]

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = list(CORRUPTIONS) if self.using == "sem_bench" else PUBLISHED_CORRUPTIONS
        for name in self.corruptions:
            if name not in known:
                raise ValueError(f"unknown corruption {name!r}{did_you_mean(name, known)}")
        return self


Source = Annotated[
    PythonSource | FolderSource | NpySource | NpzSource | TorchvisionSource | CorruptedSource,
    Field(discriminator="type"),
]


class Normalisation(Model):
    """Channel mean and standard deviation of images in [0, 1]."""

    mean: Channels
    std: PositiveChannels

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        for key, values in (("mean", self.mean), ("std", self.std)):
            if max(values) > 1:
                raise ValueError(f"{key} {max(values):g} is above 1: images count from 0 to 1 here, not to 255")
        return self


class DatasetCard(Model):
    """datasets/NAME.yaml. Without classes it serves pretraining only, without a train split as a shifted test set."""

    summary: str
    source: Source
    files: list[str] = []  # what must be on disk beside what the source names, from the data folder
    splits: dict[SplitName, Annotated[int, Field(ge=1)]] = {}  # number of images
    image_size: ImageSize | None = None  # what a network sees
    resize: ImageSize | None = None  # evaluation: the shorter side before the central crop; None: image_size
    reduce: ImageSize | None = None  # every image is reduced to this square once, when it is read
    classes: Classes | None = None
    classes_of: Name | None = None  # the classes of another card, in its order
    superclasses: dict[ClassName, Members] = {}
    metric: Literal["top1", "mean_per_class"] = "top1"  # what transfer reports on it
    reference_errors: dict[Name, Fraction] = {}  # of a corrupted set: mean error of AlexNet on each corruption, for mCE
    shifts: dict[Name, Name] = {}  # v2, r, a, c: the card of the shifted test set
    subsets: dict[Percent, Annotated[str, Field(min_length=1)]] = {}  # 1%: the file that names the labelled images
    normalise: Normalisation | None = None
    licence: str
    get: str = ""  # how to get the data, and what to do where the official place is gone

    @model_validator(mode="after")
    def _complete(self) -> Self:
        own = {"splits": self.splits, "image_size": self.image_size}
        if self.source.type == "corrupted":
            given = sorted(self.model_fields_set - {"summary", "source", "licence", "get", "reference_errors"})
            if given:
                raise ValueError(f"{given[0]} comes from {self.source.of!r}, which the corrupted set is made of")
            return self
        for key in ("splits", "image_size"):
            if not own[key]:
                raise ValueError(f"missing key {key!r}")
        if "train" in self.splits and self.normalise is None:
            raise ValueError("missing key 'normalise'")
        if self.classes and self.classes_of:
            raise ValueError("classes and classes_of say the same thing twice")
        self._check_arrays()
        return self

    def _check_arrays(self) -> None:
        """Their names tell apart what is not the same."""
        source = self.source
        if source.type not in ("npz", "npy"):
            return
        if len(self.splits) > 1:
            for key in ("images", "labels"):
                if "{split}" not in getattr(source, key):
                    raise ValueError(f"source.{key}: without '{{split}}' in it, train and test would be the same")
        if len(source.kinds) and "{corruption}" not in source.images:
            raise ValueError("source.images: without '{corruption}' in it, all corruptions would be the same")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source.type == "corrupted":
            return self
        if not self._named and set(self.splits) != {"train"}:
            raise ValueError("splits: a data set without classes has only train, for pretraining")
        if not self._named and (self.superclasses or self.shifts):
            raise ValueError("a data set without classes has no superclasses and no shifts")
        unique(list(self.shifts.values()))
        if self.shifts and len(self.splits) < 2:
            raise ValueError("shifts belong to a data set with train and test")
        if self.source.kinds and ("train" in self.splits or self.resize or self.reduce):
            raise ValueError("a corrupted set has test images only, and they are shown as they are")
        if self.subsets and (len(self.splits) < 2 or self.source.type != "folder"):
            raise ValueError("subsets are lists of files: they belong to a folder with train and test")
        for key in self.subsets:
            if not 0 < float(key[:-1]) < 100 or key != f"{float(key[:-1]):g}%":
                raise ValueError(f"subsets: {key!r} is no part of the labels, such as 1% or 0.5%")
        if self.superclasses and self.classes is not None:
            check_superclasses(self.superclasses, self.classes)
        for key, size in (("resize", self.resize), ("reduce", self.reduce)):
            if size is not None and self.image_size is not None and size < self.image_size:
                raise ValueError(f"{key}: {size} is below image_size, {self.image_size}")
        return self

    @property
    def _named(self) -> bool:
        return self.classes is not None or self.classes_of is not None

    @property
    def labelled(self) -> bool:
        """Whether it can be evaluated on: classes, train and test."""
        return self._named and len(self.splits) == 2


def check_superclasses(superclasses: dict[str, list[str]], classes: list[str]) -> None:
    """Raises ValueError where they do not hold every class once."""
    members = [member for group in superclasses.values() for member in group]
    if sorted(members) != sorted(classes):
        odd = sorted(set(members) ^ set(classes)) or [m for m in members if members.count(m) > 1]
        raise ValueError(f"superclasses must hold every class once; look at {odd[0]!r}")
