"""HDF5: arrays of images and labels in one file."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sem_bench.config.cards import Card, Library
from sem_bench.config.fields import SplitName, Where
from sem_bench.data.drawn_split import DrawnSplit, check_drawn
from sem_bench.data.sources.arrays import tell_splits_apart
from sem_bench.data.sources.base import Arrays, ImageFiles, Needs, Problem, Seen, path_is_missing
from sem_bench.data.sources.packed import NeedsPackage

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened


ENDINGS = (".h5", ".hdf5", ".he5")


class Hdf5Source(NeedsPackage, Arrays, ImageFiles):
    """Arrays, images and labels: pixels in the forms of an .npz, or the bytes of image files.

    PATH is one file, or with {split} in it one for each split.
    """

    type: Literal["hdf5"]
    path: Where = ""
    images: str = "{split}/images"  # the name of the array; {split} stands for train and test
    labels: str = "{split}/labels"
    split: DrawnSplit | None = None  # one pair of arrays, images and labels: how train and test are drawn

    package: ClassVar[str] = "h5py"
    extra: ClassVar[str] = "hdf5"

    @classmethod
    def seen(cls, path: Path) -> Seen | None:
        """A .h5 or .hdf5, or a folder with one for train and one for test."""
        below = _by_split(path) if path.is_dir() else ""
        if not below and not (path.is_file() and path.suffix.lower() in ENDINGS):
            return None
        cls.check_package()
        from sem_bench.data.readers.packed.hdf5 import first_card

        return first_card(path, below)

    @property
    def drawn(self) -> DrawnSplit | None:
        """How its splits are drawn; None: they are given."""
        return self.split

    @property
    def named(self) -> bool:
        """Whether the card gives its arrays names of their own."""
        own = type(self).model_fields
        return (self.images, self.labels) != (own["images"].default, own["labels"].default)

    def check_splits(self, splits: Iterable[SplitName]) -> None:
        """Names or files tell apart what is not the same, or it is drawn."""
        check_drawn(self.split, splits)
        if self.split is not None:
            names = [self.path, *([self.images, self.labels] if self.named else [])]
            if any("{split}" in name for name in names):
                raise ValueError("source: `split` draws train and test, and {split} in a name says them: choose one")
        elif "{split}" not in self.path:
            tell_splits_apart(splits, self.images, self.labels)

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """The path, or the package."""
        yield from path_is_missing(self.path)
        yield from super().problems(card, library)

    def needs(self, name: str) -> Needs:
        """The file, or those of the splits."""
        return Needs([self.path])

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """The arrays of a split, not read before they are needed."""
        from sem_bench.data.readers.packed.hdf5 import open_hdf5

        return open_hdf5(self, data, split, place)


def _by_split(folder: Path) -> str:
    """The name, with {split} in it, of files for train and test in a folder; "" where they are not the only two."""
    train = [file for file in folder.glob("*train*") if file.suffix.lower() in ENDINGS]
    tests = [file for file in train if file.with_name(file.name.replace("train", "test")).is_file()]
    return tests[0].name.replace("train", "{split}") if len(train) == len(tests) == 1 else ""
