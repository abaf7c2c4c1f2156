"""SimSiam (Chen and He, CVPR 2021): predict the other view's projection, which gets no gradient."""

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead
from torch import Tensor

from sem_bench.encoder import Encoder
from sem_bench.environments import Environment, regression
from sem_bench.method import Batch, Method


class SimSiam(Method):
    """Encoder, projector and predictor. The second view is embedded at tau_target, which is tau by default."""

    def __init__(self, encoder: Encoder, *, hidden: int, out: int, predictor: int) -> None:
        super().__init__(encoder)
        self.projector = SimSiamProjectionHead(encoder.out_dim, hidden, out)
        self.predictor = SimSiamPredictionHead(out, predictor, out)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Predictions and projections (B, out) of the two views: p0, p1, z0, z1."""
        first, second = batch.views
        z0, z1 = self.projector(self.encoder(first)), self.projector(self.encoder.target(second))
        return self.predictor(z0), self.predictor(z1), z0.detach(), z1.detach()

    def loss(self, *outputs: Tensor) -> Tensor:
        """Equation 4: the mean of both directions' negative cosine similarities."""
        p0, p1, z0, z1 = outputs
        loss: Tensor = (self.criterion(p0, z1) + self.criterion(p1, z0)) / 2
        return loss

    def environments(
        self, weights: Tensor, *outputs: Tensor, members: Tensor | None, temperature: float
    ) -> list[Environment]:
        """The loss (+ 1) of a subset, a scale for each number of the predictions: our reading of IP-IRM."""
        p0, p1, z0, z1 = outputs
        return [regression(p0, z1, weights=weights), regression(p1, z0, weights=weights)]
