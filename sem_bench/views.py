"""What pretraining sees: for each step a batch of views, a function of the seed and the step's number alone.

Images in memory are augmented on the device, crop and all. Others are read and cropped by worker threads, a few pieces
of work ahead, and the device does the rest. Both ways draw the same random numbers for the same images.
"""

from collections.abc import Generator, Iterator
from functools import lru_cache
from types import SimpleNamespace
from typing import Self

import torch
from torch import Tensor

from sem_bench import config
from sem_bench.augment import BatchAugment, Parameters, uniform
from sem_bench.data import Split, as_tensor, ordered, pieces
from sem_bench.method import Batch
from sem_bench.randomness import generator

Piece = tuple[Tensor, Parameters]  # a view of a few images, cropped: uint8 (n, 3, S, S), and the rest to do


class Views:
    """The batches of steps `first` to `last` - 1, in order. A context: leaving it stops the workers."""

    def __init__(
        self, job: config.PretrainJob, split: Split, device: torch.device, *, first: int = 0, last: int
    ) -> None:
        self.job, self.split, self.device = job, split, device
        self.size = job.training.batch_size
        self.steps_per_epoch = len(split) // self.size
        self.labels = split.labels.to(device) if job.method.labels else None
        self.images = None if split.images is None else split.images.to(device)
        self.augment = [
            BatchAugment(
                SimpleNamespace(**view.model_dump() | {"size": view.size or job.data.image_size}),
                mean=job.data.normalise.mean,
                std=job.data.normalise.std,
            )
            for view in job.training.views
        ]
        # A few steps are in work at once, for each their random numbers are needed by several pieces.
        self._epoch_order = lru_cache(maxsize=2)(self._epoch_order_of)
        self._uniform = lru_cache(maxsize=64)(self._uniform_of)
        self._stream = self._cropped(first, last) if self.images is None else iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if close := getattr(self._stream, "close", None):
            close()

    def batch(self, step: int) -> Batch:
        """The views of a step, (B, 3, S, S) each."""
        indices = self.rows(step)
        if self.images is None:
            views = self._finished(next(self._stream))
            indices = indices.to(self.device)
        else:
            indices = indices.to(self.device)
            views = self._augmented(self.images[indices], step)
        labels = None if self.labels is None else self.labels[indices]
        return Batch([view.contiguous(memory_format=torch.channels_last) for view in views], indices, labels)

    def rows(self, step: int) -> Tensor:
        """Which images a step sees: each once an epoch, but for those left over at its end."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return self._epoch_order(epoch)[position * self.size : (position + 1) * self.size]

    def _epoch_order_of(self, epoch: int) -> Tensor:
        return torch.randperm(len(self.split), generator=generator(self.job.seed, "order", epoch))

    def _uniform_of(self, step: int, view: int) -> Tensor:
        return uniform(self.size, generator(self.job.seed, "augment", step, view))

    def _augmented(self, images: Tensor, step: int) -> Iterator[Tensor]:
        sides = torch.tensor(images.shape[2:]).expand(len(images), 2)
        for number, augment in enumerate(self.augment):
            yield augment(images, augment.parameters(self._uniform(step, number), sides))

    def _cropped(self, first: int, last: int) -> Generator[list[list[Piece]]]:
        """For each step its pieces, each with all its views."""
        parts = pieces(range(self.size))
        todo = ((step, part) for step in range(first, last) for part in parts)
        done = ordered(self._crop, todo, workers=self.split.workers)
        try:
            for _ in range(first, last):
                yield [next(done) for _ in parts]
        finally:
            done.close()

    def _crop(self, work: tuple[int, range]) -> list[Piece]:
        step, part = work
        images = [self.split.read(int(row)) for row in self.rows(step)[part.start : part.stop]]
        sides = torch.tensor([[image.height, image.width] for image in images])
        views = []
        for number, augment in enumerate(self.augment):
            parameters = augment.parameters(self._uniform(step, number)[part.start : part.stop], sides)
            crops = [augment.crop(image, parameters, row) for row, image in enumerate(images)]
            views.append((as_tensor(crops), parameters))
        return views

    def _finished(self, parts: list[list[Piece]]) -> Iterator[Tensor]:
        for augment, view in zip(self.augment, zip(*parts, strict=True), strict=True):
            images = torch.cat([crops for crops, _ in view]).to(self.device)
            parameters = Parameters(*(torch.cat(field) for field in zip(*(p for _, p in view), strict=True)))
            yield augment(images, parameters, cropped=True)
