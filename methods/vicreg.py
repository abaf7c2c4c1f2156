"""VICReg (Bardes et al., ICLR 2022): views alike, every feature varied, no two features correlated."""

from lightly.loss import VICRegLoss
from lightly.models.modules.heads import VICRegProjectionHead
from torch import Tensor

from sem_bench.encoder import Encoder
from sem_bench.method import Batch, Method


class VICReg(Method):
    """Encoder and projector. The second view is embedded at tau_target, which is tau by default."""

    def __init__(
        self, encoder: Encoder, *, hidden: int, out: int, invariance: float, variance: float, covariance: float
    ) -> None:
        super().__init__(encoder)
        self.projector = VICRegProjectionHead(encoder.out_dim, hidden, out)
        self.criterion = VICRegLoss(lambda_param=invariance, mu_param=variance, nu_param=covariance)

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Projections (B, out) of the two views."""
        first, second = batch.views
        return self.projector(self.encoder(first)), self.projector(self.encoder.target(second))

    def loss(self, *outputs: Tensor) -> Tensor:
        """Equation 6 as the authors' code has it: the invariance per feature, the variance of the two views halved."""
        loss: Tensor = self.criterion(*outputs)
        return loss
