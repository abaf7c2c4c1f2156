"""The baseline: no embedding."""

from torch import Tensor

from sem_bench.embedding import Embedding


class NoEmbedding(Embedding):
    """Features go through unchanged."""

    def __init__(self, in_dim: int) -> None:
        super().__init__()
        self.out_dim = in_dim

    def forward(self, h: Tensor, temperature: float | None = None) -> Tensor:
        """h (B, in_dim) -> the same."""
        return h
