"""Backbones of timm."""

from importlib import import_module

import torch
from torch import Tensor

from sem_bench.backbone import Backbone
from sem_bench.nets.backbones import timm_names


@torch.no_grad()
def timm_backbone(*, name: str, image_size: int, zero_init_residual: bool) -> Backbone:
    """A model of timm without its classifier, at random weights; its blocks start as timm has them."""
    if problem := timm_names.problem(name):
        raise ValueError(f"{timm_names.PREFIX}{name}: {problem}")
    timm = import_module("timm")
    settings = timm.models.get_pretrained_cfg(name)
    size = {"img_size": image_size} if settings and settings.fixed_input_size else {}
    try:
        network = timm.create_model(name, pretrained=False, num_classes=0, **size).eval()
        h = network(torch.zeros(2, 3, image_size, image_size))
    except Exception as error:  # each of timm's models has its own way to refuse a size
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{timm_names.PREFIX}{name} takes no images of {image_size} px: {reason}") from error
    if not isinstance(h, Tensor) or h.ndim != 2 or len(h) != 2:
        found = tuple(h.shape) if isinstance(h, Tensor) else type(h).__name__
        raise ValueError(f"{timm_names.PREFIX}{name} gives {found} for 2 images, not one vector each")
    return Backbone(network.train(), h.shape[1])
