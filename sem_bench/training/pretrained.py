"""The encoder of a pretraining: at its initial weights, and as it was left."""

from pathlib import Path

import torch
from pydantic_core import from_json

from sem_bench.encoder import Encoder
from sem_bench.nets.build import build_encoder
from sem_bench.nets.encoder_parts import EncoderParts, built_in
from sem_bench.report.job_folder import read
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
    """The encoder in the folder of a finished pretraining, frozen, in eval mode and float32; `parts` as above.

    Raises DamagedError where a file is not what was written.
    """
    job = read(folder, "config.json", lambda file: PretrainJob.model_validate(from_json(file.read())))
    encoder = initial_encoder(job, parts)
    encoder.load_state_dict(checkpoint_weights(folder))
    return encoder.to(device).eval().requires_grad_(False)


def checkpoint_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The state dict of the encoder in the folder of a finished pretraining. Raises DamagedError likewise."""
    weights: dict[str, torch.Tensor] = read(
        folder, "checkpoint.pt", lambda file: torch.load(file, map_location="cpu", weights_only=True)["encoder"]
    )
    return weights
