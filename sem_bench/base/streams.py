"""Standard output and error, as the caller of the program may have left them: closed, or without a reader."""

import errno
import io
import os
import sys
from typing import Any

GONE = errno.EPIPE, errno.EIO  # nobody reads any more, as after `| head`, or once the terminal was closed
OUT, ERR = 1, 2


class _Stream(io.FileIO):
    """What nobody can read goes nowhere, and the work goes on.

    Where standard output cannot take what was asked for, as on a full disk, that is an error, and said once.
    """

    _said = False

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if self.fileno() == OUT and error.errno not in GONE and not self._said:
                self._said, error.filename = True, "standard output"
                raise
            return len(data)


def prepare() -> None:
    """Put such streams in the place of Python's. No file takes the number of one that the caller has closed."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= ERR:
        os.set_inheritable(number, True)
    os.close(number)
    for number, name in ((OUT, "stdout"), (ERR, "stderr")):
        before = getattr(sys, name)
        by_line = number == ERR or (before is not None and (before.line_buffering or before.write_through))
        file = io.BufferedWriter(_Stream(number, "w", closefd=False))
        encoding = "utf-8" if before is None else before.encoding
        stream = io.TextIOWrapper(file, encoding, "backslashreplace", line_buffering=by_line)
        setattr(sys, name, stream)
