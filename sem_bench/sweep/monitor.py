"""Reports a pretraining of a trial to its study after every epoch, and asks the pruner whether to go on."""

import optuna

from sem_bench.sweep.objectives import Objective
from sem_bench.workspace import Monitor


def monitor(trial: optuna.Trial, objective: Objective) -> Monitor:
    """Measures as the objective says; decides as the study's pruner says."""
    seen = 0

    def hopeless(epoch: int, figure: float) -> bool:
        nonlocal seen
        if epoch != seen + 1:  # it goes on from a checkpoint: what the others had in the epochs before, it lacks
            return False
        seen = epoch
        try:
            trial.report(figure, epoch)
            return trial.should_prune()
        except optuna.exceptions.OptunaError:  # the storage is gone; the pretraining goes on
            return False

    return Monitor(objective.measure, hopeless)
