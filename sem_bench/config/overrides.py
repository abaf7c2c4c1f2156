"""`--set KEY=YAML`: change a suite's values from the command line, before anything is checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sem_bench.config.strict_yaml import MAX_DEPTH, parse
from sem_bench.config.validation import Document, Location
from sem_bench.errors import UserError


@dataclass(frozen=True)
class Assigned:
    """A document with values from elsewhere: a message about one of them names its `--set`."""

    original: Document
    data: object
    sources: Mapping[Location, str]

    def place(self, location: Sequence[str | int]) -> str:
        """Where that is, for a message."""
        for length in range(len(location), 0, -1):
            if source := self.sources.get(tuple(location[:length])):
                return source
        return self.original.place(location)


def assign(document: Document, assignments: Sequence[str]) -> tuple[Assigned, list[str]]:
    """The document after each KEY=YAML, and what was wrong with them.

    A key below `grid` is set in each grid of a list, one below `grid.0` in the first alone.
    """
    data, sources, problems = document.data, dict[Location, str](), list[str]()
    for text in assignments:
        source = f"--set {text}"
        try:
            key, value = _parsed(text, source)
            for location in _everywhere(data, key, source):
                data = _with(data, location, value, source)
                sources[location] = source
        except UserError as error:
            problems += error.problems
    return Assigned(document, data, sources), problems


def _parsed(text: str, source: str) -> tuple[Location, Any]:
    key, equals, value = text.partition("=")
    location = tuple(part.strip() for part in key.split("."))
    if not equals or not all(location):
        raise UserError(f"{source}: expected KEY=VALUE, such as pretrain.epochs=5")
    if len(location) > MAX_DEPTH:
        raise UserError(f"{source}: nested deeper than {MAX_DEPTH} levels")
    return location, parse(value, path=source).data if value.strip() else None


def _everywhere(data: object, key: Location, source: str) -> list[Location]:
    grids = data.get("grid") if isinstance(data, dict) and key[0] == "grid" else None
    if not isinstance(grids, list) or len(key) == 1:
        return [key]
    if str(key[1]).isdigit() and len(key) > 2:
        if int(key[1]) >= len(grids):
            raise UserError(f"{source}: the suite has grids 0 to {len(grids) - 1}")
        return [("grid", int(key[1]), *key[2:])]
    return [("grid", i, *key[1:]) for i in range(len(grids))]


def _with(data: object, location: Location, value: object, source: str) -> Any:
    """A copy of data with the value at the location; keys on the way are made where they lack."""
    if not location:
        return value
    part, rest = location[0], location[1:]
    if isinstance(data, list) and isinstance(part, int):
        return [_with(item, rest, value, source) if i == part else item for i, item in enumerate(data)]
    if not isinstance(data, dict):
        raise UserError(f"{source}: {part!r} stands below a value, not below keys")
    below = data.get(part)
    return {**data, part: _with({} if below is None and rest else below, rest, value, source)}
