"""A step of our LARS next to lightly's, on the weights of ResNet-50 with a projector behind SEM.

    python benchmarks/lars.py [--width 65000] [--threads 1]

The fastest of many steps, in turns.
"""

# ruff: noqa: T201

import argparse
import time
from typing import Any

import torch
import torchvision
from lightly.utils import lars as lightly_lars
from torch import nn

from sem_bench.training.lars import LARS


def weights(width: int) -> list[nn.Parameter]:
    """ResNet-50's, and those of two wide layers."""
    network = torchvision.models.resnet50(weights=None)
    shapes = [parameter.shape for parameter in network.parameters()] + [
        torch.Size((width, 512)),
        torch.Size((512, width)),
    ]
    parameters = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    return parameters


def main() -> None:
    """Seconds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=65000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    parameters = weights(options.width)
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    ours: list[dict[str, Any]] = [
        {"params": matrices, "decay": 1e-5, "weight_decay": 0.0, "adapt": True},
        {"params": vectors, "decay": 0.0, "weight_decay": 0.0, "adapt": False},
    ]
    theirs: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": 1e-5},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizers = {
        "ours": LARS(ours, lr=1e-6, momentum=0.9, trust_coefficient=0.001, limit=False),
        "lightly": lightly_lars.LARS(theirs, lr=1e-6, momentum=0.9, trust_coefficient=0.001),
    }
    seconds = dict.fromkeys(optimizers, float("inf"))
    for _ in range(8):
        for name, optimizer in optimizers.items():
            start = time.perf_counter()
            optimizer.step()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    count = sum(p.numel() for p in parameters) / 1e6
    for name, value in seconds.items():
        print(f"{name:8} {1000 * value:7.0f} ms for {count:.0f} M weights")
    print(f"ratio    {seconds['lightly'] / seconds['ours']:.1f}")


if __name__ == "__main__":
    main()
