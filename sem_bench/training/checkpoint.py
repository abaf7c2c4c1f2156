"""What a pretraining keeps, so that a kill costs little."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from sem_bench.base.files import write_atomic
from sem_bench.method import Method

SAVING_SHARE = 0.05  # a checkpoint is written when the time since the last one makes it cost no more than this


@dataclass
class TrainingState:
    """What must survive a kill; all of it is in the checkpoint."""

    method: Method
    optimizer: torch.optim.Optimizer
    data: str  # fingerprint of the training images
    step: int = 0
    seconds: float = 0.0  # spent on the steps so far, by all processes that worked on it
    epoch_began: float = 0.0  # what `seconds` was then
    augmenting: float = 0.0  # seconds of the current epoch that went into its views, or into waiting for them
    losses: list[float] = field(default_factory=list)  # of the current epoch
    log: list[list[float | None]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        state = {
            "data": self.data,
            "step": self.step,
            "seconds": self.seconds,
            "epoch_began": self.epoch_began,
            "augmenting": self.augmenting,
            "losses": self.losses,
            "log": self.log,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_atomic(path, lambda file: torch.save(state, file))

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `save` wrote."""
        self.step, self.losses, self.log = state["step"], state["losses"], state["log"]
        self.seconds, self.epoch_began, self.augmenting = (
            state[name] for name in ("seconds", "epoch_began", "augmenting")
        )
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])


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


def load(checkpoint: Path, data: str, device: torch.device) -> dict[str, Any] | None:
    """A checkpoint of these data; None where there is none, the images have changed since, or the file is damaged."""
    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError):
        return None
    return state if isinstance(state, dict) and state.get("data") == data else None
