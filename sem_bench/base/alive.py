"""A sign of life of work that takes long, for whoever waits for one (sem_bench.runs.silence)."""

from collections.abc import Callable

_listener: Callable[[], None] | None = None


def listen(listener: Callable[[], None] | None) -> Callable[[], None] | None:
    """From now on `listener` hears of every sign of life; returns the one before."""
    global _listener
    before, _listener = _listener, listener
    return before


def alive() -> None:
    """Work goes on: another part of the images, another step of a solver."""
    if _listener is not None:
        _listener()
