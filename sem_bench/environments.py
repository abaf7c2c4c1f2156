"""Losses of a subset of images, with the dummy scale of invariant risk minimisation (IRM): what IP-IRM asks a method.

IRM (Arjovsky et al., arXiv 1907.02893, equation 5) asks that no rescaling of a network's output improves the loss of a
subset: the penalty is the squared gradient with respect to a scale at 1. As in the code of IP-IRM (Wang et al., NeurIPS
2021), each column of the output has a scale of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-12


@dataclass(frozen=True)
class Environment:
    """A subset's loss as a function of outputs (n, columns): contrastive logits, or predictions."""

    outputs: Tensor
    risk: Callable[[Tensor], Tensor]
    penalised: Tensor  # the outputs that the penalty scales: contrastive logits have a temperature of their own there
    note: str = ""  # what a table should say of it

    def loss(self) -> Tensor:
        """The subset's loss."""
        return self.risk(self.outputs)

    def penalty(self) -> Tensor:
        """The squared gradient of the loss with respect to a scale of each column; can be differentiated again."""
        scale = self.penalised.new_ones(self.penalised.shape[1]).requires_grad_()
        (slope,) = torch.autograd.grad(self.risk(self.penalised * scale), scale, create_graph=True)
        return slope.square().sum()


def info_nce(
    similarities: Tensor,
    *,
    weights: Tensor,
    negative_weights: Tensor,
    temperature: float,
    penalty_temperature: float,
) -> Environment:
    """InfoNCE of similarities (n, 1 + m), the positive in column 0, soft in the membership of images.

    `weights` (n,) average the samples; `negative_weights` (n, m), those above 0 brought to a mean of 1, multiply the
    exponentials of the negatives. With memberships of 1 it is the ordinary loss; 0 takes a negative out.
    """
    count = (negative_weights > 0).sum(1, keepdim=True)
    share = negative_weights / negative_weights.sum(1, keepdim=True).clamp(min=TINY) * count
    shift = F.pad(share.clamp(min=TINY).log(), (1, 0))

    def risk(logits: Tensor) -> Tensor:
        each = (logits + shift).logsumexp(1) - logits[:, 0]
        return (weights * each).sum() / weights.sum().clamp(min=TINY)

    return Environment(similarities / temperature, risk, similarities / penalty_temperature)


def regression(predictions: Tensor, targets: Tensor, *, weights: Tensor, factor: float = 1.0) -> Environment:
    """For methods without negatives, our reading: half the squared distance of unit vectors (n, d), times `factor`.

    At a scale of 1 that is factor * (1 - cos). There is no temperature.
    """
    unit, goal = F.normalize(predictions, dim=1), F.normalize(targets, dim=1)

    def risk(outputs: Tensor) -> Tensor:
        each = factor / 2 * (outputs - goal).square().sum(1)
        return (weights * each).sum() / weights.sum().clamp(min=TINY)

    return Environment(unit, risk, unit, note="IP-IRM without negatives: our reading of its penalty")
