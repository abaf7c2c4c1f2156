"""SimCLR (Chen et al., ICML 2020): two views of an image attract, all other images of the batch repel."""

from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor

from sem_bench.encoder import Encoder
from sem_bench.method import Batch, Method


class SimCLR(Method):
    """Encoder and projector, NT-Xent loss. The second view is embedded at tau_target, which is tau by default."""

    def __init__(self, encoder: Encoder, *, hidden: int, out: int, temperature: float) -> None:
        super().__init__(encoder)
        self.projector = SimCLRProjectionHead(encoder.out_dim, hidden, out)
        self.criterion = NTXentLoss(temperature=temperature)

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Projections (B, out) of the two views."""
        first, second = batch.views
        return self.projector(self.encoder(first)), self.projector(self.encoder.target(second))

    def loss(self, *outputs: Tensor) -> Tensor:
        """NT-Xent, equation 1."""
        loss: Tensor = self.criterion(*outputs)
        return loss
