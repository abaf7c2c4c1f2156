"""Data sets of Hugging Face's library: tables of Arrow that are mapped, so that an image is read when it is needed."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from sem_bench.base.files import shown
from sem_bench.config.fields import SplitName
from sem_bench.data.dataset import Place, located
from sem_bench.data.described import Data
from sem_bench.data.readers.drawn import drawn_rows
from sem_bench.data.readers.image_files import read_image, read_packed
from sem_bench.data.readers.opened import Opened, said
from sem_bench.data.readers.packed.arrow import (
    Columns,
    columns_of,
    first_columns,
    labels_of,
    rows_said,
    seen_in,
    words_in,
)
from sem_bench.data.readers.words import USUAL, split_words
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.huggingface import HuggingfaceSource
from sem_bench.errors import UserError

_ALONE = Lock()  # the library is told by variables of its own
TOGETHER = 1000  # rows whose sizes are looked at at once


def open_huggingface(source: HuggingfaceSource, data: Data, split: SplitName, place: Place) -> Opened:
    """The rows of a split."""
    where = str(shown(located(place.root, source.path))) if source.path else f"{shown(place.card)}: {source.name}"
    splits = _splits(source, place.root, where)
    columns = columns_of(next(iter(splits.values())).features.arrow_schema, source, where, place)
    alone = len(place.splits) == 1
    if columns.split is not None or (len(splits) == 1 and (alone or source.split is not None)):
        rows = _joined(list(splits.values()), where)
    else:  # what is drawn is drawn from the training images
        rows = _joined(_chosen(splits, split if source.split is None else "train", source, where), where)
    labels = labels_of(lambda name: _column(rows, name), columns, source, place, where)
    chosen, aside = np.arange(len(rows)), ""
    if columns.split is not None:
        chosen, aside = rows_said(_column(rows, columns.split), split, source, place.splits, where)
    elif source.split is not None:
        chosen = drawn_rows(split, source.split, list(map(str, range(len(rows)))), labels)
    labels = None if labels is None else labels[chosen]
    images = rows.select_columns([columns.image]).with_format("arrow")
    seen = hashlib.sha256(chosen.tobytes() + (b"" if labels is None else labels.tobytes()))
    for start in range(0, len(rows), TOGETHER):
        seen.update(_sizes(images[start : start + TOGETHER].column(0), columns).tobytes())
    where = f"{where}: {split}"
    read = partial(_image, source, images, Lock(), chosen, where)
    return Opened(where, len(chosen), labels, read, fingerprint=seen.hexdigest(), aside=aside)


@contextmanager
def _offline() -> Iterator[Any]:
    """The library, kept from the network."""
    import huggingface_hub.constants as hub

    import datasets

    config, keys = datasets.config, ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    with _ALONE:
        before = [(one, key, getattr(one, key)) for one in (hub, config) for key in keys if hasattr(one, key)]
        for one, key, _ in before:
            setattr(one, key, True)
        verbosity, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
        datasets.logging.set_verbosity_error()
        datasets.disable_progress_bars()
        try:
            yield datasets
        finally:
            for one, key, value in before:
                setattr(one, key, value)
            datasets.logging.set_verbosity(verbosity)
            if not bars:
                datasets.enable_progress_bars()


def _splits(source: HuggingfaceSource, root: Path, where: str) -> dict[str, Any]:
    """Its splits by name; "" for the only one of what was saved without a name."""
    try:
        with _offline() as library:
            if source.path:
                found = library.load_from_disk(str(located(root, source.path)))
            else:
                cache = str(located(root, source.cache)) if source.cache else None
                found = library.load_dataset(source.name, source.config, cache_dir=cache)
    except Exception as error:  # many kinds, of Arrow, of files and its own
        way = "" if source.path else "; nothing is downloaded here: load it once where there is a network"
        raise UserError(f"{where}: {said(error)}{way}") from None
    return dict(found) if isinstance(found, dict) else {str(found.split or ""): found}


def _chosen(splits: dict[str, Any], split: SplitName, source: HuggingfaceSource, where: str) -> list[Any]:
    """Those that the card means."""
    wanted = split_words(source.values)[split]
    chosen = [rows for name, rows in splits.items() if name.lower() in wanted]
    if chosen:
        return chosen
    there = ", ".join(name or "one without a name" for name in splits)
    text = f"{where}: no split {' or '.join(sorted(wanted))}; there is {there}"
    other = next((name for name in splits if name.lower() in USUAL["val"]), None) or "NAME"
    draw = ", `split: {test: 0.2, seed: 0}` draws them" if len(splits) == 1 else ""
    raise UserError(f"{text}: `values: {{{split}: {other}}}` below `source` says another{draw}")


def _joined(some: Sequence[Any], where: str) -> Any:
    if len(some) == 1:
        return some[0]
    try:
        with _offline() as library:
            return library.concatenate_datasets(some)
    except Exception as error:
        raise UserError(f"{where}: splits that do not fit together ({said(error)})") from None


def _column(rows: Any, name: str) -> Any:
    table = rows.select_columns([name]).with_format("arrow")
    parts = [table[start : start + 100_000].column(0) for start in range(0, len(rows), 100_000)]
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks])


def _sizes(images: Any, columns: Columns) -> Any:
    """The bytes of each image's file (n), -1 where it is not in the table."""
    content = pc.struct_field(images, "bytes") if columns.inside else images
    return pc.fill_null(pc.binary_length(content), -1).to_numpy().astype(np.int64)


def _image(source: HuggingfaceSource, images: Any, lock: Lock, chosen: Any, where: str, row: int) -> Image.Image:
    number = int(chosen[row])
    here = f"{where}, row {number}"
    try:
        with lock:
            item = images[number].column(0)[0].as_py()
    except Exception as error:
        raise UserError(f"{here}: damaged ({said(error)})") from None
    path = item.get("path") if isinstance(item, dict) else item if isinstance(item, str) else None
    content = item.get("bytes") if isinstance(item, dict) else item
    if isinstance(content, bytes):
        return read_packed(content, source, here)
    if not path:
        raise UserError(f"{here}: no image")
    return read_image(Path(path), source)


def first_card(source: HuggingfaceSource, path: Path) -> Seen:
    """What a first card says of a folder of `save_to_disk`."""
    where = str(shown(path))
    splits = _splits(source, Path(), where)
    some = next(iter(splits.values()))
    columns = first_columns(some.features.arrow_schema, partial(_column, some), source, where)
    words = list(splits)
    if columns.split is not None:
        words = words_in(_column(_joined(list(splits.values()), where), columns.split), where)
    return seen_in(columns, partial(_column, some), words, where)
