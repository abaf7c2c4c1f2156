"""In worker processes of this machine, each with one job at a time.

Each worker is a pool of its own from concurrent.futures: a pool of many breaks as a whole when one of its processes is
killed. Workers are spawned, not forked, so that torch's threads and CUDA start in them as in any program. A pipe brings
what a job tells to the driver, and its answers back.
"""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from sem_bench.base import interrupts
from sem_bench.base.companions import cause_of_death
from sem_bench.data.shared_images import SharedFolder
from sem_bench.runs.executors.reports import STOPPED, Report, outcome, report
from sem_bench.runs.order import EVENTS, Event, Figure, Need, Order, Outcome, Tell

SPAWN = multiprocessing.get_context("spawn")
GRACE = 10.0  # seconds that a worker has to stop before it is killed
LOOK_EVERY = 1.0  # seconds between two looks at whether workers live
END = "end"  # of an order, beside the names of events
TELL_EVERY = 0.1  # seconds between two reports of how far a job is
DYING_EARLIER = 500  # of 1,000: where memory is short, the system ends a worker and not the driver


@dataclass
class _Worker:
    """A process, and what it works on."""

    number: int
    pool: ProcessPoolExecutor
    process: BaseProcess
    pipe: Connection
    units: Sequence[int] = ()  # the numbers of the slots that its order takes
    own_code: Sequence[str] = ()  # files of the user's whose code it has run
    order: Order | None = None
    tell: Tell | None = None

    def close(self) -> None:
        """End it, and whatever it has started."""
        with suppress(OSError):  # it has no group yet, or none any more
            os.killpg(self.process.ident or 0, signal.SIGKILL)
        if self.process.is_alive():
            self.process.kill()
        self.pool.shutdown(wait=False)
        self.pipe.close()


class Processes:
    """`slots` workers with `threads` threads each (None: as many as torch takes), which live until `stop`.

    A worker that has run code of the user's runs no other: it is replaced.
    They share the `gpus` (as CUDA_VISIBLE_DEVICES names them) evenly; with none they see those that this process sees.
    An order of several devices takes as many slots, with their GPUs.
    What they share in memory lies in the `shared` folder, which goes with them.
    """

    def __init__(
        self,
        slots: int,
        *,
        threads: int | None,
        gpus: Sequence[str] = (),
        shared: SharedFolder | None = None,
    ) -> None:
        self.slots, self._threads, self._gpus, self._shared = slots, threads, gpus, shared
        self._free: list[_Worker] = []
        self._busy: dict[Connection, _Worker] = {}

    def check(self, needs: Mapping[Need, str], device: str) -> None:
        """Raise UserError where the device is not there."""
        if needs and device == "cuda":  # any other device is, and torch need not be imported to know
            from sem_bench.base.device import choose_device

            choose_device(device)

    def expect(self, orders: int) -> None:
        """Start as many workers: they import torch while the driver looks at the data."""
        with interrupts.postponed():
            while len(self._free) < min(orders, self.slots):
                self._free.append(self._worker(range(self.slots)))

    def start(self, order: Order, tell: Tell) -> None:
        """Send it to a worker that is free, or to a new one."""
        with interrupts.postponed():  # no worker that `stop` does not know
            taken = {unit for worker in self._busy.values() for unit in worker.units}
            free = [number for number in range(self.slots) if number not in taken]
            while True:
                worker = self._free_worker(free, order)
                others = [number for number in free if number != worker.number][: order.need.devices - 1]
                if self._gpus:
                    order = order.model_copy(update={"gpus": tuple(map(self._gpu, others))})
                worker.order, worker.tell, worker.units = order, tell, [worker.number, *others]
                worker.own_code = order.own_code or worker.own_code
                try:
                    worker.pool.submit(_do, order.as_json())
                except BrokenProcessPool:  # it died while it had nothing to do
                    worker.close()
                    continue
                self._busy[worker.pipe] = worker
                return

    def _free_worker(self, free: Sequence[int], order: Order) -> _Worker:
        """One for an order, on a slot that is free. Whatever a user's code did to a process stays with that code."""
        clean = (one for one in self._free if one.number in free and one.own_code in ((), order.own_code))
        worker = next(clean, None)
        if worker is None:
            for other in [one for one in self._free if one.number in free][:1]:
                self._free.remove(other)
                other.close()
            return self._worker(free)
        self._free.remove(worker)
        return worker

    def wait(self, timeout: float | None = None) -> Iterator[tuple[str, Outcome]]:
        """Pass on what workers tell, until one has ended."""
        until = None if timeout is None else time.monotonic() + timeout
        ended: list[tuple[str, Outcome]] = []
        while self._busy and not ended:
            left = LOOK_EVERY if until is None else min(LOOK_EVERY, max(0.0, until - time.monotonic()))
            for pipe in wait(list(self._busy), left):
                assert isinstance(pipe, Connection)
                worker = self._busy[pipe]
                assert worker.order is not None
                try:
                    name, *said = json.loads(pipe.recv_bytes())
                except (EOFError, OSError):
                    ended.append((worker.order.digest, self._died(worker)))
                    continue
                if name == END:
                    ended.append((worker.order.digest, self._ended(worker, *said)))
                else:
                    self._pass_on(worker, name, said)
            for worker in [] if ended else list(self._busy.values()):
                # A process that it forked may hold its pipe open after its death.
                if not worker.process.is_alive() and not worker.pipe.poll():
                    assert worker.order is not None
                    ended.append((worker.order.digest, self._died(worker)))
            if until is not None and time.monotonic() >= until:
                break
        yield from ended

    def _pass_on(self, worker: _Worker, name: str, said: Sequence[Any]) -> None:
        """What a worker tells, and the answer to a figure."""
        assert worker.tell is not None
        answer = worker.tell(EVENTS[name](*said))
        if name == Figure.__name__:
            with suppress(OSError):  # a dead worker's pipe says so at the next look
                worker.pipe.send_bytes(json.dumps(answer).encode())

    def stop(self) -> None:
        """Ask all workers to stop, and end those that do not; a second signal ends them at once."""
        workers = [*self._free, *self._busy.values()]
        try:
            for worker in workers:
                worker.process.terminate()
            until = time.monotonic() + GRACE
            for worker in workers:
                worker.process.join(max(0.0, until - time.monotonic()))
        finally:
            for worker in workers:
                worker.close()
            self._free, self._busy = [], {}
            if self._shared is not None:
                self._shared.remove()

    def _gpu(self, number: int) -> str:
        return self._gpus[number % len(self._gpus)]

    def _worker(self, free: Sequence[int]) -> _Worker:
        """A new one, with a free number that no worker has."""
        if self._shared is not None and not self._shared.path.exists():
            self._shared.make()
        taken = {worker.number for worker in [*self._free, *self._busy.values()]}
        number = next(number for number in free if number not in taken)
        environment = {} if self._threads is None else {"OMP_NUM_THREADS": str(self._threads)}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpu(number)
        mine, its = SPAWN.Pipe()
        before = set(multiprocessing.active_children())
        with _uninterrupted():
            pool = ProcessPoolExecutor(1, mp_context=SPAWN, initializer=_prepare, initargs=(its, environment))
            pool.submit(os.getpid)  # starts the process
        (process,) = set(multiprocessing.active_children()) - before
        its.close()  # so that the worker's death ends the pipe
        return _Worker(number, pool, process, mine)

    def _ended(self, worker: _Worker, *said: Any) -> Outcome:
        """What became of a worker's order. Raises what no job explains."""
        del self._busy[worker.pipe]
        kind, rest = said
        if kind == STOPPED:  # it ends itself: once told to, it would stop every job
            worker.process.join(GRACE)
            worker.close()
        else:
            self._free.append(worker)
        return outcome((kind, rest))

    def _died(self, worker: _Worker) -> Outcome:
        """What a worker's order comes to that has died; what it had started is ended."""
        del self._busy[worker.pipe]
        code = _exit_code(worker.process)
        worker.close()
        return Outcome("died", f"its worker died{cause_of_death(code)}")


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A child that starts meanwhile hears neither of Ctrl-C nor of the end of a terminal, as all its processes do.

    One such child is Python's own, which clears away what the others leave.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_code(process: BaseProcess) -> int | None:
    """Of a process that ends. The pool's thread waits for it as well, and may know the code a moment earlier."""
    until = time.monotonic() + GRACE
    while process.exitcode is None and time.monotonic() < until:
        time.sleep(0.01)
    return process.exitcode


# --- in the worker ---

_pipe: Connection
_working = False


def _prepare(pipe: Connection, environment: Mapping[str, str]) -> None:
    """Before the first order: settings that torch reads when it is imported, then torch itself."""
    global _pipe
    _pipe = pipe
    os.environ.update(environment)
    os.setpgid(0, 0)  # so that what it starts can be ended with it
    signal.signal(signal.SIGTERM, _told_to_stop)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # whoever warns all processes of a job means the driver
    threading.Thread(target=_watch_driver, daemon=True).start()
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(DYING_EARLIER))
    import sem_bench.runs.worker  # noqa: F401


def _told_to_stop(number: int, frame: object) -> None:
    if not _working:
        os._exit(0)
    interrupts.interrupt(number)


def _watch_driver() -> None:
    """Stop where the driver is gone: a job must not go on that another driver may take over."""
    driver = multiprocessing.parent_process()
    assert driver is not None
    driver.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


def _do(text: str) -> None:
    """Do an order; what it tells goes through the pipe, and what became of it."""
    global _working
    _working = True
    said: Report = (STOPPED, [])
    try:
        said = report(text, _tell, tell_every=TELL_EVERY)
    finally:
        _working = False
        with suppress(OSError):
            _send(END, *said)
        if said[0] == STOPPED:
            os._exit(0)


def _tell(event: Event) -> bool:
    """Tell the driver."""
    try:
        _send(type(event).__name__, *event)
        return bool(json.loads(_pipe.recv_bytes())) if isinstance(event, Figure) else True
    except (OSError, EOFError):  # no driver any more; anything but an interrupt would count as the job's failure
        interrupts.interrupt(signal.SIGTERM)
        raise KeyboardInterrupt from None


def _send(*said: object) -> None:
    _pipe.send_bytes(json.dumps(said).encode())
