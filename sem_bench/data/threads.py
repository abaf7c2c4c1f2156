"""Work in threads, its results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AHEAD = 2  # chunks of work for each worker, read before they are asked for
A = TypeVar("A")
B = TypeVar("B")


def pieces(rows: range, size: int = 16) -> list[range]:
    """Parts of a few images each: what a worker does at a time."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def ordered(work: Callable[[A], B], parts: Iterable[A], *, workers: int) -> Generator[B]:
    """The results in order, a few parts ahead. Threads: Pillow decodes and resizes without the interpreter's lock."""
    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="images") as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(work, part))
                if len(waiting) > AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
