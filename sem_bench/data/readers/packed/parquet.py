"""Parquet files: labels are read as columns, images with the group of rows that they lie in."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from sem_bench.base import mistaken
from sem_bench.base.bounded_cache import BoundedCache
from sem_bench.base.digest import digest
from sem_bench.base.files import lines_digest, shown
from sem_bench.config.fields import SplitName
from sem_bench.data.dataset import Place, located
from sem_bench.data.described import Data
from sem_bench.data.patterns import top_of
from sem_bench.data.readers.drawn import drawn_rows
from sem_bench.data.readers.image_files import read_image, read_packed
from sem_bench.data.readers.opened import Labels, Opened, said
from sem_bench.data.readers.packed.arrow import (
    Columns,
    columns_of,
    first_columns,
    labels_of,
    rows_said,
    seen_in,
    words_in,
)
from sem_bench.data.readers.packed.files import files_of, packed_files, part_of, word_in
from sem_bench.data.readers.words import SPLIT_WORDS
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.parquet import ParquetSource
from sem_bench.data.threads import reading
from sem_bench.errors import UserError

ENDINGS = (".parquet", ".parq")
KEPT = 256 * 2**20  # bytes of groups of rows that are kept for the next image


@dataclass(frozen=True)
class _Group:
    """A group of rows of a file."""

    file: Path
    number: int
    rows: int
    size: int  # bytes of the images' column, unpacked
    changed: int  # when the file was


@dataclass(frozen=True)
class _Kept:
    images: Any
    size: int


_GROUPS: BoundedCache[_Kept] = BoundedCache(lambda group: group.size)
_ONE_AT_A_TIME = Lock()


def open_parquet(source: ParquetSource, data: Data, split: SplitName, place: Place) -> Opened:
    """The rows of a split."""
    top = located(place.root, source.path)
    files, aside = packed_files(top, ENDINGS), ""
    top = top_of(top)
    columns = columns_of(_schema(files[0]), source, str(shown(top)), place)
    alone = len(place.splits) == 1
    if columns.split is None and source.split is None:
        if len(files) == 1 and not alone:
            raise UserError(
                f"{shown(top)}: no column says the split: name it in `columns: {{split: NAME}}`, or write "
                "`split: {test: 0.2, seed: 0}` below `source` to draw it"
            )
        files, aside = files_of(split, files, top, source.values, place.splits)
    where = str(shown(files[0] if len(files) == 1 else top))
    rows = None
    if columns.split is not None:
        rows, aside = rows_said(_column(files, columns.split, where), split, source, place.splits, where)
    labels = labels_of(lambda name: _column(files, name, where), columns, source, place, where)
    groups = _groups(files, columns)
    names = _names(files, columns, source, where) if columns.holds == "paths" else None
    count = sum(group.rows for group in groups)
    if source.split is not None:
        rows = drawn_rows(split, source.split, names or list(map(str, range(count))), labels)
    rows = np.arange(count) if rows is None else rows
    labels = None if labels is None else labels[rows]
    seen = hashlib.sha256(rows.tobytes() + (b"" if labels is None else labels.tobytes())).hexdigest()
    if names is None:
        slow = max((group.size for group in groups), default=0)
        if slow > KEPT:
            text = f"groups of rows of {slow / 2**20:,.0f} MiB, read whole for each image: write smaller ones"
            aside = "; ".join(filter(None, [aside, text]))
        fingerprint = digest([[[group.rows, group.size] for group in groups], seen])
        read = partial(_packed, source, columns, groups, np.cumsum([group.rows for group in groups]), rows)
    else:
        folder = located(place.root, source.images) if source.images else files[0].parent
        mine = [names[row] for row in rows.tolist()]
        sizes = _sizes(folder, mine, f"{where}: {split}")
        fingerprint = digest([lines_digest(sizes), seen])
        read = partial(_named, source, folder, mine)
    return Opened(f"{where}: {split}", len(rows), labels, read, fingerprint=fingerprint, aside=aside)


def _named(source: ParquetSource, folder: Path, names: Sequence[str], row: int) -> Image.Image:
    return read_image(folder / names[row], source)


def _packed(
    source: ParquetSource, columns: Columns, groups: Sequence[_Group], ends: Labels, rows: Labels, row: int
) -> Image.Image:
    """The image in a row, of a group that is kept for the next."""
    at, inside = part_of(ends, int(rows[row]))
    group = groups[at]
    key = f"{group.file}\t{group.changed}\t{group.number}\t{columns.image}"
    with reading(group.file), _ONE_AT_A_TIME:
        content = _GROUPS.get(key, partial(_read_group, group, columns), limit=KEPT).images[inside].as_py()
    where = f"{shown(group.file)}, row {inside} of group {group.number}"
    if content is None:
        raise UserError(f"{where}: no image")
    return read_packed(content, source, where)


def _read_group(group: _Group, columns: Columns) -> _Kept:
    with _errors(group.file), pq.ParquetFile(group.file) as file:
        images = file.read_row_group(group.number, columns=[_leaf(columns)], use_threads=False).column(0)
    images = pc.struct_field(images, "bytes") if columns.inside else images
    return _Kept(images, images.nbytes)


def _leaf(columns: Columns) -> str:
    return f"{columns.image}.bytes" if columns.inside else columns.image


@contextmanager
def _errors(file: Path) -> Iterator[None]:
    """What pyarrow says of a damaged file, as a line."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        text = mistaken.kind(file) or f"damaged, or no Parquet ({said(error)})"
        raise UserError(f"{shown(file)}: {text}") from None


def _schema(file: Path) -> Any:
    with _errors(file):
        return pq.read_schema(file)


def _groups(files: Sequence[Path], columns: Columns) -> list[_Group]:
    """All groups of rows of the files."""
    found = []
    for path in files:
        with _errors(path):
            metadata, changed = pq.read_metadata(path), path.stat().st_mtime_ns
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            leaves = (group.column(i) for i in range(group.num_columns))
            size = sum(one.total_uncompressed_size for one in leaves if one.path_in_schema == _leaf(columns))
            found.append(_Group(path, number, group.num_rows, size, changed))
    return found


def _column(files: Sequence[Path], name: str, where: str) -> Any:
    """A small column of all files."""
    parts: list[Any] = []
    for path in files:
        with _errors(path), pq.ParquetFile(path) as file:
            table = file.read(columns=[name], use_threads=False)
        if name not in table.column_names:
            raise UserError(f"{shown(path)}: no column {name!r}, which {shown(files[0])} has")
        parts += table.column(0).chunks
    try:
        return pa.chunked_array(parts)
    except (ValueError, pa.ArrowException) as error:
        raise UserError(f"{where}: column {name!r} is not the same in all files ({said(error)})") from None


def _names(files: Sequence[Path], columns: Columns, source: ParquetSource, where: str) -> list[str]:
    """The paths in a column. Raises UserError where one is absent or there twice."""
    names = _column(files, columns.image, where).to_pylist()
    seen = set[str]()
    for row, name in enumerate(names):
        if not name:
            raise UserError(f"{where}, row {row}: no path")
        if name in seen:
            raise UserError(f"{where}, row {row}: {name} is named a second time")
        seen.add(name)
    return [name + source.ending for name in names]


def _sizes(folder: Path, names: Sequence[str], where: str) -> Iterator[str]:
    for name in names:
        try:
            yield f"{name}\t{(folder / name).stat().st_size}"
        except OSError:
            raise UserError(f"{where}: {shown(folder / name)}: no such image") from None


def first_card(source: ParquetSource, path: Path) -> Seen:
    """What a first card says of Parquet files."""
    files = packed_files(path, ENDINGS)
    where = str(shown(path))
    columns = first_columns(_schema(files[0]), lambda name: _column(files, name, where), source, where)
    words = words_in(_column(files, columns.split, where), where) if columns.split else None
    if words is None:
        words = list(filter(None, (word_in(file, top_of(path), SPLIT_WORDS) for file in files)))
    seen = seen_in(columns, lambda name: _column(files, name, where), words, where)
    if columns.holds == "paths":
        seen.names = list(islice(_names(files, columns, source, where), 8))
    return seen
