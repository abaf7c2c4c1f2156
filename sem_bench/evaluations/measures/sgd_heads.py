"""Linear heads that are trained together, on features that differ at every step.

SGD with momentum 0.9 from zero, no weight decay, learning rates times 0.1 at 60 % and at 80 % of the epochs: the linear
evaluation of the original SEM code (solo-learn's), which trains a grid of heads in one pass over the images.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sem_bench.evaluations.measures.logistic import Head

MOMENTUM = 0.9


def decay(epoch: int, epochs: int) -> float:
    """What learning rates are multiplied by in an epoch (from 0): 1, then 0.1, then 0.01."""
    return 0.1 ** sum(5 * epoch >= part * epochs for part in (3, 4))


class Heads:
    """K linear heads on the same features: they share the passes over them, and nothing else."""

    def __init__(self, lr: Sequence[float], *, width: int, classes: int, device: torch.device | None = None) -> None:
        self.lr = torch.tensor(lr, dtype=torch.float64)
        self.weight = torch.zeros(len(lr), classes, width, device=device)
        self.bias = torch.zeros(len(lr), classes, device=device)
        self._momenta = torch.zeros_like(self.weight), torch.zeros_like(self.bias)

    def predict(self, x: Tensor) -> Tensor:
        """Logits (n, K, C) of features (n, d)."""
        flat = torch.addmm(self.bias.flatten(), x, self.weight.flatten(0, 1).T)
        return flat.view(len(x), *self.bias.shape)

    @torch.no_grad()
    def step(self, x: Tensor, labels: Tensor, own: Tensor, *, factor: float = 1.0) -> None:
        """A step on features x (n, d) and labels (n,), with learning rates times `factor`.

        A head's loss is the mean cross-entropy of its own images: `own` (n, K) is 1 there, 0 elsewhere. Where none is
        its own its gradient is 0. The update is that of torch.optim.SGD.
        """
        slope = self.predict(x).softmax(2)  # becomes the gradient by the logits
        slope[torch.arange(len(x), device=x.device), :, labels] -= 1
        slope *= (own / own.sum(0).clamp(min=1))[:, :, None]
        rate = (self.lr * factor).to(self.bias)[:, None]
        # In place: the heads of a wide embedding take gigabytes.
        of_weight, of_bias = self._momenta
        of_weight.flatten(0, 1).addmm_(slope.flatten(1).T, x, beta=MOMENTUM)
        of_bias.mul_(MOMENTUM).add_(slope.sum(0))
        self.weight.addcmul_(of_weight, rate[:, :, None], value=-1)
        self.bias.addcmul_(of_bias, rate, value=-1)

    def head(self, k: int) -> Head:
        """One of them."""
        return Head(self.weight[k], self.bias[k])

    def finite(self) -> list[bool]:
        """Which heads have not diverged."""
        return [bool(w.isfinite().all() and b.isfinite().all()) for w, b in zip(self.weight, self.bias, strict=True)]
