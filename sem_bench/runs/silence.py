"""A job that makes no progress for long is named on standard error: a loop without end looks like a long one."""

import sys
import threading
import time
from typing import Self

from sem_bench.errors import printable

LONG = 600.0  # seconds


class Silence:
    """Of a job, within: after ten minutes without a call of `heard`, after twenty, and so on, there is a line."""

    def __init__(self, name: str) -> None:
        self._name, self._heard, self._over = name, time.monotonic(), threading.Event()
        self._stream = sys.stderr  # a job's code may put another in its place
        self._thread = threading.Thread(target=self._watch, name="silence", daemon=True)

    def heard(self) -> None:
        """The job makes progress."""
        self._heard = time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        due = LONG
        while not self._over.wait(max(0.0, self._heard + due - time.monotonic())):
            silent = time.monotonic() - self._heard
            if silent < LONG:
                due = LONG
            elif silent >= due:
                self._stream.write(printable(f"{self._name}: no progress for {silent / 60:.3g} min") + "\n")
                self._stream.flush()
                due *= 2
