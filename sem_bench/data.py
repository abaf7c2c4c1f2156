"""Data sets in memory: uint8 images and labels, checked against their card."""

import hashlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sem_bench import config
from sem_bench.cards import load_code
from sem_bench.config import SplitName
from sem_bench.errors import UserError
from sem_bench.files import shown


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, 3, S, S) and labels int64 (N,), with the SHA-256 of both."""

    images: Tensor
    labels: Tensor
    fingerprint: str


def load(data: config.TrainingData, split: SplitName, *, code: Path) -> Split:
    """A split of a data set; `code` is the card's .py. Raises UserError where it is not what the card says."""
    found = _load(
        code, data.code, split, data.counts[split], data.image_size, tuple(sorted(data.source.arguments.items()))
    )
    if isinstance(data, config.LabelledData):
        _check_classes(found.labels, data.classes, where=f"{shown(code)}: load({split!r})")
    return found


@lru_cache(maxsize=8)
def _load(
    code: Path, version: str, split: SplitName, count: int, size: int, arguments: tuple[tuple[str, config.Scalar], ...]
) -> Split:
    images, labels = _arrays(code, split, {"count": count, "image_size": size} | dict(arguments))
    where = f"{shown(code)}: load({split!r})"
    expected = f"images uint8 {(count, size, size, 3)}, integer labels {(count,)}"
    if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray):
        raise UserError(f"{where}: expected numpy arrays, {expected}")
    if images.dtype != np.uint8 or images.shape != (count, size, size, 3):
        raise UserError(f"{where}: images are {images.dtype} {images.shape}; expected {expected}")
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (count,):
        raise UserError(f"{where}: labels are {labels.dtype} {labels.shape}; expected {expected}")
    content = hashlib.sha256(np.ascontiguousarray(images).tobytes())
    content.update(np.ascontiguousarray(labels, dtype=np.int64).tobytes())
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return Split(pixels, torch.from_numpy(labels.astype(np.int64)), content.hexdigest())


def _arrays(code: Path, split: SplitName, arguments: Mapping[str, config.Scalar]) -> tuple[object, object]:
    """What the card's code gives. Its errors are the user's, so they come with its own line."""
    try:
        images, labels = load_code(code).load(split, **arguments)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if Path(frame.filename) == code), 1)
        raise UserError(f"{shown(code)}:{line}: load({split!r}): {type(error).__name__}: {error}") from error
    return images, labels


def _check_classes(labels: Tensor, classes: list[str], *, where: str) -> None:
    present = set(labels.tolist())
    strange = sorted(present - set(range(len(classes))))
    if strange:
        raise UserError(
            f"{where}: label {strange[0]}, but the card names {len(classes)} classes, 0 to {len(classes) - 1}"
        )
    absent = sorted(set(range(len(classes))) - present)
    if absent:
        raise UserError(f"{where}: no image of class {classes[absent[0]]!r}")
