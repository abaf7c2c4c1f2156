"""HDF5: arrays of images and labels, in one file or in two."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from sem_bench.config.fields import SplitName, Where
from sem_bench.data.sources.arrays import NamedArrays
from sem_bench.data.sources.base import ImageFiles, Needs, Seen
from sem_bench.data.sources.packed import NeedsPackage

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened


ENDINGS = (".h5", ".hdf5", ".he5")


class Hdf5Source(NamedArrays, NeedsPackage, ImageFiles):
    """Arrays, images and labels: pixels in the forms of an .npz, or the bytes of image files.

    PATH is one file, or with {split} in it one for each split.
    """

    type: Literal["hdf5"]
    images: str = "{split}/images"  # the name of the array; {split} stands for train and test
    labels: str = "{split}/labels"
    labels_path: Where = ""  # the file of the labels, where it is another one

    package: ClassVar[str] = "h5py"
    extra: ClassVar[str] = "hdf5"

    @classmethod
    def seen(cls, path: Path) -> Seen | None:
        """A .h5 or .hdf5, or a folder with one for each split, or with one for images and one for labels."""
        from sem_bench.data.readers.array_names import files_of_arrays

        files = files_of_arrays(one.name for one in path.glob("*") if one.suffix.lower() in ENDINGS)
        if files is None and not (path.is_file() and path.suffix.lower() in ENDINGS):
            return None
        cls.check_package()
        from sem_bench.data.readers.packed.hdf5 import first_card

        return first_card(path, files)

    @property
    def patterns(self) -> list[str]:
        """The names of files and arrays."""
        return [self.path, self.labels_path, *super().patterns]

    @property
    def apart(self) -> tuple[str, str]:
        """The files and the names in them."""
        return self.path + self.images, (self.labels_path or self.path) + self.labels

    def needs(self, name: str) -> Needs:
        """The file or files, those of the labels first."""
        return Needs([*([self.labels_path] if self.labels_path else []), self.path])

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """The arrays of a split, not read before they are needed."""
        from sem_bench.data.readers.packed.hdf5 import open_hdf5

        return open_hdf5(self, data, split, place)
