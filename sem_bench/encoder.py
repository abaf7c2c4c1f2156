"""The encoder: backbone and embedding, the part that a method trains and that evaluation reads."""

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from sem_bench import backbones, config, sem
from sem_bench.files import read_json
from sem_bench.randomness import initialisation


class Encoder(nn.Module):
    """images (B, 3, H, W) -> embedding output (B, out_dim). `out_dim` is all that a method's heads need to know."""

    def __init__(self, backbone: backbones.Backbone, embedding: sem.NoEmbedding | sem.LinearEmbedding) -> None:
        super().__init__()
        self.backbone = backbone
        self.embedding = embedding
        self.out_dim = embedding.out_dim

    @classmethod
    def build(cls, job: config.PretrainJob) -> Self:
        """The encoder of a pretraining at its initial weights. The backbone's do not depend on the embedding."""
        with initialisation(job.seed, "backbone"):
            backbone = backbones.build(
                job.backbone,
                image_size=job.data.image_size,
                zero_init_residual=job.training.zero_init_residual,
            )
        with initialisation(job.seed, "embedding"):
            return cls(backbone, sem.build(job.embedding, backbone.out_dim))

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Self:
        """The encoder in the folder of a finished pretraining, frozen, in eval mode and float32."""
        encoder = cls.build(config.PretrainJob.model_validate(read_json(folder / "config.json")))
        encoder.load_state_dict(torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)["encoder"])
        return encoder.to(device).eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """At the embedding's training temperature."""
        output: Tensor = self.embedding(self.backbone(images))
        return output

    def target(self, images: Tensor) -> Tensor:
        """As `forward`, at `tau_target`: for momentum branches, and for the second view of methods without one."""
        h = self.backbone(images)
        heated = isinstance(self.embedding, sem.SimplicialEmbedding)
        output: Tensor = self.embedding(h, self.embedding.tau_target) if heated else self.embedding(h)
        return output
