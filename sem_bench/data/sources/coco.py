"""COCO: a JSON of images, annotations and categories beside the image files."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sem_bench.config.cards import Card, Library
from sem_bench.config.fields import SplitName, Where
from sem_bench.data.sources.base import Divided, ImageFiles, Needs, Problem, Seen, path_is_missing

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened


class CocoSource(Divided, ImageFiles):
    """A JSON of images, annotations and categories: an image has the classes that its annotations name.

    PATH is one file, or with {split} in it one for each split. Boxes and masks are not read.
    """

    type: Literal["coco"]
    path: Where = ""
    images: Where = ""  # the folder of the images, {split} may stand in it; that of the JSON unless given

    several_labels: ClassVar[bool] = True

    @classmethod
    def seen(cls, path: Path) -> Seen | None:
        """Such a JSON, or a folder with one for each split or a single one."""
        from sem_bench.data.readers.coco import coco_files, first_card

        return None if (files := coco_files(path)) is None else first_card(path, *files)

    @property
    def patterns(self) -> list[str]:
        """The paths."""
        return [self.path, self.images]

    def check_splits(self, splits: Iterable[SplitName]) -> None:
        """Each has a file of its own, or they are drawn."""
        splits = list(splits)
        super().check_splits(splits)
        if self.split is None and "{split}" not in self.path and len(splits) > 1:
            way = "`split: {test: 0.2, seed: 0}` draws them from one file"
            raise ValueError(f"source.path: without '{{split}}' in it, train and test would be the same; {way}")

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """The path."""
        return path_is_missing(self.path)

    def needs(self, name: str) -> Needs:
        """The JSON or those of the splits, and the folder of the images where it is named."""
        return Needs([*([self.images] if self.images else []), self.path])

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """The images that it names."""
        from sem_bench.data.readers.coco import open_coco

        return open_coco(self, data, split, place)
