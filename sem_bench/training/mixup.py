"""MixUp of a method that contrasts two views of an image with those of others, as IP-IRM's authors train SimCLR.

Each image of the first view is mixed with another image of the batch, and its projection has two positives among those
of the plain second view: its own, and its partner's. A method's card names the part that projects (`contrasts`); a
recipe or a suite says `mixup: 1.0`. docs/protocol.md says where this follows the authors' code.
"""

import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn import functional as F

from sem_bench.base import world
from sem_bench.environments import TINY, Environment
from sem_bench.method import Batch, Method, gather
from sem_bench.training.wrapper import Wrapper

MIXED = 3  # outputs that depend on the mixing: they come first


class MixUp(Wrapper):
    """Shares are drawn from Beta(alpha, alpha); an image has the larger one of its mixture."""

    def __init__(self, method: Method, *, projector: str, alpha: float, temperature: float) -> None:
        super().__init__(method)
        self.projector, self.alpha, self.temperature = projector, alpha, temperature
        self.notes = ["with MixUp"]

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """What `mixed` gives for the whole batch, the projections (B, d) of the second view, the indices (B,)."""
        second = self._projected(self.encoder.target(batch.views[1]))
        return *self.mixed(batch, torch.zeros_like(batch.indices)), second, batch.indices

    def mixed(self, batch: Batch, groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The first view, where images mix with others of their group (B,): projections, own shares, partners' indices.

        Of several processes each draws for the global batch, and takes its own rows.
        """
        indices, own = _global(batch.indices)
        images, groups = (gather(part)[: len(indices)] for part in (batch.views[0], groups))
        share, partners = (drawn.to(images.device) for drawn in self._drawn(groups.cpu()))
        share = share.to(images.dtype)[own]
        weight = share.view(-1, *[1] * (images.dim() - 1))
        mixture = weight * images[own] + (1 - weight) * images[partners[own]]
        mixture = mixture.contiguous(memory_format=torch.channels_last)
        return self._projected(self.encoder(mixture)), share, indices[partners[own]]

    def loss(self, *outputs: Tensor) -> Tensor:
        """The mean over images of share * InfoNCE to the own second view + (1 - share) * that to the partner's."""
        ones = outputs[0].new_ones(len(outputs[0]))
        return self._environment(ones, outputs, partner=True, temperature=self.temperature).loss()

    def environments(
        self, weights: Tensor, *outputs: Tensor, members: Tensor | None, temperature: float
    ) -> list[Environment]:
        """The loss of a subset; column k is its k-th second view. Partners do not count while a partition is sought."""
        return [self._environment(weights, outputs, partner=members is not None, temperature=temperature)]

    def _environment(
        self, weights: Tensor, outputs: tuple[Tensor, ...], *, partner: bool, temperature: float
    ) -> Environment:
        first, share, partners, second, indices = outputs
        cosines = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
        same = torch.eye(len(first), dtype=torch.bool, device=first.device)
        # The negatives of an image are weighted by membership, brought to a mean of 1.
        others = weights * (len(first) - 1) / (weights.sum() - weights).clamp(min=TINY)[:, None]
        shift = others.masked_fill(same, 1).clamp(min=TINY).log()
        wanted = share[:, None] * same
        if partner:
            wanted = wanted + (1 - share)[:, None] * (partners[:, None] == indices)

        def risk(logits: Tensor) -> Tensor:
            each = -(wanted * (logits + shift).log_softmax(1)).sum(1)
            return (weights * each).sum() / weights.sum().clamp(min=TINY)

        return Environment(cosines / self.temperature, risk, cosines / temperature)

    def _projected(self, features: Tensor) -> Tensor:
        projections: Tensor = self.method.get_submodule(self.projector)(features)
        return projections

    def _drawn(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """For each row (B,) its share of the mixture and its partner's row: a permutation within each group."""
        share = Beta(self.alpha, self.alpha).sample(groups.shape)
        shuffled = torch.rand(groups.shape).argsort()
        partners = torch.empty_like(shuffled)
        partners[groups.argsort(stable=True)] = shuffled[groups[shuffled].argsort(stable=True)]
        return torch.maximum(share, 1 - share), partners


def _global(indices: Tensor) -> tuple[Tensor, slice]:
    """The indices of the global batch, and which rows of it this process has.

    At the end of a pass over all images that cannot be split, each process has the whole batch.
    """
    found = gather(indices)
    if len(found) == len(indices) or torch.equal(found[: len(indices)], found[-len(indices) :]):
        return indices, slice(None)
    return found, world.share(len(found))
