"""What every kind of source says of itself; the kinds stand beside this module, one file each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from sem_bench.config.cards import Card, Coded, Library
from sem_bench.config.fields import Name, SplitName, unique
from sem_bench.data.drawn_split import DrawnSplit, check_drawn

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened

Severities = Annotated[list[Annotated[int, Field(ge=1, le=5)]], AfterValidator(unique)]
Corruption = tuple[str, int]
"""A corruption and its severity."""
Problem = tuple[tuple[str, ...], str]
"""Keys below `source`, and what is wrong there."""


@dataclass(frozen=True)
class Needs:
    """What a source has on disk: paths as a card writes them, from the data folder."""

    paths: Sequence[str] = ()  # must be there
    archive: str | None = None  # what the last of them can be unpacked from
    sha256: str | None = None  # of the archive; None: nobody says
    fetched: str | None = None  # what a run downloads while it is absent


@dataclass
class Seen:
    """What a first card can say of data, before their images are measured."""

    source: dict[str, Any]  # what the card writes below `source`
    classes: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)  # classes without a test image
    multi_label: bool = False  # an image may have several of them
    val: bool = False  # whether there are images to choose on
    splits: dict[SplitName, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # the first files that a table names, of the training images
    word: str = ""  # what that split is called, where {split} stands for it
    below: dict[str, str] = field(default_factory=lambda: {"path": ""})  # paths of the card, from the one looked at
    size: int | None = None  # the side of the images, where the kind allows no other


class Source(Coded):
    """Where images come from. A kind says what differs from this; nothing else in the project knows its name."""

    type: str  # which kind; each has its own name, a Literal

    coded: ClassVar[bool] = False  # the Python file beside the card reads it, so its hash enters digests
    several_labels: ClassVar[bool] = False  # it can say several classes of an image
    names_files: ClassVar[bool] = False  # its images are files below a folder, so that lists can name them

    @classmethod
    def seen(cls, path: Path) -> Seen | None:
        """What a first card would say of a file or folder, but for `type` and `path`; None: it is not of this kind.

        Raises UserError where it is, and cannot be read.
        """
        return None

    @property
    def kinds(self) -> list[Corruption]:
        """What a corrupted set holds, each a test set of its own; empty for any other set."""
        return []

    def only(self, kind: Corruption) -> Self:
        """Reduced to one of its kinds. Only of a corrupted set."""
        raise NotImplementedError

    @property
    def made_of(self) -> str | None:
        """The data set whose test images it changes; None: it has images of its own."""
        return None

    @property
    def drawn(self) -> DrawnSplit | None:
        """How its splits are drawn; None: they are given."""
        return None

    def word(self, split: SplitName) -> str:
        """What a split is called in names of files, where {split} stands for it."""
        return split

    def check_splits(self, splits: Iterable[SplitName]) -> None:
        """Raises ValueError where it could not tell these splits of the card apart."""

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """What a card refers to and is not there: code, other cards, classes. Data are not looked at."""
        yield from ()

    def needs(self, name: str) -> Needs:
        """What must be on disk; `name` is the data set's."""
        return Needs()

    def for_training(self) -> Self:
        """As the digest of a pretraining sees it."""
        return self

    def offline(self) -> Self:
        """Without the leave to download."""
        return self

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """A split, opened; of a corrupted set its first kind. Raises UserError where it is not what the card says.

        Only of a source with images of its own.
        """
        raise NotImplementedError

    def change(self, image: "npt.NDArray[np.uint8]", kind: Corruption, row: int) -> "npt.NDArray[np.uint8]":
        """Image number `row` of the base, uint8 (S, S, 3), under a corruption. Only of a source made of another set."""
        raise NotImplementedError

    def mark(self, kind: Corruption) -> list[str | int]:
        """What the fingerprint of images under a corruption says of it, beside the base."""
        return [*kind]


class Arrays(Source):
    """Images and labels as arrays; what their numbers mean, where it is not as usual."""

    scale: Literal[1, 255] | None = None  # the white of images that are floats; None: they are bytes
    first_label: Literal[0, 1] = 0

    several_labels: ClassVar[bool] = True


class ImageFiles(Source):
    """Images in files of their own; how one is read, where it is not as usual."""

    bits: Literal[8, 16] = 8  # 16: grey images of 16 bits are scaled, 65535 to 255
    exif: bool = False  # turn images as their EXIF note says
    truncated: Literal["refused", "allow"] = "refused"  # allow: JPEGs that are cut short, the rest of the image grey
    max_pixels: Annotated[int, Field(ge=1)] | None = None  # the largest image; None: Pillow's limit against bombs


class Divided(Source):
    """What is divided into splits by words, of which {split} in a name stands for one, or by a draw."""

    values: dict[SplitName, str | list[str]] = {}  # what the splits are called, where it is not train and test
    split: DrawnSplit | None = None  # where nothing says it: how train and test are drawn

    @property
    def split_said(self) -> bool:
        """Whether the card says where the splits are."""
        return bool(self.values)

    @property
    def drawn(self) -> DrawnSplit | None:
        """How its splits are drawn; None: they are given."""
        return self.split

    @property
    def patterns(self) -> list[str]:
        """The names in which {split} stands for the word of a split."""
        return []

    def word(self, split: SplitName) -> str:
        """What a split is called in names."""
        word = self.values.get(split, split)
        return word if isinstance(word, str) else word[0]

    def check_splits(self, splits: Iterable[SplitName]) -> None:
        """They are said once, or drawn."""
        named = any("{split}" in one for one in self.patterns)
        if self.split is not None and (named or self.split_said):
            said = "{split} in a name" if named else "a column or `values`"
            raise ValueError(f"source: `split` draws train and test, and {said} says them: choose one")
        several = next((name for name, value in self.values.items() if isinstance(value, list)), None)
        if named and several:
            raise ValueError(f"source.values.{several}: with '{{split}}' in a name a split has one word")
        check_drawn(self.split, splits)


class Listed(Divided, ImageFiles):
    """Rows of an image and its label, and maybe its split."""

    first_label: Literal[0, 1] = 0  # of labels that are numbers
    separator: Annotated[str, Field(min_length=1)] | None = None  # between an image's several labels in one text

    several_labels: ClassVar[bool] = True


class CorruptibleSource(Source):
    """Images that may be there under corruptions at several severities."""

    corruptions: Annotated[list[Name], AfterValidator(unique)] = []
    severities: Severities = []

    @model_validator(mode="after")
    def _both(self) -> Self:
        if bool(self.corruptions) != bool(self.severities):
            raise ValueError("corruptions and severities belong together")
        return self

    @property
    def kinds(self) -> list[Corruption]:
        """All pairs of a corruption and a severity."""
        return [(name, severity) for name in self.corruptions for severity in self.severities]

    def only(self, kind: Corruption) -> Self:
        """Reduced to one of its kinds."""
        return self.model_copy(update={"corruptions": [kind[0]], "severities": [kind[1]]})


def path_is_missing(path: str) -> Iterator[Problem]:
    """The problem of a source without a path."""
    if not path:
        yield (), "missing key 'path' in source"
