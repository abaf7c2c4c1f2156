"""What a pretraining keeps, so that a kill costs little.

A checkpoint has one of two forms: an `Unfinished` training goes on, a `Finished` one needs but its result. Either is a
dictionary of numbers and tensors in a sealed file, and says whose it is.
"""

import hashlib
import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from sem_bench.base import interrupts
from sem_bench.base.files import write_atomic
from sem_bench.base.seals import DamagedError, open_sealed, sealed
from sem_bench.errors import described
from sem_bench.method import Method
from sem_bench.training.health import Health
from sem_bench.training.late import Late

SAVING_SHARE = 0.05  # a checkpoint is written when the time since the last one makes it cost no more than this


class LogRow(NamedTuple):
    """An epoch, as log.csv tells it: the columns in their order."""

    epoch: int  # from 1
    loss: float  # mean over the steps
    lr: float  # of the last step
    seconds: float
    images_per_second: float
    augmentation_share: float  # of the seconds, that went into views or into waiting for them
    feature_std: float
    effective_rank: float
    simplex_entropy: float | None

    @property
    def health(self) -> Health:
        """That after the epoch."""
        return Health(self.feature_std, self.effective_rank, self.simplex_entropy)


@dataclass
class TrainingState:
    """What must survive a kill; all of it is in the checkpoint."""

    method: Method
    optimizer: torch.optim.Optimizer
    data: str  # fingerprint of the training images
    job: str = ""  # digest
    step: int = 0
    seconds: float = 0.0  # spent on the steps so far, by all processes that worked on it
    epoch_began: float = 0.0  # what `seconds` was then
    augmenting: float = 0.0  # seconds of the current epoch that went into its views, or into waiting for them
    losses: list[float] = field(default_factory=list)  # of the current epoch, as far as they were looked at
    log: list[LogRow] = field(default_factory=list)
    coming: deque[tuple[str, Late]] = field(default_factory=deque)  # the other losses, and where in the training

    def note(self, losses: Tensor, where: str) -> None:
        """The losses of a step's batches, to be looked at later."""
        self.coming.append((where, Late(losses)))

    def look(self, *, behind: int = 0) -> None:
        """Look at all losses but the last `behind`. Raises FloatingPointError where one is not finite."""
        while len(self.coming) > behind:
            where, late = self.coming[0]  # a loss that is not finite stays: nobody may save beyond it
            batches = late.read()
            loss = math.fsum(batches) / len(batches)
            if not math.isfinite(loss):
                before = f"; it was {self.losses[-1]:.3g} in the step before" if self.losses else ""
                raise FloatingPointError(f"the loss is {loss} in {where}{before}")
            self.losses.append(loss)
            self.coming.popleft()

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically. Raises FloatingPointError where a loss is not finite, and writes none."""
        self.look()
        state = {
            "data": self.data,
            "job": self.job,
            "step": self.step,
            "seconds": self.seconds,
            "epoch_began": self.epoch_began,
            "augmenting": self.augmenting,
            "losses": self.losses,
            "log": [list(row) for row in self.log],
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_atomic(path, sealed(lambda file: torch.save(state, file)))

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `save` wrote."""
        self.step, self.losses, self.log = state["step"], state["losses"], _rows(state["log"])
        self.seconds, self.epoch_began, self.augmenting = (
            state[name] for name in ("seconds", "epoch_began", "augmenting")
        )
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])

    def resume(self, state: dict[str, Any], path: Path, total: int) -> None:
        """Likewise, with what `path` holds, of `total` steps. Raises DamagedError where it does not fit."""
        try:
            self.restore(state)
            fits = 0 <= self.step <= total
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # other names, shapes or types
            raise DamagedError(path, f"does not fit this training ({described(error)})") from error
        if not fits:
            raise DamagedError(path, f"at step {self.step} of {total}")


@dataclass(frozen=True)
class Unfinished:
    """A checkpoint amid the training, for `TrainingState.restore`."""

    state: dict[str, Any]


@dataclass(frozen=True)
class Finished:
    """A training with all its steps: the encoder, and what its result is made of."""

    data: str  # fingerprint of the training images
    step: int
    seconds: float
    log: list[LogRow]
    health: Health  # before training; that of each epoch is in the log
    parameters: int  # that were trained
    notes: list[str]
    imported: Health | None  # of an external encoder, with its weights
    encoder: dict[str, Any]  # its state
    job: str = ""  # digest

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        state = {one.name: getattr(self, one.name) for one in fields(self)}
        state |= {"log": [list(row) for row in self.log], "health": asdict(self.health)}
        state["imported"] = None if self.imported is None else asdict(self.imported)
        write_atomic(path, sealed(lambda file: torch.save(state, file)))

    @classmethod
    def read(cls, state: dict[str, Any]) -> Self:
        """From what `save` wrote, now or before there were notes and imported weights."""
        imported = state.get("imported")
        own = {"log": _rows(state["log"]), "health": Health(**state["health"]), "notes": state.get("notes", [])}
        return cls(**state | own | {"imported": Health(**imported) if imported else None})

    @property
    def end(self) -> Health:
        """The health of the encoder as it is now."""
        return self.log[-1].health if self.log else self.imported or self.health


def _rows(log: list[list[Any]]) -> list[LogRow]:
    return [LogRow(*row) for row in log]


@dataclass
class Saver:
    """Writes checkpoints as often as they stay cheap."""

    path: Path
    cost: float = 0.0
    last: float = field(default_factory=time.perf_counter)

    def __call__(self, state: TrainingState) -> None:
        """Write one, if it is time."""
        now = time.perf_counter()
        if now - self.last >= self.cost / SAVING_SHARE:
            state.save(self.path)
            self.last = time.perf_counter()
            self.cost = max(self.last - now, 0.05)  # at least a second between two

    @contextmanager
    def at_a_signal(self, state: TrainingState) -> Iterator[None]:
        """A step, done as a whole: a signal waits for its end, and a checkpoint is written. A second does not wait."""
        with interrupts.postponed():
            yield
            if interrupts.asked():
                state.save(self.path)


def bits_of(encoder: dict[str, Tensor]) -> str:
    """SHA-256 of an encoder's state: the same where what others read of it has the same bits."""
    seen = hashlib.sha256()
    for name in sorted(encoder):
        value = encoder[name].detach().cpu().contiguous()
        seen.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        seen.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return seen.hexdigest()


def load(checkpoint: Path, data: str, device: torch.device, job: str = "") -> Finished | Unfinished | None:
    """A checkpoint of a job on these data; None where there is none, or the images have changed since.

    Raises DamagedError where it is not what was written, of another job, or without a seal, as of an earlier version.
    """
    if not checkpoint.exists():
        return None
    with open_sealed(checkpoint) as file:
        try:
            state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
            if not isinstance(state, dict) or state.get("job") != job:
                raise DamagedError(checkpoint, "of another job")
            if state.get("data") != data:
                return None
            if "method" in state:
                return Unfinished(state)
            return Finished.read(state)
        except (torch.OutOfMemoryError, MemoryError, DamagedError):
            raise
        except Exception as error:  # whatever a state of another version makes of it
            raise DamagedError(checkpoint, f"not as this version writes it ({described(error)})") from error
