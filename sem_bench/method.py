"""The base class of methods.

A method gets an encoder and builds its heads on `encoder.out_dim`; it knows tensors, never files. No method has a SEM
variant. Examples: methods/simclr.py, and methods/byol.py for one with a momentum branch.

On several devices each process does `forward` for its own rows of the batch. The outputs of all are joined before
`loss`, and BatchNorm sees the global batch, so a method whose images meet in `loss` alone needs nothing more. What
`forward` computes from several images takes them from `gather`; what it draws at random it draws in `as_one`.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from sem_bench.base.world import as_one as as_one
from sem_bench.base.world import gather as gather
from sem_bench.encoder import Encoder
from sem_bench.environments import Environment

N = TypeVar("N", bound=nn.Module)
Report = Callable[[str], object]


@dataclass(frozen=True)
class Batch:
    """What a training step sees."""

    views: list[Tensor]  # each (B, 3, S, S), float32, normalised
    indices: Tensor  # (B,) positions in the training set
    labels: Tensor | None = None  # (B,) only for a method whose card says `labels: true`


class Method(nn.Module):
    """Trains an encoder. What must survive a restart is a parameter or a buffer, or the restart will differ.

    A buffer of no dimension stays on the CPU, so that a step can ask for it without waiting for a GPU.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.notes: list[str] = []  # what a table should say of this training

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """The networks' outputs, tensors of B rows; runs under autocast where the hardware has it."""
        raise NotImplementedError

    def loss(self, *outputs: Tensor) -> Tensor:
        """The scalar loss; gets forward's outputs in float32 and runs without autocast."""
        raise NotImplementedError

    def environments(
        self, weights: Tensor, *outputs: Tensor, members: Tensor | None, temperature: float
    ) -> list[Environment]:
        """For IP-IRM (`ip` in a suite): the loss of a subset of images alone, one environment for each direction.

        `outputs` are forward's, of the subset; `weights` (n,) average its images. `members` says of every training
        image (N,) whether it is in the subset; None while a partition is sought: then `weights` are memberships, and
        negatives come from the batch. `temperature` is that of the penalty's logits. Without it a class takes no `ip`.
        """
        raise NotImplementedError

    def before_epoch(self, epoch: int, everything: Callable[[], Iterator[Batch]], report: Report) -> None:
        """Called before each epoch. `everything()` gives views of all training images, in order; `report(text)` tells
        the user what is done meanwhile."""

    def after_batch(self) -> None:
        """Called after each batch: `accumulate` makes a step of several. The place to fill a queue."""

    def after_step(self, step: int, total: int) -> None:
        """Called after optimiser step `step` (from 0) of `total`: the place for momentum updates."""


def still(weight: Tensor) -> Tensor:
    """The weight, with a gradient of 0. Without any, fused optimisers would not find its momentum later."""
    return weight.detach() + 0 * weight


def momentum_copy(module: N) -> N:
    """A copy for a momentum branch: same weights, no gradients.

    Its BatchNorm layers stay in training mode: they use their own batch's statistics and keep running ones.
    Momentum updates average parameters only (as the public code of BYOL, MoCo and SEM does).
    """
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def momentum_update(online: nn.Module, branch: nn.Module, momentum: float) -> None:
    """Move a momentum branch: branch <- momentum * branch + (1 - momentum) * online, for every parameter.

    In one pass, as lightly's `update_momentum` up to rounding, which makes two products for each weight.
    """
    weights: list[Tensor] = list(branch.parameters())
    if weights:  # a module may have none
        torch._foreach_lerp_(weights, list(online.parameters()), 1 - momentum)
