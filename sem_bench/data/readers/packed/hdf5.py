"""HDF5 files: arrays that are read row by row."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import h5py
import numpy as np
from PIL import Image

from sem_bench.base import mistaken
from sem_bench.base.files import shown
from sem_bench.config.fields import SplitName
from sem_bench.config.validation import did_you_mean
from sem_bench.data.dataset import Place, located
from sem_bench.data.described import Data
from sem_bench.data.readers.array_forms import classes_of, expected_labels, images_of, labels_of
from sem_bench.data.readers.arrays import USUAL as USUAL_ARRAYS
from sem_bench.data.readers.drawn import drawn_rows
from sem_bench.data.readers.image_files import read_packed
from sem_bench.data.readers.opened import Labels, Opened, said
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.hdf5 import Hdf5Source
from sem_bench.data.threads import reading
from sem_bench.errors import UserError

USUAL = [("{split}/images", "{split}/labels"), ("{split}/x", "{split}/y"), *USUAL_ARRAYS]
ALONE = [  # where a file has one pair of arrays
    ("images", "labels"),
    ("image", "label"),
    ("x", "y"),
    ("X", "y"),
    ("X", "Y"),
    ("data", "labels"),
    ("data", "label"),
]
BLOCK = 16 * 2**20  # bytes of images that are looked at together for a fingerprint


def open_hdf5(source: Hdf5Source, data: Data, split: SplitName, place: Place) -> Opened:
    """The arrays of a split. Pixels must be of `image_size`; image files may have any size."""
    path, size = located(place.root, source.path.replace("{split}", split)), data.image_size
    file = _opened(path)
    images_name, labels_name = _names(source, split, file)
    images = _array(file, images_name, path)
    where, labels = f"{shown(path)}: {images_name}", None
    count = len(images)
    if place.classes is not None:
        array = _array(file, labels_name, path)
        with _errors(path):
            given = _text_or_number(array)
        here = f"{shown(path)}: {labels_name}"
        labels = labels_of(given, count, place.classes, source, here, several=place.multi_label)
        if labels is None:
            text = f"labels are {given.dtype} {given.shape}; expected {expected_labels(count, place)}"
            raise UserError(f"{here}: {text}")
    item, done = _image_file if _holds_files(images) else _pixels, ""
    if item is _pixels and count:
        with _errors(path):
            first = images_of(images[:1], source, where)
        if first is None or first.size != (size, size):
            found = f"{images.dtype} {images.shape}"
            raise UserError(f"{where}: images are {found}; expected uint8 {(count, size, size, 3)}, or image files")
        done = first.done
    seen = hashlib.sha256(_content(path, images_name, path.stat().st_mtime_ns, path.stat().st_size))
    rows = None
    if source.split is not None:
        rows = drawn_rows(split, source.split, list(map(str, range(count))), labels)
        count, labels = len(rows), None if labels is None else labels[rows]
        seen.update(rows.tobytes())
    seen.update(b"" if labels is None else labels.tobytes())
    read = partial(_read, source, path, images, item, where, rows)
    return Opened(f"{shown(path)}: {split}", count, labels, read, fingerprint=seen.hexdigest(), aside=done)


_ALONE = Lock()  # the library reads one thing at a time


def _read(
    source: Hdf5Source,
    path: Path,
    images: Any,
    item: Callable[[Any, Hdf5Source, str], Image.Image],
    where: str,
    rows: Labels | None,
    row: int,
) -> Image.Image:
    row = row if rows is None else int(rows[row])
    here = f"{where}, row {row}"
    with reading(path), _ALONE, _errors(path):
        content = images[row : row + 1]
    return item(content, source, here)


def _pixels(content: Any, source: Hdf5Source, where: str) -> Image.Image:
    found = images_of(content, source, where)
    assert found is not None
    return Image.fromarray(found.one(0))


def _image_file(content: Any, source: Hdf5Source, where: str) -> Image.Image:
    item = content[0]
    return read_packed(item if isinstance(item, bytes) else np.asarray(item).tobytes(), source, where)


def _holds_files(images: Any) -> bool:
    """Whether the items are bytes of any length: image files."""
    return images.ndim == 1 and (images.dtype.kind in "OSV" or h5py.check_vlen_dtype(images.dtype) is not None)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """What h5py says of a damaged file, as a line."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{shown(path)}: no such file") from None
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        text = mistaken.kind(path) or f"damaged, or no HDF5 ({said(error)})"
        raise UserError(f"{shown(path)}: {text}") from None


@lru_cache(maxsize=64)
def _file(path: Path, changed: int, size: int) -> Any:
    """The file, opened once while it does not change; others may go on reading it."""
    return h5py.File(path, "r", locking=False)


@lru_cache(maxsize=1024)
def _content(path: Path, name: str, changed: int, size: int) -> bytes:
    """The SHA-256 of an array of images, read block by block, once while the file does not change."""
    images, seen = _file(path, changed, size)[name], hashlib.sha256()
    bytes_each = max(1, int(np.prod(images.shape[1:], dtype=np.int64)) * images.dtype.itemsize)
    step = 64 if _holds_files(images) else max(1, BLOCK // bytes_each)
    for start in range(0, len(images), step):
        with reading(path), _ALONE, _errors(path):
            block = images[start : start + step]
        if _holds_files(images):
            for item in block:
                content = item if isinstance(item, bytes) else np.asarray(item).tobytes()
                seen.update(len(content).to_bytes(8, "little") + content)
        else:
            seen.update(np.ascontiguousarray(block).data)
    return seen.digest()


def _names(source: Hdf5Source, split: SplitName, file: Any) -> tuple[str, str]:
    """The names of images and labels: as the card says, else the one usual pair that is there."""
    alone = source.split is not None or "{split}" in source.path
    usual = [*ALONE, *(USUAL if source.split is None else [])] if alone else USUAL
    found = [pair for pair in usual if all(name.replace("{split}", split) in file for name in pair)]
    pair = source.images, source.labels
    if not source.named:
        pair = found[0] if len(found) == 1 else usual[0]
    return pair[0].replace("{split}", split), pair[1].replace("{split}", split)


def _arrays(file: Any) -> list[str]:
    """The names of all arrays in it."""
    found: list[str] = []
    file.visititems(lambda name, one: found.append(name) if isinstance(one, h5py.Dataset) else None)
    return found


def _array(file: Any, name: str, path: Path) -> Any:
    with _errors(path):
        there = _arrays(file)
    if name not in there:
        few = ", ".join(there[:6]) + (", ..." if len(there) > 6 else "")
        hint = (
            did_you_mean(name, there)
            or f"; there is {few or 'no array'}: `images` and `labels` below `source` name them"
        )
        raise UserError(f"{shown(path)}: no array {name!r}{hint}")
    array = file[name]
    if array.ndim == 0:
        raise UserError(f"{shown(path)}: {name}: one value; expected an array with a row for each image")
    return array


def first_card(path: Path, below: str = "") -> Seen:
    """What a first card says of a file, or of those with {split} in their name `below` a folder.

    Arrays of a usual pair of names: one for each split, or one that is drawn from.
    """
    files: dict[SplitName, Path] = {split: path / below.replace("{split}", split) for split in _SPLITS}
    opened = {split: _opened(file) for split, file in files.items() if file.is_file()}
    usual = [*ALONE, *USUAL] if below else USUAL
    both: tuple[SplitName, ...] = ("train", "test")
    pairs = [pair for pair in usual if all(_is_there(pair, split, _arrays(opened[split])) for split in both)]
    card: dict[str, Any] = {}
    there = _arrays(opened["train"])
    if not pairs:
        pairs, card["split"] = [pair for pair in ALONE if set(pair) <= set(there)], {"test": 0.2, "seed": 0}
    if len(pairs) != 1 or (below and card):
        few = ", ".join(there[:6]) + (", ..." if len(there) > 6 else "")
        text = f"no arrays of the usual names, such as train/images or images ({few}); write a card by hand"
        raise UserError(f"{shown(files['train'])}: {text}")
    images, labels = pairs[0]
    found = [split for split, file in opened.items() if _is_there(pairs[0], split, _arrays(file))]
    if card:
        found = ["train"]
    seen = Seen(card, val="val" in found, below=below)
    given = [_text_or_number(opened[split][labels.replace("{split}", split)]) for split in found]
    seen.classes, seen.multi_label, more = classes_of(given)
    card |= more
    array = opened["train"][images.replace("{split}", "train")]
    if not _holds_files(array):
        seen.size = max((side for side in array.shape[1:] if side > 4), default=None)
        if np.issubdtype(array.dtype, np.floating):
            card["scale"] = 1 if float(array[:64].max()) <= 1 else 255
    return seen


_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


def _opened(path: Path) -> Any:
    with _errors(path):
        return _file(path, path.stat().st_mtime_ns, path.stat().st_size)


def _is_there(pair: tuple[str, str], split: SplitName, names: Sequence[str]) -> bool:
    return all(name.replace("{split}", split) in names for name in pair)


def _text_or_number(array: Any) -> Any:
    return array.asstr()[...] if h5py.check_string_dtype(array.dtype) else array[...]
