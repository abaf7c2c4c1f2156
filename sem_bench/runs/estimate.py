"""How long a job will take and how much memory it needs: roughly, and before torch is loaded.

Time comes from finished jobs of its kind where there are any, else from a table. Both tables are measured
(docs/protocol.md, Estimates); benchmarks/memory.py prints that of memory.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from sem_bench.base.limits import FLOAT, MEMORY
from sem_bench.evaluation import Evaluation, NetCost
from sem_bench.runs.job import Job, data_of
from sem_bench.runs.store import Store
from sem_bench.training.job import PretrainJob
from sem_bench.training.optimiser_kinds import optimiser_kind


@dataclass(frozen=True)
class Network:
    """A backbone at 32 px, or the nearest to it that we know."""

    speed: float  # images a second through one training step of SimCLR, on two cores with bfloat16
    kept: float  # MiB an image and view that the backward pass needs, in bfloat16
    weights: float  # millions
    features: int
    stem: int = 1  # how many times fewer operations with the stem for large images, at the same size


NETWORKS = {
    "resnet10w16s2": Network(3000, 0.09, 0.31, 128),
    "resnet10w16": Network(900, 0.34, 0.31, 128),
    "resnet18": Network(70, 2.28, 11.2, 512, stem=16),
    "resnet50": Network(15, 12.36, 23.5, 2048, stem=16),
}
UNKNOWN = Network(50, 5.0, 20.0, 1024)
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
    assert isinstance(job.config, PretrainJob)
    if job.inputs:
        return 0.5 + _pass_seconds(job)
    steps = data_of(job).used("train") * job.config.training.epochs * _step_seconds(job.config)
    return 0.5 + steps + _partition_seconds(job.config)


def _pass_seconds(job: Job) -> float:
    """Seconds of a pass over the training images: forward, one view."""
    return data_of(job).used("train") / _network(job.cell.backbone).speed / 4


def memory(job: Job) -> float:
    """Bytes at the peak, for images that stay on the disk."""
    if not isinstance(job.stage, Evaluation):
        assert isinstance(job.config, PretrainJob)
        return PROCESS + max(_weights(job.config) + _activations(job.config), _partition_bytes(job.config))
    data, net = data_of(job), _net(job)
    sizes = [FLOAT * net.features * data.used(split) for split in data.counts]
    held = sum(size for size in sizes if size <= MEMORY)  # a larger one stays on the disk
    return PROCESS + held + job.stage.cost(job.config, net).bytes


def _net(job: Job) -> NetCost:
    """What estimates know of a job's encoder."""
    network = _network(job.cell.backbone)
    return NetCost(network.features, _width(job), network.speed)


def _network(name: str) -> Network:
    return NETWORKS.get(name, UNKNOWN)


def _width(job: Job) -> int:
    """Numbers of the widest representation that an evaluation reads."""
    size = job.cell.embedding_config
    return size.get("L", 0) * size.get("V", 0) or _network(job.cell.backbone).features


def _area(size: int, network: Network) -> float:
    """How many times the work of 32 px."""
    return (size / 32) ** 2 / (network.stem if size > LARGE else 1)


def _areas(job: PretrainJob) -> float:
    """The work of all views, in views of 32 px."""
    network = _network(job.backbone)
    return sum(_area(view.size or job.data.image_size, network) for view in job.training.views)


def _head(job: PretrainJob) -> tuple[int, int]:
    """Width and first hidden width of what the method builds on the backbone, as its parameters name it."""
    width = job.embedding.width or _network(job.backbone).features
    return width, int(job.training.parameters.get("hidden", 0))


def _step_seconds(job: PretrainJob) -> float:
    """Seconds an image: the backbone by its speed, the wide layers by their size; momentum branches go forward too."""
    network, (width, hidden) = _network(job.backbone), _head(job)
    passes = 4 / 3 if "momentum" in job.training.parameters else 1
    embedding = width * network.features if job.embedding.width else 0
    head = 3 * len(job.training.views) * (embedding + width * hidden) / HEAD_SPEED
    return passes * (_areas(job) / 2 / network.speed + head)


def _partition_seconds(job: PretrainJob) -> float:
    """What IP-IRM takes to seek all its partitions: every pass looks at all pairs of images of each batch."""
    if job.ip is None:
        return 0.0
    count, images = -(-job.training.epochs // job.ip.every), job.data.used("train")
    return count * job.ip.passes * images * min(job.ip.batch_size, images) * PAIR_SECONDS


def _partition_bytes(job: PretrainJob) -> float:
    """The outputs of all images, and the pairs of a batch."""
    if job.ip is None:
        return 0.0
    images, width = job.data.used("train"), int(job.training.parameters.get("out", 128))
    pairs = min(job.ip.batch_size, images) ** 2 * PAIR_BYTES
    return FLOAT * images * width * 4 + pairs + FLOAT * _network(job.backbone).weights * 1e6


def _weights(job: PretrainJob) -> float:
    """Weights, gradients, what the optimiser keeps, a momentum branch, and bfloat16 copies of the first two."""
    network, (width, hidden) = _network(job.backbone), _head(job)
    embedding = width * network.features if job.embedding.width else 0
    count = network.weights * 1e6 + embedding + width * hidden + hidden**2
    copies = 3 + optimiser_kind(job.training.optimizer.name).moments
    return FLOAT * count * (copies + ("momentum" in job.training.parameters))


def _activations(job: PretrainJob) -> float:
    network, width = _network(job.backbone), job.embedding.width
    wide = 5 * FLOAT * width * len(job.training.views)  # z, its normed and its softmaxed values, and gradients of these
    return job.training.batch_size * (network.kept * 2**20 * _areas(job) + wide)


def _alike(job: Job) -> tuple[str, ...]:
    cell = job.cell
    return job.kind, cell.method, str(cell.ip is not None), cell.embedding_config["type"], cell.backbone, cell.dataset
