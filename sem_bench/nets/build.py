"""Encoders from their parts: a backbone, an embedding, and both together at their initial weights."""

from sem_bench.backbone import Backbone
from sem_bench.base.randomness import initialisation
from sem_bench.embedding import Embedding
from sem_bench.encoder import Encoder
from sem_bench.nets.encoder_parts import EncoderParts


def build_backbone(parts: EncoderParts, *, image_size: int, zero_init_residual: bool = False) -> Backbone:
    """The backbone for square images of that many pixels.

    With `zero_init_residual` every block of a ResNet starts as its shortcut (Goyal et al. 2017, section 5.1); other
    networks may have their own defaults. Raises ValueError, one line, for a model that takes no such images.
    """
    part = parts.backbone
    backbone: Backbone = part.load()(image_size=image_size, zero_init_residual=zero_init_residual, **part.arguments)
    return backbone


def build_embedding(parts: EncoderParts, in_dim: int) -> Embedding:
    """The embedding of features of `in_dim` numbers."""
    embedding: Embedding = parts.embedding.load()(in_dim, **parts.embedding.arguments)
    embedding.representation = parts.representation
    return embedding


def build_encoder(parts: EncoderParts, *, image_size: int, zero_init_residual: bool, seed: int) -> Encoder:
    """An encoder at its initial weights, which depend on the seed. The backbone's do not depend on the embedding."""
    with initialisation(seed, "backbone"):
        backbone = build_backbone(parts, image_size=image_size, zero_init_residual=zero_init_residual)
    with initialisation(seed, "embedding"):
        return Encoder(backbone, build_embedding(parts, backbone.out_dim))
