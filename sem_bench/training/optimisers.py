"""Optimisers and learning-rate schedules from a recipe."""

import math

from torch import nn, optim
from torch.nn.utils import clip_grad_norm_

from sem_bench.training.card import Optimizer, Training
from sem_bench.training.optimiser_kinds import Groups, optimiser_kind


def build(module: nn.Module, training: Training) -> optim.Optimizer:
    """The recipe's optimiser over everything that wants a gradient, in groups of like treatment (`_groups`).

    Raises ValueError for an unknown one.
    """
    settings = training.optimizer
    return optimiser_kind(settings.name).build(_groups(module, settings), settings, peak_lr(training))


def _groups(module: nn.Module, settings: Optimizer) -> Groups:
    """Weights, then biases and normalisation layers, which decay if `all_alike`; first those whose lr varies.

    `constant` names parts of the method; raises ValueError where there is no such part.
    """
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    for part in settings.constant:
        if not any(name.startswith(f"{part}.") for name, _ in named):
            raise ValueError(f"optimizer.constant: the method has no part {part!r} that is trained")
    groups: Groups = []
    for constant in (False, True):
        chosen = [p for name, p in named if (name.split(".")[0] in settings.constant) is constant]
        for vectors in (False, True):
            params = [p for p in chosen if (p.ndim <= 1) is vectors]
            decay = settings.weight_decay if settings.all_alike or not vectors else 0.0
            if params:
                groups.append({"params": params, "weight_decay": decay, "constant": constant})
    return groups


def set_lr(optimizer: optim.Optimizer, training: Training, *, step: int, steps_per_epoch: int) -> None:
    """Give every group its learning rate of a step."""
    lr = lr_at(training, step=step, steps_per_epoch=steps_per_epoch)
    for group in optimizer.param_groups:
        group["lr"] = peak_lr(training) if group["constant"] else lr


def limit_gradient(module: nn.Module, training: Training) -> None:
    """Cut the gradient to the recipe's length, where it names one."""
    if training.optimizer.gradient_norm is not None:
        clip_grad_norm_(module.parameters(), training.optimizer.gradient_norm)


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
