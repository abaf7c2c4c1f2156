"""What a process may take of the machine."""

from dataclasses import dataclass

CHUNK = 1024  # images of an evaluation at a time, or features of images
MEMORY = 2 * 2**30  # bytes of uint8 pixels that a split may take, unless the user says otherwise


@dataclass(frozen=True)
class Limits:
    """What a process may take."""

    memory: int = MEMORY  # bytes of images of a split
    workers: int = 1  # threads that read images
