"""The control `untrained`: SEM put on a finished baseline, its layer never trained.

What the layer gives by itself, without the pretraining ever having known it. Linear has the weights with which the arm
`sem` of the same seed and size begins; BatchNorm knows the mean and variance of the training images, as after training.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from sem_bench.base.files import read_json, write_atomic
from sem_bench.nets.embeddings.linear import LinearEmbedding
from sem_bench.nets.frozen import backbone_features
from sem_bench.training.health import measure, watched
from sem_bench.training.job import PretrainJob
from sem_bench.training.pretrained import initial_encoder, load_encoder
from sem_bench.workspace import Workspace


def attach(job: PretrainJob, workspace: Workspace) -> dict[str, Any]:
    """Leave checkpoint.pt with the encoder; the metrics are the baseline's, with the health of the new encoder."""
    source, device = workspace.inputs["pretrain"], workspace.device
    encoder = initial_encoder(job).to(device).eval().requires_grad_(False)
    encoder.backbone.load_state_dict(load_encoder(source, device).backbone.state_dict())
    train = workspace.load(job.data, "train")
    assert isinstance(encoder.embedding, LinearEmbedding)
    settle(encoder.embedding, backbone_features(encoder, job.data, train.prepared(), device))
    write_atomic(workspace.folder / "checkpoint.pt", lambda file: torch.save({"encoder": encoder.state_dict()}, file))
    health = measure(encoder, watched(train, job.data.normalise, device))
    metrics: dict[str, Any] = read_json(source / "result.json")["metrics"]
    return metrics | {"health": asdict(health)}


@torch.no_grad()
def settle(embedding: LinearEmbedding, h: Iterable[Tensor]) -> None:
    """Give its BatchNorm the mean and the variance of z over the rows of h, which comes in parts (n, d).

    They follow from the mean and the covariance of h, so z itself, which may be wide, is never made.
    """
    rows, total, products = 0, torch.zeros(()), torch.zeros(())
    for part in h:
        part = part.double()
        rows += len(part)
        total = total.to(part) + part.sum(0)
        products = products.to(part) + part.T @ part
    mean = total / rows
    covariance = (products - rows * torch.outer(mean, mean)) / max(rows - 1, 1)
    weight = embedding.linear.weight.double()
    embedding.norm.running_mean = (weight @ mean).float()
    embedding.norm.running_var = ((weight @ covariance) * weight).sum(1).clamp_min(0).float()
