"""Ctrl-C and SIGTERM, not lost: Python drops an exception that a signal raises inside a destructor or a callback."""

import signal
from typing import NoReturn

_asked = False


def listen() -> None:
    """From now on both signals raise KeyboardInterrupt, and are remembered."""
    global _asked
    _asked = False
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: interrupt())


def check() -> None:
    """Raise KeyboardInterrupt where a signal came and its exception was lost; called between steps."""
    if _asked:
        raise KeyboardInterrupt


def interrupt() -> NoReturn:
    """What a signal does."""
    global _asked
    _asked = True
    raise KeyboardInterrupt
