"""What every kind of source gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from sem_bench.errors import one_line

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Opened:
    """A split, opened: nothing of its pixels is read before it is asked for, unless the source gives arrays."""

    where: str  # for messages
    count: int
    labels: Labels | None  # (N,), or (N, C) of 0 and 1 where an image may have several
    read: Callable[[int], Image.Image]  # the image of a row, RGB; safe in threads
    arrays: Pixels | None = None  # (N, H, W, 3) where the source gives all at once
    fingerprint: str | None = None  # of the files; None: of the content
    names: Sequence[str] | None = None  # of the files, where a folder or a table is read
    aside: str = ""  # what is there and not read, in words


def said(error: BaseException) -> str:
    """What an error says, on one line; its type where it says nothing."""
    return one_line(error) or type(error).__name__
