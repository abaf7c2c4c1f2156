"""Randomness as a function of (seed, stream, step).

No generator state is ever saved: whoever knows the three numbers knows the draw. So a resumed run is the same run,
and two arms of a comparison see the same images, orders and augmentations.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Stream = Literal["init", "split", "order", "augment", "noise", "partition"]


def derived_seed(seed: int, stream: Stream, *steps: int | str) -> int:
    """A 63-bit seed for the given place; different places give unrelated seeds."""
    place = "/".join(map(str, (seed, stream, *steps)))
    return int.from_bytes(hashlib.sha256(place.encode()).digest()[:8], "big") >> 1


def generator(seed: int, stream: Stream, *steps: int | str) -> torch.Generator:
    """A fresh CPU generator for the given place. Draw on the CPU, then move: so the device does not matter."""
    return torch.Generator().manual_seed(derived_seed(seed, stream, *steps))


@contextmanager
def initialisation(seed: int, part: str) -> Iterator[None]:
    """Layers built inside get their initial weights from (seed, "init", part); the global generator is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "init", part))
        yield
