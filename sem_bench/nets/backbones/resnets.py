"""ResNets: torchvision's, with a small stem for small images, and a narrow one."""

import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from sem_bench.backbone import Backbone

SMALL = 64  # pixels up to which a ResNet gets the CIFAR stem: 3x3, stride 1, no pooling (He et al. 2016, section 4.2)


def torchvision_resnet(
    name: str,
    *,
    image_size: int,
    zero_init_residual: bool,
    padding: int = 1,
    small_stem: bool = False,
    stem_relu: bool = True,
) -> Backbone:
    """A ResNet of torchvision; up to SMALL px, or with `small_stem`, with the CIFAR stem, padded by `padding`."""
    network = torchvision.models.get_model(name, weights=None, zero_init_residual=zero_init_residual)
    if image_size <= SMALL or small_stem:
        network.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=padding, bias=False)
        network.maxpool = nn.Identity()
    if not stem_relu:
        network.relu = nn.Identity()  # the blocks have ReLUs of their own
    out_dim = network.fc.in_features
    network.fc = nn.Identity()
    return Backbone(network, out_dim)


def narrow_resnet(*, image_size: int, zero_init_residual: bool, stride: int, width: int = 16) -> Backbone:
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
