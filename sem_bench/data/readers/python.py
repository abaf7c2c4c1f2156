"""What the .py beside a card gives: arrays, or a list of files that are read when they are needed."""

import hashlib
import inspect
import traceback
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from sem_bench.base import interrupts, process_state
from sem_bench.base.digest import digest
from sem_bench.base.files import shown
from sem_bench.config.cards import load_code
from sem_bench.config.fields import SplitName
from sem_bench.data.dataset import Place
from sem_bench.data.described import Data
from sem_bench.data.readers.array_forms import as_array, expected_labels, labels_of
from sem_bench.data.readers.arrays import from_arrays
from sem_bench.data.readers.folder import listing_digest
from sem_bench.data.readers.image_files import in_rgb, read_image
from sem_bench.data.readers.opened import Labels, Opened, said
from sem_bench.data.sources.python import PythonSource
from sem_bench.errors import UserError, plainly


def open_python(source: PythonSource, data: Data, split: SplitName, place: Place) -> Opened:
    """What the card's code makes of a split."""
    arguments: dict[str, Any] = {"count": data.counts[split], "image_size": data.image_size, **source.arguments}
    where = f"{shown(place.code)}: load({split!r})"
    try:
        load = plainly(load_code, place.code).load
        offered = {"root": place.root, "classes": place.classes}
        taken = inspect.signature(load).parameters
        with process_state.kept():
            more = {key: value for key, value in offered.items() if key in taken}
            images, labels = plainly(load, split, **arguments, **more)
    except UserError:
        raise
    except BaseException as error:  # its errors are the user's, so they come with its own line
        interrupts.pass_on(error)
        frames = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if Path(frame.filename) == place.code), 1)
        text = f"{shown(place.code)}:{line}: load({split!r}): {type(error).__name__}: {said(error)}"
        raise UserError(text) from error
    listed = _listed(images)
    if listed is not None and all(isinstance(path, Path | str) for path in listed):
        paths = [_path(path, place.root) for path in listed]
        return _from_files(source, paths, labels, where=where, place=place)
    if isinstance(images, Image.Image | bytes | str):
        raise UserError(f"{where}: one {type(images).__name__}; expected images and labels of the whole split")
    if not isinstance(images := as_array(images), np.ndarray) and hasattr(images, "__getitem__"):
        return _from_items(source, images, labels, where=where, place=place)
    return from_arrays(data, data.counts[split], images, labels, rules=source, where=where, place=place)


def _listed(images: object) -> list[Any] | None:
    """A list, a tuple, or a column of strings or objects as a list."""
    if isinstance(images, list | tuple):
        return list(images)
    if isinstance(images := as_array(images), np.ndarray) and images.ndim == 1 and images.dtype.kind in "UO":
        return images.tolist()  # type: ignore[no-any-return]
    return None


def _path(given: Path | str, root: Path) -> Path:
    """A file's path; one that is not there from here is looked for in the data folder."""
    path = Path(given)
    return path if path.is_absolute() or path.exists() else root / path


def _labels(labels: object, count: int, source: PythonSource, where: str, place: Place) -> Labels | None:
    if place.classes is None:
        return None
    given = np.asarray(as_array(labels))
    chosen = labels_of(given, count, place.classes, source, where, several=place.multi_label)
    if chosen is None:
        wanted = expected_labels(count, place) if place.multi_label else f"integer labels {(count,)}, one a file"
        text = f"labels are {given.dtype} {given.shape}; expected {wanted}"
        raise UserError(f"{where}: {text}")
    return chosen


def _from_items(source: PythonSource, images: Any, labels: object, *, where: str, place: Place) -> Opened:
    """Anything with a length and items, which are read one at a time: a data set need not be safe in threads."""
    try:
        count = len(images)
    except TypeError:
        raise UserError(f"{where}: {type(images).__name__} has no length; expected images and labels") from None
    chosen, lock = _labels(labels, count, source, where, place), Lock()

    def read(row: int) -> Image.Image:
        try:
            with lock:
                item = images[row]
            return _as_image(item)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{where}: image {row}: {type(error).__name__}: {said(error)}") from None

    return Opened(where, count, chosen, read)


def _as_image(item: Any) -> Image.Image:
    """An item in RGB: an image of PIL, encoded bytes, or an array uint8 (H, W, 3), (H, W) or (3, H, W)."""
    if isinstance(item, dict) and isinstance(item.get("image", item.get("bytes")), Image.Image | bytes):
        item = item.get("image", item.get("bytes"))  # of Hugging Face
    if isinstance(item, bytes):
        item = Image.open(BytesIO(item))
    if isinstance(item, Image.Image):
        return in_rgb(item)
    array = as_array(item)
    if isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim in (2, 3):
        if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
            array = array.transpose(1, 2, 0)
        return Image.fromarray(np.ascontiguousarray(np.squeeze(array))).convert("RGB")
    raise TypeError(f"expected an image of PIL, encoded bytes, or an array uint8 (H, W, 3), got {type(item).__name__}")


def _from_files(source: PythonSource, paths: Sequence[Path], labels: object, *, where: str, place: Place) -> Opened:
    """Files, which must be there, and a label for each."""
    chosen = _labels(labels, len(paths), source, where, place)
    sizes: dict[str, int] = {}
    for path in paths:
        name = path.relative_to(place.root).as_posix() if path.is_relative_to(place.root) else str(path)
        if name in sizes:
            raise UserError(f"{shown(path)}: named twice by {where}")
        try:
            sizes[name] = path.stat().st_size
        except OSError:
            raise UserError(f"{shown(path)}: no such image; {where} names it") from None
    # The labels belong to it: they come from a list, and not from the folders of the files.
    seen = hashlib.sha256(b"" if chosen is None else chosen.tobytes()).hexdigest()
    fingerprint = digest([listing_digest(sizes), seen])
    return Opened(where, len(paths), chosen, lambda row: read_image(paths[row], source), fingerprint=fingerprint)
