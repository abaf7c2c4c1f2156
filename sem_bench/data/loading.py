"""Data sets for whoever trains or evaluates: in memory where they fit, else read image by image."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sem_bench.base.digest import digest
from sem_bench.base.files import shown
from sem_bench.base.limits import MEMORY
from sem_bench.config.fields import SplitName, resolved
from sem_bench.data import corruptions
from sem_bench.data.dataset import Place
from sem_bench.data.described import Data, ShiftedData
from sem_bench.data.images import as_tensor, central
from sem_bench.data.readers import open_split
from sem_bench.data.readers.opened import Labels, Opened
from sem_bench.data.sources import CorruptedSource, Corruption
from sem_bench.data.split import Split, reader
from sem_bench.data.threads import ordered, pieces
from sem_bench.errors import UserError


def load_all(data: Data, place: Place, *, memory: int = MEMORY, workers: int = 1) -> dict[SplitName, Split]:
    """All splits that are read. Raises UserError also where train and test are the same images."""
    found = {name: load(data, name, place, memory=memory, workers=workers) for name in data.counts}
    if len({split.fingerprint for split in found.values()}) < len(found):
        raise UserError(f"{shown(place.card)}: train and test are the same images")
    return found


def load(data: Data, split: SplitName, place: Place, *, memory: int = MEMORY, workers: int = 1) -> Split:
    """A split of a data set. Raises UserError where it is not what the card says."""
    files = [[str(path), *_changes(path)] for path in (place.code, *place.needs)]
    key = digest([resolved(data), split, files, memory, workers])
    return _load(_Request(key, data, split, place, memory, workers))


def corrupted(
    data: ShiftedData, place: Place, *, name: str, severity: int, memory: int = MEMORY, workers: int = 1
) -> Split:
    """The test images of a corrupted data set under one corruption at one severity.

    Where they are not published, its base's as evaluation sees them, corrupted when they are read.
    """
    source = data.source
    if not isinstance(source, CorruptedSource):
        return load(_one_kind(data, (name, severity)), "test", place, memory=memory, workers=workers)
    assert place.base is not None
    described = place.base[0].model_copy(update={"test_limit": data.test_limit})
    base = load(described, "test", place.base[1], memory=memory, workers=workers)

    def read(row: int) -> Image.Image:
        clean = np.asarray(central(base.read(row), resize=base.resize, size=base.image_size))
        return Image.fromarray(apply(clean[None], name=name, severity=severity, first=row)[0])

    apply = corruptions.corrupt if source.using == "sem_bench" else corruptions.published
    by = [] if source.using == "sem_bench" else [source.using]
    seen = [base.fingerprint, base.resize, described.reduce, data.image_size]
    fingerprint = digest([*seen, name, severity, *by])
    return replace(base, fingerprint=fingerprint, resize=data.image_size, images=None, read=read)


def _one_kind(data: ShiftedData, kind: Corruption) -> ShiftedData:
    """A published corrupted set, reduced to one corruption at one severity."""
    source = data.source.model_copy(update={"corruptions": [kind[0]], "severities": [kind[1]]})
    return data.model_copy(update={"source": source})


def all_corrupted(data: ShiftedData, place: Place, *, memory: int = MEMORY, workers: int = 1) -> Iterator[Split]:
    """The images under every corruption at every severity, in this order; kept for the next encoder where they fit."""
    kinds = data.source.kinds
    fits = len(kinds) * data.used("test") * 3 * data.image_size**2 <= memory
    for name, severity in kinds:
        split = corrupted(data, place, name=name, severity=severity, memory=memory, workers=workers)
        if fits:
            if split.fingerprint not in _CORRUPTED:
                _CORRUPTED[split.fingerprint] = torch.cat(list(split.prepared()))
            images = _CORRUPTED[split.fingerprint]
            split = replace(split, images=images, read=reader(images), resize=data.image_size)
        yield split


_CORRUPTED: dict[str, Tensor] = {}  # fingerprint -> uint8 images, for this process


def _changes(path: Path) -> list[int]:
    """What an edit of a file would change."""
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else []


@dataclass(frozen=True)
class _Request:
    """What is loaded; equal requests have equal keys."""

    key: str
    data: Data = field(compare=False)
    split: SplitName = field(compare=False)
    place: Place = field(compare=False)
    memory: int = field(compare=False)
    workers: int = field(compare=False)


@lru_cache(maxsize=4)
def _load(request: _Request) -> Split:
    data, split = request.data, request.split
    if data.source.type == "corrupted":  # as a whole it is known by its base and by what is done to it
        assert request.place.base is not None
        base = load(
            request.place.base[0], "test", request.place.base[1], memory=request.memory, workers=request.workers
        )
        return replace(base, fingerprint=digest([base.fingerprint, resolved(data.source)]))
    if isinstance(data, ShiftedData) and len(data.source.kinds) > 1:
        parts = [_one_kind(data, kind) for kind in data.source.kinds]
        fingerprint = digest([open_split(part, split, request.place).fingerprint for part in parts])
        first = load(parts[0], split, request.place, memory=request.memory, workers=request.workers)
        return replace(first, fingerprint=fingerprint)
    opened = open_split(data, split, request.place)
    rows = chosen(opened, data.used(split))
    read = partial(_read, opened, rows, data.reduce)
    labels = np.full(len(rows), -1) if opened.labels is None else opened.labels[rows]
    size = data.image_size
    names = None if opened.names is None else [opened.names[row] for row in rows]
    found = Split(torch.from_numpy(labels), "", size, data.resize or size, None, read, request.workers, names)
    images = _all_images(opened, rows, found, data.reduce, request.memory)
    if images is not None:
        found = replace(found, images=images, read=reader(images))
    if opened.fingerprint is None:
        fingerprint = _content(map(found.read, range(len(rows))), labels)
    else:
        whole = len(rows) == opened.count
        fingerprint = opened.fingerprint if whole else digest([opened.fingerprint, len(rows)])
    return replace(found, fingerprint=fingerprint)


def _read(opened: Opened, rows: Labels, reduce: int | None, row: int) -> Image.Image:
    image = opened.read(int(rows[row]))
    return image if reduce is None else central(image, resize=reduce, size=reduce)


def chosen(opened: Opened, count: int) -> Labels:
    """Sorted rows: `count` of them, of each class in proportion but at least one, the same for all seeds.

    A larger choice holds a smaller one: rows are ranked at random inside their class, and ranks compared as shares.
    """
    if count >= opened.count:
        return np.arange(opened.count)
    labels = np.zeros(opened.count, np.int64) if opened.labels is None else opened.labels
    order = np.random.default_rng(0).permutation(opened.count)
    order = order[np.argsort(labels[order], kind="stable")]  # class by class
    _, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    share = np.empty(opened.count)
    share[order] = (np.arange(opened.count) - first.repeat(counts) + 0.5) / counts.repeat(counts)
    share[order[first]] = 0.0
    return np.sort(np.argsort(share, kind="stable")[:count])


def _all_images(opened: Opened, rows: Labels, found: Split, reduce: int | None, memory: int) -> Tensor | None:
    """uint8 (N, 3, H, W) if all images have one size and fit into the memory; else None."""
    if opened.arrays is not None and reduce is None:
        fits = math.prod(opened.arrays.shape[1:]) * len(rows) <= memory
        return torch.from_numpy(np.ascontiguousarray(opened.arrays[rows].transpose(0, 3, 1, 2))) if fits else None
    first = found.read(0)
    if len(rows) * first.width * first.height * 3 > memory:
        return None
    images = torch.empty(len(rows), 3, first.height, first.width, dtype=torch.uint8)

    def fill(part: Sequence[int]) -> bool:
        for row in part:
            image = found.read(row)
            if image.size != first.size:
                return False
            images[row] = as_tensor([image])[0]
        return True

    for whole in ordered(fill, pieces(range(len(rows))), workers=found.workers):
        if not whole:
            return None
    return images


def _content(images: Iterable[Image.Image], labels: Labels) -> str:
    """The fingerprint of what has no files of its own: all its pixels, whether they fit into memory or not."""
    content = hashlib.sha256()
    for image in images:
        content.update(image.tobytes())
    content.update(np.ascontiguousarray(labels, dtype=np.int64).tobytes())
    return content.hexdigest()
