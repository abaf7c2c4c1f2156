"""Data sets of Hugging Face's library `datasets`: saved on disk, or in its cache."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sem_bench.config.cards import Card, Library
from sem_bench.config.fields import SplitName, Where
from sem_bench.data.sources.base import Needs, Problem, Seen
from sem_bench.data.sources.packed import NeedsPackage, Packed

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened


class HuggingfaceSource(Packed):
    """What `save_to_disk` wrote to PATH, or `load_dataset` left in the cache under NAME. Nothing is downloaded."""

    type: Literal["huggingface"]
    name: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")] | None = None  # in place of `path`: OWNER/NAME
    config: str | None = None  # of the data set, where it has several
    cache: Where = ""  # the folder of the cache; the library's own unless given

    package: ClassVar[str] = "datasets"
    extra: ClassVar[str] = "hf"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.name is not None and self.path:
            raise ValueError("`path` is a folder, `name` a data set in the cache: choose one")
        if self.name is None and (self.config or self.cache):
            raise ValueError("`config` and `cache` belong to `name`")
        return self

    @property
    def cached(self) -> str:
        """The folder of the data set in the cache."""
        owner, _, own = (self.name or "").rpartition("/")
        snake = re.sub(r"([a-z\d])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", own)).lower()
        folder = self.cache or os.environ.get("HF_DATASETS_CACHE") or f"{_home()}/datasets"
        return f"{folder}/{owner + '___' if owner else ''}{snake}"

    @classmethod
    def seen(cls, path: Path) -> Seen | None:
        """A folder of `save_to_disk`."""
        if not any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
            return None
        cls.check_package()
        from sem_bench.data.readers.packed.huggingface import first_card

        return first_card(cls(type="huggingface", path=str(path)), path)

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """Neither path nor name, or the package."""
        if not self.path and not self.name:
            yield (), "missing key 'path' or 'name' in source"
        yield from NeedsPackage.problems(self, card, library)

    def needs(self, name: str) -> Needs:
        """The folder."""
        return Needs([self.path or self.cached])

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """Its rows, mapped and not read before they are needed."""
        from sem_bench.data.readers.packed.huggingface import open_huggingface

        return open_huggingface(self, data, split, place)


def _home() -> str:
    """Where the libraries of Hugging Face keep what they have fetched."""
    return os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
