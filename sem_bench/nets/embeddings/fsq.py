"""Finite scalar quantisation: each number is rounded to one of few levels."""

import math

import torch
from torch import Tensor, nn

from sem_bench.base.device import at_least_float32
from sem_bench.embedding import Embedding

SLACK = 1e-3  # the outermost levels are reached at a finite z


def bounded(z: Tensor, levels: int) -> Tensor:
    """z, squeezed by a tanh so that rounding gives `levels` whole numbers around 0; 0 stays where it is.

    Mentzer et al., ICLR 2024, section 3.1. For an even number of levels the range is shifted by half a level: 8 levels
    are -4 to 3. Their code shifts z by tan where this has the inverse of tanh, so there 0 moves a little.
    """
    half = (levels - 1) * (1 + SLACK) / 2
    offset = 0.0 if levels % 2 else 0.5
    return (z + math.atanh(offset / half)).tanh() * half - offset


class FsqEmbedding(Embedding):
    """Linear, BatchNorm, then L numbers of V levels each, in [-1, 1]: as many codes as SEM of that size has corners.

    A quantisation without a codebook to learn. Straight-through: backwards, rounding is the identity. The output is no
    probability vector, has L numbers and not L*V, and there is no temperature.
    """

    def __init__(self, in_dim: int, *, L: int, V: int) -> None:
        super().__init__()
        self.levels, self.out_dim = V, L
        self.linear = nn.Linear(in_dim, L, bias=False)
        self.norm = nn.BatchNorm1d(L)

    def raw(self, h: Tensor) -> Tensor:
        """z (B, L) of h (B, in_dim), before the quantisation."""
        z: Tensor = self.norm(self.linear(h))
        return z

    def forward(self, h: Tensor, temperature: float | None = None) -> Tensor:
        """h (B, in_dim) -> (B, L) in float32."""
        z = bounded(at_least_float32(self.raw(h)), self.levels)
        codes = z.round() + (z - z.detach()) if torch.is_grad_enabled() else z.round()
        return codes / (self.levels // 2)
