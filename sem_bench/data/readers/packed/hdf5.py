"""HDF5 files: arrays that are read row by row."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from sem_bench.data.readers.array_forms import classes_of, expected_labels, images_of, labels_of, size_and_scale
from sem_bench.data.readers.array_names import (
    ALONE,
    OF_SPLITS,
    Files,
    Found,
    Pair,
    names_in,
    of_split,
)
from sem_bench.data.readers.drawn import drawn_rows
from sem_bench.data.readers.image_files import read_packed
from sem_bench.data.readers.opened import Labels, Opened, said
from sem_bench.data.readers.words import DRAWN, splits_said
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.hdf5 import Hdf5Source
from sem_bench.data.threads import reading
from sem_bench.errors import UserError

GROUPED = [("{split}/images", "{split}/labels"), ("{split}/x", "{split}/y"), *OF_SPLITS]
BLOCK = 16 * 2**20  # bytes of images that are looked at together for a fingerprint


def open_hdf5(source: Hdf5Source, data: Data, split: SplitName, place: Place) -> Opened:
    """The arrays of a split. Pixels must be of `image_size`; image files may have any size."""
    word, size = source.word(split), data.image_size
    path = located(place.root, source.path.replace("{split}", word))
    beside = located(place.root, (source.labels_path or source.path).replace("{split}", word))
    file = _opened(path)
    labels_file = file if place.classes is None else _opened(beside)
    images_name, labels_name = _names(source, word, _arrays(file), _arrays(labels_file))
    images = _array(file, images_name, path)
    where, labels = f"{shown(path)}: {images_name}", None
    count = len(images)
    if place.classes is not None:
        array = _array(labels_file, labels_name, beside)
        with _errors(beside):
            given = _text_or_number(array)
        here = f"{shown(beside)}: {labels_name}"
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


def _names(source: Hdf5Source, word: str, images: Sequence[str], labels: Sequence[str]) -> Pair:
    """The names of images and labels: as the card says, else the one usual pair among the arrays of their files."""
    if source.named:
        return of_split((source.images, source.labels), word)
    alone = source.split is not None or "{split}" in source.path
    usual = [*ALONE, *(GROUPED if source.split is None else [])] if alone else GROUPED
    pairs = [of_split(pair, word) for pair in usual]
    found = [pair for pair in pairs if pair[0] in images and pair[1] in labels]
    return found[0] if len(found) == 1 else pairs[0]


def _arrays(file: Any) -> list[str]:
    """The names of all arrays in it."""
    found: list[str] = []
    with _errors(Path(file.filename)):
        file.visititems(lambda name, one: found.append(name) if isinstance(one, h5py.Dataset) else None)
    return found


def _array(file: Any, name: str, path: Path) -> Any:
    there = _arrays(file)
    if name not in there:
        hint = did_you_mean(name, there) or f"; there is {_few(there)}: `images` and `labels` below `source` name them"
        raise UserError(f"{shown(path)}: no array {name!r}{hint}")
    array = file[name]
    if array.ndim == 0:
        raise UserError(f"{shown(path)}: {name}: one value; expected an array with a row for each image")
    return array


def _few(names: Sequence[str]) -> str:
    return (", ".join(names[:6]) + (", ..." if len(names) > 6 else "")) or "no array"


def first_card(path: Path, files: Files | None) -> Seen:
    """What a first card says of a file, or of those in a folder."""
    if files is None:
        there = _arrays(_opened(path))
        seen, found = Seen({}), names_in(there, lambda name: _opened(path)[name].shape, GROUPED)
        opened = dict.fromkeys(found.splits, (path, path)) if found else {}
    else:
        seen = Seen({}, below={"path": files.images})
        if files.labels != files.images:
            seen.below["labels_path"] = files.labels
        words = files.words or {"train": ""}
        names = {split: of_split((files.images, files.labels), word) for split, word in words.items()}
        opened = {split: (path / images, path / labels) for split, (images, labels) in names.items()}
        there = _arrays(_opened(opened["train"][0]))
        found = _in_each(files, opened)
    if found is None:
        where = shown(opened["train"][0] if opened else path)
        text = f"no arrays of the usual names, such as train/images or images ({_few(there)})"
        raise UserError(f"{where}: {text}; write a card by hand")
    if found.pair not in (*ALONE, *GROUPED):
        seen.source |= dict(zip(("images", "labels"), found.pair, strict=True))
    arrays = {
        split: (_opened(opened[split][0])[images], _opened(opened[split][1])[labels])
        for split, (images, labels) in found.splits.items()
    }
    seen.classes, seen.multi_label, more = classes_of([_text_or_number(labels) for _, labels in arrays.values()])
    seen.source |= more | found.card
    seen.val = "val" in found.splits
    images = arrays["train"][0]
    if not len(images):
        raise UserError(f"{shown(opened['train'][0])}: {found.splits['train'][0]}: no image in it")
    if not _holds_files(images):
        seen.size, scale = size_and_scale(images)
        seen.source |= scale
    return seen


def _in_each(files: Files, opened: Mapping[SplitName, tuple[Path, Path]]) -> Found | None:
    """The names of images and labels in files of their own: a usual pair, or the only array of each; None: no such."""
    there = {split: [_arrays(_opened(one)) for one in both] for split, both in opened.items()}
    card = splits_said(dict(files.words)) if files.words else dict(DRAWN)
    only = [one[0] for one in there["train"] if len(one) == 1]
    alone = [(only[0], only[1])] if files.images != files.labels and len(only) == 2 else []
    for pair in (*ALONE, *GROUPED, *alone):
        names = {split: of_split(pair, files.words.get(split, "")) for split in opened}
        if all(name in some for split, both in names.items() for name, some in zip(both, there[split], strict=True)):
            return Found(pair, names, card or {})
    return None


def _opened(path: Path) -> Any:
    with _errors(path):
        return _file(path, path.stat().st_mtime_ns, path.stat().st_size)


def _is_there(pair: tuple[str, str], split: SplitName, names: Sequence[str]) -> bool:
    return all(name.replace("{split}", split) in names for name in pair)


def _text_or_number(array: Any) -> Any:
    return array.asstr()[...] if h5py.check_string_dtype(array.dtype) else array[...]
