"""HDF5 files: arrays that are read row by row."""

import hashlib
from collections.abc import Callable, Iterator
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
from sem_bench.data.readers.array_forms import images_of, labels_of
from sem_bench.data.readers.arrays import USUAL as USUAL_ARRAYS
from sem_bench.data.readers.image_files import read_packed
from sem_bench.data.readers.opened import Opened, said
from sem_bench.data.readers.words import in_order
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.hdf5 import Hdf5Source
from sem_bench.data.threads import reading
from sem_bench.errors import UserError

USUAL = [("{split}/images", "{split}/labels"), ("{split}/x", "{split}/y"), *USUAL_ARRAYS]
BLOCK = 16 * 2**20  # bytes of images that are looked at together for a fingerprint


def open_hdf5(source: Hdf5Source, data: Data, split: SplitName, place: Place) -> Opened:
    """The arrays of a split. Pixels must be of `image_size`; image files may have any size."""
    path, size = located(place.root, source.path), data.image_size
    with _errors(path):
        file = _file(path, path.stat().st_mtime_ns, path.stat().st_size)
    images_name, labels_name = _names(source, split, file)
    images = _array(file, images_name, path)
    where, count, labels = f"{shown(path)}: {images_name}", len(images), None
    if place.classes is not None:
        array = _array(file, labels_name, path)
        with _errors(path):
            given = array.asstr()[...] if h5py.check_string_dtype(array.dtype) else array[...]
        labels = labels_of(given, count, place.classes, source, f"{shown(path)}: {labels_name}")
        if labels is None:
            text = f"labels are {given.dtype} {given.shape}; expected {(count,)}, one an image"
            raise UserError(f"{shown(path)}: {labels_name}: {text}")
    item, done = _image_file if _holds_files(images) else _pixels, ""
    if item is _pixels and count:
        with _errors(path):
            first = images_of(images[:1], source, where)
        if first is None or first.size != (size, size):
            found = f"{images.dtype} {images.shape}"
            raise UserError(f"{where}: images are {found}; expected uint8 {(count, size, size, 3)}, or image files")
        done = first.done
    seen = hashlib.sha256(_content(path, images_name, path.stat().st_mtime_ns, path.stat().st_size))
    seen.update(b"" if labels is None else labels.tobytes())
    read = partial(_read, source, path, images, item, where)
    return Opened(f"{shown(path)}: {split}", count, labels, read, fingerprint=seen.hexdigest(), aside=done)


_ALONE = Lock()  # the library reads one thing at a time


def _read(
    source: Hdf5Source,
    path: Path,
    images: Any,
    item: Callable[[Any, Hdf5Source, str], Image.Image],
    where: str,
    row: int,
) -> Image.Image:
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
    asked = source.images, source.labels
    found = [pair for pair in USUAL if all(name.replace("{split}", split) in file for name in pair)]
    pair = found[0] if asked == USUAL[0] and len(found) == 1 else asked
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


def first_card(source: Hdf5Source, path: Path) -> Seen:
    """What a first card says of a file with a usual pair of names."""
    with _errors(path):
        file = _file(path, path.stat().st_mtime_ns, path.stat().st_size)
        there = _arrays(file)
    pairs = [pair for pair in USUAL if all(name.replace("{split}", "train") in there for name in pair)]
    pairs = [pair for pair in pairs if all(name.replace("{split}", "test") in there for name in pair)]
    if len(pairs) != 1:
        few = ", ".join(there[:6]) + (", ..." if len(there) > 6 else "")
        raise UserError(
            f"{shown(path)}: no arrays of the usual names, such as train/images ({few}); write a card by hand"
        )
    card: dict[str, Any] = {}
    labels = [_all_labels(file[pairs[0][1].replace("{split}", split)]) for split in ("train", "test")]
    classes = _classes(np.concatenate(labels), card)
    images = file[pairs[0][0].replace("{split}", "train")]
    seen = Seen(card, classes)
    if not _holds_files(images):
        seen.size = max((side for side in images.shape[1:] if side > 4), default=None)
        if np.issubdtype(images.dtype, np.floating):
            card["scale"] = 1 if float(images[:64].max()) <= 1 else 255
    return seen


def _all_labels(array: Any) -> Any:
    given = array.asstr()[...] if h5py.check_string_dtype(array.dtype) else array[...]
    return given.argmax(1) if given.ndim == 2 and given.shape[1] > 1 else np.ravel(given)


def _classes(labels: Any, card: dict[str, Any]) -> list[str]:
    if labels.dtype.kind in "OUS":
        return in_order({str(one) for one in labels.tolist()})
    if int(labels.min()) == 1:
        card["first_label"] = 1
    return list(map(str, range(int(labels.max()) + 1 - card.get("first_label", 0))))
