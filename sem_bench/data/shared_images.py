"""Images in memory, once for all worker processes of a run: a file that each of them maps.

The folder lives as long as the run, so no change of the data can be missed.
"""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sem_bench.base.files import write_atomic
from sem_bench.base.locks import Lock

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 16 * 2**20  # bytes of images below which a file gains nothing

_folder: Path | None = None


class SharedFolder:
    """The folder of a run, below a cache."""

    def __init__(self, cache: Path) -> None:
        self.path = cache / "shared" / uuid.uuid4().hex
        self._life = _life(self.path)

    def make(self) -> None:
        """Before its first use. What killed runs left beside it is cleared away."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._life.acquire()
        self.path.mkdir()
        for other in self.path.parent.iterdir():
            if other.is_dir() and other != self.path and (lock := _life(other)).take():
                shutil.rmtree(other, ignore_errors=True)
                lock.release()

    def remove(self) -> None:
        """Nobody needs it any more; processes that have its files in use keep what they see."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._life.release()


def _life(path: Path) -> Lock:
    return Lock(path.with_suffix(".lock"))


def share_in(folder: Path | None) -> None:
    """From now on this process shares what is large."""
    global _folder
    _folder = folder


def shared(key: str, size: int, make: Callable[[], "Tensor | None"]) -> "Tensor | None":
    """The images of a key, of `size` bytes, made by the first process that needs them; None where `make` gives none."""
    if _folder is None or size < LEAST or not _folder.is_dir():
        return make()
    import numpy as np
    import torch

    file = _folder / f"{key[:32]}.npy"
    with Lock(file.with_suffix(".lock")):
        if not file.exists():
            images = make()
            if images is None:
                return None
            try:
                write_atomic(file, lambda out: np.save(out, images.numpy()))
            except OSError:  # no room for a file, but for the images
                return images
            del images
    return torch.from_numpy(np.load(file, mmap_mode="c"))
