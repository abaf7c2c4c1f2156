"""The kinds of sources of images: each module here is one, and says everything of it but how its files are read.

A new kind is a new file with a subclass of Source whose `type` is a Literal. Nothing else has to know of it.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Annotated, Literal, Union, get_origin

from pydantic import Field

from sem_bench.data.sources.base import Corruption, Source

__all__ = ["KINDS", "AnySource", "Corruption", "Source"]


def found() -> tuple[type[Source], ...]:
    """The kinds in the modules of this package, by module. None of them imports torch or numpy at its top."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    classes = [one for module in modules for one in vars(module).values() if isinstance(one, type)]
    return tuple(dict.fromkeys(one for one in classes if issubclass(one, Source) and _is_kind(one)))


def _is_kind(source: type[Source]) -> bool:
    return get_origin(source.model_fields["type"].annotation) is Literal


KINDS = found()
if TYPE_CHECKING:
    AnySource = Source
else:  # what a card may say: its `type` chooses
    AnySource = Annotated[Union[KINDS], Field(discriminator="type")]  # noqa: UP007 - the kinds are found here
