"""The encoder of a pretraining: at its initial weights, and as it was left."""

from pathlib import Path

import torch

from sem_bench.base.files import read_json
from sem_bench.encoder import Encoder
from sem_bench.nets.build import build_encoder
from sem_bench.training.job import PretrainJob


def initial_encoder(job: PretrainJob) -> Encoder:
    """The encoder of a pretraining at its initial weights."""
    return build_encoder(
        job.backbone,
        job.embedding,
        image_size=job.data.image_size,
        zero_init_residual=job.training.zero_init_residual,
        seed=job.seed,
    )


def load_encoder(folder: Path, device: torch.device) -> Encoder:
    """The encoder in the folder of a finished pretraining, frozen, in eval mode and float32."""
    encoder = initial_encoder(PretrainJob.model_validate(read_json(folder / "config.json")))
    encoder.load_state_dict(torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)["encoder"])
    return encoder.to(device).eval().requires_grad_(False)
