"""The encoder: backbone and embedding, the part that a method trains and that evaluation reads."""

from torch import Tensor, nn

from sem_bench.backbone import Backbone
from sem_bench.embedding import Embedding


class Encoder(nn.Module):
    """images (B, 3, H, W) -> embedding output (B, out_dim). `out_dim` is all that a method's heads need to know."""

    def __init__(self, backbone: Backbone, embedding: Embedding) -> None:
        super().__init__()
        self.backbone = backbone
        self.embedding = embedding
        self.out_dim = embedding.out_dim

    def forward(self, images: Tensor) -> Tensor:
        """At the embedding's training temperature."""
        output: Tensor = self.embedding(self.backbone(images))
        return output

    def target(self, images: Tensor) -> Tensor:
        """As `forward`, at `tau_target`: for momentum branches, and for the second view of methods without one."""
        output: Tensor = self.embedding(self.backbone(images), self.embedding.target_temperature)
        return output
