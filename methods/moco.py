"""MoCo v2 (He et al., CVPR 2020; Chen et al., arXiv 2003.04297), symmetric: find the other view's key among a queue."""

import torch
from lightly.models.modules import MoCoProjectionHead
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor
from torch.nn import functional as F

from sem_bench.encoder import Encoder
from sem_bench.environments import Environment, info_nce
from sem_bench.method import Batch, Method, momentum_copy, momentum_update


class MoCo(Method):
    """The momentum branch averages encoder (with its embedding) and projector; it makes the keys, at tau_target.

    Both views are queries once, as in the public code of SEM, each against a queue of its own. A queue has the keys of
    earlier steps; those of the query's own image are no negatives. There is no shuffling of BatchNorm: one device.
    """

    queue: Tensor
    owners: Tensor
    position: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden: int,
        out: int,
        batch_norm: bool,
        temperature: float,
        queue: int,
        momentum: float,
        final_momentum: float,
    ) -> None:
        super().__init__(encoder)
        self.projector = MoCoProjectionHead(encoder.out_dim, hidden, out, batch_norm=batch_norm)
        self.key_encoder = momentum_copy(encoder)
        self.key_projector = momentum_copy(self.projector)
        self.temperature, self.momentum, self.final_momentum = temperature, momentum, final_momentum
        self.register_buffer("queue", F.normalize(torch.randn(2, queue, out), dim=2))  # of the keys of each view
        self.register_buffer("owners", torch.full((queue,), -1))  # the image of each key; -1: of none
        self.register_buffer("position", torch.zeros((), dtype=torch.long))  # where the next keys go

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Queries and keys (B, out) of the two views, and the images (B,) they are of: q0, q1, k0, k1, indices."""
        q0, q1 = (self.projector(self.encoder(view)) for view in batch.views)
        with torch.no_grad():
            k0, k1 = (self.key_projector(self.key_encoder.target(view)) for view in batch.views)
        return q0, q1, k0, k1, batch.indices

    def loss(self, *outputs: Tensor) -> Tensor:
        """InfoNCE (MoCo, equation 1), the mean over both directions."""
        q0, q1, k0, k1 = (F.normalize(output, dim=1) for output in outputs[:4])
        indices = outputs[4].long()
        own = self.owners == indices[:, None]
        self._latest = torch.stack([k0, k1]).detach(), indices
        return (self._contrast(q0, k1, self.queue[1], own) + self._contrast(q1, k0, self.queue[0], own)) / 2

    def _contrast(self, queries: Tensor, keys: Tensor, negatives: Tensor, own: Tensor) -> Tensor:
        positive = (queries * keys).sum(1, keepdim=True)
        negative = (queries @ negatives.to(queries.dtype).T).masked_fill(own, -torch.inf)
        logits = torch.cat([positive, negative], 1) / self.temperature
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))

    def environments(
        self, weights: Tensor, *outputs: Tensor, members: Tensor | None, temperature: float
    ) -> list[Environment]:
        """InfoNCE of a subset, both directions: against those keys of the queue that are of its images.

        While a partition is sought, against the other keys of the batch.
        """
        q0, q1, k0, k1 = (F.normalize(output, dim=1) for output in outputs[:4])
        indices = outputs[4].long()
        found = []
        for queries, keys, queue in ((q0, k1, self.queue[1]), (q1, k0, self.queue[0])):
            if members is None:
                similarities = queries @ keys.T
                rows = torch.arange(len(queries), device=queries.device)[:, None]
                others = torch.arange(len(queries) - 1, device=queries.device).expand(len(queries), -1)
                others = others + (others >= rows)
                negatives, shares = similarities.gather(1, others), weights[others]
            else:
                inside = (self.owners >= 0) & members[self.owners]
                negatives = queries @ queue[inside].to(queries.dtype).T
                shares = (self.owners[inside] != indices[:, None]).to(queries.dtype)
            positive = (queries * keys).sum(1, keepdim=True)
            found.append(
                info_nce(
                    torch.cat([positive, negatives], 1),
                    weights=weights,
                    negative_weights=shares,
                    temperature=self.temperature,
                    penalty_temperature=temperature,
                )
            )
        return found

    def after_batch(self) -> None:
        """The keys join the queue, in place of the oldest."""
        keys, indices = self._latest
        count = min(len(indices), len(self.owners))
        places = (self.position + torch.arange(count, device=indices.device)) % len(self.owners)
        self.queue[:, places] = keys[:, -count:].to(self.queue.dtype)
        self.owners[places] = indices[-count:]
        self.position.copy_((self.position + count) % len(self.owners))

    def after_step(self, step: int, total: int) -> None:
        """The momentum grows along a cosine."""
        momentum = cosine_schedule(step, total, self.momentum, self.final_momentum)
        momentum_update(self.encoder, self.key_encoder, momentum)
        momentum_update(self.projector, self.key_projector, momentum)
