"""Exclusive locks on files. The system drops the lock of a process that dies, however it dies."""

import fcntl
import os
from pathlib import Path
from typing import Self


class Lock:
    """A lock on the file at `path`, which is made where it is absent; its folder must be there.

    A file that is `temporary` is removed by who lets go of it; any other stays.
    """

    def __init__(self, path: Path, *, temporary: bool = False) -> None:
        self.path = path
        self._temporary = temporary
        self._file: int | None = None

    def acquire(self) -> None:
        """Wait until no other process has it."""
        while True:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if not self._temporary or os.fstat(self._file).st_nlink:
                return
            os.close(self._file)  # the one before removed the file, and the next may lock another one

    def release(self) -> None:
        """Let others in; nothing happens where it is not held."""
        if self._file is None:
            return
        if self._temporary:
            self.path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def held(path: Path) -> bool:
    """Whether a process holds the lock on a file; False where there is no file."""
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
