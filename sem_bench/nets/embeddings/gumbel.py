"""SEM with one-hot samples in training."""

from torch import Tensor
from torch.nn import functional as F

from sem_bench.base import world
from sem_bench.base.device import at_least_float32
from sem_bench.nets.embeddings.sem import SimplicialEmbedding


class GumbelEmbedding(SimplicialEmbedding):
    """Straight-through Gumbel-softmax (Jang et al., ICLR 2017, section 2.2).

    In eval mode there is no noise and nothing is sampled: it is SEM.
    """

    def forward(self, h: Tensor, temperature: float | None = None) -> Tensor:
        """h (B, in_dim) -> (B, V*L) in float32: in training one 1 in each simplex, with the gradient of the softmax."""
        if not self.training:
            return super().forward(h, temperature)
        z = at_least_float32(self.raw(h)).unflatten(1, (self.V, self.L))
        tau = self.temperature if temperature is None else temperature
        return world.as_one(lambda rows: F.gumbel_softmax(rows, tau, hard=True, dim=1), z).flatten(1)
