"""How long a job will take and what it needs of the machine: roughly, and before torch is loaded.

Time comes from finished jobs of its kind where there are any, else from the `cost` of its stage.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from sem_bench.base.limits import FLOAT, MEMORY, Limits
from sem_bench.evaluation import Cost, Evaluation, NetCost
from sem_bench.runs.job import Job, data_of
from sem_bench.runs.order import Need
from sem_bench.runs.store import Store

FEATURES = 1024  # of a backbone of which nothing is known
PROCESS = 0.9 * 2**30  # bytes of Python with torch


def estimate(jobs: Sequence[Job], store: Store) -> dict[str, float]:
    """Seconds for each job, by digest."""
    ratios: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for job in jobs:
        if result := store.result(job):
            ratios[_alike(job)].append(result["provenance"]["seconds"] / work(job))
    return {job.digest: work(job) * median(ratios.get(_alike(job), [1.0])) for job in jobs}


def work(job: Job) -> float:
    """Seconds on two cores, as the stage counts them."""
    return _cost(job).seconds


def memory(job: Job) -> float:
    """Bytes at the peak, for images that stay on the disk."""
    return PROCESS + (_features_held(job) if isinstance(job.stage, Evaluation) else 0.0) + _cost(job).bytes


def pixels(job: Job, limit: int) -> float:
    """Bytes of the images of all splits that stay in memory."""
    data = data_of(job)
    side = data.reduce or max(data.image_size, data.resize or 0)
    sizes = [3 * side**2 * data.used(split) for split in data.counts]
    return sum(size for size in sizes if size <= limit)


def need(job: Job, limits: Limits, jobs_per_device: int = 1) -> Need:
    """What a job takes of a machine; of images that all processes share nothing is counted here."""
    own = 0.0 if limits.share else pixels(job, limits.memory)
    return Need(threads=limits.threads or 1, gpu=min(job.stage.gpu, 1 / jobs_per_device), memory=memory(job) + own)


def _features_held(job: Job) -> float:
    """Bytes of the features of all splits that stay in memory; of a larger split they stay on the disk."""
    data = data_of(job)
    sizes = [FLOAT * _features(job) * data.used(split) for split in data.counts]
    return sum(size for size in sizes if size <= MEMORY)


def _cost(job: Job) -> Cost:
    features, embedding = _features(job), job.parts.embedding.out_dim or 0
    attached = not isinstance(job.stage, Evaluation) and bool(job.inputs)
    return job.stage.cost(job.config, NetCost(features, embedding or features, embedding, job.parts.cost, attached))


def _features(job: Job) -> int:
    return job.parts.backbone.out_dim or FEATURES


def _alike(job: Job) -> tuple[str, ...]:
    cell = job.cell
    return job.kind, cell.method, str(cell.ip is not None), cell.embedding_config["type"], cell.backbone, cell.dataset
