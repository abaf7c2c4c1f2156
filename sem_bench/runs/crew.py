"""How many jobs run at a time on this machine, where, and what each of them may take."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from sem_bench.base import machine
from sem_bench.base.limits import Limits
from sem_bench.runs.estimate import PROCESS, memory, pixels, work
from sem_bench.runs.executors import Executor
from sem_bench.runs.executors.here import Here
from sem_bench.runs.job import Job
from sem_bench.runs.store import Store
from sem_bench.training.job import PRETRAIN

SMALL = 60.0  # seconds of a whole suite below which worker processes, which take seconds to start, gain nothing
SPARE = 0.1  # of the free memory, for what estimates do not see


class Asked(NamedTuple):
    """What the user says of it; None: what suits the machine."""

    device: str = "auto"
    jobs: int | None = None
    jobs_per_device: int = 1
    memory: int = Limits().memory  # bytes of images of a split
    workers: int | None = None


class Crew(NamedTuple):
    """Who does jobs, and what each job may take."""

    executor: Executor
    limits: Limits
    jobs_per_device: int = 1
    room: float = float("inf")  # bytes for all that run at a time

    @property
    def said(self) -> str:
        """In words, where it is more than one."""
        slots, threads = self.executor.slots, self.limits.threads
        return "" if slots == 1 else f"{slots} jobs at a time, {threads} thread{'s' if threads != 1 else ''} each"


def hire(jobs: Sequence[Job], store: Store, asked: Asked, *, serial: bool = False) -> Crew:
    """Who does the jobs of a plan. Numbers depend on the threads of a job, so what is done already does not count here.

    `serial`: unless the user says otherwise, one at a time.
    """
    gpus = machine.gpus(asked.device)
    slots, threads = shared_out(jobs, asked, gpus=len(gpus), cores=machine.cores(), free=machine.free_memory())
    if serial and asked.jobs is None:
        slots, threads = 1, _threads()
    limits = Limits(
        memory=asked.memory,
        workers=asked.workers or max(1, machine.cores() // slots),
        threads=threads,
    )
    per_device = -(-slots // len(gpus)) if gpus else asked.jobs_per_device
    if slots == 1:
        return Crew(Here(store), limits, per_device)
    from sem_bench.data.shared_images import SharedFolder
    from sem_bench.runs.executors.processes import Processes

    folder = SharedFolder(store.root / "cache")
    shared = max((pixels(job, asked.memory) for job in jobs), default=0.0)
    room = machine.free_memory() * (1 - SPARE) - shared
    workers = Processes(slots, threads=threads or 1, gpus=gpus, shared=folder)
    return Crew(workers, limits._replace(share=folder.path), per_device, room)


def shared_out(jobs: Sequence[Job], asked: Asked, *, gpus: int, cores: int, free: float) -> tuple[int, int | None]:
    """(jobs at a time, threads of each); None: as many threads as torch takes by itself."""
    if asked.jobs is not None:
        slots = asked.jobs
    elif sum(map(work, jobs)) < SMALL:
        slots = 1
    elif gpus:
        slots = gpus * asked.jobs_per_device
    else:
        networks = sum(job.stage is PRETRAIN and not job.inputs for job in jobs)
        largest = max(map(memory, jobs), default=PROCESS)
        slots = max(1, min(cores // (_threads() or 1), networks, int(free * (1 - SPARE) // largest)))
    return slots, _threads() or (None if slots == 1 else max(1, cores // slots))


def _threads() -> int | None:
    """As the user's environment says."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdigit() and int(said) else None


def busy(threads: int | None) -> str:
    """A word of warning where other programs keep the cores busy, for then threads spend their time waiting."""
    cores, load = machine.cores(), os.getloadavg()[0]
    if threads == 1 or cores == 1 or load < cores / 2:
        return ""
    return (
        f"other programs use the cores (load {load:.1f}): if this is slow, OMP_NUM_THREADS=1 can be many times faster"
    )
