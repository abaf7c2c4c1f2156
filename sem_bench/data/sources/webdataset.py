"""WebDataset: tar files with an image and its label under one name."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sem_bench.config.fields import SplitName
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.packed import Packed

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened


class WebdatasetSource(Packed):
    """Shards: NAME.jpg beside NAME.cls, or beside NAME.json with the label under a key, in plain .tar files.

    PATH is one, a pattern, {0000..0146}, or a folder of them; names may say the split. `columns` names endings,
    `image: jpg`, `label: cls`, or a key of the .json.
    """

    type: Literal["webdataset"]

    @classmethod
    def seen(cls, path: Path) -> Seen | None:
        """A .tar of such samples, or a folder with some."""
        from sem_bench.data.readers.packed.files import has_files

        if not has_files(path, (".tar",)):
            return None
        from sem_bench.data.readers.packed.webdataset import first_card

        return first_card(cls(type="webdataset", path=str(path)), path)

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """Its samples, indexed once; an image is read where it lies in its shard."""
        from sem_bench.data.readers.packed.webdataset import open_webdataset

        return open_webdataset(self, data, split, place)
