"""What other projects call the layers of timm's ViT: Hugging Face, and DINOv2's register tokens."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

_OUTSIDE = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "reg_token": "embeddings.register_tokens",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
}
_ATTENTION = {"attn.qkv": "attention.attention.qkv", "attn.proj": "attention.output.dense"}
VIT = _ATTENTION | {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
DINOV2 = _ATTENTION | {"ls1.gamma": "layer_scale1.lambda1", "ls2.gamma": "layer_scale2.lambda1"}
REGISTERS = ("register_tokens", "reg_token", "dist_token", "embeddings.register_tokens")  # of a network that has them
_THREE = re.compile(r"(.*attention\.)query\.(weight|bias)")


def is_vit(network: nn.Module) -> bool:
    """Whether it is a ViT as timm has it."""
    return "blocks.0.attn.qkv.weight" in network.state_dict()


def theirs(name: str, block: Mapping[str, str]) -> str:
    """Hugging Face's name of one of timm's; `block` are the names inside a block, `VIT` or `DINOV2`."""
    if found := re.fullmatch(r"blocks\.(\d+)\.(.+)", name):
        return f"encoder.layer.{found[1]}.{_renamed(found[2], block)}"
    return _renamed(name, _OUTSIDE)


def ours(name: str, block: Mapping[str, str]) -> str:
    """The other way round."""
    if found := re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", name):
        return f"blocks.{found[1]}.{_renamed(found[2], _turned(block))}"
    return _renamed(name, _turned(_OUTSIDE))


def as_timm_has_it(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, joined and parted as timm's: for a ViT; of any other network as they are.

    Query, key and value become one. Where our network has registers, whose positions timm adds to the class token,
    those of DINOv2 become so (timm's own conversion).
    """
    made = dict(tensors)
    if not is_vit(network):
        return made
    for key in tensors:
        if found := _THREE.fullmatch(key):
            three = [tensors.get(f"{found[1]}{name}.{found[2]}") for name in ("query", "key", "value")]
            if all(one is not None and one.shape == tensors[key].shape for one in three):
                made[f"{found[1]}qkv.{found[2]}"] = torch.cat([one for one in three if one is not None])
                for name in ("query", "key", "value"):
                    del made[f"{found[1]}{name}.{found[2]}"]
    if "reg_token" in network.state_dict():
        for key in [key for key in tensors if key.endswith("register_tokens")]:
            _with_registers(made, key.removesuffix("register_tokens"))
    return made


def _with_registers(made: dict[str, Tensor], prefix: str) -> None:
    place = next((one for one in ("pos_embed", "position_embeddings") if prefix + one in made), None)
    token = made.get(f"{prefix}cls_token")
    if place is None or token is None:
        return
    positions = made[prefix + place]
    made[f"{prefix}cls_token"], made[prefix + place] = token + positions[:, :1], positions[:, 1:]
    if place == "pos_embed":
        made[f"{prefix}reg_token"] = made.pop(f"{prefix}register_tokens")


def _renamed(name: str, table: Mapping[str, str]) -> str:
    for known, other in table.items():
        if name == known or name.startswith(f"{known}."):
            return other + name.removeprefix(known)
    return name


def _turned(table: Mapping[str, str]) -> dict[str, str]:
    return {other: known for known, other in table.items()}
