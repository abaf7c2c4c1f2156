"""The original SEM code's linear evaluation: heads trained on augmented images (docs/protocol.md, Augmented).

Unlike there, nothing is chosen on test, and all arms search equally many candidates. A candidate is two heads, trained
side by side: one without a stratified hold-out of the training images, by which it is judged, and one on all of them,
which it takes to test if it is chosen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sem_bench.base.limits import CHUNK
from sem_bench.base.randomness import derived_seed, generator
from sem_bench.data.augment import uniform
from sem_bench.data.split import Split
from sem_bench.errors import UserError
from sem_bench.evaluations.augmented import AugmentedJob
from sem_bench.evaluations.measures import features, selection
from sem_bench.evaluations.measures.candidates import Contest, reported
from sem_bench.evaluations.measures.features import Features, Representation
from sem_bench.evaluations.measures.sgd_heads import Heads, decay
from sem_bench.training.card import Augmentation
from sem_bench.training.views import ViewPlan, Views
from sem_bench.workspace import Workspace

COLUMN = "100% aug"
HeadKey = tuple[str, float | None]  # of a representation: its name and temperature
VIEW = Augmentation(crop_scale=(0.08, 1.0), interpolation="bicubic", flip=0.5)


@dataclass(frozen=True)
class Trained:
    """The heads on one representation: for each learning rate one without the hold-out, then for each one of all."""

    representation: Representation
    scale: float
    lr: list[float]
    heads: Heads

    def of(self, h: Tensor) -> Tensor:
        """What the heads see of h (n, d)."""
        return self.representation.of(h) * self.scale

    @torch.no_grad()
    def validation(self, h: Tensor, labels: Tensor) -> dict[float, float | None]:
        """By learning rate the accuracy of the head without the hold-out, on it; None where one of the two diverged."""
        count = len(self.lr)
        right = torch.zeros(count, dtype=torch.int64, device=h.device)
        for part, truth in zip(h.split(CHUNK), labels.split(CHUNK), strict=True):
            predicted = self.heads.predict(self.of(part))[:, :count].argmax(2)
            right += (predicted == truth[:, None]).sum(0)
        finite = self.heads.finite()
        usable = [a and b for a, b in zip(finite[:count], finite[count:], strict=True)]
        return {lr: int(hits) / len(h) if good else None for lr, hits, good in zip(self.lr, right, usable, strict=True)}

    @torch.no_grad()
    def accuracy(self, lr: float, h: Tensor, labels: Tensor) -> float:
        """Of the head of all images."""
        head = self.heads.head(len(self.lr) + self.lr.index(lr))
        predicted = torch.cat([head.predict(self.of(part)).argmax(1) for part in h.split(CHUNK)])
        return float((predicted == labels).double().mean())


class LabelledViews(Views):
    """One view of each image, in streams of their own; whole batches, as in pretraining. The same for all arms."""

    def __init__(self, job: AugmentedJob, split: Split, device: torch.device, *, view: Augmentation) -> None:
        if len(split) < job.batch_size:
            raise UserError(f"augmented: batch_size {job.batch_size} is more than the {len(split)} training images")
        plan = ViewPlan([view], job.data.image_size, job.data.normalise, job.batch_size, job.seed, labels=True)
        self.total = job.epochs * (len(split) // job.batch_size)
        super().__init__(plan, split, device, last=self.total)

    def _epoch_order_of(self, epoch: int) -> Tensor:
        return torch.randperm(len(self.split), generator=generator(self.plan.seed, "order", "probe", epoch))

    def _uniform_of(self, number: int, view: int) -> Tensor:
        return uniform(self.size, generator(self.plan.seed, "augment", "probe", number))


def evaluate(job: AugmentedJob, workspace: Workspace) -> dict[str, Any]:
    """A row for each contest."""
    found = features.load(job.data, workspace)
    wanted = contests(job, found)
    held = holdout(job, found)
    trained = train(job, found, wanted, held, progress=workspace.progress)
    judged = validate(found, trained, held)
    return {"rows": [row(found, contest, trained, judged) for contest in wanted]}


def contests(job: AugmentedJob, found: Features) -> list[Contest]:
    """As the probe's, with learning rates for penalties."""
    return reported(found, tau=job.tau, fixed_tau=job.fixed_tau, grid=job.lr, fixed_grid=job.fixed_lr)


def holdout(job: AugmentedJob, found: Features) -> Tensor:
    """The training rows on which candidates are judged: the probe's at all labels."""
    seed = derived_seed(job.seed, "split", "validation", 0)
    held = selection.stratified_holdout(found.train.labels.numpy(), selection.HOLDOUT, seed=seed)[1]
    if not len(held):
        raise UserError("augmented: no class has two training images, so that nothing can be validated")
    return torch.from_numpy(held)


def train(
    job: AugmentedJob,
    found: Features,
    reported: list[Contest],
    held: Tensor,
    *,
    view: Augmentation = VIEW,
    progress: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> dict[HeadKey, Trained]:
    """All heads of all contests, in one pass over the same views; a representation that two contests name is one."""
    device = found.h_train.device
    trained = _untrained(job, found, reported)
    inside = torch.ones(len(found.train), device=device)
    inside[held.to(device)] = 0
    backbone = found.encoder.backbone.to(memory_format=torch.channels_last)
    with LabelledViews(job, found.train, device, view=view) as views, torch.no_grad():
        for number in range(views.total):
            batch = views.batch(number)
            assert batch.labels is not None
            h = backbone(batch.views[0])
            epoch = number // views.steps_per_epoch
            own = torch.stack([inside[batch.indices], torch.ones(len(h), device=device)], 1)
            for one in trained.values():
                one.heads.step(
                    one.of(h),
                    batch.labels,
                    own.repeat_interleave(len(one.lr), 1),
                    factor=decay(epoch, job.epochs),
                )
            progress(number + 1, views.total, f"epoch {epoch + 1}")
    return trained


def _untrained(job: AugmentedJob, found: Features, reported: list[Contest]) -> dict[HeadKey, Trained]:
    by_key = {_head_key(one): one for contest in reported for one in contest.representations}
    trained = {}
    for key, one in by_key.items():
        wanted = [contest.grid for contest in reported if key in map(_head_key, contest.representations)]
        lr = sorted({value for grid in wanted for value in grid})
        width = one.of(found.h_train[:1]).shape[1]
        heads = Heads(lr + lr, width=width, classes=len(job.data.classes), device=found.h_train.device)
        trained[key] = Trained(one, one.length_scale(found.h_train), lr, heads)
    return trained


def _head_key(representation: Representation) -> HeadKey:
    return representation.name, representation.tau_d


def validate(
    found: Features, trained: dict[HeadKey, Trained], held: Tensor
) -> dict[HeadKey, dict[float, float | None]]:
    """The accuracies of all candidates on the hold-out, without augmentation."""
    device = found.h_train.device
    h, labels = found.h_train[held.to(device)], found.train.labels[held].to(device)
    return {key: one.validation(h, labels) for key, one in trained.items()}


def row(
    found: Features,
    contest: Contest,
    trained: dict[HeadKey, Trained],
    judged: dict[HeadKey, dict[float, float | None]],
) -> dict[str, Any]:
    """Choose by the hold-out (ties: the smallest lr, then the first tau_d) and read test once, with the chosen head."""
    keys = [_head_key(one) for one in contest.representations]
    accuracies = {(key, lr): judged[key][lr] for key in keys for lr in contest.grid}
    diverged = [candidate for candidate, accuracy in accuracies.items() if accuracy is None]

    def rank(candidate: tuple[HeadKey, float]) -> tuple[bool, float, float]:
        return candidate not in diverged, accuracies[candidate] or 0.0, -candidate[1]

    key, lr = max(accuracies, key=rank)  # the first of ties
    value = trained[key].accuracy(lr, found.h_test, found.test.labels.to(found.h_test.device))
    edges = {
        "lr": len(set(contest.grid)) > 1 and lr in (min(contest.grid), max(contest.grid)),
        "tau_d": len(keys) > 1 and key in (keys[0], keys[-1]),
    }
    notes = [f"{name} on the edge of its grid" for name, on_edge in edges.items() if on_edge]
    return {
        "column": COLUMN,
        "fraction": 1.0,
        "draw": 0,
        "metric": contest.metric,
        "representation": key[0],
        "tau_d": key[1],
        "lr": lr,
        "candidates": len(contest.representations) * len(contest.grid),
        "validation": 100 * (accuracies[key, lr] or 0.0),
        "value": 100 * value,
        "notes": notes + ([f"{len(diverged)} of {len(accuracies)} heads diverged"] if diverged else []),
    }
