"""What a pruner compares after an epoch: one figure of an encoder amid its pretraining.

Each is called by its name in text (`sem_bench.workspace.Monitor`) with the encoder, a sample of training images
(N, 3, S, S), their labels (N,), and the effective rank of h, which is known already. More must be better.
"""

import torch
from torch import Tensor

from sem_bench.encoder import Encoder
from sem_bench.evaluations.measures.neighbours import predict
from sem_bench.training.health import backbone_outputs, evaluating

NEIGHBOURS, TEMPERATURE = 5, 0.1  # the votes of a quick look


@torch.no_grad()
def neighbours_accuracy(encoder: Encoder, images: Tensor, labels: Tensor, effective_rank: float) -> float:
    """Percent of the odd rows whose class their nearest neighbours in h among the even rows say."""
    with evaluating(encoder):
        h = backbone_outputs(encoder, images).float()
    classes = int(labels.max()) + 1
    said = predict(h[::2], labels[::2], h[1::2], classes=classes, k=NEIGHBOURS, temperature=TEMPERATURE)
    return 100 * float((said == labels[1::2]).double().mean())


def effective_rank_of_h(encoder: Encoder, images: Tensor, labels: Tensor, effective_rank: float) -> float:
    """The rank itself, 1 to the dimensions of h; labels are not looked at."""
    return effective_rank
