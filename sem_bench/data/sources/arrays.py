"""Arrays in .npy and .npz files."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from sem_bench.config.cards import Card, Library
from sem_bench.config.fields import SplitName, Where
from sem_bench.data.sources.base import Arrays, CorruptibleSource, Divided, Needs, Problem, path_is_missing

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened


class NamedArrays(Divided, Arrays):
    """Arrays that are known by their names."""

    path: Where = ""
    images: str = "{split}_images"  # the name of the array; {split} stands for train and test
    labels: str = "{split}_labels"

    @property
    def named(self) -> bool:
        """Whether the card gives its arrays names of their own."""
        own = type(self).model_fields
        return (self.images, self.labels) != (own["images"].default, own["labels"].default)

    @property
    def patterns(self) -> list[str]:
        """The names of the arrays; where they are drawn from, the usual ones are without {split}."""
        return [self.images, self.labels] if self.named or self.split is None else []

    @property
    def apart(self) -> tuple[str, str]:
        """What tells the splits apart, of images and of labels."""
        return self.images, self.labels

    def check_splits(self, splits: Iterable[SplitName]) -> None:
        """Names tell apart what is not the same, or it is drawn."""
        splits = list(splits)
        super().check_splits(splits)
        if self.split is None:
            _tell_apart(splits, *self.apart)

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """The path."""
        yield from path_is_missing(self.path)
        yield from super().problems(card, library)

    def needs(self, name: str) -> Needs:
        """The file or folder."""
        return Needs([self.path])


class NpySource(CorruptibleSource, NamedArrays):
    """Arrays in files of their own in the folder PATH, not read before they are needed; as in an .npz otherwise.

    With corruptions each of them has a file of images, the severities one after the other in equal blocks.
    """

    type: Literal["npy"]
    images: str = "{split}_images.npy"  # {split} or {corruption} stands for the name
    labels: str = "{split}_labels.npy"

    def check_splits(self, splits: Iterable[SplitName]) -> None:
        """Their names tell apart what is not the same."""
        super().check_splits(splits)
        if self.split is not None and (self.kinds or not self.named):
            raise ValueError("source: `split` draws train and test from one pair of files: name `images` and `labels`")
        if self.kinds and "{corruption}" not in self.images:
            raise ValueError("source.images: without '{corruption}' in it, all corruptions would be the same")

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """The arrays of a split, mapped."""
        from sem_bench.data.readers.arrays import open_npy

        return open_npy(self, data, split, place)


class NpzSource(NamedArrays):
    """Arrays in one .npz, images and labels; the forms that are taken stand in readers/array_forms.py."""

    type: Literal["npz"]

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """The arrays of a split, in memory."""
        from sem_bench.data.readers.arrays import open_npz

        return open_npz(self, data, split, place)


def _tell_apart(splits: Iterable[SplitName], images: str, labels: str) -> None:
    """Raise ValueError where the names of arrays are the same for both splits."""
    if len(list(splits)) < 2:
        return
    for key, pattern in (("images", images), ("labels", labels)):
        if "{split}" not in pattern:
            way = "`split: {test: 0.2, seed: 0}` draws them from one pair of arrays"
            raise ValueError(f"source.{key}: without '{{split}}' in it, train and test would be the same; {way}")
