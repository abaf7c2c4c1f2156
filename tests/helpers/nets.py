"""Parts of encoders by their names, as the package has them."""

from sem_bench.backbone import Backbone
from sem_bench.embedding import Embedding
from sem_bench.nets import build
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.nets.encoder_parts import built_in
from sem_bench.report.row import BASELINE


def build_backbone(name: str, *, image_size: int, zero_init_residual: bool = False) -> Backbone:
    """The package's backbone of a name."""
    parts = built_in(EmbeddingSettings(type=BASELINE), name)
    return build.build_backbone(parts, image_size=image_size, zero_init_residual=zero_init_residual)


def build_embedding(settings: EmbeddingSettings, in_dim: int) -> Embedding:
    """The package's embedding of resolved settings."""
    return build.build_embedding(built_in(settings, "resnet10w16s2"), in_dim)
