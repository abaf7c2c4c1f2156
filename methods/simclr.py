"""SimCLR (Chen et al., ICML 2020): two views of an image attract, all other images of the batch repel."""

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn
from torch.nn import functional as F

from sem_bench.encoder import Encoder
from sem_bench.environments import Environment, info_nce
from sem_bench.method import Batch, Method


class SimCLR(Method):
    """Encoder and projector, NT-Xent loss. The second view is embedded at tau_target, which is tau by default.

    `norms` of the projector's two layers end in BatchNorm: 2 as in the authors' code, 1, or 0 as in the paper's text.
    """

    def __init__(self, encoder: Encoder, *, hidden: int, out: int, norms: int, temperature: float) -> None:
        super().__init__(encoder)
        first, second = (nn.BatchNorm1d(width) if norms > i else None for i, width in enumerate((hidden, out)))
        self.projector = ProjectionHead([(encoder.out_dim, hidden, first, nn.ReLU()), (hidden, out, second, None)])
        self.criterion = NTXentLoss(temperature=temperature)

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Projections (B, out) of the two views."""
        first, second = batch.views
        return self.projector(self.encoder(first)), self.projector(self.encoder.target(second))

    def loss(self, *outputs: Tensor) -> Tensor:
        """NT-Xent, equation 1."""
        loss: Tensor = self.criterion(*outputs)
        return loss

    def environments(
        self, weights: Tensor, *outputs: Tensor, members: Tensor | None, temperature: float
    ) -> list[Environment]:
        """NT-Xent of a subset; column k of an image's negatives is the k-th of the other projections (2n - 2)."""
        z, weights = F.normalize(torch.cat(outputs), dim=1), weights.repeat(2)
        anchor = torch.arange(len(z), device=z.device)[:, None]
        positive = anchor.roll(len(z) // 2, 0)
        others = torch.arange(len(z) - 2, device=z.device).expand(len(z), -1)
        for taken in (torch.minimum(anchor, positive), torch.maximum(anchor, positive)):
            others = others + (others >= taken)
        similarities = (z @ z.T).gather(1, torch.cat([positive, others], 1))
        return [
            info_nce(
                similarities,
                weights=weights,
                negative_weights=weights[others],
                temperature=self.criterion.temperature,
                penalty_temperature=temperature,
            )
        ]
