"""The optimiser of a recipe over the weights of a method, in groups of like treatment."""

from torch import nn, optim
from torch.nn.utils import clip_grad_norm_

from sem_bench.training.card import Optimizer, Training
from sem_bench.training.learning_rates import peak_lr
from sem_bench.training.optimisers import Groups, optimiser_kind


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


def limit_gradient(module: nn.Module, training: Training) -> None:
    """Cut the gradient to the recipe's length, where it names one."""
    if training.optimizer.gradient_norm is not None:
        clip_grad_norm_(module.parameters(), training.optimizer.gradient_norm)
