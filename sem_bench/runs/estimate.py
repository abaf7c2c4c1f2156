"""How long a job will take and how much memory it needs: roughly, and before torch is loaded.

Time comes from finished jobs of its kind where there are any, else from what the backbone's card says. The cards'
numbers are measured (docs/protocol.md, Estimates); benchmarks/memory.py prints those of memory.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from sem_bench.base.limits import FLOAT, MEMORY
from sem_bench.evaluation import Evaluation, NetCost
from sem_bench.nets.card import Cost
from sem_bench.runs.job import Job, data_of
from sem_bench.runs.store import Store
from sem_bench.training.job import PretrainJob
from sem_bench.training.optimiser_kinds import optimiser_kind

FEATURES = 1024  # of a backbone of which nothing is known
LARGE = 64  # pixels above which torchvision's ResNets have their large stem
HEAD_SPEED = 2e11  # multiplications a second in a wide linear layer
PROCESS = 0.9 * 2**30  # bytes of Python with torch
PAIR_SECONDS = 1.1e-6  # IP-IRM, seeking a partition: for each pair of images in a batch, both subsets, with gradients
PAIR_BYTES = 420


def estimate(jobs: Sequence[Job], store: Store) -> dict[str, float]:
    """Seconds for each job, by digest."""
    ratios: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for job in jobs:
        if result := store.result(job):
            ratios[_alike(job)].append(result["provenance"]["seconds"] / work(job))
    return {job.digest: work(job) * median(ratios.get(_alike(job), [1.0])) for job in jobs}


def work(job: Job) -> float:
    """Seconds on two cores, by the table."""
    if isinstance(job.stage, Evaluation):
        return job.stage.cost(job.config, _net(job)).seconds
    if job.inputs:
        return 0.5 + _pass_seconds(job)
    config = _config(job)
    steps = config.data.used("train") * config.training.epochs * _step_seconds(job)
    return 0.5 + steps + _partition_seconds(config)


def _pass_seconds(job: Job) -> float:
    """Seconds of a pass over the training images: forward, one view."""
    return data_of(job).used("train") / job.parts.cost.speed / 4


def memory(job: Job) -> float:
    """Bytes at the peak, for images that stay on the disk."""
    if not isinstance(job.stage, Evaluation):
        return PROCESS + max(_weights(job) + _activations(job), _partition_bytes(job))
    data, net = data_of(job), _net(job)
    sizes = [FLOAT * net.features * data.used(split) for split in data.counts]
    held = sum(size for size in sizes if size <= MEMORY)  # a larger one stays on the disk
    return PROCESS + held + job.stage.cost(job.config, net).bytes


def _net(job: Job) -> NetCost:
    """What estimates know of a job's encoder."""
    return NetCost(_features(job), _width(job), job.parts.cost.speed)


def _config(job: Job) -> PretrainJob:
    assert isinstance(job.config, PretrainJob)
    return job.config


def _features(job: Job) -> int:
    return job.parts.backbone.out_dim or FEATURES


def _width(job: Job) -> int:
    """Numbers of the widest representation that an evaluation reads."""
    return job.parts.embedding.out_dim or _features(job)


def _area(size: int, cost: Cost) -> float:
    """How many times the work of 32 px."""
    return (size / 32) ** 2 / (cost.stem if size > LARGE else 1)


def _areas(job: Job) -> float:
    """The work of all views, in views of 32 px."""
    config = _config(job)
    return sum(_area(view.size or config.data.image_size, job.parts.cost) for view in config.training.views)


def _head(job: Job) -> tuple[int, int, int]:
    """Width and first hidden width of what the method builds on the backbone, and the weights of the embedding."""
    width, features = job.parts.embedding.out_dim, _features(job)
    hidden = int(_config(job).training.parameters.get("hidden", 0))
    return width or features, hidden, (width or 0) * features


def _step_seconds(job: Job) -> float:
    """Seconds an image: the backbone by its speed, the wide layers by their size; momentum branches go forward too."""
    training, (width, hidden, embedding) = _config(job).training, _head(job)
    passes = 4 / 3 if "momentum" in training.parameters else 1
    head = 3 * len(training.views) * (embedding + width * hidden) / HEAD_SPEED
    return passes * (_areas(job) / 2 / job.parts.cost.speed + head)


def _partition_seconds(job: PretrainJob) -> float:
    """What IP-IRM takes to seek all its partitions: every pass looks at all pairs of images of each batch."""
    if job.ip is None:
        return 0.0
    count, images = -(-job.training.epochs // job.ip.every), job.data.used("train")
    return count * job.ip.passes * images * min(job.ip.batch_size, images) * PAIR_SECONDS


def _partition_bytes(job: Job) -> float:
    """The outputs of all images, and the pairs of a batch."""
    config = _config(job)
    if config.ip is None:
        return 0.0
    images, width = config.data.used("train"), int(config.training.parameters.get("out", 128))
    pairs = min(config.ip.batch_size, images) ** 2 * PAIR_BYTES
    return FLOAT * images * width * 4 + pairs + FLOAT * job.parts.cost.weights * 1e6


def _weights(job: Job) -> float:
    """Weights, gradients, what the optimiser keeps, a momentum branch, and bfloat16 copies of the first two."""
    training, (width, hidden, embedding) = _config(job).training, _head(job)
    count = job.parts.cost.weights * 1e6 + embedding + width * hidden + hidden**2
    copies = 3 + optimiser_kind(training.optimizer.name).moments
    return FLOAT * count * (copies + ("momentum" in training.parameters))


def _activations(job: Job) -> float:
    training, width = _config(job).training, job.parts.embedding.out_dim or 0
    wide = 5 * FLOAT * width * len(training.views)  # z, its normed and its softmaxed values, and gradients of these
    return training.batch_size * (job.parts.cost.kept * 2**20 * _areas(job) + wide)


def _alike(job: Job) -> tuple[str, ...]:
    cell = job.cell
    return job.kind, cell.method, str(cell.ip is not None), cell.embedding_config["type"], cell.backbone, cell.dataset
