"""An embedding that is never trained, put on the finished baseline: the control `untrained`, and others like it.

What its layer gives by itself, without the pretraining ever having known it. It has the weights with which a trained
arm of the same seed and size begins; BatchNorm knows the mean and variance of the training images, as after training.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from sem_bench.base.files import read_json, write_atomic
from sem_bench.base.seals import sealed
from sem_bench.embedding import Embedding
from sem_bench.nets.embeddings.linear import LinearEmbedding
from sem_bench.nets.frozen import backbone_features
from sem_bench.training.checkpoint import bits_of
from sem_bench.training.health import measure, watched
from sem_bench.training.job import PretrainJob
from sem_bench.training.pretrained import checkpoint_weights, initial_encoder
from sem_bench.workspace import Workspace


def attach(job: PretrainJob, workspace: Workspace) -> dict[str, Any]:
    """Leave checkpoint.pt with the encoder; the metrics are the baseline's, with the health of the new encoder."""
    source, device = workspace.inputs["pretrain"], workspace.device
    encoder = initial_encoder(job, workspace.parts).to(device).eval().requires_grad_(False)
    prefix, weights = "backbone.", checkpoint_weights(source)
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    encoder.backbone.load_state_dict(own)
    train = workspace.load(job.data, "train")
    settle(encoder.embedding, backbone_features(encoder, job.data, train.prepared(), device))
    state = {"encoder": encoder.state_dict()}
    write_atomic(workspace.folder / "checkpoint.pt", sealed(lambda file: torch.save(state, file)))
    workspace.seen.bits = bits_of(state["encoder"])
    health = measure(encoder, watched(train, job.data.normalise, device))
    metrics: dict[str, Any] = read_json(source / "result.json")["metrics"]
    return metrics | {"health": asdict(health)}


@torch.no_grad()
def settle(embedding: Embedding, h: Iterable[Tensor]) -> None:
    """Let the BatchNorm of an embedding in eval mode know the rows of h, which comes in parts (n, d)."""
    if isinstance(embedding, LinearEmbedding):
        _settle_linear(embedding, h)
        return
    norms = [module for module in embedding.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all parts, each alike
        norm.train()
    for part in h:
        if len(part) > 1:  # one row has no variance
            embedding(part.float())
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
        norm.eval()


def _settle_linear(embedding: LinearEmbedding, h: Iterable[Tensor]) -> None:
    """Give its BatchNorm the mean and the variance of z.

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
