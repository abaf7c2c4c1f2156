"""Data sets for whoever trains or evaluates: in memory where they fit, else read image by image."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sem_bench.base.bounded_cache import BoundedCache
from sem_bench.base.digest import digest
from sem_bench.base.files import shown
from sem_bench.base.limits import MEMORY
from sem_bench.config.fields import SplitName, resolved
from sem_bench.data.dataset import Place
from sem_bench.data.described import Data, ShiftedData
from sem_bench.data.images import as_tensor, central
from sem_bench.data.readers import open_split
from sem_bench.data.readers.opened import Labels, Opened, Pixels
from sem_bench.data.several_labels import strata
from sem_bench.data.shared_images import shared
from sem_bench.data.sources import Corruption
from sem_bench.data.split import Split, reader
from sem_bench.data.threads import ordered, pieces
from sem_bench.errors import UserError

D = TypeVar("D", bound=Data)


def load_all(data: Data, place: Place, *, memory: int = MEMORY, workers: int = 1) -> dict[SplitName, Split]:
    """All splits that are read. Raises UserError also where two of them are the same images."""
    found = {name: load(data, name, place, memory=memory, workers=workers) for name in data.counts}
    _check_apart({name: split.fingerprint for name, split in found.items()}, place)
    return found


def fingerprints(data: Data, place: Place, *, memory: int = MEMORY, workers: int = 1) -> dict[SplitName, str]:
    """The fingerprints of all splits that are read, as `load_all` gives them, errors alike.

    No pixels are read where the source knows its files; else the splits are loaded.
    """
    found = {name: _fingerprint(data, name, place, memory=memory, workers=workers) for name in data.counts}
    _check_apart(found, place)
    return found


def load(data: Data, split: SplitName, place: Place, *, memory: int = MEMORY, workers: int = 1) -> Split:
    """A split of a data set. Raises UserError where it is not what the card says.

    A corrupted set as a whole is known by its fingerprint; its images are those of its base, or of its first kind.
    """
    return _kept(data, split, place, None, memory=memory, workers=workers)


def _kept(data: Data, split: SplitName, place: Place, opened: Opened | None, *, memory: int, workers: int) -> Split:
    """A split, loaded once for as long as its files stay as they are; `opened` where the caller has done so."""
    key = digest([_asked(data, split, place), memory, workers])
    make = partial(_load, data, split, place, opened, memory=memory, workers=workers)
    return _LOADED.get(key, make, limit=SPLITS * memory)


def _asked(data: Data, split: SplitName, place: Place) -> list[Any]:
    """What is asked for, and the state of its files."""
    files = [[str(path), *_changes(path)] for path in (place.code, *place.needs)]
    return [resolved(data), split, files]


def corrupted(
    data: ShiftedData, place: Place, *, name: str, severity: int, memory: int = MEMORY, workers: int = 1
) -> Split:
    """The test images of a corrupted data set under one corruption at one severity.

    Where they are not published, its base's as evaluation sees them, corrupted when they are read.
    """
    source, kind = data.source, (name, severity)
    if place.base is None:
        return load(one_kind(data, kind), "test", place, memory=memory, workers=workers)
    described = place.base[0].model_copy(update={"test_limit": data.test_limit})
    base = load(described, "test", place.base[1], memory=memory, workers=workers)

    def read(row: int) -> Image.Image:
        clean = np.asarray(central(base.read(row), resize=base.resize, size=base.image_size))
        return Image.fromarray(source.change(clean, kind, row))

    fingerprint = digest([base.fingerprint, base.resize, described.reduce, data.image_size, *source.mark(kind)])
    return replace(base, fingerprint=fingerprint, resize=data.image_size, images=None, read=read)


def one_kind(data: D, kind: Corruption) -> D:
    """A published corrupted set, reduced to one corruption at one severity."""
    return data.model_copy(update={"source": data.source.only(kind)})


def all_corrupted(data: ShiftedData, place: Place, *, memory: int = MEMORY, workers: int = 1) -> Iterator[Split]:
    """The images under every corruption at every severity, in this order.

    They are kept for the next encoder where all of the set fit; what is kept of all sets stays within `memory`.
    """
    kinds = data.source.kinds
    fits = len(kinds) * data.used("test") * 3 * data.image_size**2 <= memory
    for name, severity in kinds:
        split = corrupted(data, place, name=name, severity=severity, memory=memory, workers=workers)
        if fits:
            images = _CORRUPTED.get(split.fingerprint, partial(_prepared, split), limit=memory)
            split = replace(split, images=images, read=reader(images), resize=data.image_size)
        yield split


SPLITS = 2  # as large as they may be, such as train and test, that are kept; of smaller ones more
LISTED = 256  # bytes for an image's name and label
_LOADED: BoundedCache[Split] = BoundedCache(  # by what is asked for and the state of its files
    lambda split: LISTED * len(split) + (0 if split.images is None else split.images.nbytes)
)
_CORRUPTED: BoundedCache[Tensor] = BoundedCache(lambda images: images.nbytes)  # uint8 (N, 3, S, S) by fingerprint
LARGE = 16_000_000  # pixels of an image from which it is worth keeping: decoding takes a tenth of a second
_LARGE: BoundedCache[Image.Image] = BoundedCache(lambda image: 3 * image.width * image.height)  # by data and row
_DECODING = Lock()


def _prepared(split: Split) -> Tensor:
    return torch.cat(list(split.prepared()))


def _changes(path: Path) -> list[int]:
    """What an edit of a file would change."""
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else []


def _check_apart(found: Mapping[SplitName, str], place: Place) -> None:
    for one, other in combinations(found, 2):
        if found[one] == found[other]:
            raise UserError(f"{shown(place.card)}: {one} and {other} are the same images")


def _fingerprint(data: Data, split: SplitName, place: Place, *, memory: int, workers: int) -> str:
    """Of a split, as `load` gives it."""
    if (whole := _of_the_whole(data, split, place, memory=memory, workers=workers)) is not None:
        return whole
    opened = open_split(data, split, place)
    if opened.fingerprint is None:
        return _kept(data, split, place, opened, memory=memory, workers=workers).fingerprint
    return _of_files(opened.fingerprint, data.used(split), opened.count)


def _of_files(fingerprint: str, used: int, count: int) -> str:
    """Of a part of the images, where that of all of them is known."""
    return fingerprint if used >= count else digest([fingerprint, used])


def _of_the_whole(data: Data, split: SplitName, place: Place, *, memory: int, workers: int) -> str | None:
    """The fingerprint of a corrupted set of several kinds; None for any other set."""
    if place.base is not None:  # known by its base and by what is done to it
        base = _fingerprint(place.base[0], "test", place.base[1], memory=memory, workers=workers)
        return digest([base, resolved(data.source)])
    if len(data.source.kinds) < 2:
        return None
    parts = [one_kind(data, kind) for kind in data.source.kinds]
    known = (open_split(part, split, place).fingerprint for part in parts)
    by_content = partial(load, split=split, place=place, memory=memory, workers=workers)
    return digest([one or by_content(part).fingerprint for one, part in zip(known, parts, strict=True)])


def _load(data: Data, split: SplitName, place: Place, opened: Opened | None, *, memory: int, workers: int) -> Split:
    if (whole := _of_the_whole(data, split, place, memory=memory, workers=workers)) is not None:
        described, below = place.base or (one_kind(data, data.source.kinds[0]), place)
        return replace(load(described, "test", below, memory=memory, workers=workers), fingerprint=whole)
    opened = opened or open_split(data, split, place)
    rows = chosen(opened, data.used(split))
    read = partial(_read, opened, rows, data.reduce)
    labels = np.full(len(rows), -1) if opened.labels is None else opened.labels[rows]
    size = data.image_size
    names = None if opened.names is None else [opened.names[row] for row in rows]
    found = Split(torch.from_numpy(labels), "", size, data.resize or size, None, read, workers, names, opened.aside)
    key = digest([_asked(data, split, place), opened.fingerprint])
    images = _all_images(opened, rows, found, data.reduce, memory, key)
    if images is None:
        found = replace(found, read=_large_kept(read, key, memory))
    else:
        found = replace(found, images=images, read=reader(images))
    if opened.fingerprint is None:
        fingerprint = _content(map(found.read, range(len(rows))), labels)
    else:
        fingerprint = _of_files(opened.fingerprint, len(rows), opened.count)
    return replace(found, fingerprint=fingerprint)


def _read(opened: Opened, rows: Labels, reduce: int | None, row: int) -> Image.Image:
    image = opened.read(int(rows[row]))
    return image if reduce is None else central(image, resize=reduce, size=reduce)


def _large_kept(read: Callable[[int], Image.Image], key: str, memory: int) -> Callable[[int], Image.Image]:
    """Reads one image; a large one that is read again stays decoded, as many of them as fit into the memory.

    Every epoch and evaluation would decode it anew, seconds for a crop. One thread at a time decodes what is kept.
    """
    large: set[int] = set()

    def one(row: int) -> Image.Image:
        if row in large:
            with _DECODING:
                return _LARGE.get(f"{key} {row}", partial(read, row), limit=memory)
        image = read(row)
        if image.width * image.height >= LARGE:
            large.add(row)
        return image

    return one


def chosen(opened: Opened, count: int) -> Labels:
    """Sorted rows: `count` of them, of each class in proportion but at least one, the same for all seeds.

    A larger choice holds a smaller one: rows are ranked at random inside their class, and ranks compared as shares.
    """
    if count >= opened.count:
        return np.arange(opened.count)
    labels = np.zeros(opened.count, np.int64) if opened.labels is None else strata(opened.labels)
    order = np.random.default_rng(0).permutation(opened.count)
    order = order[np.argsort(labels[order], kind="stable")]  # class by class
    _, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    share = np.empty(opened.count)
    share[order] = (np.arange(opened.count) - first.repeat(counts) + 0.5) / counts.repeat(counts)
    share[order[first]] = 0.0
    return np.sort(np.argsort(share, kind="stable")[:count])


def _all_images(opened: Opened, rows: Labels, found: Split, reduce: int | None, memory: int, key: str) -> Tensor | None:
    """uint8 (N, 3, H, W) if all images have one size and fit into the memory; else None."""
    arrays = opened.arrays if reduce is None else None
    whole: Callable[[], Tensor | None]
    if arrays is not None:
        size = math.prod(arrays.shape[1:]) * len(rows)
        whole = partial(_from_arrays, arrays, rows)
    else:
        first = found.read(0)
        size = len(rows) * first.width * first.height * 3
        whole = partial(_read_all, found, first)
    return shared(key, size, whole) if size <= memory else None


def _from_arrays(arrays: Pixels, rows: Labels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(arrays[rows].transpose(0, 3, 1, 2)))


def _read_all(found: Split, first: Image.Image) -> Tensor | None:
    """One by one; None where one has another size than the first."""
    rows = range(len(found))
    images = torch.empty(len(rows), 3, first.height, first.width, dtype=torch.uint8)

    def fill(part: Sequence[int]) -> bool:
        for row in part:
            image = found.read(row)
            if image.size != first.size:
                return False
            images[row] = as_tensor([image])[0]
        return True

    for whole in ordered(fill, pieces(rows), workers=found.workers):
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
