"""Frozen features: what every evaluation reads.

The online encoder in eval mode, float32, no augmentation. The backbone's h is computed once a data split and cached; z
and SEM are recomputed from it where they are needed: 65,000 numbers an image are better not stored. An h that does not
fit into `--memory` is cached as float16, and only the parts of the file in use are in memory.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sem_bench.base import world
from sem_bench.base.digest import digest
from sem_bench.base.files import read_json, stamp, write_atomic
from sem_bench.base.limits import CHUNK
from sem_bench.base.locks import Lock
from sem_bench.base.seals import DamagedError, open_sealed, sealed
from sem_bench.data.described import Data, LabelledData
from sem_bench.data.several_labels import occurring
from sem_bench.data.split import Split
from sem_bench.encoder import Encoder
from sem_bench.nets.frozen import backbone_features
from sem_bench.training.pretrained import load_encoder
from sem_bench.workspace import Workspace

ROUNDING = 1e-6  # relative to their norm, by which features that are all alike may differ
_MADE: set[Path] = set()  # by this process: good enough for `--rerun all`
_CHECKED: dict[Path, tuple[int, int, int]] = {}  # files whose seal this process has seen whole, as they were then


@dataclass(frozen=True)
class Representation:
    """A representation of images: the backbone's h, or what the embedding makes of it at a temperature."""

    name: str  # "h", "z", "sem"
    tau_d: float | None  # None: it has no temperature
    of: Callable[[Tensor], Tensor]  # from h (n, d), of any precision, to float32 (n, width), unscaled

    def scale(self, h: Tensor) -> float:
        """1 / the RMS norm over the rows of h (n, d), centred; 1 where they are all alike, but for rounding.

        Centred, since a classifier's bias is free: what all images share would only move the scale of the penalty. In
        one pass, relative to the first row, so that a large mean costs no digits. Several devices share the rows.
        """
        first = self.of(h[:1])
        total, squares = torch.zeros_like(first[0], dtype=torch.float64), 0.0
        for part in h[world.share(len(h))].split(CHUNK):
            moved = self.of(part) - first
            total += moved.sum(0, dtype=torch.float64)
            squares += float(torch.linalg.vector_norm(moved, dtype=torch.float64)) ** 2
        mean = world.total(total) / len(h)
        spread = float(world.total(torch.tensor(squares, dtype=torch.float64))) / len(h) - float(mean.square().sum())
        whole = spread + float((first[0] + mean).square().sum())
        return spread**-0.5 if spread > ROUNDING**2 * whole else 1.0

    def length_scale(self, h: Tensor) -> float:
        """1 / the RMS norm over the rows of h (n, d), not centred: for SGD, whose steps the mean limits, too."""
        total = math.fsum(float(self.of(part).double().square().sum()) for part in h.split(CHUNK))
        return (len(h) / total) ** 0.5 if total > 0 else 1.0


def representation(encoder: Encoder, name: str, tau_d: float | None) -> Representation:
    """The representation of a name that an encoder gives: "h" is the backbone's, any other its embedding's."""
    if name == "h":
        return Representation("h", None, Tensor.float)
    embedding = encoder.embedding
    if name != embedding.representation:
        raise ValueError(f"the encoder gives h and {embedding.representation}, not {name}")
    return Representation(name, tau_d, lambda h: embedding(h.float(), tau_d))


@dataclass(frozen=True)
class Features:
    """The features of a pretrained encoder on one labelled data set."""

    encoder: Encoder
    train: Split
    test: Split
    h_train: Tensor  # (N, d) on the device; float16 where it is too large for the memory
    h_test: Tensor
    val: Split | None = None  # where candidates are judged on a split of their own
    h_val: Tensor | None = None

    @cached_property
    def notes(self) -> list[str]:
        """What a row says of the data: classes that the test images lack."""
        absent = occurring(self.train.labels.numpy()) - occurring(self.test.labels.numpy())
        return [f"{len(absent)} of the classes without a test image"] if absent else []

    @cached_property
    def h(self) -> Representation:
        """The backbone's feature."""
        return representation(self.encoder, "h", None)

    def output(self, tau_d: float | None) -> Representation:
        """The embedding's output, at a temperature where it has one."""
        return representation(self.encoder, self.encoder.embedding.representation, tau_d)

    @property
    def z(self) -> Representation:
        """What stands before the embedding's nonlinearity."""
        embedding = self.encoder.embedding
        return Representation("z", None, lambda h: embedding.raw(h.float()))

    def representations(self, tau: float | None) -> list[Representation]:
        """h, and what the arm's embedding makes of it, at `tau` where it has a temperature."""
        return [self.h, self.output(tau)] if self.encoder.embedding.representation != "h" else [self.h]


def load(labelled: LabelledData, workspace: Workspace) -> Features:
    """The features of the workspace's "pretrain" input, from the cache or computed."""
    encoder = pretrained(workspace)
    splits = workspace.load_all(labelled)
    h = {name: of_split(encoder, labelled, split, workspace, name=name) for name, split in splits.items()}
    return Features(encoder, splits["train"], splits["test"], h["train"], h["test"], splits.get("val"), h.get("val"))


def of_train(data: Data, workspace: Workspace) -> tuple[Encoder, Tensor]:
    """The same encoder, and h (N, d) of the training images alone, for what reads no labels."""
    encoder, splits = pretrained(workspace), workspace.load_all(data)
    return encoder, of_split(encoder, data, splits["train"], workspace, name="train")


def pretrained(workspace: Workspace) -> Encoder:
    """The encoder of the workspace's "pretrain" input."""
    return load_encoder(workspace.inputs["pretrain"], workspace.device, workspace.parts)


def of_split(encoder: Encoder, described: Data, split: Split, workspace: Workspace, *, name: str) -> Tensor:
    """h (N, d) of one split, from the cache or computed; `name` is for whoever looks into the cache."""
    return _cached(encoder, described, split, _cache_file(described, workspace, name, split), workspace)


def _cache_file(labelled: Data, workspace: Workspace, name: str, split: Split) -> Path:
    result = read_json(workspace.inputs["pretrain"] / "result.json")
    device = workspace.device.type  # devices round differently
    seen = [split.fingerprint, labelled.normalise.model_dump(), labelled.image_size, labelled.resize, labelled.reduce]
    made = result.get("bits") or result["provenance"]["when"]  # those of another run may be others
    key = digest([result["digest"], made, seen, device])
    return workspace.cache / "features" / f"{result['digest'][:12]}-{name}-{key[:12]}.npy"


def _cached(encoder: Encoder, labelled: Data, split: Split, file: Path, workspace: Workspace) -> Tensor:
    """Of several devices the first decides and writes; all compute."""
    found = _known(file, split, workspace)
    if not world.as_first(found is not None):
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file.with_suffix(".lock")):  # of several jobs that need them one computes them
            found = _known(file, split, workspace)
            if not world.as_first(found is not None):
                images = split.prepared(world.rank(), world.size())
                own = backbone_features(encoder, labelled, images, workspace.device)
                parts = world.dealt(own, [len(chunk) for chunk in split.chunks])
                if world.rank() == 0:
                    write = partial(_write, parts=parts, rows=len(split), memory=workspace.memory)
                    write_atomic(file, sealed(write, file.name))
                    _MADE.add(file)
                    _CHECKED[file] = stamp(file)
                for _ in parts:  # the others send theirs
                    pass
                world.as_first(True)  # the file is there
    if found is None:
        found = _opened(file, len(split), workspace.memory)
    return torch.from_numpy(found).to(workspace.device)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock. The first process takes it; the others hear from it, however long it has to wait."""
    lock = Lock(path)
    while not world.as_first(world.rank() == 0 and lock.take()):
        time.sleep(0.03)
    try:
        yield
    finally:
        lock.release()


def _known(file: Path, split: Split, workspace: Workspace) -> npt.NDArray[np.floating] | None:
    """Features that are in the cache, and may be used."""
    if workspace.afresh and file not in _MADE:
        return None
    try:
        return _opened(file, len(split), workspace.memory)
    except DamagedError as error:
        if file.exists():
            workspace.distrust(file, error.why)
        return None
    except (OSError, ValueError, EOFError):
        return None


def _precision(rows: int, width: int, memory: int) -> type[np.float32 | np.float16]:
    """How that many features are kept: whole in memory, or in a file."""
    return np.float32 if 4 * rows * width <= memory else np.float16


def _opened(file: Path, rows: int, memory: int) -> npt.NDArray[np.floating]:
    """Features in a file: those in float16 stay there, and are read as they are used. A process sums a file once."""
    if _CHECKED.get(file) != (now := stamp(file)):
        open_sealed(file, file.name).close()  # its name says which network and data it is of
        _CHECKED[file] = now
    h: npt.NDArray[np.floating] = np.load(file, mmap_mode="c")
    if h.ndim != 2 or len(h) != rows or h.dtype != _precision(rows, h.shape[1], memory):
        raise ValueError("not these features")
    return h if h.dtype == np.float16 else np.array(h)


def _write(out: BinaryIO, parts: Iterator[Tensor], rows: int, memory: int) -> None:
    """Write an .npy part by part."""
    first = next(parts)
    precision = _precision(rows, first.shape[1], memory)
    header = {"shape": (rows, first.shape[1]), "fortran_order": False, "descr": np.dtype(precision).str}
    np.lib.format.write_array_header_1_0(out, header)
    for part in chain([first], parts):
        with np.errstate(over="ignore"):  # said below
            kept = part.cpu().numpy().astype(precision)
        if precision is np.float16 and np.isinf(kept).any():
            raise ValueError("features above 65,504, which float16 cannot hold; give it more --memory")
        out.write(kept.tobytes())
