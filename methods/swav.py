"""SwAV (Caron et al., NeurIPS 2020): predict one view's cluster codes from the others."""

import torch
from lightly.loss import SwaVLoss
from lightly.models.modules import SwaVProjectionHead
from torch import Tensor, nn
from torch.nn import functional as F

from sem_bench.encoder import Encoder
from sem_bench.method import Batch, Method, still


class SwAV(Method):
    """Encoder, projector and prototypes. The first two views give codes, all views predict them (multi-crop).

    The second view is embedded at tau_target, which is tau by default. `queue` features of earlier steps take part in
    the codes once `queue_from` of the training is over and the queue is full; 0 is no queue. The prototypes stand
    still for the share `frozen` of the training.
    """

    queue: Tensor
    filled: Tensor
    progress: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden: int,
        out: int,
        prototypes: int,
        temperature: float,
        epsilon: float,
        iterations: int,
        queue: int,
        queue_from: float,
        frozen: float,
    ) -> None:
        super().__init__(encoder)
        self.projector = SwaVProjectionHead(encoder.out_dim, hidden, out)
        self.prototypes = nn.Linear(out, prototypes, bias=False)
        self.criterion = SwaVLoss(temperature, sinkhorn_iterations=iterations, sinkhorn_epsilon=epsilon)
        self.queue_from, self.frozen = queue_from, frozen
        self.register_buffer("queue", torch.zeros(2, queue, out))  # of the features of the first two views
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))
        self.register_buffer("progress", torch.zeros((), dtype=torch.float64))  # the share of the training that is over
        self._normalise_prototypes()

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Projections (B, out), one of each view."""
        first, second, *others = batch.views
        outputs = [self.encoder(first), self.encoder.target(second), *map(self.encoder, others)]
        return tuple(self.projector(output) for output in outputs)

    def loss(self, *outputs: Tensor) -> Tensor:
        """Equations 2 and 3: codes by Sinkhorn-Knopp, and the cross-entropy of the others' predictions with them."""
        features = [F.normalize(output, dim=1) for output in outputs]
        weight = self.prototypes.weight.to(features[0].dtype)
        if self.progress < self.frozen:
            weight = still(weight)
        logits = [feature @ weight.T for feature in features]
        queued = None
        if 0 < self.queue.shape[1] <= self.filled and self.progress >= self.queue_from:
            queued = [part.to(weight.dtype) @ weight.detach().T for part in self.queue]
        self._latest = torch.stack(features[:2]).detach()
        loss: Tensor = self.criterion(logits[:2], logits[2:], queued)
        return loss.squeeze()

    def after_batch(self) -> None:
        """The features join the queue, in place of the oldest."""
        size = self.queue.shape[1]
        self.queue.copy_(torch.cat([self._latest.to(self.queue.dtype), self.queue], 1)[:, :size])
        self.filled.copy_((self.filled + self._latest.shape[1]).clamp(max=size))

    def after_step(self, step: int, total: int) -> None:
        """Prototypes go back to the unit sphere."""
        self._normalise_prototypes()
        self.progress.fill_((step + 1) / total)

    @torch.no_grad()
    def _normalise_prototypes(self) -> None:
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))
