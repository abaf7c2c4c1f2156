"""What a training step keeps for the backward pass, and how many weights there are; beside what the cards say.

python benchmarks/memory.py
"""

# ruff: noqa: T201

import torch
from torch import Tensor

from sem_bench.nets.build import build_backbone
from sem_bench.nets.card import Cost, EmbeddingSettings
from sem_bench.nets.encoder_parts import built_in
from sem_bench.report.row import BASELINE

SIZES = {"vit_tiny": (32,), "resnet10w16s2": (32,), "resnet10w16": (32,), "resnet18": (32, 224), "resnet50": (32, 224)}


def kept(name: str, size: int, *, batch: int = 2) -> tuple[float, float, Cost]:
    """MiB an image and view that autograd keeps under bfloat16, weights left out; millions of weights; the card's."""
    parts = built_in(EmbeddingSettings(type=BASELINE), name)
    backbone = build_backbone(parts, image_size=size).to(memory_format=torch.channels_last)
    weights = {parameter.untyped_storage().data_ptr() for parameter in backbone.parameters()}
    shapes = {parameter.shape for parameter in backbone.parameters() if parameter.ndim > 1}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.shape not in shapes:  # nor their copies in bfloat16
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    watched = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with watched, torch.autocast("cpu", torch.bfloat16):
        output = backbone(images)
    assert output.requires_grad
    return sum(seen.values()) / batch / 2**20, sum(p.numel() for p in backbone.parameters()) / 1e6, parts.cost


def main() -> None:
    """A line a backbone and size."""
    for name, sizes in SIZES.items():
        for size in sizes:
            mebibytes, millions, cost = kept(name, size)
            card = f"card, at 32 px: {cost.kept:.2f} MiB, {cost.weights:.2f} M"
            print(f"{name:14} {size:4} px  {mebibytes:7.2f} MiB an image and view  {millions:6.2f} M weights  ({card})")


if __name__ == "__main__":
    main()
