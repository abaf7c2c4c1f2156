"""Files: where ours are, and writes that leave a file whole or not at all, also after a power cut."""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import from_json

from sem_bench.base import locks

PACKAGE = Path(__file__).parent.parent
BUILTIN = PACKAGE / "builtin" if (PACKAGE / "builtin").is_dir() else PACKAGE.parent  # installed, or a checkout


def shown(path: Path) -> Path:
    """The path as a message says it: from the current folder where it lies below."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def files_below(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file anywhere below a folder, links followed. By hand, for speed: some folders have a million files."""
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                below, status = entry.is_dir(), entry.stat()
            except OSError:  # a link to nothing, or to itself
                below, status = False, entry.stat(follow_symlinks=False)
            if below:
                yield from files_below(Path(entry.path))
            else:
                yield entry.path, status


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lines_digest(lines: Iterable[str]) -> str:
    """SHA-256 of lines with newlines between them; they may be millions, and are never one text."""
    seen = hashlib.sha256()
    for number, line in enumerate(lines):
        seen.update(os.fsencode(f"\n{line}" if number else line))
    return seen.hexdigest()


def write_atomic(path: Path, content: str | bytes | Callable[[BinaryIO], object]) -> None:
    """Write beside `path`, flush to disk, then rename over it. `content` may be a function of the open file.

    Raises LostError where another process has taken over the lock under which this one writes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        locks.check()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write a value as readable JSON, atomically. NaN and infinity are refused."""
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


class JsonFiles:
    """JSON files that a command looks at often: each is read once for as long as it is the same file.

    Files that are written whole or not at all (`write_json`) are other files after that.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int, int], Any]] = {}

    def read(self, path: Path) -> Any:
        """The content, not to be changed; None as for `read_json`."""
        try:
            status = path.stat()
        except OSError:
            return None
        stamp = status.st_ino, status.st_mtime_ns, status.st_size
        if path not in self._known or self._known[path][0] != stamp:
            self._known[path] = stamp, read_json(path)
        return self._known[path][1]


def read_json(path: Path) -> Any:
    """A JSON file's value, or None where it is absent, not whole, or nothing that `write_json` would write."""
    try:
        return from_json(path.read_bytes(), allow_inf_nan=False)  # refuses what is nested too deeply, too
    except (OSError, ValueError):
        return None
