"""How good scores are where an image may have several classes: average precision and F1, each against the rest."""

import numpy as np
from torch import Tensor

from sem_bench.config.fields import Score

LOWEST = -1e30  # of a class that no training image has, whose score is -inf


def score_several(logits: Tensor, truth: Tensor, metric: Score) -> float:
    """In [0, 1], of logits and truth (N, C), 1 where a class is there: the mean over the classes that some image has.

    `map`: average precision, the area below precision by recall in steps, ties together (as in scikit-learn).
    `macro_f1`: F1 of the classes with a logit above 0. Where no image has a class, 0.
    """
    from sklearn.metrics import average_precision_score, f1_score

    wanted = truth.numpy() > 0
    there = wanted.any(0)
    if not there.any():
        return 0.0
    scores = np.maximum(logits.double().numpy(), LOWEST)[:, there]
    if metric == "macro_f1":
        return float(f1_score(wanted[:, there], scores > 0, average="macro", zero_division=0.0))
    return float(np.mean(average_precision_score(wanted[:, there], scores, average=None)))
