"""Image files in folders."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from sem_bench.config.cards import Card, Library
from sem_bench.config.fields import SplitName, Where
from sem_bench.data.drawn_split import DrawnSplit, check_drawn
from sem_bench.data.sources.base import CorruptibleSource, ImageFiles, Needs, Problem, path_is_missing

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened


class FolderSource(CorruptibleSource, ImageFiles):
    """Image files: PATH/SPLIT/CLASS/FILE, or anywhere below PATH/SPLIT where the card names no classes.

    With corruptions PATH/CORRUPTION/SEVERITY/CLASS/FILE, test images only.
    """

    type: Literal["folder"]
    path: Where = ""
    folders: Annotated[dict[SplitName, str], Field(exclude=True)] = {}  # a split's folder, where it has another name
    names: Literal["classes", "numbers"] = "classes"  # numbers: folder i is that of the i-th class in sorted order
    archive: Where = ""  # what PATH is unpacked from while it is absent
    sha256: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$", exclude=True)] = None  # of the archive
    split: DrawnSplit | None = None  # PATH/CLASS/FILE without splits: how train and test are drawn

    names_files: ClassVar[bool] = True

    @property
    def drawn(self) -> DrawnSplit | None:
        """How its splits are drawn; None: they are given."""
        return self.split

    def check_splits(self, splits: Iterable[SplitName]) -> None:
        """Train and test are two folders, or drawn from one."""
        if self.split is not None and (self.folders or self.kinds):
            raise ValueError("source: `split` draws train and test from one folder, so `folders` has nothing to say")
        check_drawn(self.split, splits)
        names = {name: self.folders.get(name, name) for name in splits}
        for name, folder in names.items():
            if first := next((one for one in names if one != name and names[one] == folder), None):
                raise ValueError(
                    f"source.folders: {name} and {first} are both {folder!r}; `split: {{test: 0.2, seed: 0}}` in their "
                    "place draws them from one folder"
                )

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """The path, or a checksum of nothing."""
        yield from path_is_missing(self.path)
        if self.sha256 is not None and not self.archive:
            yield ("sha256",), "is that of an archive; there is none"

    def needs(self, name: str) -> Needs:
        """The folder, or its archive."""
        return Needs([self.path], archive=self.archive or None, sha256=self.sha256)

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """Its files by name; an archive is unpacked first where the folder is absent."""
        from sem_bench.data.readers.folder import open_folder

        return open_folder(self, data, split, place)
