"""The backbone's features of images, frozen."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from sem_bench.base.alive import alive
from sem_bench.data.augment import normalise
from sem_bench.data.described import Data
from sem_bench.encoder import Encoder


@torch.no_grad()
def backbone_features(
    encoder: Encoder, labelled: Data, chunks: Iterable[Tensor], device: torch.device
) -> Iterator[Tensor]:
    """h (n, d) float32 of uint8 images, which come in chunks (n, 3, S, S)."""
    settings = labelled.normalise
    encoder = encoder.to(memory_format=torch.channels_last)
    for part in chunks:
        alive()
        images = normalise(part.to(device), mean=settings.mean, std=settings.std)
        yield encoder.backbone(images.contiguous(memory_format=torch.channels_last))
