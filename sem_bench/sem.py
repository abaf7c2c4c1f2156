"""Simplicial Embeddings and the embeddings they are compared with (Lavoie et al., ICLR 2023, section 3).

An embedding stands between the backbone and the method's heads. SEM cuts z in R^(L*V) into L groups of V numbers and
puts each group through a softmax at temperature tau.

Layout. The paper's order is group-major: number v of group l stands at l*V + v. A softmax over a short last axis is
slow, so the modules work on (B, V, L), where number v of group l stands at v*L + l and the softmax runs over axis 1.
Heads do not care. `simplicial_embedding`, `to_group_major` and `from_group_major` speak the paper's order.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sem_bench import config


def simplicial_embedding(z: Tensor, *, L: int, V: int, tau: float) -> Tensor:
    """SEM of z (..., L*V), group-major in and out: each group of V numbers becomes a probability vector."""
    _check(z, L, V, tau)
    return (z.reshape(*z.shape[:-1], L, V) / tau).softmax(-1).flatten(-2)


def simplex_softmax(z: Tensor, *, L: int, V: int, tau: float) -> Tensor:
    """As `simplicial_embedding`, on the modules' own order (..., V*L)."""
    _check(z, L, V, tau)
    return (z.reshape(*z.shape[:-1], V, L) / tau).softmax(-2).flatten(-2)


def to_group_major(z: Tensor, *, L: int, V: int) -> Tensor:
    """From the modules' order (..., V*L) to the paper's (..., L*V)."""
    return z.reshape(*z.shape[:-1], V, L).transpose(-1, -2).flatten(-2)


def from_group_major(z: Tensor, *, L: int, V: int) -> Tensor:
    """From the paper's order (..., L*V) to the modules' (..., V*L)."""
    return z.reshape(*z.shape[:-1], L, V).transpose(-1, -2).flatten(-2)


def _check(z: Tensor, L: int, V: int, tau: float) -> None:
    if z.shape[-1] != L * V:
        raise ValueError(f"the last axis has {z.shape[-1]} numbers, not L*V = {L}*{V} = {L * V}")
    if not 0 < tau < float("inf"):
        raise ValueError(f"the temperature must be finite and above 0, not {tau}")


class NoEmbedding(nn.Module):
    """The baseline: features go through unchanged."""

    def __init__(self, in_dim: int) -> None:
        super().__init__()
        self.out_dim = in_dim

    def forward(self, h: Tensor) -> Tensor:
        """h (B, in_dim) -> the same."""
        return h


class LinearEmbedding(nn.Module):
    """SEM without its softmax: Linear(d, L*V, no bias) and BatchNorm, the control that isolates the softmax."""

    def __init__(self, in_dim: int, *, L: int, V: int) -> None:
        super().__init__()
        self.L, self.V, self.out_dim = L, V, L * V
        self.linear = nn.Linear(in_dim, L * V, bias=False)
        self.norm = nn.BatchNorm1d(L * V)

    def logits(self, h: Tensor) -> Tensor:
        """z (B, V*L) of h (B, in_dim), before any softmax."""
        z: Tensor = self.norm(self.linear(h))
        return z

    def forward(self, h: Tensor) -> Tensor:
        """As `logits`."""
        return self.logits(h)


class SimplicialEmbedding(LinearEmbedding):
    """Linear, BatchNorm, then the softmax at temperature tau; a momentum branch uses tau_target."""

    def __init__(self, in_dim: int, *, L: int, V: int, tau: float, tau_target: float | None = None) -> None:
        super().__init__(in_dim, L=L, V=V)
        self.tau = tau
        self.tau_target = tau if tau_target is None else tau_target

    def forward(self, h: Tensor, tau: float | None = None) -> Tensor:
        """h (B, in_dim) -> (B, V*L) in float32, at `tau` or else the module's own temperature."""
        return simplex_softmax(self.logits(h).float(), L=self.L, V=self.V, tau=self.tau if tau is None else tau)

    @torch.no_grad()
    def entropy(self, h: Tensor) -> float:
        """Mean entropy of the simplices of h (B, in_dim) at tau, as a share of log V: 0 is one-hot, 1 is uniform."""
        logs = (self.logits(h).float().unflatten(1, (self.V, self.L)) / self.tau).log_softmax(1)
        return float(-(logs.exp() * logs).sum(1).mean()) / math.log(self.V)


class GumbelEmbedding(SimplicialEmbedding):
    """SEM with one-hot samples in training: straight-through Gumbel-softmax (Jang et al., ICLR 2017, section 2.2).

    In eval mode there is no noise and nothing is sampled: it is SEM.
    """

    def forward(self, h: Tensor, tau: float | None = None) -> Tensor:
        """h (B, in_dim) -> (B, V*L) in float32: in training one 1 in each simplex, with the gradient of the softmax."""
        if not self.training:
            return super().forward(h, tau)
        z = self.logits(h).float().unflatten(1, (self.V, self.L))
        return F.gumbel_softmax(z, self.tau if tau is None else tau, hard=True, dim=1).flatten(1)


def build(settings: config.Embedding, in_dim: int) -> NoEmbedding | LinearEmbedding:
    """The embedding of a configuration whose temperatures are resolved."""
    if settings.type == "none":
        return NoEmbedding(in_dim)
    assert settings.L is not None and settings.V is not None
    if settings.type == "linear":
        return LinearEmbedding(in_dim, L=settings.L, V=settings.V)
    assert settings.tau is not None
    kind = GumbelEmbedding if settings.type == "gumbel" else SimplicialEmbedding
    return kind(in_dim, L=settings.L, V=settings.V, tau=settings.tau, tau_target=settings.tau_target)
