"""LARS (You et al., arXiv 1708.03888): SGD whose rate is adapted to each weight's own length and gradient.

On a GPU all weights of a group in a few passes (torch's foreach and fused SGD), without a synchronisation for each. On
a CPU, which knows the rates at once, rate, decay and momentum of a weight in one pass. Equal to lightly's loop, and
several times as fast (`benchmarks/run.py --only optimizer`, docs/performance.md).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD
from torch.optim.sgd import sgd

EPS = 1e-8


class LARS(SGD):
    """Groups with `adapt` follow LARS; the others are plain SGD. `decay` is the weight decay of a group.

    With `limit` the adapted rate never exceeds the group's lr: the "clip" of the SEM authors' code.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, lr: float, momentum: float, trust_coefficient: float, limit: bool
    ) -> None:
        super().__init__(groups, lr=lr, momentum=momentum, fused=True)
        self.trust_coefficient, self.limit = trust_coefficient, limit

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step. Gradients are changed in place."""
        assert closure is None
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if not weights:
                continue
            rates = self._rates(weights, group) if group["adapt"] else None
            if rates is not None and rates.device.type == "cpu":
                for weight, rate in zip(weights, rates.tolist(), strict=True):
                    self._sgd([weight], group, decay=rate * group["decay"], rate=rate)
                continue
            gradients = _gradients(weights)
            if group["decay"]:
                torch._foreach_add_(gradients, weights, alpha=group["decay"])
            if rates is not None:
                torch._foreach_mul_(gradients, list(rates.unbind()))
            self._sgd(weights, group)

    def _rates(self, weights: list[Tensor], group: dict[str, Any]) -> Tensor:
        """By what the gradient of each weight is multiplied, after its decay: (n,)."""
        length = torch.stack(torch._foreach_norm(weights))
        slope = torch.stack(torch._foreach_norm(_gradients(weights)))
        rate = self.trust_coefficient * length / (slope + group["decay"] * length + EPS)
        if self.limit:
            rate = (rate / group["lr"]).clamp(max=1)
        return torch.where(length == 0, 1, rate) * (slope != 0)  # no gradient: no decay either, as in the public codes

    def _sgd(self, weights: list[Tensor], group: dict[str, Any], *, decay: float = 0.0, rate: float = 1.0) -> None:
        """Momentum, and the step, of rate * gradient + decay * weight; a rate of 0 goes with a gradient of 0."""
        momenta = [self.state[weight].get("momentum_buffer") for weight in weights]
        sgd(
            weights,
            _gradients(weights),
            momenta,
            foreach=False,
            fused=True,
            grad_scale=torch.tensor(1 / rate) if rate not in (0, 1) else None,  # a divisor
            weight_decay=decay,
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        for weight, momentum in zip(weights, momenta, strict=True):
            self.state[weight]["momentum_buffer"] = momentum


def _gradients(weights: list[Tensor]) -> list[Tensor]:
    return [weight.grad for weight in weights if weight.grad is not None]
