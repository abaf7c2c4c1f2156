"""Ctrl-C and signals, not lost: Python drops an exception that a signal raises in a destructor or callback."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP
_asked = 0  # the number of the first signal that came
_postponed = False


def listen() -> None:
    """From now on these signals raise KeyboardInterrupt, and are remembered.

    SIGUSR1, with which SLURM warns of the end of a job's time, counts as SIGTERM. SIGHUP comes when a terminal is
    closed; under `nohup` nobody hears it.
    """
    global _asked
    _asked = 0
    for number in SIGNALS:
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue
        meaning = signal.SIGTERM if number == signal.SIGUSR1 else number
        signal.signal(number, lambda _, frame, meaning=meaning: interrupt(meaning))  # type: ignore[misc]


@contextmanager
def listening() -> Iterator[None]:
    """Listen meanwhile, for who is called from a program of others; outside of the main thread Python allows none."""
    global _asked
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    listen()
    try:
        yield
    finally:
        _asked = 0
        for number, handler in before.items():
            signal.signal(number, handler)


def asked() -> bool:
    """Whether a signal came, whatever became of its exception."""
    return _asked != 0


def pass_on(error: BaseException) -> None:
    """Raise KeyboardInterrupt where the user wants the end, and this is no error of the code that raised it.

    Code may raise KeyboardInterrupt of its own accord: who listens knows that no signal came.
    """
    listening = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    if asked() or (issubclass(type(error), KeyboardInterrupt) and not listening):
        raise KeyboardInterrupt from error


def exit_code() -> int:
    """Of a process that a signal ended, as shells say it: 130, 143 after SIGTERM, 129 after SIGHUP.

    The signal is answered by that.
    """
    global _asked
    number, _asked = _asked or signal.SIGINT, 0
    return 128 + number


def check() -> None:
    """Raise KeyboardInterrupt where a signal came and its exception was lost; called between steps."""
    if _asked:
        raise KeyboardInterrupt


def interrupt(number: int) -> None:
    """What a signal does; a second one is not postponed."""
    global _asked
    first, _asked = not _asked, _asked or number
    if not (first and _postponed):
        raise KeyboardInterrupt


@contextmanager
def postponed() -> Iterator[None]:
    """What must not be left half done: a signal is noted, and raises at the end."""
    global _postponed
    _postponed = True
    try:
        yield
    finally:
        _postponed = False
    check()
