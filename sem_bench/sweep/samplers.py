"""Samplers, pruners and distributions of Optuna, from a card."""

import copy

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from sem_bench.runs.sweep_card import WHOLE, Axis, Pruner, Sweep


def sampler_of(sweep: Sweep, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler of a card, for one trial: `seed` is the trial's own."""
    if sweep.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)  # trials that run count as bad ones
    if sweep.sampler == "qmc":  # one sequence for all trials: its seed stays
        return optuna.samplers.QMCSampler(scramble=True, seed=sweep.seed, warn_independent_sampling=False)
    return optuna.samplers.RandomSampler(seed=seed)  # of a grid every point is named


def pruner_of(asked: Pruner | None) -> optuna.pruners.BasePruner:
    """The pruner of a card; one that prunes nothing where it names none."""
    if asked is None:
        return optuna.pruners.NopPruner()
    if asked.type == "median":
        return optuna.pruners.MedianPruner(asked.startup_trials, n_warmup_steps=asked.warmup_epochs)
    return _Halving(asked.warmup_epochs, reduction_factor=asked.factor)


class _Halving(optuna.pruners.SuccessiveHalvingPruner):
    """Successive halving among the trials that count.

    Those that were given up do not compete: one of them may be an earlier attempt at the same settings.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether to end the trial."""
        competing = copy.copy(study)
        found = [other for other in study.get_trials(deepcopy=False) if other.state != TrialState.FAIL]
        competing.get_trials = lambda *_, **__: found  # type: ignore[method-assign]
        return super().prune(competing, trial)


def distribution_of(name: str, axis: Axis) -> BaseDistribution:
    """Where a parameter may lie, as Optuna says it."""
    if axis.values is not None:
        return CategoricalDistribution(axis.values)
    low, high = axis.ends
    if name in WHOLE:
        return IntDistribution(int(low), int(high), log=axis.log)
    return FloatDistribution(low, high, log=axis.log)
