"""Simplicial Embeddings and the embeddings they are compared with (Lavoie et al., ICLR 2023, section 3).

An embedding stands between the backbone and the method's heads. SEM cuts z in R^(L*V) into L groups of V numbers and
puts each group through a softmax at temperature tau.

Layout. The paper's order is group-major: number v of group l stands at l*V + v. A softmax over a short last axis is
slow, so the modules work on (B, V, L), where number v of group l stands at v*L + l and the softmax runs over axis 1.
Heads do not care. `simplicial_embedding`, `to_group_major` and `from_group_major` speak the paper's order.
"""

from typing import Any

import torch
from torch import Tensor

from sem_bench.base.device import at_least_float32
from sem_bench.nets.embeddings.linear import LinearEmbedding

PART = 2**19  # numbers that a processor's cache holds


def simplicial_embedding(z: Tensor, *, L: int, V: int, tau: float) -> Tensor:
    """SEM of z (..., L*V), group-major in and out: each group of V numbers becomes a probability vector."""
    _check(z, L, V, tau)
    return (z.reshape(*z.shape[:-1], L, V) / tau).softmax(-1).flatten(-2)


def simplex_softmax(z: Tensor, *, L: int, V: int, tau: float) -> Tensor:
    """As `simplicial_embedding`, on the modules' own order (..., V*L)."""
    _check(z, L, V, tau)
    if z.device.type == "cpu" and z.numel() > PART:
        parted: Tensor = _InParts.apply(z.reshape(-1, V, L), tau)
        return parted.view(z.shape)
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


class _InParts(torch.autograd.Function):
    """softmax(z / tau) over axis 1 of z (B, V, L), some rows at a time: the quotient never leaves the cache."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, tau: float) -> Tensor:
        out = torch.empty_like(z, memory_format=torch.contiguous_format)
        for part, place in zip(*_parts(z, out), strict=True):
            torch.softmax(part / tau, 1, out=place)
        ctx.save_for_backward(out)
        ctx.tau = tau
        return out

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        (out,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative
            return out * (slope - (slope * out).sum(1, keepdim=True)) / ctx.tau, None
        gradient = torch.empty_like(out)
        for part, below, place in zip(*_parts(slope, out, gradient), strict=True):
            torch.ops.aten._softmax_backward_data.out(part, below, 1, out.dtype, grad_input=place)
            place /= ctx.tau
        return gradient, None


def _parts(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Rows of each, together as many numbers as the cache holds."""
    rows = max(1, PART // tensors[0][0].numel())
    return [tensor.split(rows) for tensor in tensors]


class SimplicialEmbedding(LinearEmbedding):
    """Linear, BatchNorm, then the softmax at temperature tau; a momentum branch uses tau_target."""

    def __init__(self, in_dim: int, *, L: int, V: int, tau: float, tau_target: float | None = None) -> None:
        super().__init__(in_dim, L=L, V=V)
        self.temperature: float = tau
        self.target_temperature: float = tau if tau_target is None else tau_target

    def forward(self, h: Tensor, temperature: float | None = None) -> Tensor:
        """h (B, in_dim) -> (B, V*L) in float32, at `temperature` or else the module's own."""
        tau = self.temperature if temperature is None else temperature
        return simplex_softmax(at_least_float32(self.raw(h)), L=self.L, V=self.V, tau=tau)
