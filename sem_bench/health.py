"""Is the representation alive? A few numbers about h, after every epoch, on a fixed sample of training images."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sem_bench import sem
from sem_bench.encoder import Encoder

SAMPLE = 512  # images
# Below either, images can hardly be told apart. Random backbones have 0.08 and 22 at least (docs/protocol.md).
LEAST_STD, LEAST_RANK = 0.02, 2.0


@dataclass(frozen=True)
class Health:
    """What a collapse would show in."""

    feature_std: float  # of h at unit length, times sqrt(d): 1 if all directions are alike, 0 if all images are
    effective_rank: float  # of h, RankMe (Garrido et al., ICML 2023, equation 2)
    simplex_entropy: float | None  # mean over simplices and images, at the training temperature, as a share of log V

    def notes(self) -> list[str]:
        """What a table should say beside the numbers."""
        if self.feature_std < LEAST_STD or self.effective_rank < LEAST_RANK:
            return [f"collapsed: feature std {self.feature_std:.2g}, effective rank {self.effective_rank:.2g}"]
        return []


@torch.no_grad()
def measure(encoder: Encoder, images: Tensor) -> Health:
    """The health of an encoder on normalised images (N, 3, S, S); it is left in the mode that it was in.

    Raises FloatingPointError where h is not finite.
    """
    training = encoder.training
    h = encoder.eval().backbone(images).double()
    if not torch.isfinite(h).all():
        raise FloatingPointError("features are not finite")
    entropy = None
    if isinstance(encoder.embedding, sem.SimplicialEmbedding):
        entropy = encoder.embedding.entropy(h.float())
    encoder.train(training)
    return Health(feature_std(h), effective_rank(h), entropy)


def feature_std(h: Tensor) -> float:
    """Mean over the dimensions of the standard deviation of h / |h|, times sqrt(d) (SimSiam, section 4.1)."""
    unit = torch.nn.functional.normalize(h, dim=1)
    return float(unit.std(0).mean() * math.sqrt(h.shape[1]))


def effective_rank(h: Tensor) -> float:
    """exp of the entropy of the singular values of h (N, d), as shares of their sum: 1 to min(N, d)."""
    values = torch.linalg.svdvals(h)
    shares = values / values.sum().clamp(min=1e-12)
    return float(torch.special.entr(shares).sum().exp())
