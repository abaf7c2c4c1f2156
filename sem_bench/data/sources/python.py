"""The .py beside a card."""

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, model_validator

from sem_bench.base.files import shown
from sem_bench.config.cards import Card, Library, definitions
from sem_bench.config.fields import FileName, Scalar, SplitName, unique
from sem_bench.data.sources.base import Arrays, ImageFiles, Problem

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened


class PythonSource(ImageFiles, Arrays):
    """`load(split, **arguments)` in a .py beside the card gives images and labels int (N,).

    The images are an array uint8 (N, H, W, 3), a list of the paths of files, or anything with a length and items that
    are images of PIL, encoded bytes or arrays (H, W, 3); files and items are read when they are needed.
    """

    type: Literal["python"]
    code: FileName | None = None  # None: NAME.py
    uses: Annotated[list[FileName], AfterValidator(unique)] = []  # other files beside the card that the code loads
    arguments: dict[str, Scalar] = {}

    coded: ClassVar[bool] = True

    @model_validator(mode="after")
    def _free(self) -> Self:
        if taken := {"split", "count", "image_size", "root", "classes"} & self.arguments.keys():
            raise ValueError(f"arguments must not hold {min(taken)!r}, which the card's other keys give")
        return self

    @property
    def main_code(self) -> str | None:
        """The Python file that reads it, where it is not NAME.py."""
        return self.code

    @property
    def more_code(self) -> list[str]:
        """Other Python files beside the card."""
        return self.uses

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """Its files, and the function in the first of them. Raises UserError where that is absent or no Python."""
        absent = [path for path in map(card.path.with_name, self.uses) if not path.is_file()]
        yield from ((("uses",), f"{shown(path)} is missing") for path in absent)
        if not absent and "load" not in definitions(card, ast.FunctionDef):
            yield (), f"{shown(card.code)} has no function 'load'"

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """What `load` gives."""
        from sem_bench.data.readers.python import open_python

        return open_python(self, data, split, place)
