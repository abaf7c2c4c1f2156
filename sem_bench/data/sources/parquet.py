"""Parquet: tables of image files and labels, or with the images in a column."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from sem_bench.config.fields import SplitName, Where
from sem_bench.data.patterns import expanded
from sem_bench.data.sources.base import Needs, Seen
from sem_bench.data.sources.packed import Packed

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened


class ParquetSource(Packed):
    """A row for each image: the bytes of its file, as Hugging Face writes them, or its path; its label and split.

    PATH is one file, a pattern, {0000..0146}, or a folder of them; then the names of the files may say the split.
    """

    type: Literal["parquet"]
    images: Where = ""  # the folder that paths start in; the table's own unless given
    ending: str = ""  # what its paths lack: .jpg

    package: ClassVar[str] = "pyarrow"
    extra: ClassVar[str] = "parquet"

    @classmethod
    def seen(cls, path: Path) -> Seen | None:
        """A .parquet, or a folder with some."""
        from sem_bench.data.readers.packed.files import has_files

        if not has_files(path, (".parquet",)):
            return None
        cls.check_package()
        from sem_bench.data.readers.packed.parquet import first_card

        return first_card(cls(type="parquet", path=str(path)), path)

    def needs(self, name: str) -> Needs:
        """The files, and the folder of the images where it is named."""
        return Needs([*([self.images] if self.images else []), *expanded(self.path)])

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """Its rows; images in it are read a group of rows at a time."""
        from sem_bench.data.readers.packed.parquet import open_parquet

        return open_parquet(self, data, split, place)
