"""The data set classes of torchvision."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sem_bench.base.digest import digest
from sem_bench.base.files import files_below, shown
from sem_bench.base.locks import Lock
from sem_bench.config.fields import SplitName
from sem_bench.data.archives import ENDINGS
from sem_bench.data.dataset import Place, located
from sem_bench.data.described import Data
from sem_bench.data.junk import junk
from sem_bench.data.readers.folder import listing_digest
from sem_bench.data.readers.opened import Labels, Opened, said
from sem_bench.data.readers.words import plain
from sem_bench.data.sources.torchvision import TorchvisionSource
from sem_bench.errors import UserError


def open_torchvision(source: TorchvisionSource, data: Data, split: SplitName, place: Place) -> Opened:
    """A split of a class, which is told about it as the card says, or by its own `train` or `split`."""
    import torchvision.datasets
    from torch.utils.data import ConcatDataset

    class_ = getattr(torchvision.datasets, source.class_name)
    where = f"{shown(place.card)}: torchvision's {source.class_name}, {split}"
    taken = inspect.signature(class_).parameters
    by_split = {name: _arguments(source, taken, name) for name in place.splits}
    if same := next((name for name in by_split if name != split and by_split[name] == by_split[split]), None):
        both = " and ".join(name for name in by_split if name in (split, same))
        text = f"nothing tells {both} apart: the class takes no split, so the card's `arguments` must"
        raise UserError(f"{where}: {text}")
    root = located(place.root, source.path or place.name)
    shared: dict[str, Any] = {"root": root} if "root" in taken else {}
    try:
        parts = _built(class_, _listed(by_split[split]), shared, root, download=source.download and "download" in taken)
        labels = None if place.classes is None else np.concatenate([_labels(part) for part in parts])
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{where}: {type(error).__name__}: {said(error)}") from None
    for part in parts:
        if place.classes is not None:
            _check_names(getattr(part, "classes", None), place.classes, where)
    files = [path for part in parts for path in _files(part)]
    for path in files:
        if not path.is_file():
            again = f"; a run fetches {shown(root)} anew once that is deleted" if place.fetched else ""
            raise UserError(f"{where}: {shown(path)} is absent{again}")
    dataset = parts[0] if len(parts) == 1 else ConcatDataset(parts)
    fingerprint = None
    if root.is_dir():
        listed = {Path(path).relative_to(root).as_posix(): status.st_size for path, status in files_below(root)}
        # An archive that was unpacked may be deleted, and hidden files come and go.
        kept = {name: size for name, size in sorted(listed.items()) if not name.endswith(ENDINGS) and not junk(name)}
        fingerprint = digest([source.class_name, by_split[split], listing_digest(kept)])
    names = files if len(files) == len(dataset) else None
    return Opened(where, len(dataset), labels, lambda row: _item(dataset, row, where, names), fingerprint=fingerprint)


def _built(
    class_: Any, calls: Sequence[dict[str, Any]], shared: dict[str, Any], root: Path, *, download: bool
) -> list[Any]:
    """Data sets of the class; what is absent is fetched by one process at a time, for all runs that share the data."""
    if not download:
        return [class_(**arguments, **shared) for arguments in calls]
    try:
        return _built(class_, calls, shared | {"download": False}, root, download=False)
    except Exception:
        root.mkdir(parents=True, exist_ok=True)
        with Lock(root / ".download"):
            return _built(class_, calls, shared | {"download": True}, root, download=False)


def _arguments(source: TorchvisionSource, taken: Any, split: SplitName) -> dict[str, Any] | list[dict[str, Any]]:
    """What the class is told for a split, once or for each of its parts."""
    own = source.arguments.get(split, {})
    parts = [_split_argument(taken, split) | part for part in _listed(own)]
    return parts if isinstance(own, list) else parts[0]


def _listed(arguments: Any) -> list[dict[str, Any]]:
    return arguments if isinstance(arguments, list) else [arguments]


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
    pairs = getattr(dataset, "_samples", None)  # StanfordCars: (path, label)
    if isinstance(pairs, list) and len(pairs) == len(dataset):
        return _whole(np.array([label for _, label in pairs]))
    return _whole(np.array([dataset[row][1] for row in range(len(dataset))]))


def _whole(labels: npt.NDArray[Any]) -> Labels:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are {labels.dtype} {labels.shape}; expected one integer an image")
    return labels.astype(np.int64)


def _files(part: Any) -> list[Path]:
    """The files of its images, where the class keeps a list of them."""
    for name in ("_image_files", "_images", "_samples"):
        found = getattr(part, name, None)
        if isinstance(found, list) and len(found) == len(part):
            paths = [one[0] if isinstance(one, tuple) else one for one in found]
            return [Path(path) for path in paths if isinstance(path, str | Path)]
    return []


def _item(dataset: Any, row: int, where: str, files: Sequence[Path] | None) -> Image.Image:
    try:
        image = dataset[row][0]
        if not isinstance(image, Image.Image):
            raise TypeError(f"expected an image, got {type(image).__name__}")
        return image.convert("RGB")
    except Exception as error:
        name = shown(files[row]) if files else f"image {row}"
        raise UserError(f"{where}: {name}: {type(error).__name__}: {said(error)}") from None


def _check_names(found: object, classes: Sequence[str], where: str) -> None:
    """Where the class knows its classes' names, the card has them in the same order."""
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        return
    if len(found) != len(classes):
        raise UserError(f"{where}: {len(found)} classes, but the card names {len(classes)}")
    for label, (theirs, ours) in enumerate(zip(found, classes, strict=True)):
        if plain(theirs) != plain(ours):
            raise UserError(f"{where}: class {label} is {theirs!r}, but the card says {ours!r}")
