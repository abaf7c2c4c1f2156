"""Barlow Twins (Zbontar et al., ICML 2021): the cross-correlation of two views shall be the identity."""

from lightly.loss import BarlowTwinsLoss
from lightly.models.modules import BarlowTwinsProjectionHead
from torch import Tensor

from sem_bench.encoder import Encoder
from sem_bench.method import Batch, Method


class BarlowTwins(Method):
    """Encoder and projector. The second view is embedded at tau_target, which is tau by default."""

    def __init__(self, encoder: Encoder, *, hidden: int, out: int, off_diagonal: float, scale: float) -> None:
        super().__init__(encoder)
        self.projector = BarlowTwinsProjectionHead(encoder.out_dim, hidden, out)
        self.criterion = BarlowTwinsLoss(lambda_param=off_diagonal)
        self.scale = scale

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Projections (B, out) of the two views."""
        first, second = batch.views
        return self.projector(self.encoder(first)), self.projector(self.encoder.target(second))

    def loss(self, *outputs: Tensor) -> Tensor:
        """Equation 1, times the public code's `scale`, which keeps its optimiser in range."""
        loss: Tensor = self.scale * self.criterion(*outputs)
        return loss
