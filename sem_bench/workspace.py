"""What a stage gets beside its own configuration: where to read, where to write, which device, whom to tell."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from sem_bench import config
from sem_bench.config import SplitName
from sem_bench.data import MEMORY, Split, load, load_all
from sem_bench.dataset import Place
from sem_bench.errors import UserError


class PrunedError(Exception):
    """A pretraining is ended early, for it does worse than others; its checkpoint stays."""


@dataclass(frozen=True)
class Monitor:
    """Who looks at a pretraining after every epoch but the last. Nothing of it enters a digest or the weights."""

    measure: Literal["knn", "rankme"]  # on the sample of training images on which its health is measured
    hopeless: Callable[[int, float], bool]  # (epoch, figure) -> whether to end it


@dataclass(frozen=True)
class Workspace:
    """A stage reads `inputs`, writes into `folder` and never looks elsewhere."""

    folder: Path
    inputs: dict[str, Path]  # role -> folder of the finished job
    method_code: Path
    place: Place  # of the data set
    cache: Path
    device: torch.device
    weights: Path | None = None  # of an external encoder
    memory: int = MEMORY  # bytes of images that may stay in memory, for each split
    workers: int = 1  # threads that read images
    afresh: bool = False  # trust no cache
    progress: Callable[[int, int, str], None] = field(default=lambda done, total, note: None)
    monitor: Monitor | None = None  # of a pretraining
    data: dict[SplitName, str] = field(default_factory=dict)  # split -> fingerprint of what the stage read
    earlier: dict[str, float] = field(default_factory=dict)  # "seconds" spent before this process took over
    images: dict[SplitName, str] = field(default_factory=dict)  # split -> "in memory" or "streamed"
    speed: dict[str, float] = field(default_factory=dict)  # of a pretraining

    def load(self, described: config.Data, split: SplitName) -> Split:
        """A split of the job's data set; its fingerprint is remembered, and whether it is in memory."""
        found = load(described, split, self.place, memory=self.memory, workers=self.workers)
        self._remember(split, found)
        return found

    def load_all(self, described: config.Data) -> dict[SplitName, Split]:
        """All its splits."""
        found = load_all(described, self.place, memory=self.memory, workers=self.workers)
        for split, images in found.items():
            self._remember(split, images)
        return found

    def _remember(self, split: SplitName, images: Split) -> None:
        self.data[split] = images.fingerprint
        self.images[split] = "streamed" if images.images is None else "in memory"


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" takes a GPU where there is one. Raises UserError for "cuda" without one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here")
    return torch.device(name)


def precision(device: torch.device) -> str:
    """What to compute in: "bf16" where the hardware multiplies bfloat16 faster than float32, else "fp32"."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("amx_bf16") or able.get("avx512_bf16") else "fp32"
