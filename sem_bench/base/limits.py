"""What a process may take of the machine, and in which portions it works."""

from pathlib import Path
from typing import NamedTuple

MEMORY = 2 * 2**30  # bytes of uint8 pixels that a split may take, unless the user says otherwise
CHUNK = 1024  # images of an evaluation at a time, or their features
FLOAT = 4  # bytes of a float32


class Limits(NamedTuple):
    """What a process may take."""

    memory: int = MEMORY  # bytes of images of a split
    workers: int = 1  # threads that read images
    threads: int | None = None  # that compute, of a worker's own process; None: as torch has it
    share: Path | None = None  # where images lie that several processes use
    devices: int = 1  # of a pretraining, a process each
    precision: str = "auto"  # to train in: "fp32", "bf16", or what suits the device
    compiled: bool = False  # whether torch compiles the backbones of long trainings
    patience: float | None = None  # seconds without progress after which a job is ended; None: never
