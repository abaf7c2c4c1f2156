"""Position embeddings of a ViT for images of another size."""

import math
from importlib import import_module
from typing import Any

from torch import Tensor, nn

NAME = "pos_embed"


def resampled(network: nn.Module, theirs: Tensor) -> Tensor | None:
    """A file's position embeddings (1, tokens, D) for the patches of our network, as timm does it: bicubic.

    The class token's own stays as it is. None where they are not those of a square image, or of another width.
    """
    ours = getattr(network, NAME, None)
    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if not isinstance(ours, Tensor) or grid is None or ours.ndim != 3 or theirs.ndim != 3:
        return None
    prefix = ours.shape[1] - grid[0] * grid[1]  # class token and registers, where they have a position
    side = math.isqrt(max(0, theirs.shape[1] - prefix))
    fits = theirs.shape[0] == 1 and theirs.shape[2] == ours.shape[2] and side and side**2 == theirs.shape[1] - prefix
    if not fits or prefix < 0 or not theirs.is_floating_point():
        return None
    layers: Any = import_module("timm.layers")
    made: Tensor = layers.resample_abs_pos_embed(theirs.float(), list(grid), [side, side], num_prefix_tokens=prefix)
    return made


def note(network: nn.Module, theirs: Tensor) -> str:
    """What a row says of it."""
    grid = network.patch_embed.grid_size  # type: ignore[union-attr]
    prefix = network.get_parameter(NAME).shape[1] - grid[0] * grid[1]  # type: ignore[index]
    side = math.isqrt(theirs.shape[1] - prefix)
    return f"position embeddings resampled from {side}x{side} to {grid[0]}x{grid[1]} patches"  # type: ignore[index]
