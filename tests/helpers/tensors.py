"""Small tensors, and what is done to them by hand."""

import torch
from torch import Tensor


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(row: Tensor) -> Tensor:
    return row / (row * row).sum().sqrt()


def softmax(scores: Tensor) -> Tensor:
    return scores.exp() / scores.exp().sum()
