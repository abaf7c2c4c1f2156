"""Shards of WebDataset: each is gone through once, by its headers; then an image is read where it lies."""

import hashlib
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from sem_bench.base import mistaken
from sem_bench.base.digest import digest
from sem_bench.base.files import lines_digest, shown
from sem_bench.config.fields import SplitName
from sem_bench.data.dataset import Place, located
from sem_bench.data.described import Data
from sem_bench.data.junk import junk
from sem_bench.data.patterns import top_of
from sem_bench.data.readers.drawn import drawn_rows
from sem_bench.data.readers.image_files import ENDINGS, read_packed
from sem_bench.data.readers.opened import Labels, Opened, said
from sem_bench.data.readers.packed.files import files_of, packed_files, part_of, word_in
from sem_bench.data.readers.packed.samples import (
    LARGEST,
    is_image,
    label_text,
    may_be_label,
    name_and_ending,
    numbered,
    seen_labels,
)
from sem_bench.data.readers.words import SPLIT_WORDS
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.packed import PackedColumns
from sem_bench.data.sources.webdataset import WebdatasetSource
from sem_bench.data.threads import reading
from sem_bench.errors import UserError

PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass
class _Shard:
    """What lies where in a shard."""

    file: Path
    names: list[str] = field(default_factory=list)  # of the images, with their endings
    starts: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    labels: list[str] = field(default_factory=list)  # as they are written; none where they are not asked for
    without: int = 0  # samples without an image


def open_webdataset(source: WebdatasetSource, data: Data, split: SplitName, place: Place) -> Opened:
    """The samples of a split."""
    top = located(place.root, source.path)
    files, aside = _tar_files(top), ""
    top = top_of(top)
    if source.split is None:
        files, aside = files_of(split, files, top, source.values, place.splits)
    labelled = place.classes is not None
    shards = [_shard(file, source.columns, labelled=labelled) for file in files]
    where = f"{shown(files[0] if len(files) == 1 else top)}: {split}"
    parts = ((shard.file, shard.labels, shard.names.__getitem__) for shard in shards)
    labels = numbered(parts, source, place) if labelled else None
    names = [name for shard in shards for name in shard.names]
    rows = np.arange(len(names))
    if source.split is not None:
        unique = [f"{shard.file.name}/{name}" for shard in shards for name in shard.names]
        rows = drawn_rows(split, source.split, unique, labels)
        labels = None if labels is None else labels[rows]
    ends = np.cumsum([len(shard.names) for shard in shards])
    sizes = np.concatenate([np.frombuffer(shard.sizes, np.int64) for shard in shards])
    seen = hashlib.sha256(b"" if labels is None else labels.tobytes()).hexdigest()
    fingerprint = digest([lines_digest(f"{names[row]}\t{sizes[row]}" for row in rows.tolist()), seen])
    if without := sum(shard.without for shard in shards):
        aside = "; ".join(filter(None, [aside, f"{without:,} samples without an image"]))
    read = partial(_image, source, shards, ends, rows)
    return Opened(where, len(rows), labels, read, fingerprint=fingerprint, aside=aside)


def _image(source: WebdatasetSource, shards: Sequence[_Shard], ends: Labels, rows: Labels, row: int) -> Image.Image:
    """The image of a sample, read where it lies."""
    at, inside = part_of(ends, int(rows[row]))
    shard = shards[at]
    where = f"{shown(shard.file)}: {shard.names[inside]}"
    try:
        with reading(shard.file), shard.file.open("rb") as file:
            file.seek(shard.starts[inside])
            content = file.read(shard.sizes[inside])
    except OSError as error:
        raise UserError(f"{where}: cannot be read: {error.strerror}") from None
    return read_packed(content, source, where)


def _tar_files(top: Path) -> list[Path]:
    """The shards. Raises UserError where they are compressed, and so cannot be read in any order."""
    try:
        files = packed_files(top, (".tar",))
    except UserError:
        if not top.is_dir():
            raise
        if not (compressed := packed_files(top, PACKED)):
            raise
        files = compressed
    if wrong := next((file for file in files if file.name.lower().endswith(PACKED)), None):
        raise UserError(f"{shown(wrong)}: a compressed shard cannot be read in any order: unpack it to a plain .tar")
    return files


def _shard(file: Path, columns: PackedColumns, *, labelled: bool) -> _Shard:
    """The index of a shard, made once while the file does not change."""
    try:
        status = file.stat()
    except OSError as error:
        raise UserError(f"{shown(file)}: cannot be read: {error.strerror}") from None
    return _indexed(file, status.st_mtime_ns, status.st_size, columns.image, columns.label, labelled)


@lru_cache(maxsize=100_000)  # shards: what one takes is counted with the images of the split
def _indexed(file: Path, _: int, size: int, image: str | None, label: str | None, labelled: bool) -> _Shard:
    shard, columns, known = _Shard(file), PackedColumns(image=image, label=label), dict[str, str]()
    here = shown(file)
    for name, members in _samples(file, size):
        images = [ending for ending in members if is_image(ending, columns)]
        where = f"{here}: {name}"
        if len(images) > 1:
            text = f"several images: {', '.join(images)}: `columns: {{image: {images[0]}}}` below `source` says which"
            raise UserError(f"{where}: {text}")
        if not images:
            shard.without += 1
            continue
        if labelled:
            beside = {ending: one.content for ending, one in members.items() if may_be_label(ending, columns)}
            text = label_text(beside, columns, where, list(members))
            shard.labels.append(known.setdefault(text, text))  # one text for all images of a class
        shard.names.append(f"{name}.{images[0]}")
        shard.starts.append(members[images[0]].start)
        shard.sizes.append(members[images[0]].size)
    return shard


@dataclass
class _Member:
    start: int
    size: int
    content: bytes = b""  # of what may be a label


def _samples(file: Path, size: int) -> Iterator[tuple[str, dict[str, _Member]]]:
    """The samples of a shard: files of one name, one after the other, by ending."""
    current, members = None, dict[str, _Member]()
    for path, member in _members(file, size):
        name, ending = name_and_ending(path)
        if name != current:
            if current is not None:
                yield current, members
            current, members = name, {}
        if ending in members:
            raise UserError(f"{shown(file)}: {path}: is there twice")
        members[ending] = member
    if current is not None:
        yield current, members


def _members(file: Path, size: int) -> Iterator[tuple[str, _Member]]:
    """The files in a shard. Only what may be a label is read."""
    try:
        with reading(file), tarfile.open(file, "r:") as tar, file.open("rb") as content:
            for one in tar:
                if not one.isreg() or junk(one.name.removeprefix("./")):
                    continue
                if one.offset_data + one.size > size:
                    raise UserError(f"{shown(file)}: {one.name}: the shard is cut short")
                path, member = one.name.removeprefix("./"), _Member(one.offset_data, one.size)
                if one.size <= LARGEST and not path.lower().endswith(ENDINGS):
                    content.seek(one.offset_data)
                    member.content = content.read(one.size)
                yield path, member
                tar.members = []  # type: ignore[attr-defined]  # tarfile keeps them all otherwise
    except (tarfile.TarError, OSError, EOFError) as error:
        text = mistaken.kind(file) or f"damaged, or no tar ({said(error)})"
        raise UserError(f"{shown(file)}: {text}") from None


def first_card(source: WebdatasetSource, path: Path) -> Seen | None:
    """What a first card says of shards; None of a tar that is none."""
    files = packed_files(path, (".tar",))
    try:
        if not _shard(files[0], source.columns, labelled=True).names:
            return None
    except UserError:
        others = not path.is_dir() or any(one.is_dir() and not any(one.glob("*.tar")) for one in path.iterdir())
        if others:  # an archive of something else
            return None
        raise
    words = [word for file in files if (word := word_in(file, top_of(path), SPLIT_WORDS)) is not None]
    labels = {label for file in files for label in _shard(file, source.columns, labelled=True).labels}
    return seen_labels(labels, words)
