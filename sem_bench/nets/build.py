"""Encoders from settings: a backbone, an embedding, and both together at their initial weights."""

from functools import partial

from sem_bench.backbone import Backbone
from sem_bench.base.randomness import initialisation
from sem_bench.embedding import Embedding
from sem_bench.encoder import Encoder
from sem_bench.nets import timm_names
from sem_bench.nets.backbones.resnets import narrow_resnet, torchvision_resnet
from sem_bench.nets.backbones.timm import timm_backbone
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.nets.embeddings.gumbel import GumbelEmbedding
from sem_bench.nets.embeddings.linear import LinearEmbedding
from sem_bench.nets.embeddings.none import NoEmbedding
from sem_bench.nets.embeddings.sem import SimplicialEmbedding


def build_backbone(name: str, *, image_size: int, zero_init_residual: bool = False) -> Backbone:
    """The backbone of a name in `config.BACKBONES`, or of timm/MODEL, for square images of that many pixels.

    With `zero_init_residual` every block of a ResNet starts as its shortcut (Goyal et al. 2017, section 5.1); timm's
    models have their own defaults. Raises ValueError, one line, for what timm cannot build.
    """
    if name.startswith(timm_names.PREFIX):
        return timm_backbone(name.removeprefix(timm_names.PREFIX), image_size=image_size)
    return _BUILDERS[name](image_size=image_size, zero_init_residual=zero_init_residual)


_BUILDERS = {
    "resnet18": partial(torchvision_resnet, "resnet18"),
    "resnet50": partial(torchvision_resnet, "resnet50"),
    "resnet18p2": partial(torchvision_resnet, "resnet18", padding=2),
    "resnet50p2": partial(torchvision_resnet, "resnet50", padding=2),
    "resnet10w16": partial(narrow_resnet, stride=1),
    "resnet10w16s2": partial(narrow_resnet, stride=2),
}


def build_embedding(settings: EmbeddingSettings, in_dim: int) -> Embedding:
    """The embedding of a configuration whose temperatures are resolved."""
    embedding = _embedding(settings, in_dim)
    embedding.representation = {"none": "h", "linear": "z"}.get(settings.type, "sem")
    return embedding


def _embedding(settings: EmbeddingSettings, in_dim: int) -> Embedding:
    if settings.type == "none":
        return NoEmbedding(in_dim)
    assert settings.L is not None and settings.V is not None
    if settings.type == "linear":
        return LinearEmbedding(in_dim, L=settings.L, V=settings.V)
    assert settings.tau is not None
    kind = GumbelEmbedding if settings.type == "gumbel" else SimplicialEmbedding
    return kind(in_dim, L=settings.L, V=settings.V, tau=settings.tau, tau_target=settings.tau_target)


def build_encoder(
    backbone: str, embedding: EmbeddingSettings, *, image_size: int, zero_init_residual: bool, seed: int
) -> Encoder:
    """An encoder at its initial weights, which depend on the seed. The backbone's do not depend on the embedding."""
    with initialisation(seed, "backbone"):
        network = build_backbone(backbone, image_size=image_size, zero_init_residual=zero_init_residual)
    with initialisation(seed, "embedding"):
        return Encoder(network, build_embedding(embedding, network.out_dim))
