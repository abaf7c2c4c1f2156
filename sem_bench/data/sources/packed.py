"""Images packed with their labels into a few large files: what all such kinds say."""

import importlib.util
from collections.abc import Iterator
from typing import Any, ClassVar, Self

from pydantic import model_validator

from sem_bench.config.cards import Card, Library
from sem_bench.config.fields import Model, Where
from sem_bench.data.patterns import expanded
from sem_bench.data.sources.base import Listed, Needs, Problem, Source, path_is_missing
from sem_bench.errors import UserError


class PackedColumns(Model):
    """What holds what, by name; None: found by its name or its content."""

    image: str | None = None
    label: str | None = None
    split: str | None = None


class NeedsPackage(Source):
    """Read by a package that is installed with an extra."""

    package: ClassVar[str] = ""
    extra: ClassVar[str] = ""

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """The package."""
        if self.package and importlib.util.find_spec(self.package) is None:
            yield ("type",), self._install()

    @classmethod
    def check_package(cls) -> None:
        """Raise UserError where it is not installed."""
        if importlib.util.find_spec(cls.package) is None:
            raise UserError(cls._install())

    @classmethod
    def _install(cls) -> str:
        return f"{cls.package} is not installed: pip install 'sem-bench[{cls.extra}]'"


class Packed(NeedsPackage, Listed):
    """Rows in files; the images are not unpacked."""

    path: Where = ""
    columns: PackedColumns = PackedColumns()

    @property
    def split_said(self) -> bool:
        """By a column, or what it says."""
        return self.columns.split is not None or super().split_said

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """The path, or the package."""
        yield from path_is_missing(self.path)
        yield from super().problems(card, library)

    def needs(self, name: str) -> Needs:
        """The file or folder, or the files of a pattern."""
        return Needs(expanded(self.path))

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        expanded(self.path)
        return self
