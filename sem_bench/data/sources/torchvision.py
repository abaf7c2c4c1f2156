"""The data set classes of torchvision."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field

from sem_bench.config.cards import Card, Library
from sem_bench.config.fields import Name, Scalar, SplitName, Where
from sem_bench.config.validation import did_you_mean
from sem_bench.data.sources.base import Needs, Problem, Source

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.data.described import Data
    from sem_bench.data.readers.opened import Opened

Arguments = dict[str, Scalar]


class TorchvisionSource(Source):
    """A data set class of torchvision.datasets."""

    type: Literal["torchvision"]
    class_name: Name = Field(alias="class")
    path: Where = ""  # what the class gets as `root`
    download: Annotated[bool, Field(exclude=True)] = False  # let the class fetch what is absent
    # Of the class, by split; else from its own `train` or `split`. A list of them: all these together are the split.
    arguments: dict[SplitName, Arguments | Annotated[list[Arguments], Field(min_length=1)]] = {}

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """The class."""
        if self.class_name not in (known := _classes()):
            yield ("class",), f"torchvision has no data set {self.class_name!r}{did_you_mean(self.class_name, known)}"

    def needs(self, name: str) -> Needs:
        """Its root, by default the folder with the data set's name."""
        root = self.path or name
        return Needs(fetched=root) if self.download else Needs([root])

    def for_training(self) -> Self:
        """Told of the training images alone."""
        own = {name: values for name, values in self.arguments.items() if name == "train"}
        return self.model_copy(update={"arguments": own})

    def offline(self) -> Self:
        """Without the leave to download."""
        return self.model_copy(update={"download": False})

    def read(self, data: "Data", split: SplitName, place: "Place") -> "Opened":
        """The class's items."""
        from sem_bench.data.readers.torchvision import open_torchvision

        return open_torchvision(self, data, split, place)


def _classes() -> list[str]:
    """The names that torchvision.datasets exports, without the seconds that its import takes."""
    package = importlib.util.find_spec("torchvision")
    assert package is not None and package.origin is not None
    text = (Path(package.origin).parent / "datasets" / "__init__.py").read_text()
    return re.findall(r'"(\w+)"', text[text.index("__all__") :])
