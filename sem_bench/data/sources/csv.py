"""A table of image files and labels: .csv, .tsv, or lines of a path and a label."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from sem_bench.config.cards import Card, Library
from sem_bench.config.fields import Model, SplitName, Where
from sem_bench.data.sources.base import Listed, Needs, Problem, path_is_missing

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened

Column = Annotated[str | int, Field(union_mode="left_to_right")]
"""By its name in the first line, or by its number from 0."""


class Columns(Model):
    """Which column holds what; None: found by its name or its content."""

    path: Column | None = None
    label: Column | None = None
    split: Column | None = None


class CsvSource(Listed):
    """A line for each image: its path, its label by name or number, and its split where the table has one.

    With {split} in PATH each split has a table of its own.
    """

    type: Literal["csv"]
    path: Where = ""
    images: Where = ""  # the folder that its paths start in, {split} may stand in it; the table's own unless given
    partition: Where = ""  # another table, which says the split of each file; as list_eval_partition.txt of CelebA
    columns: Columns = Columns()
    header: bool | None = None  # whether the first line names the columns; None: found out
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None  # None: found out
    ending: str = ""  # what its paths lack: .jpg

    @property
    def split_said(self) -> bool:
        """By a column, a table of splits, or what it says."""
        return bool(self.columns.split is not None or self.partition or super().split_said)

    @property
    def a_table_each(self) -> bool:
        """Whether each split has a table of its own."""
        return "{split}" in self.path

    @property
    def patterns(self) -> list[str]:
        """The paths."""
        return [self.path, self.images]

    def table_of(self, split: SplitName) -> str:
        """The table that names the images of a split, as a card writes paths."""
        return self.path.replace("{split}", self.word(split))

    def check_splits(self, splits: Iterable[SplitName]) -> None:
        """They are said once, or drawn."""
        super().check_splits(splits)
        if self.a_table_each and (self.columns.split is not None or self.partition):
            raise ValueError("source: with '{split}' in its path no column and no `partition` says the split")

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """The path."""
        return path_is_missing(self.path)

    def needs(self, name: str) -> Needs:
        """The table or tables, that of the splits, and the folder of the images where it is named."""
        return Needs([one for one in (self.images, self.partition, self.path) if one])

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """The files that it names."""
        from sem_bench.data.readers.csv import open_csv

        return open_csv(self, data, split, place)
