"""LMDB: image files and their labels under keys."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from sem_bench.config.fields import SplitName
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.packed import Packed

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened


class LmdbSource(Packed):
    """Image files under keys: NAME.jpg beside NAME.cls or NAME.json, image-NAME beside label-NAME, or CLASS/NAME.jpg.

    PATH is a database, or a folder of them whose names say the split. Nothing pickled is loaded.
    """

    type: Literal["lmdb"]

    package: ClassVar[str] = "lmdb"
    extra: ClassVar[str] = "lmdb"

    @classmethod
    def seen(cls, path: Path) -> Seen | None:
        """A database, or a folder with some."""
        from sem_bench.data.readers.packed.files import databases

        if not databases(path):
            return None
        cls.check_package()
        from sem_bench.data.readers.packed.lmdb import first_card

        return first_card(cls(type="lmdb", path=str(path)), path)

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """Its images, mapped and not read before they are needed."""
        from sem_bench.data.readers.packed.lmdb import open_lmdb

        return open_lmdb(self, data, split, place)
