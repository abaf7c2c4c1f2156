"""Arrays in .npy and .npz files."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from sem_bench.config.cards import Card, Library
from sem_bench.config.fields import SplitName, Where
from sem_bench.data.sources.base import Arrays, CorruptibleSource, Needs, Problem, path_is_missing

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened


class NpySource(CorruptibleSource, Arrays):
    """Arrays in files of their own in the folder PATH, not read before they are needed; as in an .npz otherwise.

    With corruptions each of them has a file of images, the severities one after the other in equal blocks.
    """

    type: Literal["npy"]
    path: Where = ""
    images: str = "{split}_images.npy"  # {split} or {corruption} stands for the name
    labels: str = "{split}_labels.npy"

    def check_splits(self, splits: Iterable[SplitName]) -> None:
        """Their names tell apart what is not the same."""
        tell_splits_apart(splits, self.images, self.labels)
        if self.kinds and "{corruption}" not in self.images:
            raise ValueError("source.images: without '{corruption}' in it, all corruptions would be the same")

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """The path."""
        return path_is_missing(self.path)

    def needs(self, name: str) -> Needs:
        """The folder."""
        return Needs([self.path])

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """The arrays of a split, mapped."""
        from sem_bench.data.readers.arrays import open_npy

        return open_npy(self, data, split, place)


class NpzSource(Arrays):
    """Arrays in one .npz, images and labels; the forms that are taken stand in readers/array_forms.py."""

    type: Literal["npz"]
    path: Where = ""
    images: str = "{split}_images"
    labels: str = "{split}_labels"

    def check_splits(self, splits: Iterable[SplitName]) -> None:
        """Their names tell apart what is not the same."""
        tell_splits_apart(splits, self.images, self.labels)

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """The path."""
        return path_is_missing(self.path)

    def needs(self, name: str) -> Needs:
        """The file."""
        return Needs([self.path])

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """The arrays of a split, in memory."""
        from sem_bench.data.readers.arrays import open_npz

        return open_npz(self, data, split, place)


def tell_splits_apart(splits: Iterable[SplitName], images: str, labels: str) -> None:
    """Raise ValueError where the names of arrays are the same for both splits."""
    if len(list(splits)) < 2:
        return
    for key, pattern in (("images", images), ("labels", labels)):
        if "{split}" not in pattern:
            raise ValueError(f"source.{key}: without '{{split}}' in it, train and test would be the same")
