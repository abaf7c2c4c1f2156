"""Sources: the ways in which a data set's images lie on disk, each opened as one thing.

Whatever is wrong with a user's files is a UserError of one line that names the file.
"""

import hashlib
import inspect
import os
import re
import stat
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from sem_bench import config
from sem_bench.archives import unpack
from sem_bench.cards import load_code
from sem_bench.config import SplitName
from sem_bench.dataset import Place, located
from sem_bench.digest import digest
from sem_bench.errors import UserError
from sem_bench.files import files_below, shown
from sem_bench.validation import did_you_mean

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif")

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Opened:
    """A split, opened: nothing of its pixels is read before it is asked for, unless the source gives arrays."""

    where: str  # for messages
    count: int
    labels: Labels | None
    read: Callable[[int], Image.Image]  # the image of a row, RGB; safe in threads
    arrays: Pixels | None = None  # (N, H, W, 3) where the source gives all at once
    fingerprint: str | None = None  # of the files; None: of the content


def open_split(data: config.Data, split: SplitName, place: Place) -> Opened:
    """A split of a data set. Raises UserError where it is not what the card says."""
    opened = _OPENERS[data.source.type](data, split, place)
    wanted = data.counts[split]
    if opened.count != wanted:
        raise UserError(f"{opened.where}: {opened.count} images, but {shown(place.card)} says {split}: {wanted}")
    if place.classes is not None:
        if opened.labels is None:
            raise UserError(f"{opened.where}: no labels, but {shown(place.card)} names classes")
        _check_labels(opened.labels, place.classes, opened.where)
    return opened


def _check_labels(labels: Labels, classes: Sequence[str], where: str) -> None:
    strange = sorted(set(labels.tolist()) - set(range(len(classes))))
    if strange:
        last = len(classes) - 1
        raise UserError(f"{where}: label {strange[0]}, but the card names {len(classes)} classes, 0 to {last}")
    absent = sorted(set(range(len(classes))) - set(labels.tolist()))
    if absent:
        raise UserError(f"{where}: no image of class {classes[absent[0]]!r}")


# --- image folders ---------------------------------------------------------------------------------------------------


def _open_folder(data: config.Data, split: SplitName, place: Place) -> Opened:
    assert isinstance(data.source, config.FolderSource)
    top = located(place.root, data.source.path)
    if not top.exists() and place.archive is not None:
        try:
            unpack(place.archive, top)
        except UserError:
            if not top.exists():  # else another process was faster
                raise
    folder = top / split
    if not folder.is_dir():
        raise UserError(f"{shown(folder)}: no such folder; {shown(place.card)} needs it for its {split} images")
    found = dict(sorted(_image_files(folder)))
    names = list(found)
    labels = None
    if place.classes is not None:
        _check_folders(folder, place.classes)
        index = {name: label for label, name in enumerate(place.classes)}
        labels = np.array([index[name.split("/", 1)[0]] for name in names], np.int64)
        present = set(labels.tolist())
        for label, name in enumerate(place.classes):
            if label not in present:
                raise UserError(f"{shown(folder / name)}: no image in the folder of this class")
    if not names:
        raise UserError(f"{shown(folder)}: no image; endings looked for: {' '.join(ENDINGS)}")
    return Opened(
        where=str(shown(folder)),
        count=len(names),
        labels=labels,
        read=lambda row: read_image(folder / names[row]),
        fingerprint=_listing(found),
    )


def _listing(files: Mapping[str, int]) -> str:
    """The fingerprint of files: their names and sizes."""
    return hashlib.sha256(os.fsencode("\n".join(f"{name}\t{size}" for name, size in files.items()))).hexdigest()


def _image_files(folder: Path) -> Iterator[tuple[str, int]]:
    """Images anywhere below the folder: POSIX path from there, and bytes. Hidden files and folders are left out."""
    for path, status in files_below(folder):
        name = Path(path).relative_to(folder)
        if name.suffix.lower() not in ENDINGS or any(part.startswith(".") for part in name.parts):
            continue
        if stat.S_ISLNK(status.st_mode):
            raise UserError(f"{shown(Path(path))}: a link to nothing")
        yield name.as_posix(), status.st_size


def _check_folders(folder: Path, classes: Sequence[str]) -> None:
    """The folders are the classes, and no image lies beside them."""
    found = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    for name in found:
        if name not in classes:
            raise UserError(f"{shown(folder / name)}: no class of the card{did_you_mean(name, classes)}")
    for name in classes:
        if name not in found:
            raise UserError(f"{shown(folder)}: no folder for class {name!r}{_similar(name, found)}")
    for path in folder.iterdir():
        if path.suffix.lower() in ENDINGS and path.is_file():
            raise UserError(f"{shown(path)}: an image outside the folders of the classes")


def _similar(name: str, found: Sequence[str]) -> str:
    return did_you_mean(name, found) if found else ""


def read_image(path: Path) -> Image.Image:
    """An image file in RGB. Raises UserError where it is absent, no image, or damaged."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise UserError(f"{shown(path)}: more than 8 bits a channel (mode {image.mode}); convert it first")
            if image.mode == "P" and "transparency" in image.info:
                return image.convert("RGBA").convert("RGB")  # Pillow warns of the direct way
            return image.convert("RGB")
    except UnidentifiedImageError:
        raise UserError(f"{shown(path)}: not an image") from None
    except PermissionError:
        raise UserError(f"{shown(path)}: may not be read") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"{shown(path)}: damaged image ({_said(error)})") from None


# --- arrays ----------------------------------------------------------------------------------------------------------


def _open_npz(data: config.Data, split: SplitName, place: Place) -> Opened:
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
        raise UserError(f"{shown(path)}: damaged, or no .npz ({_said(error)})") from None
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


# --- code beside the card --------------------------------------------------------------------------------------------


def _open_python(data: config.Data, split: SplitName, place: Place) -> Opened:
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
        text = f"{shown(place.code)}:{line}: load({split!r}): {type(error).__name__}: {_said(error)}"
        raise UserError(text) from error
    return _from_arrays(data, split, images, labels, where=where, place=place)


# --- torchvision -----------------------------------------------------------------------------------------------------


def _open_torchvision(data: config.Data, split: SplitName, place: Place) -> Opened:
    import torchvision.datasets

    source = data.source
    assert isinstance(source, config.TorchvisionSource)
    class_ = getattr(torchvision.datasets, source.class_name)
    where = f"{shown(place.card)}: torchvision's {source.class_name}, {split}"
    taken = inspect.signature(class_).parameters
    by_split = {name: _split_argument(taken, name) | source.arguments.get(name, {}) for name in place.splits}
    if any(by_split[name] == by_split[split] for name in by_split if name != split):
        text = "nothing tells train and test apart: the class takes no split, so the card's `arguments` must"
        raise UserError(f"{where}: {text}")
    arguments: dict[str, Any] = dict(by_split[split])
    root = located(place.root, source.path or place.name)
    if "root" in taken:
        arguments["root"] = root
    if "download" in taken:
        arguments["download"] = source.download
    try:
        dataset = class_(**arguments)
        labels = None if place.classes is None else _labels(dataset)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{where}: {type(error).__name__}: {_said(error)}") from None
    if place.classes is not None:
        _check_names(getattr(dataset, "classes", None), place.classes, where)
    fingerprint = None
    if root.is_dir():
        files = {Path(path).relative_to(root).as_posix(): status.st_size for path, status in files_below(root)}
        fingerprint = digest([source.class_name, by_split[split], _listing(dict(sorted(files.items())))])
    return Opened(where, len(dataset), labels, lambda row: _item(dataset, row, where), fingerprint=fingerprint)


def _split_argument(taken: Any, split: SplitName) -> dict[str, Any]:
    """How most classes are told the split."""
    if "train" in taken:
        return {"train": split == "train"}
    return {"split": split} if "split" in taken else {}


def _labels(dataset: Any) -> Labels:
    """From the attribute that has them, or from the items, which reads every image."""
    for name in ("targets", "labels", "_labels"):
        values = getattr(dataset, name, None)
        if values is not None and len(values) == len(dataset):
            return _whole(np.asarray(values))
    return _whole(np.array([dataset[row][1] for row in range(len(dataset))]))


def _whole(labels: npt.NDArray[Any]) -> Labels:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are {labels.dtype} {labels.shape}; expected one integer an image")
    return labels.astype(np.int64)


def _item(dataset: Any, row: int, where: str) -> Image.Image:
    try:
        image = dataset[row][0]
        if not isinstance(image, Image.Image):
            raise TypeError(f"expected an image, got {type(image).__name__}")
        return image.convert("RGB")
    except Exception as error:
        raise UserError(f"{where}: image {row}: {type(error).__name__}: {_said(error)}") from None


def _check_names(found: object, classes: Sequence[str], where: str) -> None:
    """Where the class knows its classes' names, the card has them in the same order."""
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        return
    if len(found) != len(classes):
        raise UserError(f"{where}: {len(found)} classes, but the card names {len(classes)}")
    for label, (theirs, ours) in enumerate(zip(found, classes, strict=True)):
        if _plain(theirs) != _plain(ours):
            raise UserError(f"{where}: class {label} is {theirs!r}, but the card says {ours!r}")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _said(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


_OPENERS: dict[str, Callable[[config.Data, SplitName, Place], Opened]] = {
    "folder": _open_folder,
    "npz": _open_npz,
    "python": _open_python,
    "torchvision": _open_torchvision,
}
