"""How many jobs run at a time on this machine, where, and what each of them may take."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sem_bench.base import machine
from sem_bench.base.limits import Limits
from sem_bench.errors import UserError
from sem_bench.runs.estimate import PROCESS, as_tasks, need, pixels, trains, work
from sem_bench.runs.executors import Executor
from sem_bench.runs.executors.here import Here
from sem_bench.runs.job import Job
from sem_bench.runs.queue import simulate
from sem_bench.runs.store import Store
from sem_bench.training.job import PRETRAIN, PretrainJob

SMALL = 60.0  # seconds of a whole suite below which worker processes, which take seconds to start, gain nothing
SPARE = 0.1  # of the free memory, for what estimates do not see


class Asked(NamedTuple):
    """What the user says of it; None: what suits the machine."""

    device: str = "auto"
    jobs: int | None = None
    jobs_per_device: int = 1
    devices: int = 1  # of a pretraining
    memory: int = Limits().memory  # bytes of images of a split
    workers: int | None = None
    precision: str = "auto"
    compiled: bool = False  # backbones of long trainings
    patience: float | None = None  # seconds
    executor: str = "processes"  # or "ray"
    address: str | None = None  # of a Ray cluster that runs


class Crew(NamedTuple):
    """Who does jobs, and what each job may take."""

    executor: Executor
    limits: Limits
    jobs_per_device: int = 1
    on_gpu: bool = False
    room: float = float("inf")  # bytes for all that run at a time

    @property
    def said(self) -> str:
        """In words, where it is more than one."""
        slots, threads, devices = self.executor.slots, self.limits.threads, self.limits.devices
        if slots == 1:
            return ""
        what = "jobs at a time" if devices == 1 else f"devices, {devices} for a pretraining"
        return f"{slots} {what}, {threads} thread{'s' if threads != 1 else ''} each"


def hire(jobs: Sequence[Job], store: Store, asked: Asked, *, serial: bool = False) -> Crew:
    """Who does the jobs of a plan. Numbers depend on the threads of a job, so what is done already does not count here.

    `serial`: unless the user says otherwise, one at a time.
    """
    check_devices(jobs, asked)
    if asked.executor == "ray":
        return _on_ray(store, asked, serial=serial)
    gpus = machine.gpus(asked.device)
    if gpus and asked.devices > 1 and (wanted := (asked.jobs or 1) * asked.devices) > len(gpus):
        many = f" with --jobs {asked.jobs}" if asked.jobs else ""
        raise UserError(f"--devices {asked.devices}{many} takes {wanted} GPUs; this machine has {len(gpus)} for a run")
    slots, threads = shared_out(jobs, asked, gpus=len(gpus), cores=machine.cores(), memory=machine.memory())
    if serial and asked.jobs is None:
        slots, threads = asked.devices, _threads() or _shared_cores(asked.devices, machine.cores())
    limits = _limits(asked, workers=max(1, machine.cores() // slots), threads=threads)
    per_device = -(-slots // len(gpus)) if gpus else asked.jobs_per_device
    if slots == 1:
        return Crew(Here(store), limits, per_device, bool(gpus))
    from sem_bench.data.shared_images import SharedFolder
    from sem_bench.runs.executors.processes import Processes

    folder = SharedFolder(store.root / "cache")
    shared = max((pixels(job, asked.memory) for job in jobs), default=0.0)
    room = machine.free_memory() * (1 - SPARE) - shared
    workers = Processes(slots, threads=threads or 1, gpus=gpus, shared=folder)
    return Crew(workers, limits._replace(share=folder.path), per_device, bool(gpus), room)


def _on_ray(store: Store, asked: Asked, *, serial: bool) -> Crew:
    """Where the user says nothing else, a job has one thread, so that its numbers are the same in every cluster."""
    try:
        from sem_bench.runs.executors.on_ray import OnRay
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UserError("--executor ray: ray is not installed: pip install 'sem-bench[ray]'") from None
    address = asked.address or os.environ.get("RAY_ADDRESS") or None
    share = 1
    if asked.jobs is not None and not address:
        share = max(1, machine.cores() // (asked.jobs * asked.devices))
    threads = _threads() or share
    jobs = 1 if serial and asked.jobs is None else asked.jobs
    executor = OnRay(
        store.root,
        address,
        asked.device,
        threads=threads,
        jobs=jobs,
        jobs_per_device=asked.jobs_per_device,
        devices=asked.devices,
    )
    limits = _limits(asked, workers=threads, threads=threads)
    return Crew(executor, limits, asked.jobs_per_device, executor.gpus > 0)


def _limits(asked: Asked, *, workers: int, threads: int | None) -> Limits:
    """What a job may take; so many `workers`, unless the user says otherwise."""
    return Limits(
        memory=asked.memory,
        workers=asked.workers or workers,
        threads=threads,
        devices=asked.devices,
        precision=asked.precision,
        compiled=asked.compiled,
        patience=asked.patience,
    )


def check_devices(jobs: Sequence[Job], asked: Asked) -> None:
    """Raise UserError where a batch cannot be split evenly among the devices of its pretraining."""
    if asked.devices > 1 and asked.jobs_per_device > 1:
        raise UserError("--devices and --jobs-per-device exclude each other")
    for job in jobs:
        if trains(job) and isinstance(job.config, PretrainJob) and job.config.training.batch_size % asked.devices:
            size = job.config.training.batch_size
            raise UserError(f"--devices {asked.devices} does not divide the batch of {size} of pretrain/{job.slug}")


def shared_out(jobs: Sequence[Job], asked: Asked, *, gpus: int, cores: int, memory: float) -> tuple[int, int | None]:
    """(slots, threads of each) on such a machine; None: as many threads as torch takes by itself.

    A slot is a device: a job takes one, or as many as share it.
    """
    if asked.jobs is not None:
        slots = asked.jobs * asked.devices
    elif sum(map(work, jobs)) < SMALL:
        slots = asked.devices
    elif gpus:
        slots = max(gpus, asked.devices) * asked.jobs_per_device
    else:
        networks = sum(job.stage is PRETRAIN and not job.inputs for job in jobs) or len(jobs)
        largest = max((need(job).memory for job in jobs), default=PROCESS)
        processes = cores // (_threads() or 1)
        fitting = int(memory * (1 - SPARE) // largest)
        slots = asked.devices * max(1, min(processes // asked.devices, networks, fitting // asked.devices))
    return slots, _threads() or _shared_cores(slots, cores)


def foreseen(
    jobs: Sequence[Job], left: Mapping[str, float], asked: Asked, *, gpus: int, cores: int, memory: float
) -> tuple[int, float]:
    """(slots, seconds that the jobs take in them) on such a machine, where `left` has the seconds of those to do."""
    slots, _ = shared_out(jobs, asked, gpus=gpus, cores=cores, memory=memory)
    images = Limits(memory=asked.memory, share=Path() if slots > 1 else None, devices=asked.devices)
    per_device = -(-slots // gpus) if gpus else asked.jobs_per_device
    waiting = [job for job in jobs if job.digest in left]
    needs = {job.digest: need(job, images, per_device, left[job.digest], on_gpu=gpus > 0) for job in waiting}
    if gpus:
        left = {job.digest: left[job.digest] / needs[job.digest].devices for job in waiting}
    together = slots if gpus else max(asked.devices, min(slots, cores))  # more of them only share the cores
    room = memory * (1 - SPARE) if slots > 1 else math.inf
    return slots, simulate(as_tasks(waiting, left, needs, {}), together, room)


def _shared_cores(processes: int, cores: int) -> int | None:
    return None if processes == 1 else max(1, cores // processes)


def _threads() -> int | None:
    """As the user's environment says."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() and int(said) else None


def busy(threads: int | None) -> str:
    """A word of warning where other programs keep the cores busy, for then threads spend their time waiting."""
    cores, load = machine.cores(), os.getloadavg()[0]
    if threads == 1 or cores == 1 or load < cores / 2:
        return ""
    return (
        f"other programs use the cores (load {load:.1f}): if this is slow, OMP_NUM_THREADS=1 can be many times faster"
    )
