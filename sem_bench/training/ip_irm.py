"""IP-IRM (Wang et al., Self-Supervised Learning Disentangled Group Representation as Feature, NeurIPS 2021).

A wrapper of any method that has `environments`. Two steps alternate. Every batch, the method's own loss is joined by
that of the subsets of every partition found so far, with a penalty that asks them to agree (IRM). Every few epochs,
with the network frozen, the partition in two subsets is sought that such a loss finds hardest, and joins the others.
docs/protocol.md says where this follows the authors' code and where it had to be read by us.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import MultiStepLR

from sem_bench.base import world
from sem_bench.base.device import at_least_float32
from sem_bench.base.randomness import derived_seed, generator
from sem_bench.environments import TINY
from sem_bench.method import Batch, Method, Report
from sem_bench.training.card import IpIrmSettings
from sem_bench.training.health import evaluating
from sem_bench.training.mixup import MIXED, MixUp
from sem_bench.training.wrapper import Wrapper

LR, MILESTONES, DECAY = 0.5, (5, 35), 0.2  # of Adam over the memberships
PATIENCE, LEAST_PASSES = 5, 51  # it ends after so many passes without a better one, but not before
BALANCE = 0.6365  # entropy of shares 1/3 and 2/3: no subset larger than about twice the other
SUBSETS = 2
LEAST = 2  # images: less is no subset of a batch


class IpIrm(Wrapper):
    """Trains a method on `images` images for `epochs`, with the partitions in a buffer."""

    partitions: Tensor
    found: Tensor

    def __init__(self, method: Method, settings: IpIrmSettings, *, images: int, epochs: int, seed: int) -> None:
        super().__init__(method)
        self.settings, self.seed = settings, seed
        self.notes = method.notes if self.mixup else ["IP-IRM without MixUp"]
        count = -(-epochs // settings.every)
        self.register_buffer("partitions", torch.zeros(count, images, dtype=torch.uint8))  # the subset of each image
        self.register_buffer("found", torch.zeros((), dtype=torch.long))

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """The method's outputs; with MixUp those that are mixed anew within each partition; the indices (B,)."""
        outputs = [*self.method(batch)]
        if self.mixup:
            for partition in self._found():
                outputs += self.mixup.mixed(batch, partition[batch.indices])
        return *outputs, batch.indices

    def loss(self, *outputs: Tensor) -> Tensor:
        """The method's loss + mean over subsets of (their loss + weight * penalty)."""
        *given, indices = outputs
        partitions = self._found()
        anew = [given.pop() for _ in range(MIXED * len(partitions))][::-1] if self.mixup else []
        total = self.method.loss(*given)
        risks, penalties = [], []
        for number, partition in enumerate(partitions):
            own = [*anew[MIXED * number :][:MIXED], *given[MIXED:]] if self.mixup else given
            for subset in range(SUBSETS):
                members = partition == subset
                chosen = members[indices.long()]
                if chosen.sum() < LEAST:
                    continue
                part = [output[chosen] for output in own]
                risk, penalty = self._terms(part[0].new_ones(len(part[0])), part, members)
                risks.append(risk)
                penalties.append(penalty)
        if risks:
            # The authors' code takes the mean over partitions, but with MixUp their sum.
            count = len(partitions) if self.mixup else 1
            weight = count * self.settings.weight
            total = total + count * torch.stack(risks).mean() + weight * torch.stack(penalties).mean()
        return total / max(self.settings.weight, 1.0)

    @property
    def mixup(self) -> MixUp | None:
        """The method, where it is one with MixUp."""
        return self.method if isinstance(self.method, MixUp) else None

    def _found(self) -> Tensor:
        """The partitions so far."""
        return self.partitions[: int(self.found)]

    def _terms(self, weights: Tensor, outputs: list[Tensor], members: Tensor | None) -> tuple[Tensor, Tensor]:
        """Loss and penalty of a subset, means over the method's directions."""
        found = self.method.environments(weights, *outputs, members=members, temperature=self.settings.temperature)
        self.notes = list(dict.fromkeys([*self.notes, *(one.note for one in found if one.note)]))
        risk = torch.stack([environment.loss() for environment in found]).mean()
        return risk, torch.stack([environment.penalty() for environment in found]).mean()

    def before_epoch(self, epoch: int, everything: Callable[[], Iterator[Batch]], report: Report) -> None:
        """Seek a partition, where one is due."""
        super().before_epoch(epoch, everything, report)
        if epoch % self.settings.every == 0:
            number = epoch // self.settings.every
            torch.manual_seed(derived_seed(self.seed, "partition", epoch, "noise"))  # every step seeds anew
            self.partitions[number] = self._partition(self._features(everything), epoch, report)
            world.from_first(self.partitions[number])
            self.found.fill_(number + 1)

    @torch.no_grad()
    def _features(self, everything: Callable[[], Iterator[Batch]]) -> list[Tensor]:
        """The method's outputs for all images, with the network in eval mode; kept on the CPU."""
        features: list[Tensor] = []
        with evaluating(self):
            for batch in everything():
                outputs = [at_least_float32(output).cpu() for output in self.method(batch)]
                if not features:  # made once: they may be large
                    count = self.partitions.shape[1]
                    features = [output.new_full((count, *output.shape[1:]), -torch.inf) for output in outputs]
                for kept, output in zip(features, outputs, strict=True):
                    kept[batch.indices.cpu()] = output
        return [world.largest(part) for part in features]  # each process has filled its own rows

    def _partition(self, features: list[Tensor], epoch: int, report: Report) -> Tensor:
        """The subset (N,) of each image, by gradient ascent over soft memberships (N, 2)."""
        chance = generator(self.seed, "partition", epoch)
        device = self.partitions.device
        count = self.partitions.shape[1]
        scores = torch.randn(count, SUBSETS, generator=chance).to(device).requires_grad_()
        optimizer = torch.optim.Adam([scores], lr=LR)
        schedule = MultiStepLR(optimizer, list(MILESTONES), gamma=DECAY)
        best, lowest, stale = scores.detach().clone(), float("inf"), 0
        for number in range(self.settings.passes):
            report(f"a partition, pass {number + 1} of at most {self.settings.passes}")
            risks = []
            for rows in torch.randperm(count, generator=chance).split(self.settings.batch_size):
                if len(rows) < LEAST:
                    continue
                memberships = scores[rows.to(device)].softmax(1).clamp(min=TINY)  # 0 would take an image out
                risk = self._risk(memberships, [part[rows].to(device) for part in features])
                optimizer.zero_grad()
                risk.backward()
                optimizer.step()
                risks.append(float(risk.detach()))
            schedule.step()
            mean = sum(risks) / len(risks)
            stale = 0 if mean < lowest else stale + 1
            if stale == 0:
                best, lowest = scores.detach().clone(), mean
            if stale >= PATIENCE and number >= LEAST_PASSES:
                break
        return best.argmax(1).to(torch.uint8)

    def _risk(self, memberships: Tensor, outputs: list[Tensor]) -> Tensor:
        """What a hard partition has little of: minus loss and penalty of the soft subsets, plus their imbalance."""
        terms = [self._terms(memberships[:, subset], outputs, None) for subset in range(SUBSETS)]
        risk = torch.stack([risk for risk, _ in terms]).mean()
        penalty = torch.stack([penalty for _, penalty in terms]).mean()
        balance = F.relu(BALANCE - torch.special.entr(memberships.mean(0)).sum())
        return balance - risk - self.settings.partition_weight * penalty
