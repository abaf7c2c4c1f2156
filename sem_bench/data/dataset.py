"""A data set: what of its card enters a digest, and where it is on this machine."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from sem_bench.base.digest import digest
from sem_bench.base.files import file_digest
from sem_bench.config.cards import Card, Library
from sem_bench.config.fields import Model, SplitName, percent, resolved
from sem_bench.data.card import DatasetCard, dataset_card
from sem_bench.data.described import LabelledData, ShiftedData, TrainingData


class Place(Model):
    """What a data set is read with, beside the description that a digest sees. Plain data: `whole` makes it JSON."""

    name: str
    splits: tuple[SplitName, ...]
    card: Path  # the YAML file, which messages name
    code: Path  # the .py of a python source
    root: Path  # the data folder
    classes: tuple[str, ...] | None = None  # in the order of the labels
    needs: tuple[Path, ...] = ()  # what must be on disk
    archive: Path | None = None  # what the last of them can be unpacked from
    sha256: str | None = None  # of the archive; None: nobody says
    fetched: Path | None = None  # what a run downloads while it is absent
    base: "tuple[LabelledData, Place] | None" = None  # what a corrupted set is made of
    get: str = ""  # how to get the data, in words
    multi_label: bool = False  # an image may have several classes
    absent_in_test: tuple[str, ...] = ()  # classes without a test image
    subsets: tuple[tuple[str, Path], ...] = ()  # 1%: the file that names the labelled images

    def may_be_absent(self, split: SplitName, classes: Sequence[str]) -> str:
        """What to write in the card where test images of these classes do not exist; "" where they must."""
        if split != "test" or "train" not in self.splits:
            return ""
        names = [*self.absent_in_test, *classes]
        return (
            f"; where there is none, write `absent_in_test: [{', '.join(names)}]` in the card" if len(names) < 9 else ""
        )

    def absent(self) -> list[Path]:
        """What must be on disk and is not."""
        if self.base is not None:
            return self.base[1].absent()
        packed = self.archive is not None and self.archive.exists()
        return [path for path in (self.needs[:-1] if packed else self.needs) if not path.exists()]

    @property
    def unfetched(self) -> list[Path]:
        """What a run will download."""
        return [] if self.fetched is None or self.fetched.exists() else [self.fetched]

    def subset(self, fraction: float) -> Path:
        """The list of labelled images for a fraction that the card has one for."""
        return dict(self.subsets)[percent(fraction)]


class DataSet:
    """A data set of the library, its files below `root`."""

    def __init__(self, card: Card[DatasetCard], library: Library, root: Path) -> None:
        self.name, self.card = card.name, card.content
        self._card, self.library, self._root = card, library, root

    def training(self, limit: int | None = None) -> TrainingData:
        """As pretraining sees it: `limit` of its training images, or all. Nothing of how evaluation reads it."""
        return TrainingData(
            **self._common | {"source": self.card.source.for_training(), "resize": None},
            train=self.card.splits["train"],
            limit=self._limit("train", limit),
            by_class=self.card.classes is not None,
        )

    def labelled(self, limit: int | None = None, test_limit: int | None = None) -> LabelledData:
        """As a probe sees it that chooses on all labels; other evaluations leave `val` alone."""
        assert self.card.classes is not None
        return LabelledData(
            **self._common,
            train=self.card.splits["train"],
            limit=self._limit("train", limit),
            test=self.card.splits["test"],
            test_limit=self._limit("test", test_limit),
            val=self.card.splits.get("val"),
            classes=self.card.classes,
            superclasses=self.card.superclasses,
            multi_label=self.card.score if self.card.multi_label else None,
        )

    def unlabelled(self, limit: int | None = None) -> TrainingData:
        """Its training images as evaluations see them that read no labels."""
        return self.training(limit).model_copy(update={"resize": self._common["resize"]})

    def subset(self, fraction: float) -> str | None:
        """The digest of the list of labelled images that the card names for a fraction: "" while it is absent.

        None where the card names none.
        """
        if percent(fraction) not in self.card.subsets:
            return None
        path = self.place.subset(fraction)
        return file_digest(path) if path.is_file() else ""

    def shift(self, name: str) -> "tuple[ShiftedData, Place]":
        """One of its shifted test sets: as robustness sees it, and where it is. Normalised as this data set.

        A published corrupted set is prepared already, so nothing is resized.
        """
        other = DataSet(dataset_card(self.library, self.card.shifts[name]), self.library, self._root)
        source, base = other.card.source, self._common
        common = base | other._common | {key: base[key] for key in ("image_size", "normalise", "resize", "reduce")}
        common["reference_errors"] = other.card.reference_errors
        if source.made_of is not None:
            whole = self.labelled()
            common["code"] = digest(resolved(whole))
            return ShiftedData(**common, test=whole.test, classes=whole.classes), other.place
        assert other.card.classes is not None
        if source.kinds:
            common |= {"resize": None, "reduce": None}
        known = self.card.classes or []
        shared = [name for name in other.card.classes if name in known]
        extra = [name for name in other.card.classes if name not in known]
        return ShiftedData(**common, test=other.card.splits["test"], classes=shared, left_out=extra), other.place

    def _limit(self, split: SplitName, limit: int | None) -> int | None:
        return None if limit == self.card.splits[split] else limit

    @cached_property
    def _common(self) -> dict[str, Any]:
        card = self.card
        return {
            "name": self.name,
            "source": card.source,
            "code": self._card.code_digest if card.source.coded else "",
            "image_size": card.image_size,
            "normalise": card.normalise,
            "resize": None if card.resize == card.image_size else card.resize,
            "reduce": card.reduce,
        }

    @cached_property
    def place(self) -> Place:
        """Where it is on this machine."""
        card, needs = self.card, self.card.source.needs(self.name)
        base = None
        if card.source.made_of is not None:
            below = DataSet(dataset_card(self.library, card.source.made_of), self.library, self._root)
            base = below.labelled(), below.place
        named = (*card.files, *(one for name in needs.paths for one in self._of_splits(name)))
        paths = (located(self._root, name) for name in named)
        return Place(
            name=self.name,
            splits=tuple(card.splits),
            card=self._card.path,
            code=self._card.code,
            root=self._root,
            classes=None if card.classes is None else tuple(card.classes),
            needs=(*(base[1].needs if base else ()), *paths),
            archive=None if needs.archive is None else located(self._root, needs.archive),
            sha256=needs.sha256,
            fetched=None if needs.fetched is None else located(self._root, needs.fetched),
            base=base,
            get=card.get,
            multi_label=card.multi_label,
            absent_in_test=tuple(card.absent_in_test),
            subsets=tuple((fraction, located(self._root, name)) for fraction, name in card.subsets.items()),
        )

    def _of_splits(self, name: str) -> list[str]:
        """A path of a card; with {split} in it those of its splits."""
        words = map(self.card.source.word, self.card.splits)
        return [name.replace("{split}", one) for one in words] if "{split}" in name else [name]


def located(root: Path, name: str) -> Path:
    """A path of a card: from the data folder, "~" is the home. Never raises."""
    return root / os.path.expanduser(name)  # noqa: PTH111 - Path.expanduser raises for an unknown user
