"""Starts the other processes of a world, watches them, and says why one is gone.

This process is number 0. The others are spawned by it on the same machine and end with it, whatever happens. An error
of one ends the work here with that error; the death of one ends it with `DeathError`, never with a wait.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from sem_bench.base import interrupts, world
from sem_bench.base.world import PeerError, Seat
from sem_bench.errors import described, plainly

SPAWN = multiprocessing.get_context("spawn")
PATIENCE = 1800.0  # seconds that a process waits for another, which may write a checkpoint meanwhile
START = 120.0  # seconds in which a process must have imported torch
GRACE = 10.0  # seconds from the death of one process to that of this one, if its own wait does not end
LONGEST = 2**14  # characters of a traceback: a longer one could fill the pipe, which nobody reads meanwhile
READY, ERROR = "ready", "error"
DONE, DESERTED = 117, 118  # exit codes of a companion that did its part, or lost the others; no other leaves so


class DeathError(Exception):
    """A companion died, as by kill -9 or for want of memory."""


class ElsewhereError(Exception):
    """An error of a companion, in its words; its traceback is a note."""


@contextmanager
def together(
    size: int,
    function: Callable[..., object],
    *arguments: Any,
    environments: Sequence[Mapping[str, str]] = (),
    patience: float = PATIENCE,
    on_gpu: bool = False,
) -> Iterator[None]:
    """Within, this process is number 0 of `size`, and each of the others calls `function(*arguments)` once.

    `environments` has for each of the others what differs from this process's own.
    Raises DeathError, ElsewhereError, or PeerError where one lives and does not answer for `patience` seconds.
    """
    if size == 1:
        yield
        return
    with TemporaryDirectory() as folder:
        own, companions = Seat(0, size, Path(folder) / "meeting", patience, on_gpu), list[_Companion]()
        over = threading.Event()
        try:
            with interrupts.postponed():  # no companion that is not ended below
                for number, environment in enumerate(environments or [{}] * (size - 1), 1):
                    companions.append(_start(own._replace(number=number), environment, function, arguments))
            for companion in companions:
                companion.await_ready()
            if on_gpu:
                threading.Thread(target=_watch, args=(companions, over), daemon=True).start()
            with world.joined(own):
                try:
                    yield
                except RuntimeError as error:
                    if not _of_the_connection(error):
                        raise
                    raise PeerError(str(error)) from error
            for companion in companions:
                companion.await_end(patience)
        except PeerError as error:
            raise _cause(companions, error) from error
        finally:
            over.set()
            for companion in companions:
                companion.process.kill()
                companion.process.join()


def cause_of_death(code: int | None) -> str:
    """What an exit code says, in brackets, where it is known."""
    if code is None:
        return ""
    if code == -signal.SIGKILL:
        return " (killed; was memory short?)"
    return f" (exit code {code})" if code >= 0 else f" ({signal.Signals(-code).name})"


@dataclass
class _Companion:
    """One of the other processes."""

    name: str
    process: BaseProcess
    pipe: Connection

    def await_ready(self) -> None:
        """Until it has imported what it needs."""
        if self.said(START)[0] != READY:
            raise DeathError(f"{self.name} did not start{cause_of_death(self.process.exitcode)}")

    def await_end(self, seconds: float) -> None:
        """Until it has done its part, too: what it raises after the last message is an error of the work."""
        self.process.join(seconds)
        if self.process.exitcode != DONE:
            raise PeerError(f"{self.name} did not end")

    @property
    def deserted(self) -> bool:
        """Whether it is gone before its part was done, and not for want of another."""
        return self.process.exitcode not in (None, DONE, DESERTED)

    def said(self, seconds: float) -> tuple[str, str, str]:
        """What it says within that time; nothing where it dies or stays silent."""
        with suppress(EOFError, OSError):
            if self.pipe.poll(seconds):
                kind, line, text = self.pipe.recv()
                return kind, line, text
        self.process.join(1)  # for its exit code
        return "", "", ""


def _of_the_connection(error: RuntimeError) -> bool:
    """Whether a collective raised it, perhaps one that a library calls by itself."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or "closed by peer" in str(error) or "/gloo/" in str(error)


def _start(
    seat: Seat, environment: Mapping[str, str], function: Callable[..., object], arguments: tuple[Any, ...]
) -> _Companion:
    mine, its = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_accompany, args=(seat, environment, its, function, arguments))
    process.start()
    its.close()  # so that its death ends the pipe
    return _Companion(f"device {seat.number + 1} of {seat.size}", process, mine)


def _cause(companions: list[_Companion], error: PeerError) -> Exception:
    """Why a companion did not answer."""
    silent = [companion.pipe for companion in companions]
    wait(silent, GRACE / 2)  # the error of a connection may come before the news of a death
    for companion in companions:
        companion.process.join(0.2)
    for companion in sorted(companions, key=lambda one: one.process.exitcode or 0):  # killed ones first
        kind, line, text = companion.said(0)
        if kind == ERROR:
            found = ElsewhereError(f"on {companion.name}: {line}")
            found.add_note(text)
            return found
        if companion.deserted:
            return DeathError(f"the process of {companion.name} died{cause_of_death(companion.process.exitcode)}")
    return PeerError(f"another device does not answer ({error})")


def _watch(companions: list[_Companion], over: threading.Event) -> None:
    """A GPU may wait for ever for one that is gone. Then this process dies, too: its job is tried again."""
    left = {companion.process.sentinel: companion for companion in companions}
    while not any(companion.deserted for companion in companions):
        if not left:
            return
        for sentinel in wait(list(left)):
            left.pop(cast(int, sentinel)).process.join(1)
    if not over.wait(GRACE):
        sys.stderr.write("".join(companion.said(0)[2] for companion in companions))  # its error, if it had one
        os.kill(os.getpid(), signal.SIGKILL)


# --- in a companion ---


def _accompany(
    seat: Seat,
    environment: Mapping[str, str],
    pipe: Connection,
    function: Callable[..., object],
    arguments: tuple[Any, ...],
) -> None:
    os.environ.update(environment)
    for ignored in interrupts.SIGNALS:  # process 0 decides when all end
        signal.signal(ignored, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe.send((READY, "", ""))
    try:
        with world.joined(seat):
            _tell_errors(pipe, function, arguments)
    except PeerError:
        os._exit(DESERTED)
    except BaseException:
        os._exit(1)
    sys.stdout.flush()
    os._exit(DONE)


def _tell_errors(pipe: Connection, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    """Of the function's own; before this process leaves the world, which the others notice."""
    try:
        plainly(function, *arguments)
    except PeerError:  # another's fault
        raise
    except BaseException as error:
        if isinstance(error, RuntimeError) and _of_the_connection(error):
            raise PeerError(str(error)) from error
        pipe.send((ERROR, described(error)[:LONGEST], traceback.format_exc()[-LONGEST:]))
        raise


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
