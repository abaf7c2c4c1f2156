"""How long a pretraining takes and how much memory it needs: roughly, and before torch is loaded.

The numbers are measured (docs/protocol.md, Estimates); those of a backbone stand on its card.
"""

from sem_bench.base.limits import FLOAT
from sem_bench.evaluation import Cost, NetCost
from sem_bench.training.job import PretrainJob
from sem_bench.training.optimisers import optimiser_kind

START = 0.5  # seconds
LARGE = 64  # pixels above which torchvision's ResNets have their large stem
HEAD_SPEED = 2e11  # multiplications a second in a wide linear layer
PAIR_SECONDS = 1.1e-6  # IP-IRM, seeking a partition: for each pair of images in a batch, both subsets, with gradients
PAIR_BYTES = 420


def cost(job: PretrainJob, net: NetCost) -> Cost:
    """Of training, or of attaching an embedding to a finished encoder: then of a pass over the images, one view."""
    if net.attached:
        seconds = job.data.used("train") / net.speed / 4
    else:
        seconds = job.data.used("train") * job.training.epochs * _step_seconds(job, net) + _partition_seconds(job)
    memory = max(_weight_bytes(job, net) + _activation_bytes(job, net), _partition_bytes(job, net))
    return Cost(START + seconds, memory, FLOAT * (net.backbone.weights * 1e6 + net.embedding * net.features))


def _step_seconds(job: PretrainJob, net: NetCost) -> float:
    """Seconds an image: the backbone by its speed, the wide layers by their size; momentum branches go forward too."""
    passes = 4 / 3 if "momentum" in job.training.parameters else 1
    passes *= 1 + _mixed_anew(job, (_partitions(job) + 1) / 2)
    wide = net.embedding * net.features + _input(net) * _hidden(job)
    return passes * (_areas(job, net) / 2 / net.speed + 3 * len(job.training.views) * wide / HEAD_SPEED)


def _partition_seconds(job: PretrainJob) -> float:
    """What IP-IRM takes to seek all its partitions: every pass looks at all pairs of images of each batch."""
    if job.ip is None:
        return 0.0
    images = job.data.used("train")
    return _partitions(job) * job.ip.passes * images * min(job.ip.batch_size, images) * PAIR_SECONDS


def _partitions(job: PretrainJob) -> int:
    """How many IP-IRM has found at the end."""
    return 0 if job.ip is None else -(-job.training.epochs // job.ip.every)


def _mixed_anew(job: PretrainJob, partitions: float) -> float:
    """IP-IRM with MixUp: the first view goes through the network once more for each partition; as a share of all."""
    return 0.0 if job.ip is None or job.training.mixup is None else partitions / len(job.training.views)


def _weight_bytes(job: PretrainJob, net: NetCost) -> float:
    """Weights, gradients, what the optimiser keeps, a momentum branch, and bfloat16 copies of the first two."""
    hidden = _hidden(job)
    count = net.backbone.weights * 1e6 + net.embedding * net.features + _input(net) * hidden + hidden**2
    copies = 3 + optimiser_kind(job.training.optimizer.name).moments
    return FLOAT * count * (copies + ("momentum" in job.training.parameters))


def _activation_bytes(job: PretrainJob, net: NetCost) -> float:
    """What the backward pass needs of a batch."""
    # z, its normed and its softmaxed values, and gradients of these
    wide = 5 * FLOAT * net.embedding * len(job.training.views)
    once = job.training.batch_size * (net.backbone.kept * 2**20 * _areas(job, net) + wide)
    return once * (1 + _mixed_anew(job, _partitions(job)))


def _partition_bytes(job: PretrainJob, net: NetCost) -> float:
    """The outputs of all images, and the pairs of a batch."""
    if job.ip is None:
        return 0.0
    images, width = job.data.used("train"), int(job.training.parameters.get("out", 128))
    pairs = min(job.ip.batch_size, images) ** 2 * PAIR_BYTES
    return FLOAT * images * width * 4 + pairs + FLOAT * net.backbone.weights * 1e6


def _areas(job: PretrainJob, net: NetCost) -> float:
    """The work of all views, in views of 32 px."""
    sizes = [view.size or job.data.image_size for view in job.training.views]
    return sum(view_area(size, net.backbone.stem) for size in sizes)


def view_area(size: int, stem: float) -> float:
    """The work of a view of so many pixels, in views of 32 px."""
    return (size / 32) ** 2 / (stem if size > LARGE else 1)


def _input(net: NetCost) -> int:
    """Numbers that the method's first layer gets."""
    return net.embedding or net.features


def _hidden(job: PretrainJob) -> int:
    """Numbers of its first hidden layer, as the methods' parameters name it."""
    return int(job.training.parameters.get("hidden", 0))
