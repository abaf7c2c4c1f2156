"""How long a job will take: from finished jobs of its kind where there are any, else from a rough table."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from sem_bench.config import PretrainJob, ProbeJob
from sem_bench.jobs import Job
from sem_bench.store import Store, data_of

# Images a second through one training step of SimCLR on two cores with bfloat16, at 32 px; other sizes by area.
IMAGES_PER_SECOND = {"resnet10w16s2": 3000.0, "resnet10w16": 900.0, "resnet18": 70.0, "resnet50": 15.0}
EVALUATION_SECONDS = 2.0


def estimate(jobs: Sequence[Job], store: Store) -> dict[str, float]:
    """Seconds for each job, by digest."""
    ratios: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for job in jobs:
        if result := store.result(job):
            ratios[_alike(job)].append(result["provenance"]["seconds"] / work(job))
    return {job.digest: work(job) * median(ratios.get(_alike(job), [1.0])) for job in jobs}


def work(job: Job) -> float:
    """Seconds by the table."""
    data = data_of(job)
    images = data.used("train")
    if isinstance(job.config, PretrainJob):
        seen = images * job.config.training.epochs * (data.image_size / 32) ** 2
        return 0.5 + seen / IMAGES_PER_SECOND.get(job.config.backbone, 70.0)
    if isinstance(job.config, ProbeJob):
        return EVALUATION_SECONDS * images / 5000
    return 0.5 * EVALUATION_SECONDS * images / 5000


def _alike(job: Job) -> tuple[str, ...]:
    return job.kind, job.cell.method, job.cell.backbone, job.cell.dataset
