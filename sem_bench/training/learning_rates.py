"""The learning rate of each step: warm-up, then constant or cosine."""

import math

from torch import optim

from sem_bench.training.card import Training


def set_lr(optimizer: optim.Optimizer, training: Training, *, step: int, steps_per_epoch: int) -> None:
    """Give every group its learning rate of a step."""
    lr = lr_at(training, step=step, steps_per_epoch=steps_per_epoch)
    for group in optimizer.param_groups:
        group["lr"] = peak_lr(training) if group["constant"] else lr


def peak_lr(training: Training) -> float:
    """The highest learning rate: the recipe's, times images a step / 256 where the recipe says so."""
    lr = training.optimizer.lr
    return lr * training.step_size / 256 if training.optimizer.lr_per_256 else lr


def lr_at(training: Training, *, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step: linear warm-up from 0, then constant, or half a cosine down to min_lr."""
    peak, total = peak_lr(training), training.epochs * steps_per_epoch
    warmup = min(training.warmup_epochs * steps_per_epoch, total)
    if step < warmup:
        return peak * (step + 1) / (math.floor(warmup) + 1)
    if training.schedule == "constant":
        return peak
    share, lowest = (step - warmup) / max(total - warmup, 1), min(training.min_lr, peak)
    return lowest + (peak - lowest) * (1 + math.cos(math.pi * share)) / 2
