"""The control that isolates the softmax of SEM: its layer alone."""

from torch import Tensor, nn

from sem_bench.embedding import Embedding


class LinearEmbedding(Embedding):
    """SEM without its softmax: Linear(d, L*V, no bias) and BatchNorm."""

    def __init__(self, in_dim: int, *, L: int, V: int) -> None:
        super().__init__()
        self.L, self.V, self.out_dim = L, V, L * V
        self.groups = (L, V)
        self.linear = nn.Linear(in_dim, L * V, bias=False)
        self.norm = nn.BatchNorm1d(L * V)

    def raw(self, h: Tensor) -> Tensor:
        """z (B, V*L) of h (B, in_dim), before any softmax."""
        z: Tensor = self.norm(self.linear(h))
        return z

    def forward(self, h: Tensor, temperature: float | None = None) -> Tensor:
        """As `raw`."""
        return self.raw(h)
