"""How long a job will take and what it needs of the machine: roughly, and before torch is loaded.

Time comes from finished jobs that are alike, else from those of its kind, else from all of them; where there is none,
from the `cost` of its stage.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from sem_bench.base.limits import FLOAT, MEMORY, Limits
from sem_bench.evaluation import Evaluation
from sem_bench.runs.job import Job, data_of
from sem_bench.runs.order import Need
from sem_bench.runs.queue import Task
from sem_bench.runs.store import Store
from sem_bench.training.job import PretrainJob

PROCESS = 0.9 * 2**30  # bytes of Python with torch
DECODED = 500.0  # photographs of 500 x 375 px that a thread makes two crops of 224 px of, in a second of CPU time


def estimate(jobs: Sequence[Job], store: Store) -> dict[str, float]:
    """Seconds for each job, by digest."""
    return estimated(jobs, {job.digest: result for job in jobs if (result := store.result(job))})


def estimated(jobs: Sequence[Job], results: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """The same from the results of those that are done, by digest."""
    works = {job.digest: work(job) for job in jobs}
    ratios: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for job in jobs:
        if job.digest in results:
            ratio = _on_one_device(results[job.digest]["provenance"]) / works[job.digest]
            for group in _groups(job):
                ratios[group].append(ratio)
    speeds = {group: median(found) for group, found in ratios.items()}
    return {
        job.digest: works[job.digest] * next((speeds[one] for one in _groups(job) if one in speeds), 1.0)
        for job in jobs
    }


def _on_one_device(provenance: Mapping[str, Any]) -> float:
    """Seconds that a job would have taken; several processes on a CPU share its cores."""
    seconds: float = provenance["seconds"]
    return seconds * (provenance.get("devices", 1) if provenance.get("device") == "cuda" else 1)


def work(job: Job) -> float:
    """Seconds on two cores, as the stage counts them."""
    return job.cost.seconds


def memory(job: Job) -> float:
    """Bytes at the peak, for images that stay on the disk."""
    return PROCESS + (_features_held(job) if isinstance(job.stage, Evaluation) else 0.0) + job.cost.bytes


def disk(jobs: Sequence[Job]) -> float:
    """Bytes that jobs leave in the results: the weights of encoders and heads, and in the cache features of images."""
    read = {(job.inputs["pretrain"], data_of(job).name): job for job in jobs if "pretrain" in job.inputs}
    features = (FLOAT * job.features * sum(map(data_of(job).used, data_of(job).counts)) for job in read.values())
    return sum(job.cost.kept for job in jobs) + sum(features)


def trains(job: Job) -> bool:
    """Whether it has steps that several devices can share."""
    if not isinstance(job.config, PretrainJob) or job.inputs or job.config.weights is not None:
        return False
    return job.config.training.epochs > 0


def _devices(job: Job, most: int, seconds: float) -> int:
    """How many share a job that takes so long on one."""
    return most if seconds >= job.stage.shared_from and (trains(job) or isinstance(job.stage, Evaluation)) else 1


def pixels(job: Job, limit: int) -> float:
    """Bytes of the images of all splits that stay in memory."""
    data = data_of(job)
    side = data.reduce or max(data.image_size, data.resize or 0)
    sizes = [3 * side**2 * data.used(split) for split in data.counts]
    return sum(size for size in sizes if size <= limit)


def need(
    job: Job,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    jobs_per_device: int = 1,
    seconds: float = 0.0,
    *,
    on_gpu: bool = False,
) -> Need:
    """What a job of so many seconds takes of a machine.

    Not counted are images that all processes share, and the memory of a GPU.
    """
    images = 0.0 if limits.share else pixels(job, limits.memory)
    computing = job.cost.bytes if on_gpu and job.stage.gpu else 0.0
    devices = _devices(job, limits.devices, seconds)
    share = float(devices) if devices > 1 else min(job.stage.gpu, 1 / jobs_per_device)
    held = devices * (memory(job) - computing + images)
    return Need(threads=devices * (limits.threads or 1), gpu=share, memory=held, devices=devices)


def streamed(job: Job) -> bool:
    """Whether its training images are files that are decoded again in each epoch."""
    data = data_of(job)
    side = data.reduce or max(data.image_size, data.resize or 0)
    return data.source.names_files and 3 * side**2 * data.used("train") > MEMORY


def decoded(job: Job, threads: int) -> float:
    """Images a second that so many threads read and crop, roughly; small crops may be of files as large."""
    return DECODED * threads * min(1.0, (224 / data_of(job).image_size) ** 2)


def taken(job: Job, seconds: float) -> float:
    """Images a second of a pretraining of that many seconds."""
    assert isinstance(job.config, PretrainJob)
    return data_of(job).used("train") * job.config.training.epochs / seconds


def as_tasks(
    jobs: Sequence[Job], seconds: Mapping[str, float], needs: Mapping[str, Need], turns: dict[int, int]
) -> list[Task]:
    """Jobs as the queue knows them; `turns` is the rank of each seed, and learns those of new ones."""
    return [
        Task(
            job.digest,
            tuple(job.inputs.values()),
            turns.setdefault(job.cell.seed, len(turns)),
            seconds[job.digest],
            needs[job.digest].memory,
            needs[job.digest].devices,
        )
        for job in jobs
    ]


def _features_held(job: Job) -> float:
    """Bytes of the features of all splits that stay in memory; of a larger split they stay on the disk."""
    data = data_of(job)
    sizes = [FLOAT * job.features * data.used(split) for split in data.counts]
    return sum(size for size in sizes if size <= MEMORY)


def _groups(job: Job) -> list[tuple[str, ...]]:
    """Jobs that take about as long for their work, the most alike first: of an arm, of a kind, all."""
    cell = job.cell
    arm = cell.method, str(cell.ip is not None), cell.embedding_config["type"], cell.backbone, cell.dataset
    return [(job.kind, *arm), (job.kind,), ()]
