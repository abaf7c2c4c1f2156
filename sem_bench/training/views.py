"""What pretraining sees: for each step a batch of views, a function of the seed and the step's number alone.

Of several processes that train together, each makes the views of its own rows of the batch, as they would be in one.

Images in memory are augmented on the device, crop and all. Others are read and cropped by worker threads, a few pieces
of work ahead, and the device does the rest. Both ways draw the same random numbers for the same images. A thread draws
them a batch ahead and sends them to the device, so that a step waits for neither.
"""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Self, cast

import torch
from torch import Tensor

from sem_bench.base import world
from sem_bench.base.device import on_one_core, send
from sem_bench.base.randomness import generator
from sem_bench.data.augment import BatchAugment, Parameters, ViewSettings, Work, uniform
from sem_bench.data.card import Normalisation
from sem_bench.data.images import as_tensor
from sem_bench.data.split import Split
from sem_bench.data.threads import ordered, pieces
from sem_bench.method import Batch
from sem_bench.training.card import Augmentation
from sem_bench.training.job import PretrainJob

Piece = tuple[Tensor, Parameters]  # a view of a few images, cropped: uint8 (n, 3, S, S), and the rest to do
Prepared = tuple[Tensor, list[tuple[Tensor | None, list[Work]]]]  # indices; for each view its crops, and what to do


@dataclass(frozen=True)
class ViewPlan:
    """What the views of a set of images depend on."""

    views: Sequence[Augmentation]
    image_size: int  # pixels, of views that name no size of their own
    normalise: Normalisation
    batch_size: int
    seed: int
    accumulate: int = 1  # batches to a step
    labels: bool = False  # whether batches have them

    @classmethod
    def of(cls, job: PretrainJob) -> Self:
        """A pretraining's."""
        return cls(
            views=job.training.views,
            image_size=job.data.image_size,
            normalise=job.data.normalise,
            batch_size=job.training.batch_size,
            seed=job.seed,
            accumulate=job.training.accumulate,
            labels=job.method.labels,
        )

    def augment(self, view: Augmentation) -> BatchAugment:
        """What makes a view of images."""
        sized = cast(ViewSettings, view.model_copy(update={"size": view.size or self.image_size}))
        return BatchAugment(sized, mean=self.normalise.mean, std=self.normalise.std)


class Views:
    """Batches `first` to `last` - 1 of a training, in order. A context: leaving it stops the workers."""

    def __init__(self, plan: ViewPlan, split: Split, device: torch.device, *, first: int = 0, last: int) -> None:
        self.plan, self.split, self.device = plan, split, device
        self.size, self.last = plan.batch_size, last
        self.steps_per_epoch = len(split) // (plan.batch_size * plan.accumulate)
        self.batches_per_epoch = self.steps_per_epoch * plan.accumulate
        self.labels = split.labels.to(device) if plan.labels else None
        self.images = None if split.images is None else split.images.to(device)
        self.augment = [plan.augment(view) for view in plan.views]
        # A few steps are in work at once, for each their random numbers are needed by several pieces.
        self._epoch_order = lru_cache(maxsize=2)(self._epoch_order_of)
        self._uniform = lru_cache(maxsize=64)(self._uniform_of)
        self._stream = self._cropped(first, last) if self.images is None else iter(())
        self._coming: dict[int, Future[Prepared]] = {}
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="views")  # one: a stream has an order

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ahead.shutdown(cancel_futures=True)
        if close := getattr(self._stream, "close", None):
            close()

    def batch(self, number: int) -> Batch:
        """The views of a batch, or of this process's rows of it: (B, 3, S, S) each."""
        indices, prepared = self._awaited(number)
        images = None if self.images is None else self.images[indices]
        views = []
        with on_one_core(self.device):  # each operation is too small to be shared
            for augment, (crops, work) in zip(self.augment, prepared, strict=True):
                given = images if crops is None else crops
                assert given is not None
                views.append(augment.apply(given, work, cropped=crops is not None))
        labels = None if self.labels is None else self.labels[indices]
        return Batch([view.contiguous(memory_format=torch.channels_last) for view in views], indices, labels)

    def rows(self, number: int) -> Tensor:
        """Which images a batch has: each once an epoch, but for those left over at its end."""
        epoch, position = divmod(number, self.batches_per_epoch)
        return self._epoch_order(epoch)[position * self.size : (position + 1) * self.size]

    def _own(self, number: int) -> slice:
        """Which rows of a batch are this process's."""
        return world.share(len(self.rows(number)))

    def _epoch_order_of(self, epoch: int) -> Tensor:
        return torch.randperm(len(self.split), generator=generator(self.plan.seed, "order", epoch))

    def _uniform_of(self, number: int, view: int) -> Tensor:
        return uniform(self.size, generator(self.plan.seed, "augment", number, view))

    def _awaited(self, number: int) -> Prepared:
        """A batch that was prepared ahead; the next one is begun."""
        for one in range(number, max(number + 1, min(number + 2, self.last))):
            if one not in self._coming:
                self._coming[one] = self._ahead.submit(self._prepare, one)
        return self._coming.pop(number).result()

    def _prepare(self, number: int) -> Prepared:
        own = self._own(number)
        indices = send(self.rows(number)[own], self.device)
        if self.images is None:
            return indices, self._sent(next(self._stream))
        sides = self.images.shape[2:]
        every = torch.tensor(sides).expand(own.stop - own.start, 2)
        drawn = [augment.parameters(self._uniform(number, i)[own], every) for i, augment in enumerate(self.augment)]
        return indices, [
            (None, augment.prepare(parameters, sides=sides, device=self.device))
            for augment, parameters in zip(self.augment, drawn, strict=True)
        ]

    def _cropped(self, first: int, last: int) -> Generator[list[list[Piece]]]:
        """For each batch its pieces, each with all its views."""
        todo = ((number, part) for number in range(first, last) for part in self._pieces(number))
        done = ordered(self._crop, todo, workers=self.split.workers)
        try:
            for number in range(first, last):
                yield [next(done) for _ in self._pieces(number)]
        finally:
            done.close()

    def _pieces(self, number: int) -> list[range]:
        own = self._own(number)
        return pieces(range(own.start, own.stop))

    def _crop(self, work: tuple[int, range]) -> list[Piece]:
        number, part = work
        images = [self.split.read(int(row)) for row in self.rows(number)[part.start : part.stop]]
        sides = torch.tensor([[image.height, image.width] for image in images])
        views = []
        for view, augment in enumerate(self.augment):
            parameters = augment.parameters(self._uniform(number, view)[part.start : part.stop], sides)
            crops = [augment.crop(image, parameters, row) for row, image in enumerate(images)]
            views.append((as_tensor(crops), parameters))
        return views

    def _sent(self, parts: list[list[Piece]]) -> list[tuple[Tensor | None, list[Work]]]:
        found: list[tuple[Tensor | None, list[Work]]] = []
        for augment, view in zip(self.augment, zip(*parts, strict=True), strict=True):
            crops = torch.cat([crops for crops, _ in view])
            parameters = Parameters(*(torch.cat(field) for field in zip(*(p for _, p in view), strict=True)))
            work = augment.prepare(parameters, sides=crops.shape[2:], device=self.device)
            found.append((send(crops, self.device), work))
        return found


class Everything(Views):
    """Every image once, in order, in views that no step of the training sees; they depend on the epoch."""

    def __init__(self, plan: ViewPlan, split: Split, device: torch.device, *, epoch: int) -> None:
        self.epoch = epoch
        super().__init__(plan, split, device, last=-(-len(split) // plan.batch_size))

    def rows(self, number: int) -> Tensor:
        """The next images; at the end they may be fewer."""
        return torch.arange(number * self.size, min((number + 1) * self.size, len(self.split)))

    def _own(self, number: int) -> slice:
        """At the end all of them, where they cannot be split evenly."""
        rows = len(self.rows(number))
        return slice(0, rows) if rows % world.size() else world.share(rows)

    def _uniform_of(self, number: int, view: int) -> Tensor:
        return uniform(self.size, generator(self.plan.seed, "partition", self.epoch, number, view))


def everything(plan: ViewPlan, split: Split, device: torch.device, *, epoch: int) -> Iterator[Batch]:
    """The batches of `Everything`."""
    with Everything(plan, split, device, epoch=epoch) as views:
        for number in range(-(-len(split) // views.size)):
            yield views.batch(number)
