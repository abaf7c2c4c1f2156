"""Other names of the same layers: what a file may call the tensors of one of our networks.

Names and shapes say which layer is which, not what stands between the layers. So each naming here is one whose network
computes what ours does, and one that fits in every shape and computes something else is there to be refused.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from sem_bench.nets import vit_names

WRAPPERS = re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")  # torch.compile, FSDP
_CHUNK = re.compile(r"\bblocks\.\d+\.(?=\d+\.)")  # DINOv2: blocks.CHUNK.NUMBER


@dataclass(frozen=True)
class Naming:
    """How a file calls the tensors of a network: both ways between its names and ours."""

    theirs: Callable[[str], str]
    ours: Callable[[str], str]
    note: str = ""  # what a row says of it
    refusal: str = ""  # why a network with these names is another one, where it is


def namings(network: nn.Module) -> list[Naming]:
    """All that may hold this network: its own names, children by position, and of a ResNet the usual other ones."""
    children = dict(network.named_children())
    whole = _by_position(children)
    own = [Naming(str, str), _heads(whole)]
    if any(".downsample." in name for name in network.state_dict()):
        own += [_shortcuts(naming) for naming in own]
    if vit_names.is_vit(network):
        note = "Hugging Face's names of the layers"
        for block in (vit_names.VIT, vit_names.DINOV2):
            own.append(Naming(partial(vit_names.theirs, block=block), partial(vit_names.ours, block=block), note))
    if not {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"} <= children.keys():
        return own
    own.append(Naming(_hugging_face, _from_hugging_face, note="Hugging Face's names of the layers"))
    if isinstance(children.get("maxpool"), nn.Identity):
        positions = _by_position(name for name in children if name != "maxpool")
        unpooled = _heads(positions, note="children are counted without the pooling")
        own += [unpooled, _shortcuts(unpooled)]
        positions = _by_position(name for name in children if name not in ("maxpool", "relu"))
        if isinstance(children.get("relu"), nn.Identity):
            functional = _heads(positions, note="children are counted without pooling and ReLU")
        else:
            refusal = (
                "is a ResNet in an nn.Sequential that has lost the ReLU behind its stem, as lightly's ResNetGenerator: "
                "a ResNet-18 of these names is `backbones: [resnet18_lightly]`"
            )
            functional = _heads(positions, refusal=refusal)
        own += [functional, _shortcuts(functional)]
    return own


def plain_names(names: Iterable[str], network: nn.Module) -> dict[str, str]:
    """Name in the file -> the name without what wraps a part of a network, and without the chunks of blocks.

    Where two names would become one, they stay as they are.
    """
    names = list(names)
    plain = {name: WRAPPERS.sub("", name) for name in names}
    if any(re.match(r"blocks\.\d+\.[a-z]", name) for name in network.state_dict()):
        plain = _unless_alike(plain, {name: _CHUNK.sub("blocks.", new) for name, new in plain.items()})
    return _unless_alike({name: name for name in names}, plain)


def _unless_alike(old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    return new if len(set(new.values())) == len(new) else old


def same_order(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str:
    """The first name that differs where the file has our shapes in our order under other names; "" otherwise."""
    pairs = list(zip(ours.items(), theirs.items(), strict=False))
    if len(theirs) < len(ours) or any(one.shape != other.shape for (_, one), (_, other) in pairs):
        return ""
    return next((other for (one, _), (other, _) in pairs if not other.endswith(one)), "")


def _by_position(children: Iterable[str]) -> dict[str, str]:
    """As in nn.Sequential(*network.children())."""
    return {name: str(position) for position, name in enumerate(children)}


def _heads(heads: Mapping[str, str], note: str = "", refusal: str = "") -> Naming:
    """The first part of each name is another one."""
    back = {theirs: ours for ours, theirs in heads.items()}
    return Naming(lambda name: with_head(name, heads), lambda name: with_head(name, back), note, refusal)


def _shortcuts(naming: Naming) -> Naming:
    """What torchvision calls `downsample` is `shortcut` in github.com/kuangliu/pytorch-cifar and what came of it."""
    note = ", ".join(filter(None, [naming.note, "'shortcut' is read as 'downsample'"]))
    return Naming(
        lambda name: naming.theirs(name).replace(".downsample.", ".shortcut."),
        lambda name: naming.ours(name).replace(".shortcut.", ".downsample."),
        note,
        naming.refusal,
    )


def with_head(name: str, heads: Mapping[str, str]) -> str:
    """The name with another first part where `heads` knows one."""
    head, dot, tail = name.partition(".")
    return heads.get(head, head) + dot + tail


_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.(?:(conv|bn)(\d+)|downsample\.([01]))\.(\w+)")
_STAGE = re.compile(
    r"encoder\.stages\.(\d+)\.layers\.(\d+)\.(?:layer\.(\d+)|shortcut)\.(convolution|normalization)\.(\w+)"
)


def _hugging_face(name: str) -> str:
    """transformers' ResNetModel, from torchvision's names."""
    for head, theirs in (("conv1.", "convolution."), ("bn1.", "normalization.")):
        if name.startswith(head):
            return f"embedder.embedder.{theirs}{name.removeprefix(head)}"
    if not (found := _BLOCK.fullmatch(name)):
        return name
    stage, block, kind, number, part, rest = found.groups()
    place = f"encoder.stages.{int(stage) - 1}.layers.{block}"
    if kind:
        return f"{place}.layer.{int(number) - 1}.{'convolution' if kind == 'conv' else 'normalization'}.{rest}"
    return f"{place}.shortcut.{'convolution' if part == '0' else 'normalization'}.{rest}"


def _from_hugging_face(name: str) -> str:
    if not (found := _STAGE.fullmatch(name)):
        return name
    stage, block, number, kind, rest = found.groups()
    place = f"layer{int(stage) + 1}.{block}"
    if number is None:
        return f"{place}.downsample.{'0' if kind == 'convolution' else '1'}.{rest}"
    return f"{place}.{'conv' if kind == 'convolution' else 'bn'}{int(number) + 1}.{rest}"
