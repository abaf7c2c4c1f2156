"""Hard codes: of each simplex of SEM the largest number alone."""

import torch
from torch import Tensor

from sem_bench.base.device import at_least_float32
from sem_bench.nets.embeddings.sem import SimplicialEmbedding


class ArgmaxEmbedding(SimplicialEmbedding):
    """L one-hot vectors of V numbers: the discrete latent codes of Lavoie et al. 2025 (arXiv 2507.12318).

    They train SEM (`train: soft`) and read the codes afterwards. With `train: hard` the heads see codes in training,
    too, straight-through: forwards the code, backwards the gradient of the softmax at tau (Bengio et al. 2013). Codes
    do not depend on the temperature. Their Linear from L*V back to the width of the class token is not here: the first
    layer of a method's head is such a Linear already.
    """

    def __init__(self, in_dim: int, *, L: int, V: int, tau: float, tau_target: float | None = None, train: str) -> None:
        super().__init__(in_dim, L=L, V=V, tau=tau, tau_target=tau_target)
        self.soft = train == "soft"

    def forward(self, h: Tensor, temperature: float | None = None) -> Tensor:
        """h (B, in_dim) -> (B, V*L) in float32: one 1 in each group; with `train: soft` SEM in training."""
        if self.training and self.soft:
            return super().forward(h, temperature)
        z = at_least_float32(self.raw(h)).unflatten(1, (self.V, self.L))
        codes = _one_hot(z)
        if torch.is_grad_enabled():
            p = (z / (self.temperature if temperature is None else temperature)).softmax(1)
            codes = codes + (p - p.detach())  # in this order exactly 0 is added
        return codes.flatten(1)

    def log_probabilities(self, z: Tensor, temperature: float) -> Tensor:
        """z (B, V, L) -> log p (B, V, L) of the codes, at whatever temperature."""
        codes = _one_hot(z.float())
        return codes.clamp_min(torch.finfo(codes.dtype).tiny).log()


def _one_hot(z: Tensor) -> Tensor:
    """1 at the largest number of each group of z (B, V, L), the first of equal ones; 0 elsewhere."""
    return torch.zeros_like(z).scatter_(1, z.argmax(1, keepdim=True), 1.0)
