"""Looks at a pretraining of a trial after every epoch, for the pruner."""

import optuna
import torch
from torch import Tensor

from sem_bench.encoder import Encoder
from sem_bench.evaluations.measures.neighbours import predict
from sem_bench.sweep.subjects import Subject
from sem_bench.training.health import backbone_outputs, evaluating
from sem_bench.workspace import Monitor

NEIGHBOURS, TEMPERATURE = 5, 0.1  # the votes of a quick look


@torch.no_grad()
def neighbours_accuracy(encoder: Encoder, images: Tensor, labels: Tensor) -> float:
    """Percent of the odd rows of (N, 3, S, S) whose class their nearest neighbours in h among the even rows say."""
    with evaluating(encoder):
        h = backbone_outputs(encoder, images).float()
    classes = int(labels.max()) + 1
    said = predict(h[::2], labels[::2], h[1::2], classes=classes, k=NEIGHBOURS, temperature=TEMPERATURE)
    return 100 * float((said == labels[1::2]).double().mean())


def monitor(trial: optuna.Trial, subject: Subject) -> Monitor:
    """Reports each epoch to the study, and asks it whether to go on."""
    by_rank, seen = subject.sweep.objective == "rankme", 0

    def hopeless(epoch: int, encoder: Encoder, images: Tensor, labels: Tensor, *, effective_rank: float) -> bool:
        nonlocal seen
        figure = effective_rank if by_rank else neighbours_accuracy(encoder, images, labels)
        if epoch != seen + 1:  # it goes on from a checkpoint: what the others had in the epochs before, it lacks
            return False
        seen = epoch
        try:
            trial.report(figure, epoch)
            return trial.should_prune()
        except optuna.exceptions.OptunaError:  # the storage is gone; the pretraining goes on
            return False

    return hopeless
