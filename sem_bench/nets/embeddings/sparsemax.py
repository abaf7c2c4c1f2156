"""Sparsemax in the place of SEM's softmax: probability vectors with exact zeros."""

import torch
from torch import Tensor

from sem_bench.base.device import at_least_float32
from sem_bench.nets.embeddings.sem import SimplicialEmbedding


def sparsemax(z: Tensor, dim: int) -> Tensor:
    """The Euclidean projection of z onto the probability simplex, along an axis.

    Exact, by sorting (Martins and Astudillo, ICML 2016, algorithm 1): max(z - t, 0), with the t that makes it sum to 1.
    The gradient is that of the formula: g minus its mean over the support there, 0 elsewhere (their equation 14).
    """
    z = z - z.detach().amax(dim, keepdim=True)  # changes nothing but rounding
    with torch.no_grad():
        falling = z.sort(dim, descending=True).values
        above = 1 + _counts(falling, dim) * falling > falling.cumsum(dim)
        least = falling.gather(dim, above.sum(dim, keepdim=True) - 1)
        support = z >= least
    threshold = ((z * support).sum(dim, keepdim=True) - 1) / support.sum(dim, keepdim=True)
    return torch.where(support, z - threshold, 0.0).clamp(min=0)


def _counts(x: Tensor, dim: int) -> Tensor:
    """1, 2, 3, ... along an axis of x, in a shape that goes with it."""
    shape = [1] * x.ndim
    shape[dim] = -1
    return torch.arange(1, x.shape[dim] + 1, dtype=x.dtype, device=x.device).reshape(shape)


class SparsemaxEmbedding(SimplicialEmbedding):
    """Linear, BatchNorm, then L sparsemaxes over V numbers of z / tau; the smaller tau, the more zeros."""

    def forward(self, h: Tensor, temperature: float | None = None) -> Tensor:
        """h (B, in_dim) -> (B, V*L) in float32: L probability vectors, at `temperature` or else the module's own."""
        z = at_least_float32(self.raw(h)).unflatten(1, (self.V, self.L))
        tau = self.temperature if temperature is None else temperature
        return sparsemax(z / tau, 1).flatten(1)

    def log_probabilities(self, z: Tensor, temperature: float) -> Tensor:
        """z (B, V, L), before the sparsemax -> log p (B, V, L)."""
        p = sparsemax(z.float() / temperature, 1)
        return p.clamp_min(torch.finfo(p.dtype).tiny).log()
