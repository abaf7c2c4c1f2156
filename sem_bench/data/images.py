"""Single images: the central square, and tensors."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def central(image: Image.Image, *, resize: int, size: int) -> Image.Image:
    """The shorter side reduced or enlarged to `resize`, then the central square: torchvision's Resize, CenterCrop."""
    if image.size == (resize, resize) == (size, size):
        return image
    short, long = sorted(image.size)
    if short != resize:
        other = int(resize * long / short)
        wide = image.width >= image.height
        image = image.resize((other, resize) if wide else (resize, other), Image.Resampling.BILINEAR)
    left, top = (round((side - size) / 2) for side in image.size)
    return image.crop((left, top, left + size, top + size))


def as_tensor(images: Sequence[Image.Image]) -> Tensor:
    """uint8 (n, 3, H, W) of RGB images of one size."""
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2).contiguous()
