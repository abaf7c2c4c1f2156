"""Databases of LMDB: keys are gone through once; an image is read from the mapped file when it is needed."""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import lmdb
import numpy as np
from PIL import Image

from sem_bench.base import mistaken
from sem_bench.base.digest import digest
from sem_bench.base.files import lines_digest, shown
from sem_bench.config.fields import SplitName
from sem_bench.data.dataset import Place, located
from sem_bench.data.described import Data
from sem_bench.data.readers.drawn import drawn_rows
from sem_bench.data.readers.image_files import read_packed
from sem_bench.data.readers.opened import Labels, Opened, said
from sem_bench.data.readers.packed.files import databases, files_of, part_of, word_in
from sem_bench.data.readers.packed.samples import TEXTS, is_image, label_text, name_and_ending, numbered, seen_labels
from sem_bench.data.readers.words import SPLIT_WORDS
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.lmdb import LmdbSource
from sem_bench.data.threads import reading
from sem_bench.errors import UserError

PAIRED, PICKLED = b"image-", (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass
class _Index:
    """The images of a database."""

    path: Path
    keys: list[bytes] = field(default_factory=list)
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    labels: list[str] = field(default_factory=list)  # as they are written; none where they are not asked for

    def name(self, row: int) -> str:
        """Of an image."""
        return _text(self.keys[row])


def open_lmdb(source: LmdbSource, data: Data, split: SplitName, place: Place) -> Opened:
    """The images of a split."""
    top = located(place.root, source.path)
    found, aside = databases(top), ""
    if not found:
        raise UserError(
            f"{shown(top)}: {mistaken.kind(top) or 'no database of LMDB (a folder with data.mdb, or .lmdb)'}"
        )
    if source.split is None:
        found, aside = files_of(split, found, top, source.values, place.splits)
    indices = [_index(path, source, labelled=place.classes is not None) for path in found]
    keys = [key for index in indices for key in index.keys]
    labels = (
        None
        if place.classes is None
        else numbered(((one.path, one.labels, one.name) for one in indices), source, place)
    )
    rows = np.arange(len(keys))
    if source.split is not None:
        names = [f"{index.path.name}/{key.decode('utf-8', 'replace')}" for index in indices for key in index.keys]
        rows = drawn_rows(split, source.split, names, labels)
        labels = None if labels is None else labels[rows]
    sizes = np.concatenate([np.frombuffer(index.sizes, np.int64) for index in indices])
    seen = hashlib.sha256(b"" if labels is None else labels.tobytes()).hexdigest()
    lines = (f"{keys[row].decode('utf-8', 'replace')}\t{sizes[row]}" for row in rows.tolist())
    ends = np.cumsum([len(index.keys) for index in indices])
    where = f"{shown(found[0] if len(found) == 1 else top)}: {split}"
    read = partial(_image, source, indices, ends, rows)
    return Opened(where, len(rows), labels, read, fingerprint=digest([lines_digest(lines), seen]), aside=aside)


def _image(source: LmdbSource, indices: Sequence[_Index], ends: Labels, rows: Labels, row: int) -> Image.Image:
    at, inside = part_of(ends, int(rows[row]))
    index = indices[at]
    key = index.keys[inside]
    where = f"{shown(index.path)}: {_text(key)}"
    with reading(index.path), _errors(index.path), _database(index.path).begin() as transaction:
        content = transaction.get(key)
    if content is None:
        raise UserError(f"{where}: is absent")
    if content.startswith(PICKLED):
        raise UserError(f"{where}: a pickled object, which is not loaded: store the bytes of the image's file")
    return read_packed(content, source, where)


_OPEN: dict[Path, tuple[list[int], Any]] = {}  # a process may open a database once
_ALONE = Lock()


def _database(path: Path) -> Any:
    """The database, opened once while its file does not change."""
    file = path / "data.mdb" if path.is_dir() else path
    status = file.stat()
    state = [status.st_mtime_ns, status.st_size, status.st_ino]
    with _ALONE:
        before, found = _OPEN.get(path, (None, None))
        if before != state:
            if found is not None:
                found.close()
            found = lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False)
            _OPEN[path] = state, found
    return found


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """What the library says of a damaged file, as a line."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        file = path / "data.mdb" if path.is_dir() else path
        text = mistaken.kind(file) or f"damaged, or no database of LMDB ({said(error)})"
        raise UserError(f"{shown(path)}: {text}") from None


def _index(path: Path, source: LmdbSource, *, labelled: bool) -> _Index:
    """All images, in the order of their keys."""
    index, known = _Index(path), dict[str, str]()
    with reading(path), _errors(path), _database(path).begin(buffers=True) as transaction:
        for key, value in transaction.cursor():
            name = bytes(key)
            ending = name_and_ending(_text(name))[1]
            if not (name.startswith(PAIRED) or is_image(ending, source.columns)):
                continue
            if labelled:
                text = _label(transaction, name, source, f"{shown(path)}: {_text(name)}")
                index.labels.append(known.setdefault(text, text))
            index.keys.append(name)
            index.sizes.append(len(value))
    if not index.keys:
        text = "no image in it; keys looked for: NAME.jpg (or another ending of images), image-NAME"
        raise UserError(f"{shown(path)}: {text}")
    return index


def _label(transaction: Any, key: bytes, source: LmdbSource, where: str) -> str:
    """The label of an image, as it is written."""
    if key.startswith(PAIRED):
        value = transaction.get(b"label-" + key.removeprefix(PAIRED))
        if value is None:
            raise UserError(f"{where}: no label-{_text(key.removeprefix(PAIRED))} beside it")
        return bytes(value).decode("utf-8", "replace").strip()
    name, ending = name_and_ending(_text(key))
    asked = source.columns.label
    beside = {}
    for one in (*TEXTS, "json", *([asked] if asked else [])):
        if (value := transaction.get(f"{name}.{one}".encode())) is not None:
            beside[one.lower()] = bytes(value)
    if not beside and asked is None and "/" in name:
        return name.split("/")[-2]
    return label_text(beside, source.columns, where.removesuffix(f".{ending}"), [ending, *beside])


def _text(key: bytes) -> str:
    return key.decode("utf-8", "replace")


def first_card(source: LmdbSource, path: Path) -> Seen:
    """What a first card says of databases."""
    found = databases(path)
    words = [word for one in found if (word := word_in(one, path, SPLIT_WORDS)) is not None]
    labels = {label for one in found for label in _index(one, source, labelled=True).labels}
    return seen_labels(labels, words)
