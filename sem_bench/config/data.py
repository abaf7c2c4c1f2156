"""Data set cards and the sources of images."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from sem_bench.config.fields import (
    CORRUPTIONS,
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
    PositiveChannels,
    Scalar,
    SplitName,
    Where,
    unique,
)
from sem_bench.validation import did_you_mean


class PythonSource(Model):
    """`load(split, **arguments)` in a .py beside the card gives (images uint8 (N, H, W, 3), labels int (N,))."""

    type: Literal["python"]
    code: FileName | None = None  # None: NAME.py
    uses: Annotated[list[FileName], AfterValidator(unique)] = []  # other files beside the card that the code loads
    arguments: dict[str, Scalar] = {}

    @model_validator(mode="after")
    def _free(self) -> Self:
        if taken := {"split", "count", "image_size", "root"} & self.arguments.keys():
            raise ValueError(f"arguments must not hold {min(taken)!r}, which the card's other keys give")
        return self


class FolderSource(Model):
    """Image files: PATH/SPLIT/CLASS/FILE, or anywhere below PATH/SPLIT where the card names no classes."""

    type: Literal["folder"]
    path: Where = ""
    folders: Annotated[dict[SplitName, str], Field(exclude=True)] = {}  # a split's folder, where it has another name
    archive: Where = ""  # what PATH is unpacked from while it is absent


class NpzSource(Model):
    """Arrays in one .npz: images uint8 (N, S, S, 3) or grey (N, S, S), labels of an integer type (N,) or (N, 1)."""

    type: Literal["npz"]
    path: Where = ""
    images: str = "{split}_images"
    labels: str = "{split}_labels"


class TorchvisionSource(Model):
    """A data set class of torchvision.datasets."""

    type: Literal["torchvision"]
    class_name: Name = Field(alias="class")
    path: Where = ""  # what the class gets as `root`
    download: Annotated[bool, Field(exclude=True)] = False  # let the class fetch what is absent
    arguments: dict[SplitName, dict[str, Scalar]] = {}  # of the class, by split; else from its own `train` or `split`


def _known_corruptions(names: list[str]) -> list[str]:
    for name in names:
        if name not in CORRUPTIONS:
            raise ValueError(f"unknown corruption {name!r}{did_you_mean(name, CORRUPTIONS)}")
    return names


class CorruptedSource(Model):
    """The test images of another data set, corrupted (sem_bench.corruptions)."""

    type: Literal["corrupted"]
    of: Name
    corruptions: Annotated[Names, AfterValidator(_known_corruptions)]
    severities: Annotated[list[Annotated[int, Field(ge=1, le=5)]], Field(min_length=1), AfterValidator(unique)]

    @property
    def kinds(self) -> int:
        """Corruptions at each severity."""
        return len(self.corruptions) * len(self.severities)


Source = Annotated[
    PythonSource | FolderSource | NpzSource | TorchvisionSource | CorruptedSource, Field(discriminator="type")
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
    superclasses: dict[ClassName, Members] = {}
    metric: Literal["top1", "mean_per_class"] = "top1"  # what transfer reports on it
    reference_errors: dict[Name, Fraction] = {}  # of a corrupted set: mean error of AlexNet on each corruption, for mCE
    shifts: dict[Name, Name] = {}  # v2, r, a, c: the card of the shifted test set
    normalise: Normalisation | None = None
    licence: str

    @model_validator(mode="after")
    def _complete(self) -> Self:
        own = {"splits": self.splits, "image_size": self.image_size}
        if self.source.type == "corrupted":
            given = sorted(self.model_fields_set - {"summary", "source", "licence", "reference_errors"})
            if given:
                raise ValueError(f"{given[0]} comes from {self.source.of!r}, which the corrupted set is made of")
            return self
        for key in ("splits", "image_size"):
            if not own[key]:
                raise ValueError(f"missing key {key!r}")
        if "train" in self.splits and self.normalise is None:
            raise ValueError("missing key 'normalise'")
        if self.source.type == "npz" and len(self.splits) > 1:
            for key in ("images", "labels"):
                if "{split}" not in getattr(self.source, key):
                    raise ValueError(f"source.{key}: without '{{split}}' in it, train and test would be the same")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source.type == "corrupted":
            return self
        if self.classes is None and set(self.splits) != {"train"}:
            raise ValueError("splits: a data set without classes has only train, for pretraining")
        if self.classes is None and (self.superclasses or self.shifts):
            raise ValueError("a data set without classes has no superclasses and no shifts")
        unique(list(self.shifts.values()))
        if self.shifts and len(self.splits) < 2:
            raise ValueError("shifts belong to a data set with train and test")
        members = [member for group in self.superclasses.values() for member in group]
        if self.superclasses and sorted(members) != sorted(self.classes or []):
            odd = sorted(set(members) ^ set(self.classes or [])) or [m for m in members if members.count(m) > 1]
            raise ValueError(f"superclasses must hold every class once; look at {odd[0]!r}")
        for key, size in (("resize", self.resize), ("reduce", self.reduce)):
            if size is not None and self.image_size is not None and size < self.image_size:
                raise ValueError(f"{key}: {size} is below image_size, {self.image_size}")
        return self

    @property
    def labelled(self) -> bool:
        """Whether it can be evaluated on: classes, train and test."""
        return self.classes is not None and len(self.splits) == 2
