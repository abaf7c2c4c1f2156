"""Where jobs run: an executor a module.

An executor takes orders, hands each to `sem_bench.runs.worker.work` somewhere, and says how they ended. It knows
neither suites nor results: the store is the memory, and `sem_bench.runs.schedule` decides what comes next. `here` does
jobs in this process. One of many processes or machines is another module beside it, which sends an order as its JSON.
"""

from collections.abc import Iterator
from typing import Protocol

from sem_bench.runs.order import Order, Outcome, Tell


class Executor(Protocol):
    """One thread drives it: `tell` is called within `wait` alone."""

    @property
    def slots(self) -> int:
        """How many orders it works on at a time."""

    def start(self, order: Order, tell: Tell) -> None:
        """Take an order, while a slot is free. Raises UserError where it can never be done, such as on no device."""

    def wait(self) -> Iterator[tuple[str, Outcome]]:
        """The digest and outcome of orders that have ended since; waits for one, if any is under way.

        A worker that dies has failed.
        """

    def stop(self) -> None:
        """Give up what is under way: nothing goes on after it. Results stay whole, whenever this comes."""
