"""The formats of a table, a module each.

A module NAME has `END`, how the files that a run writes end (None: it writes none), and `render(tables, rows) -> str`,
the text without the last line end. One whose name begins with _ is no format.
"""

import importlib
import pkgutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from sem_bench.errors import UserError

if TYPE_CHECKING:
    from sem_bench.report.row import Row
    from sem_bench.report.text_table import TextTable

_FIRST = ("compact", "github", "latex", "csv", "html", "json")  # in this order, then others


class Format(Protocol):
    """What a module of this package has."""

    END: str | None

    def render(self, tables: "Sequence[TextTable]", rows: "Sequence[Row]") -> str:
        """The text of some tables, or of the rows that they stand on."""


def names() -> list[str]:
    """The names of all formats. Imports none of them."""
    found = [one.name for one in pkgutil.iter_modules(__path__) if not one.name.startswith("_")]
    return sorted(found, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))


def named(name: str) -> Format:
    """The format of a name. Raises UserError where there is none."""
    if name not in names():
        raise UserError(f"--format {name}: there is {', '.join(names())}")
    return cast(Format, importlib.import_module(f"{__name__}.{name}"))
