"""Backbones that are a model of another library, such as torchvision or timm, and what it is called there."""

from typing import NamedTuple

from torch import nn

from sem_bench.nets.encoder_parts import Part

OURS = ("torch", "sem_bench", "sem_bench_cards")  # where classes stand that are no library's model


class LibraryModel(NamedTuple):
    """A model of a library of networks."""

    library: str
    name: str


def library_model(part: Part, network: nn.Module) -> LibraryModel | None:
    """The model that a backbone's network is, without its classifier; None where it is no library's, or has no name."""
    library = type(network).__module__.partition(".")[0]
    settings = getattr(network, "pretrained_cfg", None) or {}  # timm notes there what it built
    name = part.arguments.get("name") or settings.get("architecture")
    return None if library in OURS or not isinstance(name, str) else LibraryModel(library, name)
