"""In this process, one job after the other; a job of which a process died, in one of its own."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from sem_bench.runs.order import Need, Order, Outcome, Tell
from sem_bench.runs.store import Store

if TYPE_CHECKING:
    from sem_bench.runs.executors.processes import Processes


class Here:
    """Torch is imported with the first order."""

    slots = 1

    def __init__(self, store: Store) -> None:
        self._store = store
        self._taken: list[tuple[Order, Tell]] = []

    def check(self, needs: Mapping[Need, str], device: str) -> None:
        """Raise UserError where the device is not there."""
        if needs:
            from sem_bench.base.device import choose_device

            choose_device(device)

    def expect(self, orders: int) -> None:
        """Nothing has to start."""

    def start(self, order: Order, tell: Tell) -> None:
        """Take an order; `wait` does it."""
        self._taken.append((order, tell))

    def wait(self, timeout: float | None = None) -> Iterator[tuple[str, Outcome]]:
        """Do what was taken, however long it takes."""
        from sem_bench.runs.worker import work

        while self._taken:
            order, tell = self._taken.pop(0)
            if self._store.suspect(order):
                self._apart.start(order, tell)
                yield from self._apart.wait()
            else:
                yield order.digest, work(order, tell, self._store)

    @cached_property
    def _apart(self) -> "Processes":
        """A worker that may die: its death says that the job was the cause, and the others go on."""
        from sem_bench.runs.executors.processes import Processes

        return Processes(1, threads=None)

    def stop(self) -> None:
        """Nothing goes on by itself."""
        self._taken.clear()
        if "_apart" in vars(self):
            self._apart.stop()
