"""Profiles: variants of a suite in one file, of which `profile` names one.

    profile: small
    profiles:
      small: {grid: {backbones: [resnet10w16]}, pretrain: {epochs: 20}}
      full: {grid: {backbones: [resnet18]}, pretrain: {epochs: 200}}

The values of a profile replace those of the suite, key by key; it adds and replaces, and takes nothing away. `--set
profile=full` chooses another one; other `--set`s come after the profile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sem_bench.config.validation import Document, Location, at, did_you_mean
from sem_bench.errors import UserError

MOST_PROFILES = 1000


@dataclass(frozen=True)
class Profiled:
    """A suite with a profile's values; each is still found in its line."""

    original: Document
    data: object
    moved: dict[Location, Location]  # where a value stands in the suite -> where it stands in the file

    def place(self, location: Sequence[str | int]) -> str:
        """PATH:LINE of a part."""
        location = tuple(location)
        for length in range(len(location), 0, -1):
            if source := self.moved.get(location[:length]):
                return self.original.place((*source, *location[length:]))
        return self.original.place(location)


def split(assignments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The profile that `--set profile=NAME` chooses, and the other assignments."""
    chosen = [text.partition("=")[2].strip() for text in assignments if text.partition("=")[0].strip() == "profile"]
    others = [text for text in assignments if text.partition("=")[0].strip() != "profile"]
    return (chosen[-1] if chosen else None), others


def others(document: Document, chosen: str | None) -> list[str]:
    """The names of the profiles that are not chosen."""
    data = document.data if isinstance(document.data, dict) else {}
    profiles = data.get("profiles")
    return [name for name in profiles if name != (chosen or data.get("profile"))] if isinstance(profiles, dict) else []


def with_profile(document: Document, chosen: str | None = None) -> Profiled:
    """The suite with the profile of that name, or the one it names. Raises UserError for an unknown one."""
    data = document.data
    if not isinstance(data, dict) or "profiles" not in data:
        if chosen is not None:
            raise UserError(f"--set profile={chosen}: {document.place(())} has no profiles")
        if isinstance(data, dict) and "profile" in data:
            raise UserError(at(document, ("profile",), "`profile` names one of `profiles`, and there are none"))
        return Profiled(document, data, {})
    profiles = data["profiles"]
    if not isinstance(profiles, dict) or not all(isinstance(values, dict) for values in profiles.values()):
        raise UserError(at(document, ("profiles",), "profiles: expected names, and below each the values it sets"))
    if len(profiles) > MOST_PROFILES:  # each is checked whenever the file is read
        raise UserError(
            at(document, ("profiles",), f"{len(profiles):,} profiles; a file holds {MOST_PROFILES:,} at most")
        )
    name = data.get("profile") if chosen is None else chosen
    if not isinstance(name, str) or name not in profiles:
        where = ("profile",) if chosen is None and "profile" in data else ("profiles",)
        text = f"unknown profile {name!r}{did_you_mean(name, profiles)}" if name else "`profile` names none of them"
        raise UserError(at(document, where, text))
    rest = {key: value for key, value in data.items() if key != "profiles"} | {"profile": name}
    moved: dict[Location, Location] = {}
    return Profiled(document, _merged(rest, profiles[name], (), ("profiles", name), moved), moved)


def _merged(base: Any, changes: Any, here: Location, source: Location, moved: dict[Location, Location]) -> Any:
    if isinstance(base, list) and isinstance(changes, dict) and here == ("grid",):
        return [_merged(part, changes, (*here, i), source, moved) for i, part in enumerate(base)]
    if not isinstance(base, dict) or not isinstance(changes, dict):
        moved[here] = source
        return changes
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = _merged(base.get(key), value, (*here, key), (*source, key), moved)
    return merged
