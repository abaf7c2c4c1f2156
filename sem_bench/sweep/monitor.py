"""Reports a pretraining of a trial to its study after every epoch, and asks the pruner whether to go on."""

import optuna

from sem_bench.sweep.subjects import Subject
from sem_bench.workspace import Monitor


def monitor(trial: optuna.Trial, subject: Subject) -> Monitor:
    """Measures as the sweep's objective says; decides as the study's pruner says."""
    measure = "effective_rank_of_h" if subject.sweep.objective == "rankme" else "neighbours_accuracy"
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

    return Monitor(f"sem_bench.sweep.looks:{measure}", hopeless)
