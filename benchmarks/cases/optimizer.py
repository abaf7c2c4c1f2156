"""What follows the backward pass: LARS and the momentum branch, on the weights of ResNet-50 and two wide layers."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torchvision
from lightly.models.utils import update_momentum
from lightly.utils import lars as lightly_lars
from torch import nn

from benchmarks.paired import Case, Contestant, Options, drop
from sem_bench.method import momentum_update
from sem_bench.training.lars import LARS


def weights(width: int, device: torch.device, *, quick: bool = False) -> nn.ParameterList:
    """ResNet-50's (quick: its first), and those of a projector behind SEM of that width."""
    with torch.device("meta"):
        network = torchvision.models.resnet50()
    shapes = [parameter.shape for parameter in network.parameters()][: 10 if quick else None]
    shapes += [torch.Size((width, 512)), torch.Size((512, width))]
    return nn.ParameterList(nn.Parameter(torch.randn(shape, device=device)) for shape in shapes)


def cases(options: Options) -> Iterator[Case]:
    """A step of LARS beside lightly's; an update of a momentum branch beside lightly's and beside a copy."""
    width = 650 if options.quick else 65000
    mine = weights(width, options.device, quick=options.quick)
    count = f"{sum(p.numel() for p in mine) / 1e6:.0f} M weights"
    for parameter in mine:
        parameter.grad = torch.randn_like(parameter)
    matrices, vectors = [p for p in mine if p.ndim > 1], [p for p in mine if p.ndim <= 1]
    ours: list[dict[str, Any]] = [
        {"params": matrices, "decay": 1e-5, "weight_decay": 0.0, "adapt": True},
        {"params": vectors, "decay": 0.0, "weight_decay": 0.0, "adapt": False},
    ]
    theirs: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": 1e-5},
        {"params": vectors, "weight_decay": 0.0},
    ]
    both = [*matrices, *(p.grad for p in matrices if p.grad is not None)]
    steps = [
        Contestant("ours", _step(LARS(ours, lr=1e-6, momentum=0.9, trust_coefficient=0.001, limit=False)), "ours"),
        Contestant("lightly", _step(lightly_lars.LARS(theirs, lr=1e-6, momentum=0.9, trust_coefficient=0.001)), "peer"),
        Contestant("the lengths alone, as ours takes them", lambda: drop(torch._foreach_norm(both)), "part"),
        Contestant("the lengths alone, by torch's dot", partial(_dots, [p.detach().flatten() for p in both]), "part"),
        Contestant("torch's fused SGD", _step(torch.optim.SGD(mine, lr=1e-6, momentum=0.9, fused=True)), "floor"),
    ]
    yield Case(f"LARS, {count}", steps)
    for parameter in mine:
        parameter.grad = None
    steps.clear()
    both.clear()
    branch = weights(width, options.device, quick=options.quick)
    flat = torch.cat([p.detach().flatten() for p in mine])
    into = torch.empty_like(flat)
    updates = [
        Contestant("ours", lambda: momentum_update(mine, branch, 0.99), "ours"),
        Contestant("lightly's update_momentum", partial(update_momentum, mine, branch, m=0.99), "peer"),
        Contestant("a copy of as many numbers", lambda: drop(into.copy_(flat)), "floor"),
    ]
    yield Case(f"momentum branch, {count}", updates)


def _step(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    return lambda: drop(optimizer.step())


def _dots(parts: list[torch.Tensor]) -> None:
    for part in parts:
        part.dot(part)
