"""Is the representation alive? A few numbers about h, after every epoch, on a fixed sample of training images."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from sem_bench import config, sem
from sem_bench.augment import normalise
from sem_bench.data import Split
from sem_bench.encoder import Encoder
from sem_bench.neighbours import predict

SAMPLE = 512  # images
CHUNK = 64  # images at a time
# A collapse shows in both: what is left of the random backbone's own spread and rank (docs/protocol.md).
LEAST_STD, LEAST_RANK = 0.6, 1 / 3
NEIGHBOURS, TEMPERATURE = 5, 0.1  # the votes of a quick look


@dataclass(frozen=True)
class Health:
    """What a collapse would show in."""

    feature_std: float  # of h at unit length, times sqrt(d): 1 if all directions are alike, 0 if all images are
    effective_rank: float  # of h, RankMe (Garrido et al., ICML 2023, equation 2)
    simplex_entropy: float | None  # mean over simplices and images, at the training temperature, as a share of log V

    def notes(self, start: "Health") -> list[str]:
        """What a table should say beside the numbers, given the health before training."""
        flat = self.feature_std < LEAST_STD * start.feature_std
        thin = self.effective_rank < LEAST_RANK * start.effective_rank
        return ["collapsed: h has less spread and rank than before training"] if flat and thin else []


def watched(train: Split, constants: config.Normalisation, device: torch.device) -> Tensor:
    """The training images that are looked at, normalised (SAMPLE, 3, S, S)."""
    images = normalise(train.sample(SAMPLE).to(device), mean=constants.mean, std=constants.std)
    return images.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def measure(encoder: Encoder, images: Tensor) -> Health:
    """The health of an encoder on normalised images (N, 3, S, S); each of its parts is left in the mode it was in.

    Raises FloatingPointError where h is not finite.
    """
    with _evaluating(encoder):
        h = _features(encoder, images)
        entropy = None
        if isinstance(encoder.embedding, sem.SimplicialEmbedding):
            entropy = encoder.embedding.entropy(h.float())
    return Health(feature_std(h), effective_rank(h), entropy)


@torch.no_grad()
def neighbours_accuracy(encoder: Encoder, images: Tensor, labels: Tensor) -> float:
    """Percent of the odd rows of (N, 3, S, S) whose class their nearest neighbours in h among the even rows say."""
    with _evaluating(encoder):
        h = _features(encoder, images).float()
    classes = int(labels.max()) + 1
    said = predict(h[::2], labels[::2], h[1::2], classes=classes, k=NEIGHBOURS, temperature=TEMPERATURE)
    return 100 * float((said == labels[1::2]).double().mean())


@contextmanager
def _evaluating(encoder: Encoder) -> Iterator[None]:
    """The encoder in eval mode, then each of its parts in the mode that it was in."""
    modes = {module: module.training for module in encoder.modules()}
    encoder.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _features(encoder: Encoder, images: Tensor) -> Tensor:
    h = torch.cat([encoder.backbone(part) for part in images.split(CHUNK)]).double()
    if not torch.isfinite(h).all():
        raise FloatingPointError("features are not finite")
    return h


def feature_std(h: Tensor) -> float:
    """Mean over the dimensions of the standard deviation of h / |h|, times sqrt(d) (SimSiam, section 4.1)."""
    if len(h) < 2:
        return 0.0
    unit = torch.nn.functional.normalize(h, dim=1)
    return float(unit.std(0).mean() * math.sqrt(h.shape[1]))


def effective_rank(h: Tensor) -> float:
    """exp of the entropy of the singular values of h (N, d), as shares of their sum: 1 to min(N, d)."""
    values = torch.linalg.svdvals(h)
    shares = values / values.sum().clamp(min=1e-12)
    return float(torch.special.entr(shares).sum().exp())
