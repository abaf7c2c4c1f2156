"""Which job starts next: inputs first, one seed's jobs before the next seed's, long chains first, within the memory.

No job is done here and no clock is read, so the same queue also says how long a plan takes on so many slots.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Rank = tuple[float, ...]


class Task(NamedTuple):
    """What the queue knows of a job."""

    key: str
    inputs: Sequence[str] = ()  # keys; those that the queue does not know are done
    turn: int = 0  # smaller ones first, so that a table of one seed comes early
    seconds: float = 0.0
    bytes: float = 0.0
    slots: int = 1  # that it takes, one for each of its devices


class Queue:
    """Tasks that wait or run, in so many `slots` and `room` bytes.

    With one slot they keep the order of a plan, until `spread` says that others do them as well.
    """

    def __init__(self, slots: int, room: float = float("inf")) -> None:
        self.slots, self.room = slots, room
        self._tasks: dict[str, Task] = {}  # waiting or running
        self._lacks: dict[str, int] = {}  # how many inputs a waiting task lacks
        self._feeds: dict[str, list[str]] = defaultdict(list)  # the tasks that wait for one
        self._ranks: dict[str, Rank] = {}
        self._spread = slots > 1
        self._ready: list[tuple[Rank, str]] = []  # a heap
        self._running: dict[str, Task] = {}
        self._passed = 0  # how many tasks have overtaken the first, which lacks memory or slots

    def add(self, tasks: Sequence[Task]) -> None:
        """More tasks, each after its inputs."""
        chain = _longest_chains(tasks)
        for task in tasks:
            place = float(len(self._ranks))
            self._ranks[task.key], self._tasks[task.key] = (task.turn, -chain[task.key], place), task
            lacking = [key for key in set(task.inputs) if key in self._tasks]
            self._lacks[task.key] = len(lacking)
            for key in lacking:
                self._feeds[key].append(task.key)
            if not lacking:
                self.again(task.key)

    def again(self, key: str) -> None:
        """A task whose inputs are done can start, for the first time or once more."""
        self._running.pop(key, None)
        heapq.heappush(self._ready, (self._rank(key), key))

    def spread(self) -> None:
        """Long chains first from now on: what is done at the same time is then of different networks."""
        if not self._spread:
            self._spread = True
            self._ready = [(self._rank(key), key) for _, key in self._ready]
            heapq.heapify(self._ready)

    def _rank(self, key: str) -> Rank:
        return self._ranks[key] if self._spread else self._ranks[key][-1:]

    def defer(self, key: str) -> None:
        """A task that was taken does not run; it waits until `again`."""
        del self._running[key]

    def take(self) -> str | None:
        """The task to start now; None where no slot is free, none is ready, or none fits into slots and memory."""
        free = self.free
        if free <= 0:
            return None
        left = self.room - sum(task.bytes for task in self._running.values())
        too_large: list[tuple[Rank, str]] = []
        found = None
        while self._ready and found is None and (not too_large or self._passed < 2 * self.slots):
            entry = heapq.heappop(self._ready)
            task = self._tasks[entry[1]]
            if (task.bytes <= left and task.slots <= free) or not self._running:  # larger than all there is: alone
                found = entry[1]
            else:
                too_large.append(entry)
        for entry in too_large:
            heapq.heappush(self._ready, entry)
        if found is not None:
            self._passed = self._passed + 1 if too_large else 0
            self._running[found] = self._tasks[found]
        return found

    def end(self, key: str) -> None:
        """A task has ended, well or not: what waited for it may start."""
        del self._running[key], self._tasks[key]
        for name in self._feeds.pop(key, ()):
            self._lacks[name] -= 1
            if not self._lacks[name]:
                self.again(name)

    @property
    def free(self) -> int:
        """Slots that no running task takes."""
        return self.slots - sum(task.slots for task in self._running.values())

    @property
    def waiting(self) -> list[str]:
        """The tasks that have not started, in the order in which they came."""
        return [key for key in self._tasks if key not in self._running]

    def __bool__(self) -> bool:
        return bool(self._tasks)


def _longest_chains(tasks: Sequence[Task]) -> dict[str, float]:
    """Seconds from the start of each task to the end of the last that needs it, were there slots for all."""
    chain = {task.key: task.seconds for task in tasks}
    seconds = dict(chain)
    for task in reversed(tasks):
        for key in task.inputs:
            if key in chain:
                chain[key] = max(chain[key], seconds[key] + chain[task.key])
    return chain


def simulate(tasks: Iterable[Task], slots: int, room: float = float("inf")) -> float:
    """Seconds that the tasks take on so many slots."""
    queue, now, running = Queue(slots, room), 0.0, list[tuple[float, str]]()
    queue.add(listed := list(tasks))
    seconds = {task.key: task.seconds for task in listed}
    while queue:
        while (key := queue.take()) is not None:
            heapq.heappush(running, (now + seconds[key], key))
        now, key = heapq.heappop(running)
        queue.end(key)
    return now
