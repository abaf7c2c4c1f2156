"""Optimisers and learning-rate schedules from a recipe."""

import math

from lightly.utils.lars import LARS
from torch import nn, optim

from sem_bench import config


def build(module: nn.Module, training: config.Training) -> optim.Optimizer:
    """The recipe's optimiser over everything that wants a gradient. Biases and normalisation layers do not decay."""
    settings = training.optimizer
    wanted = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in wanted if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in wanted if p.ndim <= 1], "weight_decay": 0.0},
    ]
    lr = peak_lr(training)
    if settings.name == "adamw":
        return optim.AdamW(groups, lr=lr, fused=True)
    if settings.name == "lars":  # lightly's does not rescale groups without weight decay: biases and norms
        lars: optim.Optimizer = LARS(
            groups, lr=lr, momentum=settings.momentum, trust_coefficient=settings.trust_coefficient
        )
        return lars
    return optim.SGD(groups, lr=lr, momentum=settings.momentum, fused=True)


def peak_lr(training: config.Training) -> float:
    """The highest learning rate: the recipe's, times batch size / 256 where the recipe says so."""
    lr = training.optimizer.lr
    return lr * training.batch_size / 256 if training.optimizer.lr_per_256 else lr


def lr_at(training: config.Training, *, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step: linear warm-up from 0, then half a cosine down to min_lr."""
    peak, total = peak_lr(training), training.epochs * steps_per_epoch
    warmup = min(training.warmup_epochs * steps_per_epoch, total)
    if step < warmup:
        return peak * (step + 1) / (math.floor(warmup) + 1)
    share = (step - warmup) / max(total - warmup, 1)
    return training.min_lr + (peak - training.min_lr) * (1 + math.cos(math.pi * share)) / 2
