"""Files: where ours are, and writes that leave a file whole or not at all, also after a power cut."""

import errno
import hashlib
import json
import os
import shutil
import socket
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import from_json

from sem_bench.base import locks

PACKAGE = Path(__file__).parent.parent
BUILTIN = PACKAGE / "builtin" if (PACKAGE / "builtin").is_dir() else PACKAGE.parent  # installed, or a checkout

LEADS_NOWHERE = "a link to what is not there"
SILENT = 86400.0  # seconds after which the temporary file of a process elsewhere counts as left behind


def shown(path: Path) -> Path:
    """The path as a message says it: from the current folder where it lies below."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def no_file(path: Path, status: os.stat_result | None = None) -> str:
    """Why nothing can be read of what is there: a pipe without a writer never ends. "" for files, folders and nothing.

    `status` is that of the path, where it is known.
    """
    with suppress(OSError, ValueError):  # a NUL in the path
        mode = (status or path.stat()).st_mode
        return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "no file, but a pipe or device"
    return ""


def no_folder(path: Path) -> str:
    """Why there is no folder, nor can be one: a file stands there or on the way. "" where nothing is in the way."""
    for part in (path, *path.parents):
        with suppress(OSError):  # what cannot be looked at, who writes there says
            if part.is_dir():
                break
            if part.exists():
                return f"{'this' if part == path else part} is a file, not a folder"
    return ""


def no_place(path: Path) -> str:
    """The same of a file that is to be written: why it has no folder."""
    return "" if os.path.exists(path) else no_folder(path)  # noqa: PTH110 - raises for no name


def reason(error: OSError) -> str:
    """What an error says of a file; where a link stands that leads nowhere, not that it exists."""
    if isinstance(error, FileExistsError) and not Path(error.filename).exists():
        return LEADS_NOWHERE
    return error.strerror or str(error)


def barred(path: Path) -> str:
    """Why a file or folder that is there may not be read; "" where it may, or is not there."""
    with suppress(ValueError):
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)) and os.access(path, os.F_OK):
            return "may not be read (permission denied)"
    return ""


def files_below(folder: Path, above: tuple[tuple[int, int], ...] = ()) -> Iterator[tuple[str, os.stat_result]]:
    """Every file anywhere below a folder, links followed. By hand, for speed: some folders have a million files.

    Raises OSError at a link that leads back to a folder in which it lies; `above` are those, as device and number.
    """
    own = os.stat(folder)  # noqa: PTH116
    if (own.st_dev, own.st_ino) in above:
        raise OSError(errno.ELOOP, "a link to a folder in which it lies itself", str(folder))
    above = (*above, (own.st_dev, own.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                below, status = entry.is_dir(), entry.stat()
            except OSError:  # a link to nothing, or to itself
                below, status = False, entry.stat(follow_symlinks=False)
            if below:
                yield from files_below(Path(entry.path), above)
            else:
                yield entry.path, status


def remove(path: Path, *, ignore_errors: bool = False) -> None:
    """A file, or a folder with all that it holds; of a link the link alone. Nothing happens where nothing is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=ignore_errors)
    else:
        path.unlink(missing_ok=True)


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


FULL = 2**22  # bytes that may be left on a full disk: less than torch writes at once


def write_atomic(path: Path, content: str | bytes | Callable[[BinaryIO], object]) -> None:
    """Write beside `path`, flush to disk, then rename over it. `content` may be a function of the open file.

    Raises LostError where another process has taken over the lock under which this one writes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{_writer()}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        locks.check()
        temporary.replace(path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # a full disk names no file, others the temporary one
        raise
    except RuntimeError:  # torch ends its archive after a write that failed, and says no more than that this failed
        if shutil.disk_usage(path.parent).free > FULL:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


@cache
def _host() -> str:
    """This machine, and the part of it that counts its processes apart, as a container does."""
    apart = Path("/proc/self/ns/pid")
    with suppress(OSError):
        return hashlib.sha256(f"{socket.gethostname()} {apart.stat().st_ino}".encode()).hexdigest()[:8]
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _writer() -> str:
    """This process, as the names of its temporary files say it."""
    return f"{_host()}.{os.getpid()}"


def left_behind(folder: Path) -> Iterator[Path]:
    """Temporary files in a folder whose writer is dead: no process of this host, or of another and untouched a day."""
    try:
        names = [name for name in os.listdir(folder) if name.startswith(".") and name.endswith(".tmp")]  # noqa: PTH208
    except OSError:
        return
    for path in (folder / name for name in names):
        *_, host, process, _, _ = ("", "", "", "", *path.name.split("."))
        with suppress(OSError):
            if host == _host() and process.isdigit():
                dead = not _lives(int(process))
            else:
                dead = time.time() - path.stat().st_mtime > SILENT
            if dead:
                yield path


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def write_json(path: Path, value: object) -> None:
    """Write a value as readable JSON, atomically. NaN and infinity are refused."""
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def stamp(path: Path | str) -> tuple[int, int, int]:
    """What is other once a file has become another, or was written again. Raises OSError."""
    status = os.stat(path)  # noqa: PTH116 - of thousands of files
    return status.st_ino, status.st_mtime_ns, status.st_size


class JsonFiles:
    """JSON files that a command looks at often: each is read once for as long as it is the same file.

    Files that are written whole or not at all (`write_json`) are other files after that.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int, int], Any]] = {}

    def read(self, path: Path) -> Any:
        """The content, not to be changed; None as for `read_json`."""
        try:
            now = stamp(path)
        except OSError:
            return None
        if path not in self._known or self._known[path][0] != now:
            self._known[path] = now, read_json(path)
        return self._known[path][1]


def read_json(path: Path) -> Any:
    """A JSON file's value, or None where it is absent, not whole, or nothing that `write_json` would write."""
    try:
        if not path.is_file():  # a pipe without a writer would never end
            return None
        return from_json(path.read_bytes(), allow_inf_nan=False)  # refuses what is nested too deeply, too
    except (OSError, ValueError, RecursionError):
        return None
