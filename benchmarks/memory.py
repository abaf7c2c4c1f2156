"""What a training step keeps for the backward pass, and how many weights there are: the tables of sem_bench.estimates.

python benchmarks/memory.py
"""

# ruff: noqa: T201

import torch
from torch import Tensor

from sem_bench.nets import build

SIZES = {"resnet10w16s2": (32,), "resnet10w16": (32,), "resnet18": (32, 224), "resnet50": (32, 224)}


def kept(name: str, size: int, *, batch: int = 2) -> tuple[float, float]:
    """MiB an image and view that autograd keeps under bfloat16, weights left out; and millions of weights."""
    backbone = build.build_backbone(name, image_size=size).to(memory_format=torch.channels_last)
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
    return sum(seen.values()) / batch / 2**20, sum(p.numel() for p in backbone.parameters()) / 1e6


def main() -> None:
    """A line a backbone and size."""
    for name, sizes in SIZES.items():
        for size in sizes:
            mebibytes, millions = kept(name, size)
            print(f"{name:14} {size:4} px  {mebibytes:7.2f} MiB an image and view  {millions:6.2f} M weights")


if __name__ == "__main__":
    main()
