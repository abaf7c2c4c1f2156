"""BYOL (Grill et al., NeurIPS 2020): predict the momentum branch's projection of the other view."""

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, no_grad

from sem_bench.encoder import Encoder
from sem_bench.environments import Environment, regression
from sem_bench.method import Batch, Method, momentum_copy, momentum_update


class BYOL(Method):
    """The momentum branch averages encoder (with its embedding) and projector; it embeds at tau_target."""

    def __init__(self, encoder: Encoder, *, hidden: int, out: int, predictor: int, momentum: float) -> None:
        super().__init__(encoder)
        self.projector = BYOLProjectionHead(encoder.out_dim, hidden, out)
        self.predictor = BYOLPredictionHead(out, predictor, out)
        self.target_encoder = momentum_copy(encoder)
        self.target_projector = momentum_copy(self.projector)
        self.momentum = momentum
        self.criterion = NegativeCosineSimilarity()

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Predictions and targets (B, out) of the two views: p0, p1, t0, t1."""
        p0, p1 = (self.predictor(self.projector(self.encoder(view))) for view in batch.views)
        with no_grad():
            t0, t1 = (self.target_projector(self.target_encoder.target(view)) for view in batch.views)
        return p0, p1, t0, t1

    def loss(self, *outputs: Tensor) -> Tensor:
        """Equation 2, summed over both directions: 2 - 2 cos each."""
        p0, p1, t0, t1 = outputs
        loss: Tensor = 4 + 2 * (self.criterion(p0, t1) + self.criterion(p1, t0))
        return loss

    def environments(
        self, weights: Tensor, *outputs: Tensor, members: Tensor | None, temperature: float
    ) -> list[Environment]:
        """The loss of a subset, a scale for each number of the predictions: our reading of IP-IRM."""
        p0, p1, t0, t1 = outputs
        return [regression(p0, t1, weights=weights, factor=4), regression(p1, t0, weights=weights, factor=4)]

    def after_step(self, step: int, total: int) -> None:
        """The momentum grows from its base to 1 along a cosine (section 3.2)."""
        momentum = cosine_schedule(step, total, self.momentum, 1.0)
        momentum_update(self.encoder, self.target_encoder, momentum)
        momentum_update(self.projector, self.target_projector, momentum)
