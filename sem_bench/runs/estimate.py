"""How long a job will take and how much memory it needs: roughly, and before torch is loaded.

Time comes from finished jobs of its kind where there are any, else from what the backbone's card says. The cards'
numbers are measured (docs/protocol.md, Estimates); benchmarks/memory.py prints those of memory.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from sem_bench.data.described import LabelledData, ShiftedData
from sem_bench.evaluations.augmented import AugmentedJob
from sem_bench.evaluations.expressivity import ExpressivityJob
from sem_bench.evaluations.knn import KnnJob
from sem_bench.evaluations.probe import ProbeJob
from sem_bench.nets.card import Cost
from sem_bench.runs.job import Job, data_of
from sem_bench.runs.store import Store
from sem_bench.training.job import PretrainJob

FEATURES = 1024  # of a backbone of which nothing is known
LARGE = 64  # pixels above which torchvision's ResNets have their large stem
EVALUATION_SECONDS = 2.0  # of a probe on 5,000 images
HEAD_SPEED = 2e11  # multiplications a second in a wide linear layer
PROCESS = 0.9 * 2**30  # bytes of Python with torch
FLOAT = 4  # bytes
PAIR_SECONDS = 1.1e-6  # IP-IRM, seeking a partition: for each pair of images in a batch, both subsets, with gradients
PAIR_BYTES = 420
COPIES = 26  # of a probe's head while it is fitted
SOLVER = 2**31  # bytes that all penalties at once may take, both as in logistic.py
CHUNK = 1024  # images whose representation exists at a time
HELD = 2 * 2**30  # bytes of a split's features that stay in memory (--memory, by default)
NEIGHBOURS = 2**27  # bytes of representations that kNN looks at, at a time


def estimate(jobs: Sequence[Job], store: Store) -> dict[str, float]:
    """Seconds for each job, by digest."""
    ratios: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for job in jobs:
        if result := store.result(job):
            ratios[_alike(job)].append(result["provenance"]["seconds"] / work(job))
    return {job.digest: work(job) * median(ratios.get(_alike(job), [1.0])) for job in jobs}


def work(job: Job) -> float:
    """Seconds on two cores, by the table."""
    data = data_of(job)
    if isinstance(job.config, PretrainJob):
        if job.inputs:
            return 0.5 + _pass_seconds(job)
        steps = data.used("train") * job.config.training.epochs * _step_seconds(job)
        return 0.5 + steps + _partition_seconds(job.config)
    if isinstance(data, ShiftedData):
        kinds = len(data.source.kinds) or 1
        return EVALUATION_SECONDS * max(1, _width(job) / 512) * kinds * data.used("test") / 20000
    assert isinstance(data, LabelledData)
    share = max(1, _width(job) / 512) * data.used("train") / 5000
    fit = EVALUATION_SECONDS * share * max(1, len(data.classes) / 20)
    if isinstance(job.config, AugmentedJob):
        return job.config.epochs * _pass_seconds(job)
    if isinstance(job.config, ExpressivityJob):
        return fit * sum(job.config.fractions) * (1 + len(job.config.tau)) / 5
    return fit if isinstance(job.config, ProbeJob) else EVALUATION_SECONDS / 2 * share


def _pass_seconds(job: Job) -> float:
    """Seconds of a pass over the training images: forward, one view."""
    return data_of(job).used("train") / job.parts.cost.speed / 4


def memory(job: Job) -> float:
    """Bytes at the peak, for images that stay on the disk."""
    if isinstance(job.config, PretrainJob):
        return PROCESS + max(_weights(job) + _activations(job), _partition_bytes(job))
    data = data_of(job)
    features, width = _features(job), _width(job)
    sizes = [FLOAT * features * data.used(split) for split in data.counts]
    held = sum(size for size in sizes if size <= HELD)  # a larger one stays on the disk
    if isinstance(job.config, KnnJob):
        return PROCESS + held + 4 * min(FLOAT * width * sum(map(data.used, data.counts)), NEIGHBOURS)
    assert isinstance(data, LabelledData | ShiftedData)
    fitted = isinstance(job.config, ProbeJob | ExpressivityJob)
    heads = FLOAT * width * len(data.classes) * (COPIES if fitted else 1)
    if isinstance(job.config, ProbeJob):
        penalties = max(len(job.config.l2), len(job.config.fixed_l2))
        heads *= min(penalties, max(1, SOLVER // heads))
    return PROCESS + held + heads + FLOAT * 4 * CHUNK * width


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
    copies = 5 if training.optimizer.name.startswith("adam") else 4
    return FLOAT * count * (copies + ("momentum" in training.parameters))


def _activations(job: Job) -> float:
    training, width = _config(job).training, job.parts.embedding.out_dim or 0
    wide = 5 * FLOAT * width * len(training.views)  # z, its normed and its softmaxed values, and gradients of these
    return training.batch_size * (job.parts.cost.kept * 2**20 * _areas(job) + wide)


def _alike(job: Job) -> tuple[str, ...]:
    cell = job.cell
    return job.kind, cell.method, str(cell.ip is not None), cell.embedding_config["type"], cell.backbone, cell.dataset
