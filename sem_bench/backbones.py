"""Backbones: image (B, 3, H, W) -> features h (B, out_dim)."""

import copy
from functools import partial
from importlib import import_module

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from sem_bench import timm_models
from sem_bench.config import BACKBONES

SMALL = 64  # pixels up to which a ResNet gets the CIFAR stem: 3x3, stride 1, no pooling (He et al. 2016, section 4.2)


class Backbone(nn.Module):
    """Any network that ends in a feature vector of `out_dim` numbers."""

    def __init__(self, network: nn.Module, out_dim: int) -> None:
        super().__init__()
        self.network = network
        self.out_dim = out_dim

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, out_dim)."""
        h: Tensor = self.network(images)
        return h


def build(name: str, *, image_size: int, zero_init_residual: bool = False) -> Backbone:
    """The backbone of a name in `config.BACKBONES`, or of timm/MODEL, for square images of that many pixels.

    With `zero_init_residual` every block of a ResNet starts as its shortcut (Goyal et al. 2017, section 5.1); timm's
    models have their own defaults. Raises ValueError, one line, for what timm cannot build.
    """
    if name.startswith(timm_models.PREFIX):
        return _timm(name.removeprefix(timm_models.PREFIX), image_size=image_size)
    return _BUILDERS[name](image_size=image_size, zero_init_residual=zero_init_residual)


@torch.no_grad()
def strides_over_points(backbone: Backbone, image_size: int) -> bool:
    """Whether a convolution with a stride sees maps of 1 x 1: images too small for the network.

    torch (2.15) leaves memory it never wrote in the gradient of such a convolution in bfloat16 on a CPU.
    """
    seen: list[bool] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.Conv2d)
        seen.append(max(module.stride) > 1 and inputs[0].shape[-2:] == (1, 1))

    copied = copy.deepcopy(backbone).eval()
    for module in copied.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(look)
    copied(torch.zeros(1, 3, image_size, image_size))
    return any(seen)


def _torchvision_resnet(name: str, *, image_size: int, zero_init_residual: bool, padding: int = 1) -> Backbone:
    network = torchvision.models.get_model(name, weights=None, zero_init_residual=zero_init_residual)
    if image_size <= SMALL:
        network.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=padding, bias=False)
        network.maxpool = nn.Identity()
    out_dim = network.fc.in_features
    network.fc = nn.Identity()
    return Backbone(network, out_dim)


def _narrow_resnet(*, image_size: int, zero_init_residual: bool, stride: int, width: int = 16) -> Backbone:
    """A ResNet-10: a 3x3 stem, four stages of one basic block, widths doubling from `width`, average pooling."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        BasicBlock(width, width),
    ]
    for stage in range(3):
        narrow, wide = width << stage, width << (stage + 1)
        shortcut = nn.Sequential(nn.Conv2d(narrow, wide, kernel_size=1, stride=2, bias=False), nn.BatchNorm2d(wide))
        layers.append(BasicBlock(narrow, wide, stride=2, downsample=shortcut))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's ResNets
        if zero_init_residual and isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
    return Backbone(network, width * 8)


@torch.no_grad()
def _timm(name: str, *, image_size: int) -> Backbone:
    """A model of timm without its classifier, at random weights."""
    if problem := timm_models.problem(name):
        raise ValueError(f"{timm_models.PREFIX}{name}: {problem}")
    timm = import_module("timm")
    settings = timm.models.get_pretrained_cfg(name)
    size = {"img_size": image_size} if settings and settings.fixed_input_size else {}
    try:
        network = timm.create_model(name, pretrained=False, num_classes=0, **size).eval()
        h = network(torch.zeros(2, 3, image_size, image_size))
    except Exception as error:  # each of timm's models has its own way to refuse a size
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{timm_models.PREFIX}{name} takes no images of {image_size} px: {reason}") from error
    if not isinstance(h, Tensor) or h.ndim != 2 or len(h) != 2:
        found = tuple(h.shape) if isinstance(h, Tensor) else type(h).__name__
        raise ValueError(f"{timm_models.PREFIX}{name} gives {found} for 2 images, not one vector each")
    return Backbone(network.train(), h.shape[1])


_BUILDERS = {
    "resnet18": partial(_torchvision_resnet, "resnet18"),
    "resnet50": partial(_torchvision_resnet, "resnet50"),
    "resnet18p2": partial(_torchvision_resnet, "resnet18", padding=2),
    "resnet50p2": partial(_torchvision_resnet, "resnet50", padding=2),
    "resnet10w16": partial(_narrow_resnet, stride=1),
    "resnet10w16s2": partial(_narrow_resnet, stride=2),
}
assert set(_BUILDERS) == set(BACKBONES), "config.BACKBONES lists what can be built"
