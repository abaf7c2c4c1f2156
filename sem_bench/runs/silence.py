"""A job that makes no progress for long is named on standard error: a loop without end looks like a long one.

With a patience, which the command line has, it is ended.
"""

import faulthandler
import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Self, TextIO

from sem_bench.base import alive
from sem_bench.errors import printable

LONG = 600.0  # seconds
STANDARD_ERROR = 2
GRACE = 30.0  # seconds that an ended job has left before its process ends


class StuckError(BaseException):
    """A job made no progress for longer than the patience. No Exception, which a method's own code may catch."""


class Silence:
    """Of a job, within: after ten minutes without a call of `heard`, after twenty, and so on, there is a line.

    After `patience` seconds StuckError is raised in the main thread, which does the job. Code that does not come back
    to Python hears nothing of it, nor does a job in another thread: half a minute later its process ends, and says
    where it was.
    """

    def __init__(self, name: str, patience: float | None = None) -> None:
        self._name, self._heard, self._over = name, time.monotonic(), threading.Event()
        self._patience = math.inf if patience is None else patience
        self._stream = sys.stderr  # a job's code may put another in its place
        self._thread = threading.Thread(target=self._watch, name="silence", daemon=True)
        self._armed = -math.inf
        self._before: Any = None
        self._other: Callable[[], None] | None = None

    def heard(self) -> None:
        """The job makes progress."""
        self._heard = time.monotonic()
        if self._patience < math.inf and self._heard - self._armed > 1:
            self._arm()

    def __enter__(self) -> Self:
        self._other = alive.listen(self.heard)
        if self._patience < math.inf:
            if threading.current_thread() is threading.main_thread():  # Python raises in no other
                self._before = signal.signal(signal.SIGALRM, self._raise)
            self._arm()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        alive.listen(self._other)
        if self._patience < math.inf:
            faulthandler.cancel_dump_traceback_later()
        if self._before is not None:
            signal.signal(signal.SIGALRM, self._before)

    def _arm(self) -> None:
        """What ends the process needs nothing of Python, not even its lock."""
        self._armed = time.monotonic()
        faulthandler.dump_traceback_later(self._patience + GRACE, exit=True, file=_descriptor(self._stream))

    def _watch(self) -> None:
        due = LONG
        while not self._over.wait(max(0.0, self._heard + min(due, self._patience) - time.monotonic())):
            silent = time.monotonic() - self._heard
            if silent >= self._patience and self._before is None:
                return
            if silent >= self._patience:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
                return
            if silent < LONG:
                due = LONG
            elif silent >= due:
                self._stream.write(printable(f"{self._name}: no progress for {silent / 60:.3g} min") + "\n")
                self._stream.flush()
                due *= 2

    def _raise(self, *_: object) -> None:
        raise StuckError(f"no progress for {self._patience / 60:.3g} min (--patience)")


def _descriptor(stream: TextIO) -> int:
    """Of a stream, or the process's standard error where it has none, as in a notebook."""
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):
        return STANDARD_ERROR
