"""Work in threads, its results in order."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sem_bench.base.alive import alive
from sem_bench.base.files import shown
from sem_bench.errors import UserError

AHEAD = 2  # chunks of work for each worker, read before they are asked for
PATIENCE = 600.0  # seconds without a result after which a file system or drive counts as hung
A = TypeVar("A")
B = TypeVar("B")

_begun: dict[int, tuple[float, Path]] = {}  # thread -> since when it reads which file


class HungError(UserError):
    """A file is not read, and gives no error."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Within, this thread reads that file."""
    thread = threading.get_ident()
    _begun[thread] = time.monotonic(), path
    try:
        yield
    finally:
        _begun.pop(thread, None)


def pieces(rows: range, size: int = 16) -> list[range]:
    """Parts of a few images each: what a worker does at a time."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def ordered(work: Callable[[A], B], parts: Iterable[A], *, workers: int) -> Generator[B]:
    """The results in order, a few parts ahead. Threads: Pillow decodes and resizes without the interpreter's lock.

    Raises HungError where a part takes longer than `PATIENCE`.
    """
    waiting: deque[Future[B]] = deque()
    pool, hung = ThreadPoolExecutor(workers, thread_name_prefix="images"), False
    try:
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) > AHEAD * workers:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    except HungError:
        hung = True
        raise
    finally:
        pool.shutdown(wait=not hung, cancel_futures=True)


def _result(future: Future[B]) -> B:
    alive()
    try:
        return future.result(PATIENCE)
    except TimeoutError:
        if future.done():  # the work's own
            raise
    _, path = min(_begun.values(), default=(0.0, None))
    where = "" if path is None else f": {shown(path)}"
    raise HungError(f"no image was read for {PATIENCE / 60:g} min{where}")
