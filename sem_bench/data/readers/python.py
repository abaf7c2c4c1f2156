"""What the .py beside a card gives: arrays, or a list of files that are read when they are needed."""

import hashlib
import inspect
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sem_bench.base import interrupts, process_state
from sem_bench.base.digest import digest
from sem_bench.base.files import shown
from sem_bench.config.cards import load_code
from sem_bench.config.fields import SplitName
from sem_bench.data.dataset import Place
from sem_bench.data.described import Data
from sem_bench.data.readers.arrays import from_arrays
from sem_bench.data.readers.folder import listing_digest, read_image
from sem_bench.data.readers.opened import Opened, said
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
    if isinstance(images, list) and all(isinstance(path, Path) for path in images):
        return _from_files(images, labels, where=where, place=place)
    return from_arrays(data, split, images, labels, where=where, place=place)


def _from_files(paths: Sequence[Path], labels: object, *, where: str, place: Place) -> Opened:
    """Files, which must be there, and a label for each."""
    chosen = None
    if place.classes is not None:
        chosen = np.asarray(labels)
        if chosen.shape != (len(paths),) or not np.issubdtype(chosen.dtype, np.integer):
            text = f"labels are {chosen.dtype} {chosen.shape}; expected integer labels {(len(paths),)}, one a file"
            raise UserError(f"{where}: {text}")
        chosen = chosen.astype(np.int64)
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
    return Opened(where, len(paths), chosen, lambda row: read_image(paths[row]), fingerprint=fingerprint)
