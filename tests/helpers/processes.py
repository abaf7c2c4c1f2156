"""An executor of several processes: the least that shows what crosses to a worker. It is text alone."""

import json
import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from sem_bench.runs.order import Event, Figure, Message, Order, Outcome, Progress, Tell

EVENTS: dict[str, Any] = {kind.__name__: kind for kind in (Progress, Figure, Message)}
SPAWN = multiprocessing.get_context("spawn")  # nothing of this process is there in another


class Processes:
    """Workers that live until `stop`, each with one order at a time."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._free: list[tuple[Any, Connection]] = []
        self._busy: dict[Connection, tuple[Any, str, Tell]] = {}

    def start(self, order: Order, tell: Tell) -> None:
        """Send it to a worker that is free, or to a new one."""
        process, pipe = self._free.pop() if self._free else _worker()
        pipe.send_bytes(order.as_json().encode())
        self._busy[pipe] = (process, order.digest, tell)

    def wait(self) -> Iterator[tuple[str, Outcome]]:
        """Pass on what workers tell, until one has ended."""
        ended: list[tuple[str, Outcome]] = []
        while self._busy and not ended:
            for pipe in wait(list(self._busy)):
                assert isinstance(pipe, Connection)
                process, digest, tell = self._busy[pipe]
                try:
                    name, *said = json.loads(pipe.recv_bytes())
                except EOFError:
                    del self._busy[pipe]
                    ended.append((digest, Outcome("failed", "its worker died")))
                    continue
                if name in EVENTS:
                    pipe.send_bytes(json.dumps(tell(EVENTS[name](*said))).encode())
                    continue
                del self._busy[pipe]
                self._free.append((process, pipe))
                ended.append((digest, Outcome(*said)))
        yield from ended

    def stop(self) -> None:
        """End all workers."""
        for process in [process for process, _ in self._free] + [process for process, *_ in self._busy.values()]:
            process.terminate()
            process.join()
        self._free, self._busy = [], {}


def _worker() -> tuple[Any, Connection]:
    mine, its = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(its,), daemon=True)
    process.start()
    its.close()  # so that its death ends the pipe
    return process, mine


def _serve(pipe: Connection) -> None:
    from sem_bench.runs.worker import work

    def tell(event: Event) -> bool:
        pipe.send_bytes(json.dumps([type(event).__name__, *event]).encode())
        answer: bool = json.loads(pipe.recv_bytes())
        return answer

    while True:
        outcome = work(Order.from_json(pipe.recv_bytes().decode()), tell)
        pipe.send_bytes(json.dumps(["Outcome", *outcome]).encode())
