"""The images of a split, in memory or read one by one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from sem_bench.base.limits import CHUNK
from sem_bench.data.images import as_tensor, central
from sem_bench.data.threads import ordered, pieces


@dataclass(frozen=True)
class Split:
    """The images of a split that are used, in a fixed order."""

    labels: Tensor  # int64 (N,), -1 where there are none; (N, C) of 0 and 1 where an image may have several
    fingerprint: str
    image_size: int
    resize: int
    images: Tensor | None  # uint8 (N, 3, H, W) where all are in memory
    read: Callable[[int], Image.Image]  # one image, RGB; safe in threads
    workers: int = 1
    names: Sequence[str] | None = None  # of the files, where a folder is read below that of the split
    aside: str = ""  # what is there and not read, in words

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def chunks(self) -> list[range]:
        """The rows that evaluation looks at together."""
        return [range(start, min(start + CHUNK, len(self))) for start in range(0, len(self), CHUNK)]

    def prepared(self, first: int = 0, step: int = 1) -> Iterator[Tensor]:
        """What evaluation sees: uint8 (n, 3, S, S), a chunk at a time; from the `first` on every `step`-th."""
        size, rows = self.image_size, self.chunks[first::step]
        if self.images is not None and self.images.shape[2:] == (size, size) and self.resize == size:
            yield from (self.images[chunk.start : chunk.stop] for chunk in rows)
            return
        parts = ordered(self._prepare, [part for chunk in rows for part in pieces(chunk)], workers=self.workers)
        for chunk in rows:
            yield torch.cat([next(parts) for _ in pieces(chunk)])

    def spread(self, count: int) -> list[int]:
        """`count` rows, or all, evenly spread over the split."""
        count = min(count, len(self))
        return [i * len(self) // count for i in range(count)]

    def sample(self, count: int) -> Tensor:
        """The images of `spread`, as evaluation sees them: uint8 (n, 3, S, S)."""
        return self._prepare(self.spread(count))

    def _prepare(self, rows: Sequence[int]) -> Tensor:
        return as_tensor([central(self.read(row), resize=self.resize, size=self.image_size) for row in rows])


def reader(images: Tensor) -> Callable[[int], Image.Image]:
    """Reads one of uint8 images (N, 3, H, W) in memory."""
    return lambda row: Image.fromarray(images[row].permute(1, 2, 0).numpy())
