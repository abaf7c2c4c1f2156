"""Where jobs run: an executor a module.

An executor takes orders, hands each to `sem_bench.runs.worker.work` somewhere, and says how they ended. It knows
neither suites nor results: the store is the memory, and `sem_bench.runs.schedule` decides what comes next and what is
tried again. `here` does jobs in this process, `processes` in others, `on_ray` on the machines of a Ray cluster.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

from sem_bench.runs.order import Need, Order, Outcome, Tell


class Executor(Protocol):
    """One thread drives it: `tell` is called within `wait` alone."""

    @property
    def slots(self) -> int:
        """How many orders of one device it works on at a time; one of several takes as many slots."""

    def check(self, needs: Mapping[Need, str], device: str) -> None:
        """Raise UserError where there can never be what jobs need: for each need the name of such a job."""

    def expect(self, orders: int) -> None:
        """So many are likely to come: what takes seconds to start may start meanwhile."""

    def start(self, order: Order, tell: Tell) -> None:
        """Take an order, while slots for it are free."""

    def wait(self, timeout: float | None = None) -> Iterator[tuple[str, Outcome]]:
        """The digest and outcome of orders that have ended since.

        Where none has, it waits for one of those under way, at most `timeout` seconds. A worker's own mistakes that no
        job explains (UserError, OSError) are raised.
        """

    def stop(self) -> None:
        """Give up what is under way: nothing goes on after it. Results stay whole, whenever this comes."""
