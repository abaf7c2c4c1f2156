"""Paths as people write those of many files: birds-{0000..0146}.tar, {train,test}.parquet."""

import re
from pathlib import Path

MOST = 100_000  # files of a pattern


def expanded(pattern: str) -> list[str]:
    """The paths that a pattern names, as a shell has them; itself where it holds no braces of that kind.

    Numbers keep the zeros before them. Raises ValueError where they are more than MOST.
    """
    group = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", pattern)  # an innermost one
    if group is None:
        return [pattern]
    if group[3] is not None:
        words = group[3].split(",")
    else:
        first, last = int(group[1]), int(group[2])
        if abs(last - first) >= MOST:
            raise ValueError(f"{group[0]}: more than {MOST:,} files")
        words = [f"{number:0{len(group[1])}}" for number in range(min(first, last), max(first, last) + 1)]
    found: dict[str, None] = {}
    for word in words:
        found |= dict.fromkeys(expanded(pattern[: group.start()] + word + pattern[group.end() :]))
        if len(found) > MOST:  # of several groups together
            raise ValueError(f"{pattern}: more than {MOST:,} files")
    return list(found)


def is_pattern(path: Path) -> bool:
    """Whether it names several files; one that is there as it is does not."""
    return "{" in str(path) and not path.exists() and expanded(str(path)) != [str(path)]


def top_of(path: Path) -> Path:
    """The folder above the first braces of a pattern; any other path as it is."""
    return Path(str(path).partition("{")[0] + "x").parent if is_pattern(path) else path
