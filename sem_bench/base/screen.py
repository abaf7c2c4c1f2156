"""How wide texts may be: as the terminal, or as COLUMNS says; what goes to a file or another program is not wrapped."""

import os
import shutil
import sys
from collections.abc import Iterable
from textwrap import wrap

UNLIMITED = 10**6
LEAST = 40  # columns; narrower ones are left to the terminal


def width() -> int:
    """Columns that a line may have."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return max(LEAST, int(said))
    return max(LEAST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else UNLIMITED


def wrapped(text: str, *, indent: int = 0) -> str:
    """A line as it fits: what does not goes on below, indented."""
    if len(text) <= width():
        return text
    return "\n".join(
        wrap(text, width(), subsequent_indent=" " * indent, break_on_hyphens=False, break_long_words=False)
    )


def listed(pairs: Iterable[tuple[str, str]]) -> str:
    """Names, and beside each a text that goes on below itself."""
    pairs = list(pairs)
    room = max((len(name) for name, _ in pairs), default=0) + 2
    return "\n".join(wrapped(f"{name:{room}}{text}".rstrip(), indent=room) for name, text in pairs)


def shares(*parts: int, beside: int = 0) -> list[int]:
    """The widths of columns: as they are, or smaller ones in their proportions, that fit beside so many characters."""
    room = width() - beside
    return [min(part, max(8, part * room // sum(parts))) for part in parts]
