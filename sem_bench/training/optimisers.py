"""The optimisers that a recipe can name, an entry each. To add one, add its entry to `OPTIMISERS`.

Recipes are checked and memory is estimated by this table before torch is loaded, so a builder imports torch itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sem_bench.config.validation import did_you_mean

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer

    from sem_bench.training.card import Optimizer

Groups = list[dict[str, Any]]
"""Parameter groups of torch, with `weight_decay`."""


@dataclass(frozen=True)
class OptimiserKind:
    """How an optimiser is made from a recipe, and what is known of it without making one."""

    summary: str
    build: "Callable[[Groups, Optimizer, float], TorchOptimizer]"  # from groups, a recipe's settings, and the peak rate
    moments: int  # numbers kept for each weight, beside its gradient: the memory that it needs
    own: tuple[str, ...] = ()  # settings of a recipe that this optimiser alone has


def _sgd(groups: Groups, settings: "Optimizer", lr: float) -> "TorchOptimizer":
    from torch.optim import SGD

    return SGD(groups, lr=lr, momentum=settings.momentum, fused=True)


def _lars(groups: Groups, settings: "Optimizer", lr: float) -> "TorchOptimizer":
    from sem_bench.training.lars import LARS

    for group in groups:  # LARS decays on its own; a group that is not to decay is not to be adapted either
        vectors = group["params"][0].ndim <= 1
        group |= {"decay": group["weight_decay"], "weight_decay": 0.0, "adapt": settings.all_alike or not vectors}
    return LARS(
        groups,
        lr=lr,
        momentum=settings.momentum,
        trust_coefficient=settings.trust_coefficient,
        limit=settings.trust_limit,
    )


def _adam(groups: Groups, settings: "Optimizer", lr: float) -> "TorchOptimizer":
    from torch.optim import Adam

    return Adam(groups, lr=lr, fused=True)


def _adamw(groups: Groups, settings: "Optimizer", lr: float) -> "TorchOptimizer":
    from torch.optim import AdamW

    return AdamW(groups, lr=lr, fused=True)


OPTIMISERS = {
    "sgd": OptimiserKind("stochastic gradient descent with momentum", _sgd, moments=1),
    "lars": OptimiserKind(
        "SGD whose rate is adapted to each weight (You et al. 2017)",
        _lars,
        moments=1,
        own=("trust_coefficient", "trust_limit"),
    ),
    "adam": OptimiserKind("Adam; weight decay is part of the gradient (Kingma & Ba 2015)", _adam, moments=2),
    "adamw": OptimiserKind("Adam with decoupled weight decay (Loshchilov & Hutter 2019)", _adamw, moments=2),
}


def optimiser_kind(name: str) -> OptimiserKind:
    """The entry of a name. Raises ValueError, with the nearest right spelling, where there is none."""
    if name not in OPTIMISERS:
        raise ValueError(f"unknown optimiser {name!r}{did_you_mean(name, OPTIMISERS)}")
    return OPTIMISERS[name]
