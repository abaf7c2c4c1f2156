"""What runs on the nodes of a Ray cluster.

Pickled by value, and without a word of sem_bench at the top of this module, also in annotations: a node that lacks it
can say so.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

TELL_EVERY = 1.0  # seconds between two reports of how far a job is; there may be many jobs
Told = tuple[str, str, list[Any]]  # the digest of an order, the name of an event, and what belongs to it

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Mailbox:
    """An actor: what jobs have told and the driver has not heard yet, and who waits for an answer."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.asked: dict[str, Any] = {}
        self.came = asyncio.Event()

    async def tell(self, *told: Any, asks: bool) -> bool:
        """From a job. One that asks gets the driver's answer."""
        self.told.append(told)
        self.came.set()
        if not asks:
            return True
        self.asked[told[0]] = asyncio.get_running_loop().create_future()
        return bool(await self.asked[told[0]])

    async def take(self) -> list[Told]:
        """For the driver, once there is something, or after `wake`."""
        await self.came.wait()
        self.came.clear()
        told, self.told = self.told, []
        return told

    async def wake(self) -> None:
        """Let `take` end."""
        self.came.set()

    async def answer(self, digest: str, goes_on: bool) -> None:
        """From the driver."""
        if digest in self.asked:
            self.asked.pop(digest).set_result(goes_on)


def lacking(home: dict[str, Any]) -> str:
    """What this node lacks of what the driver has; "" where nothing. From then on it works in the driver's folder."""
    node = f"node {socket.gethostname()}"
    try:
        os.chdir(home["cwd"])
    except OSError as error:
        return f"{node}: {home['cwd']} is not there ({error.strerror}); every node must see the run's folder"
    if not Path(home["token"]).exists():
        return f"{node}: {home['results']} is another folder there; every node must see the results"
    sys.path += [path for path in home["path"] if path not in sys.path]
    try:
        import sem_bench
        import sem_bench.runs.worker
    except ImportError as error:
        return f"{node}: {error}; sem_bench and what it imports must be installed there"
    if sem_bench.__version__ != home["version"]:
        return f"{node}: it has sem_bench {sem_bench.__version__}, and the run {home['version']}"
    return ""


def do(text: str, home: dict[str, Any], mailbox: Any) -> tuple[str, list[Any]]:
    """A task: do the order that the text says; returns a report."""
    if problem := lacking(home):
        return "mistake", [problem]
    from sem_bench.base import interrupts
    from sem_bench.runs.executors.reports import report
    from sem_bench.runs.order import Order

    order = Order.from_json(text)
    if absent := order.absent():
        return "mistake", [f"node {socket.gethostname()}: {path} is not there" for path in absent]

    def tell(event: Any) -> bool:
        name = type(event).__name__
        told = mailbox.tell.remote(order.digest, name, list(event), asks=name == "Figure")
        try:
            return name == "Progress" or bool(ray.get(told))
        except ray.exceptions.RayError:  # no mailbox any more; all but an interrupt would count as the job's failure
            interrupts.interrupt(signal.SIGTERM)
            raise KeyboardInterrupt from None

    with signals_kept():
        interrupts.listen()
        return report(text, tell, tell_every=TELL_EVERY)


@contextmanager
def signals_kept() -> Iterator[None]:
    """Signals are handled afterwards as they were before."""
    from sem_bench.base import interrupts

    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
