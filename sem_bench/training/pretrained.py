"""The encoder of a pretraining: at its initial weights, and as it was left."""

from pathlib import Path

import torch

from sem_bench.base.files import read_json
from sem_bench.encoder import Encoder
from sem_bench.nets.build import build_encoder
from sem_bench.nets.encoder_parts import EncoderParts, built_in
from sem_bench.training.job import PretrainJob


def initial_encoder(job: PretrainJob, parts: EncoderParts | None = None) -> Encoder:
    """The encoder of a pretraining at its initial weights. Without `parts` it is of the package's own."""
    return build_encoder(
        parts or built_in(job.embedding, job.backbone),
        image_size=job.data.image_size,
        zero_init_residual=job.training.zero_init_residual,
        seed=job.seed,
    )


def load_encoder(folder: Path, device: torch.device, parts: EncoderParts | None = None) -> Encoder:
    """The encoder in the folder of a finished pretraining, frozen, in eval mode and float32; `parts` as above."""
    encoder = initial_encoder(PretrainJob.model_validate(read_json(folder / "config.json")), parts)
    encoder.load_state_dict(checkpoint_weights(folder))
    return encoder.to(device).eval().requires_grad_(False)


def checkpoint_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The state dict of the encoder in the folder of a finished pretraining."""
    found = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    weights: dict[str, torch.Tensor] = found["encoder"]
    return weights
