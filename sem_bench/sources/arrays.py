"""Arrays that come all at once: from an .npz file, or from code beside the card."""

import inspect
import traceback
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sem_bench import config
from sem_bench.cards import load_code
from sem_bench.config import SplitName
from sem_bench.dataset import Place, located
from sem_bench.errors import UserError
from sem_bench.files import shown
from sem_bench.sources.opened import Opened, said
from sem_bench.validation import did_you_mean


def open_npz(data: config.Data, split: SplitName, place: Place) -> Opened:
    """The arrays of a split."""
    assert isinstance(data.source, config.NpzSource)
    path = located(place.root, data.source.path)
    try:
        with path.open("rb") as handle:
            file = np.load(handle, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("a single array")
            images = _array(file, data.source.images.replace("{split}", split), path)
            labels = None
            if place.classes is not None:
                labels = _array(file, data.source.labels.replace("{split}", split), path)
    except FileNotFoundError:
        raise UserError(f"{shown(path)}: no such file; {shown(place.card)} needs it") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{shown(path)}: damaged, or no .npz ({said(error)})") from None
    if isinstance(images, np.ndarray) and images.ndim == 3:
        images = np.broadcast_to(images[..., None], (*images.shape, 3))  # grey, not copied
    if isinstance(labels, np.ndarray) and labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    return _from_arrays(data, split, images, labels, where=f"{shown(path)}: {split}", place=place)


def _array(file: Any, name: str, path: Path) -> object:
    if name not in file.files:
        raise UserError(f"{shown(path)}: no array {name!r}{did_you_mean(name, file.files)}")
    return file[name]


def _from_arrays(
    data: config.Data, split: SplitName, images: object, labels: object, *, where: str, place: Place
) -> Opened:
    """Arrays in memory, checked against the card."""
    count, size = data.counts[split], data.image_size
    labelled = place.classes is not None
    expected = f"images uint8 {(count, size, size, 3)}" + (f", integer labels {(count,)}" if labelled else "")
    if not isinstance(images, np.ndarray) or (labelled and not isinstance(labels, np.ndarray)):
        raise UserError(f"{where}: expected numpy arrays, {expected}")
    if images.dtype != np.uint8 or images.shape != (count, size, size, 3):
        raise UserError(f"{where}: images are {images.dtype} {images.shape}; expected {expected}")
    chosen = None
    if labelled:
        assert isinstance(labels, np.ndarray)
        if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (count,):
            raise UserError(f"{where}: labels are {labels.dtype} {labels.shape}; expected {expected}")
        chosen = labels.astype(np.int64)
    return Opened(where, count, chosen, lambda row: Image.fromarray(np.ascontiguousarray(images[row])), images)


def open_python(data: config.Data, split: SplitName, place: Place) -> Opened:
    """What the card's code makes of a split."""
    assert isinstance(data.source, config.PythonSource)
    arguments: dict[str, Any] = {"count": data.counts[split], "image_size": data.image_size, **data.source.arguments}
    where = f"{shown(place.code)}: load({split!r})"
    try:
        load = load_code(place.code).load
        if "root" in inspect.signature(load).parameters:
            arguments["root"] = place.root
        images, labels = load(split, **arguments)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # its errors are the user's, so they come with its own line
        frames = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if Path(frame.filename) == place.code), 1)
        text = f"{shown(place.code)}:{line}: load({split!r}): {type(error).__name__}: {said(error)}"
        raise UserError(text) from error
    return _from_arrays(data, split, images, labels, where=where, place=place)
