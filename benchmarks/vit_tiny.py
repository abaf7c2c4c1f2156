"""timm's ViT-tiny for images of 32 px: patches of 4 px, as a backbone."""

from typing import Any

import timm

from sem_bench.backbone import Backbone


def vit_tiny(*, image_size: int, zero_init_residual: bool) -> Backbone:
    """192 numbers an image; blocks start as timm has them."""
    settings: dict[str, Any] = {"img_size": image_size, "patch_size": 4, "num_classes": 0}
    return Backbone(timm.create_model("vit_tiny_patch16_224", **settings), 192)
