"""Arrays: all at once from an .npz file, or from .npy files, which are mapped and not read."""

import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sem_bench.base.files import shown
from sem_bench.config.fields import SplitName
from sem_bench.config.validation import did_you_mean
from sem_bench.data.dataset import Place, located
from sem_bench.data.described import Data
from sem_bench.data.readers.array_forms import as_array, expected_labels, images_of, labels_of
from sem_bench.data.readers.array_names import ALONE, OF_SPLITS, Found, Pair, names_in, of_split
from sem_bench.data.readers.drawn import drawn_from
from sem_bench.data.readers.opened import Opened, said
from sem_bench.data.sources.arrays import NpySource, NpzSource
from sem_bench.data.sources.base import Arrays
from sem_bench.errors import UserError

Splits = dict[SplitName, tuple[npt.NDArray[Any], npt.NDArray[Any]]]  # images and labels of each
SEVERITIES = range(1, 6)  # of a published corrupted set, in this order in each file


def open_npz(source: NpzSource, data: Data, split: SplitName, place: Place) -> Opened:
    """The arrays of a split."""
    path = located(place.root, source.path)
    try:
        with path.open("rb") as handle:
            file = np.load(handle, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("a single array")
            names = _names(source, split, file.files)
            images = _array(file, names[0], path)
            labels = None if place.classes is None else _array(file, names[1], path)
    except FileNotFoundError:
        raise UserError(f"{shown(path)}: no such file; {shown(place.card)} needs it") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{shown(path)}: damaged, or no .npz ({said(error)})") from None
    count = data.counts[split] if source.split is None else len(np.atleast_1d(images))
    where = f"{shown(path)}: {split}"
    opened = from_arrays(data, count, images, labels, rules=source, where=where, place=place)
    return opened if source.split is None else drawn_from(opened, split, source.split)


def _names(source: NpzSource, split: SplitName, there: Sequence[str]) -> Pair:
    """The names of images and labels: as the card says, else the one usual pair that is there."""
    word = source.word(split)
    pairs = [(source.images, source.labels)]
    if not source.named:
        pairs = ALONE if source.split is not None else OF_SPLITS
    pairs = [of_split(pair, word) for pair in pairs]
    found = [pair for pair in pairs if set(pair) <= set(there)]
    return found[0] if len(found) == 1 else pairs[0]


def split_arrays(path: Path) -> tuple[Found, Splits]:
    """The names of images and labels in an .npz, and the arrays of its splits. UserError: not clear."""
    try:
        with path.open("rb") as handle:
            file = np.load(handle, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("a single array")
            if (found := names_in(file.files, lambda name: file[name].shape)) is None:
                few = ", ".join(file.files[:6]) + (", ..." if len(file.files) > 6 else "")
                text = f"no arrays of the usual names, such as train_images, x_train, images ({few})"
                raise UserError(f"{shown(path)}: {text}; `images` and `labels` below `source` of a card name others")
            return found, {split: (file[images], file[labels]) for split, (images, labels) in found.splits.items()}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{shown(path)}: damaged, or no .npz ({said(error)})") from None


def npy_arrays(folder: Path) -> tuple[Found, Splits] | None:
    """The usual names of images and labels in a folder of .npy files, and the arrays, mapped; None: no such."""
    files = {one.stem: one for one in sorted(folder.glob("*.npy")) if one.is_file()}
    if (found := names_in(files, lambda name: _shape(files[name]))) is None:
        return None
    return found, {split: (_mapped(files[one]), _mapped(files[other])) for split, (one, other) in found.splits.items()}


def _shape(path: Path) -> tuple[int, ...] | None:
    """That of the array in a file; None where it cannot be read."""
    try:
        return _mapped(path).shape
    except UserError:
        return None


def _mapped(path: Path) -> npt.NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.ndim == 0:
            raise ValueError("no array of images or labels")
        return array
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{shown(path)}: damaged, or no .npy ({said(error)})") from None


def open_npy(source: NpySource, data: Data, split: SplitName, place: Place) -> Opened:
    """The arrays of a split; of a corrupted set those of its one corruption at its one severity."""
    folder = located(place.root, source.path)
    (name, severity), blocks = (source.kinds[0], len(SEVERITIES)) if source.kinds else (("", 1), 1)

    def mapped(pattern: str) -> tuple[Path, Any]:
        path = folder / pattern.replace("{split}", source.word(split)).replace("{corruption}", name)
        if not path.exists():
            raise UserError(f"{shown(path)}: no such file; {shown(place.card)} needs it")
        return path, _mapped(path)

    path, images = mapped(source.images)
    count = data.counts[split] if source.split is None else len(images)
    first = (severity - 1) * count
    labels = None if place.classes is None else mapped(source.labels)[1]
    if len(images) != blocks * count:
        each = f"{blocks} severities of {count}" if source.kinds else str(count)
        raise UserError(f"{shown(path)}: {len(images)} images, but {shown(place.card)} says {split}: {each}")
    if labels is not None and len(labels) == blocks * count:  # else the same for every severity
        labels = labels[first : first + count]
    where = f"{shown(path)}: severity {severity}" if source.kinds else f"{shown(path)}: {split}"
    opened = from_arrays(data, count, images[first : first + count], labels, rules=source, where=where, place=place)
    status = path.stat()
    content = _content(path, status.st_mtime_ns, status.st_size, first, count)
    seen = b"" if opened.labels is None else opened.labels.tobytes()
    opened = replace(opened, fingerprint=hashlib.sha256(content + seen).hexdigest())
    return opened if source.split is None else drawn_from(opened, split, source.split)


@lru_cache(maxsize=1024)
def _content(path: Path, changed: int, size: int, first: int, count: int) -> bytes:
    """The SHA-256 of a block of an array, looked at once while the file does not change."""
    images = np.load(path, mmap_mode="r", allow_pickle=False)[first : first + count]
    return hashlib.sha256(np.ascontiguousarray(images).data).digest()


def _array(file: Any, name: str, path: Path) -> npt.NDArray[Any]:
    if name not in file.files:
        raise UserError(f"{shown(path)}: no array {name!r}{did_you_mean(name, file.files)}")
    return np.asarray(file[name])


def from_arrays(
    data: Data, count: int, images: object, labels: object, *, rules: Arrays, where: str, place: Place
) -> Opened:
    """Arrays, checked against the card: of `count` images of `image_size` px in a form that has one meaning."""
    images, labels = as_array(images), as_array(labels)
    size = data.image_size
    labelled = place.classes is not None
    expected = f"images uint8 {(count, size, size, 3)}"
    if labelled:
        expected += f", labels {expected_labels(count, place)}" if place.multi_label else f", integer labels {(count,)}"
    if not isinstance(images, np.ndarray) or (labelled and not isinstance(labels, np.ndarray)):
        raise UserError(f"{where}: expected numpy arrays, {expected}")
    found = images_of(images, rules, where)
    if found is None or (found.count, *found.size) != (count, size, size):
        raise UserError(f"{where}: images are {images.dtype} {images.shape}; expected {expected}")
    chosen = None
    if place.classes is not None:
        assert isinstance(labels, np.ndarray)
        chosen = labels_of(labels, count, place.classes, rules, where, several=place.multi_label)
        if chosen is None:
            raise UserError(f"{where}: labels are {labels.dtype} {labels.shape}; expected {expected}")
    return Opened(where, count, chosen, lambda row: Image.fromarray(found.one(row)), found.arrays, aside=found.done)
