"""timm's ViT-tiny for small images."""

from importlib import import_module

from sem_bench.backbone import Backbone
from sem_bench.nets.backbones import timm_names

SMALL = 64  # pixels: up to these a patch has 4, above 16


def vit_tiny(*, image_size: int, zero_init_residual: bool) -> Backbone:
    """192 numbers an image, those of the class token after the last LayerNorm; blocks start as timm has them.

    DeiT-Ti (Touvron et al., ICML 2021, table 1). Patches of 4 pixels make 64 tokens of an image of 32.
    """
    if not timm_names.installed():
        raise ValueError(f"vit_tiny: {timm_names.problem('vit_tiny_patch16_224')}")
    patch = 4 if image_size <= SMALL else 16
    if image_size % patch:
        raise ValueError(f"vit_tiny cuts images into patches of {patch} px: {image_size} px is no multiple of it")
    model = import_module("timm").create_model(
        "vit_tiny_patch16_224", pretrained=False, img_size=image_size, patch_size=patch, num_classes=0
    )
    return Backbone(model, 192)
