"""Is the representation alive? A few numbers about h, after every epoch, on a fixed sample of training images."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sem_bench.data.augment import normalise
from sem_bench.data.card import Normalisation
from sem_bench.data.split import Split
from sem_bench.embedding import Embedding
from sem_bench.encoder import Encoder

SAMPLE = 512  # images
CHUNK = 64  # images at a time
# A collapse shows in both: what is left of the random backbone's own spread and rank (docs/protocol.md).
LEAST_STD, LEAST_RANK = 0.6, 1 / 3


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


def watched(train: Split, constants: Normalisation, device: torch.device) -> Tensor:
    """The training images that are looked at, normalised (SAMPLE, 3, S, S)."""
    images = normalise(train.sample(SAMPLE).to(device), mean=constants.mean, std=constants.std)
    return images.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def measure(encoder: Encoder, images: Tensor) -> Health:
    """The health of an encoder on normalised images (N, 3, S, S); each of its parts is left in the mode it was in.

    Raises FloatingPointError where h or a weight is not finite.
    """
    for name, value in encoder.state_dict().items():
        if not torch.isfinite(value).all():
            raise FloatingPointError(f"{name} is not finite")
    with evaluating(encoder):
        h = backbone_outputs(encoder, images)
        entropy = None
        if encoder.embedding.temperature is not None and encoder.embedding.groups is not None:
            entropy = simplex_entropy(encoder.embedding, h.float())
    return Health(feature_std(h), effective_rank(h), entropy)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in eval mode, then each of its parts in the mode that it was in."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def backbone_outputs(encoder: Encoder, images: Tensor) -> Tensor:
    """h (N, d) of normalised images (N, 3, S, S), as float64. Raises FloatingPointError where it is not finite."""
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


@torch.no_grad()
def simplex_entropy(embedding: Embedding, h: Tensor) -> float:
    """Mean entropy of the simplices of h (N, d) in training, as a share of log V: 0 is one-hot, 1 is uniform."""
    assert embedding.temperature is not None and embedding.groups is not None
    L, V = embedding.groups
    logs = embedding.log_probabilities(embedding.raw(h).unflatten(1, (V, L)), embedding.temperature)
    return float(-(logs.exp() * logs).sum(1).mean()) / math.log(V)
