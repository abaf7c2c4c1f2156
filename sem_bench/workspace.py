"""What a stage gets beside its own configuration: where to read, where to write, which device, whom to tell."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from sem_bench.base.limits import MEMORY
from sem_bench.config.fields import SplitName
from sem_bench.data.dataset import Place
from sem_bench.data.described import Data
from sem_bench.data.loading import load, load_all
from sem_bench.data.split import Split
from sem_bench.nets.encoder_parts import EncoderParts


class PrunedError(Exception):
    """A pretraining is ended early, for it does worse than others; its checkpoint stays."""


@dataclass(frozen=True)
class Monitor:
    """Who looks at a pretraining after every epoch but the last. Nothing of it enters a digest or the weights.

    What is measured is named, "module:function", so that another process can do it: called with the encoder, a sample
    of its training images (N, 3, S, S), their labels (N,) and the effective rank of h, it returns a figure. Who decides
    may stay where the other trials are known: `hopeless(epoch, figure)` says whether to end the training.
    """

    measure: str
    hopeless: Callable[[int, float], bool]


@dataclass
class Seen:
    """What a stage notes beside its metrics, for the provenance of its result."""

    data: dict[SplitName, str] = field(default_factory=dict)  # split -> fingerprint of what the stage read
    images: dict[SplitName, str] = field(default_factory=dict)  # split -> "in memory" or "streamed"
    speed: dict[str, float] = field(default_factory=dict)  # of a pretraining
    earlier: float = 0.0  # seconds spent before this process took over
    compiled: bool = False  # by torch, the backbone of a pretraining
    bits: str = ""  # a digest of what other jobs build on; "": of the stage's outputs

    def split(self, name: SplitName, images: Split) -> None:
        """A split was read."""
        self.data[name] = images.fingerprint
        self.images[name] = "streamed" if images.images is None else "in memory"


@dataclass(frozen=True)
class Workspace:
    """A stage reads `inputs`, writes into `folder` and never looks elsewhere.

    `distrust(file, why)` sets aside a file in `folder` that an earlier try left and that cannot be believed.
    """

    folder: Path
    inputs: dict[str, Path]  # role -> folder of the finished job
    method_code: Path
    place: Place  # of the data set
    parts: EncoderParts  # what the encoder is built of
    cache: Path
    device: torch.device
    weights: Path | None = None  # of an external encoder
    memory: int = MEMORY  # bytes of images that may stay in memory, for each split
    workers: int = 1  # threads that read images
    compiled: bool = False  # whether torch compiles the backbone of a long pretraining
    afresh: bool = False  # trust no cache
    progress: Callable[[int, int, str], None] = field(default=lambda done, total, note: None)
    distrust: Callable[[Path, str], None] = field(default=lambda path, why: path.unlink(missing_ok=True))
    monitor: Monitor | None = None  # of a pretraining
    log: Callable[[Sequence[Mapping[str, float]]], None] = field(
        default=lambda epochs: None
    )  # likewise: who draws curves
    digest: str = ""  # of the job
    seen: Seen = field(default_factory=Seen)

    def load(self, described: Data, split: SplitName) -> Split:
        """A split of the job's data set; its fingerprint is remembered, and whether it is in memory."""
        found = load(described, split, self.place, memory=self.memory, workers=self.workers)
        self.seen.split(split, found)
        return found

    def load_all(self, described: Data) -> dict[SplitName, Split]:
        """All its splits."""
        found = load_all(described, self.place, memory=self.memory, workers=self.workers)
        for split, images in found.items():
            self.seen.split(split, images)
        return found
