"""Sums that tell whether a file is what was written.

A sealed file ends in a mark and the SHA-256 of all that stands before; who reads .pt and .npy files does not mind that.
The sum may begin with what the file is, where the content does not say it: then no other file can take its place.
A JSON object has the sum of its canonical content as its field "sum".
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from sem_bench.base.digest import digest
from sem_bench.base.files import no_file

MARK = b"\nsem-bench sha256 "
SUM = "sum"
_PART = 1 << 20


class DamagedError(Exception):
    """A file is not what was written."""

    def __init__(self, path: Path, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"{path}: {why}")


class _Summing:
    """A file that is written, and the sum of what went into it."""

    def __init__(self, file: BinaryIO, of: str) -> None:
        self.file, self.sum = file, hashlib.sha256(of.encode())

    def write(self, data: Any) -> int:
        self.sum.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def sealed(content: Callable[[Any], object], of: str = "") -> Callable[[BinaryIO], object]:
    """What writes the content and its seal, summed as it is written; for `write_atomic`. `of`: what the file is."""

    def write(file: BinaryIO) -> None:
        summing = _Summing(file, of)
        content(summing)
        file.write(MARK + summing.sum.digest())

    return write


def open_sealed(path: Path, of: str = "") -> BinaryIO:
    """A sealed file, at its beginning. Raises DamagedError where it is no longer what was written, or has no seal.

    Also where it was sealed as another than `of`.
    """
    return _open(path, lambda file: _read_seal(file, of))


def open_summed(path: Path, expected: str | None) -> BinaryIO:
    """A file of that SHA-256, at its beginning; None: nobody knows it. Raises DamagedError as above."""

    def check(file: BinaryIO) -> str:
        found = expected and hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        return "" if found == expected else "not what was written (SHA-256)"

    return _open(path, check)


def _open(path: Path, wrong: Callable[[BinaryIO], str]) -> BinaryIO:
    """Summed as it comes from the disk; who reads the file next finds it in memory."""
    if why := no_file(path):
        raise DamagedError(path, why)
    try:
        file = path.open("rb")
    except PermissionError:  # nobody knows whether it is damaged
        raise
    except OSError as error:
        raise DamagedError(path, error.strerror or str(error)) from None
    try:
        if why := wrong(file):
            raise DamagedError(path, why)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _read_seal(file: BinaryIO, of: str) -> str:
    size, length = file.seek(0, 2), len(MARK) + 32
    file.seek(max(0, size - length))
    seal = file.read()
    if size < length or not seal.startswith(MARK):
        return "no checksum at its end: cut off, changed, or of an earlier version"
    file.seek(0)
    sum_, left = hashlib.sha256(of.encode()), size - length
    while left and (part := file.read(min(_PART, left))):
        sum_.update(part)
        left -= len(part)
    return "" if seal.endswith(sum_.digest()) else "not what was written (SHA-256)"


def with_sum(content: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with its own sum."""
    return content | {SUM: digest({name: value for name, value in content.items() if name != SUM})}


def holds(content: Any) -> bool:
    """Whether a JSON value is what was written, as far as it says what that was."""
    if not isinstance(content, dict) or SUM not in content:
        return True
    with suppress(ValueError, RecursionError):
        return bool(content[SUM] == with_sum(content)[SUM])
    return False
