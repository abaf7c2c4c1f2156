"""Data set cards and the sources of images."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from sem_bench.config.cards import Card, CardModel, Library
from sem_bench.config.fields import (
    Channels,
    Classes,
    ClassName,
    Fraction,
    ImageSize,
    Members,
    Model,
    Name,
    Percent,
    PositiveChannels,
    Score,
    SplitName,
    unique,
)
from sem_bench.config.validation import at, did_you_mean
from sem_bench.data.sources import AnySource
from sem_bench.errors import UserError


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


class DatasetCard(CardModel):
    """datasets/NAME.yaml. Without classes it serves pretraining only, without a train split as a shifted test set."""

    summary: str  # a line
    source: AnySource  # where the images lie, and how
    files: list[str] = []  # what must be on disk beside what the source names, from the data folder
    splits: dict[SplitName, Annotated[int, Field(ge=1)]] = {}  # number of images
    image_size: ImageSize | None = None  # what a network sees
    resize: ImageSize | None = None  # evaluation: the shorter side before the central crop; None: image_size
    reduce: ImageSize | None = None  # every image is reduced to this square once, when it is read
    classes: Classes | None = None  # names, in the order of the labels
    absent_in_test: Annotated[list[ClassName], AfterValidator(unique)] = []  # classes without a test image
    extra_classes: Literal["refused", "left out"] = "refused"  # of a shifted set: classes that the base set lacks
    classes_of: Name | None = None  # the classes of another card, in its order, with its superclasses
    superclasses: dict[ClassName, Members] = {}  # name -> its classes, for relevance
    multi_label: bool = False  # an image may have several of the classes, or none
    metric: Score = "top1"  # what transfer reports on it; mean_per_class is balanced accuracy; several labels: map
    reference_errors: dict[Name, Fraction] = {}  # of a corrupted set: mean error of AlexNet on each corruption, for mCE
    shifts: dict[Name, Name] = {}  # v2, r, a, c: the card of the shifted test set
    subsets: dict[Percent, Annotated[str, Field(min_length=1)]] = {}  # 1%: the file that names the labelled images
    normalise: Normalisation | None = None  # before the network
    licence: str  # or where it is said
    get: str = ""  # how to get the data, and what to do where the official place is gone

    @model_validator(mode="after")
    def _complete(self) -> Self:
        own = {"splits": self.splits, "image_size": self.image_size}
        if self.source.made_of is not None:
            given = sorted(self.model_fields_set - {"summary", "source", "licence", "get", "reference_errors"})
            if given:
                raise ValueError(f"{given[0]} comes from {self.source.made_of!r}, which the corrupted set is made of")
            return self
        for key in ("splits", "image_size"):
            if not own[key]:
                raise ValueError(f"missing key {key!r}")
        if "train" in self.splits and self.normalise is None:
            raise ValueError("missing key 'normalise'")
        if self.classes and self.classes_of:
            raise ValueError("classes and classes_of say the same thing twice")
        self.source.check_splits(self.splits)
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source.made_of is not None:
            return self
        if not self._named and set(self.splits) != {"train"}:
            raise ValueError("splits: a data set without classes has only train, for pretraining")
        if not self._named and (self.superclasses or self.shifts):
            raise ValueError("a data set without classes has no superclasses and no shifts")
        unique(list(self.shifts.values()))
        if "val" in self.splits and not self._tested:
            raise ValueError("splits: val chooses among probes, so it stands beside train and test")
        if self.shifts and not self._tested:
            raise ValueError("shifts belong to a data set with train and test")
        if self.source.kinds and ("train" in self.splits or self.resize or self.reduce):
            raise ValueError("a corrupted set has test images only, and they are shown as they are")
        if self.subsets and (not self._tested or not self.source.names_files):
            raise ValueError("subsets are lists of files: they belong to a folder with train and test")
        for key in self.subsets:
            if not 0 < float(key[:-1]) < 100 or key != f"{float(key[:-1]):g}%":
                raise ValueError(f"subsets: {key!r} is no part of the labels, such as 1% or 0.5%")
        for name in self.absent_in_test:
            if self.classes is not None and name not in self.classes:
                raise ValueError(f"absent_in_test: no class {name!r}{did_you_mean(name, self.classes)}")
        if self.absent_in_test and not self._tested:
            raise ValueError(
                "absent_in_test belongs to a data set with train and test: leave the class out of `classes`"
            )
        for text in self._misfits_of_several_labels():
            raise ValueError(text)
        if self.superclasses and self.classes is not None:
            check_superclasses(self.superclasses, self.classes)
        for key, size in (("resize", self.resize), ("reduce", self.reduce)):
            if size is not None and self.image_size is not None and size < self.image_size:
                raise ValueError(f"{key}: {size} is below image_size, {self.image_size}")
        return self

    def _misfits_of_several_labels(self) -> Iterator[str]:
        if not self.multi_label:
            if self.metric == "map":
                yield "metric: map is of images with several classes: `multi_label: true`"
            return
        if not self.source.several_labels:
            yield "multi_label: several labels an image come from a table, arrays, packed files or code"
        if "metric" in self.model_fields_set and self.metric not in ("map", "macro_f1"):
            yield f"metric: {self.metric} is of images with one class; of several: map or macro_f1"
        if not self.labelled:
            yield "multi_label: belongs to a data set with classes, train and test"
        for key in ("superclasses", "shifts", "subsets"):
            if getattr(self, key):
                yield f"{key}: belongs to images with one class each"

    @property
    def score(self) -> Score:
        """What is measured on it."""
        return "map" if self.multi_label and "metric" not in self.model_fields_set else self.metric

    @property
    def main_code(self) -> str | None:
        """What the source names."""
        return self.source.main_code

    @property
    def more_code(self) -> list[str]:
        """What the source names."""
        return self.source.more_code

    @property
    def _named(self) -> bool:
        return self.classes is not None or self.classes_of is not None

    @property
    def _tested(self) -> bool:
        return {"train", "test"} <= self.splits.keys()

    @property
    def labelled(self) -> bool:
        """Whether it can be evaluated on: classes, train and test."""
        return self._named and self._tested


def check_superclasses(superclasses: dict[str, list[str]], classes: list[str]) -> None:
    """Raises ValueError where they do not hold every class once."""
    members = [member for group in superclasses.values() for member in group]
    if sorted(members) != sorted(classes):
        odd = sorted(set(members) ^ set(classes)) or [m for m in members if members.count(m) > 1]
        raise ValueError(f"superclasses must hold every class once; look at {odd[0]!r}")


def dataset_card(library: Library, name: str) -> Card[DatasetCard]:
    """The card of a data set. Raises UserError for a faulty one, KeyError for an unknown one."""
    complete, check = partial(_with_classes, library=library), partial(_check, library=library)
    return library.checked("dataset", name, DatasetCard, complete=complete, check=check)


def _with_classes(card: Card[DatasetCard], library: Library) -> Card[DatasetCard]:
    """The card with the classes, and the superclasses if it has none, of the one that it names."""
    name, here = card.content.classes_of, ("classes_of",)
    if name is None:
        return card
    try:
        other = card if name == card.name else library.read("dataset", name, DatasetCard)
    except KeyError:
        text = f"unknown dataset {name!r}{did_you_mean(name, library.names('dataset'))}"
        raise UserError(at(card.document, here, text)) from None
    if other.content.classes is None:
        raise UserError(at(card.document, here, f"{name!r} lists no classes of its own"))
    try:
        if card.content.superclasses:
            check_superclasses(card.content.superclasses, other.content.classes)
    except ValueError as error:
        raise UserError(at(card.document, ("superclasses",), str(error))) from None
    own = {"classes": other.content.classes, "superclasses": card.content.superclasses or other.content.superclasses}
    return replace(card, content=card.content.model_copy(update=own))


def _check(card: Card[DatasetCard], library: Library) -> None:
    """What the card refers to is there: code, paths, a class of torchvision, other cards. Data are not looked at."""
    found = [(("source", *keys), text) for keys, text in card.content.source.problems(card, library)]
    if found:
        raise UserError([at(card.document, keys, text) for keys, text in found])
    for key, name in card.content.shifts.items():
        _check_shift(card, key, name, library)


def _check_shift(card: Card[DatasetCard], key: str, name: str, library: Library) -> None:
    place, base = ("shifts", key), card.content
    if library.find("dataset", name) is None:
        text = f"unknown dataset {name!r}{did_you_mean(name, library.names('dataset'))}"
        raise UserError(at(card.document, place, text))
    if name == card.name:
        raise UserError(at(card.document, place, f"{name!r} is no shift of itself"))
    other = dataset_card(library, name).content
    if other.source.made_of is not None:
        if other.source.made_of != card.name:
            raise UserError(at(card.document, place, f"{name!r} is made of {other.source.made_of!r}"))
        return
    strange = [one for one in other.classes or [] if one not in (base.classes or [])]
    if strange and other.extra_classes == "refused":
        text = f"{name!r} has a class {strange[0]!r} that {card.name!r} lacks"
        way = "; `extra_classes: left out` in its card evaluates the others"
        raise UserError(at(card.document, place, text + did_you_mean(strange[0], base.classes or []) + way))
    if len(strange) == len(other.classes or [strange]):
        raise UserError(at(card.document, place, f"{name!r} and {card.name!r} have no class in common"))
    if "test" not in other.splits or other.image_size != base.image_size:
        text = f"{name!r} needs a test split and images of {base.image_size} px, as {card.name!r}"
        raise UserError(at(card.document, place, text))
