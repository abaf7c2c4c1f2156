"""Arrays as people have them, brought to one form: images uint8 (N, H, W, 3), labels int64 (N,).

A form with one meaning is taken; where numbers could mean several things, a word in the card says which.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sem_bench.config.validation import did_you_mean
from sem_bench.data.dataset import Place
from sem_bench.data.readers.opened import Labels, Pixels
from sem_bench.data.readers.words import in_order
from sem_bench.data.sources.base import Arrays
from sem_bench.errors import UserError


@dataclass(frozen=True)
class Images:
    """Images (N, H, W, 3): all at once where they are bytes, else one by one."""

    count: int
    size: tuple[int, int]
    one: Callable[[int], Pixels]  # (H, W, 3) of a row
    arrays: Pixels | None
    done: str  # in words


def as_array(values: object) -> object:
    """A tensor of torch, a column of pandas or a list of numbers as an array; anything else as it is."""
    for name in ("detach", "cpu", "to_numpy", "numpy"):
        if not isinstance(values, np.ndarray) and callable(method := getattr(values, name, None)):
            values = method()
    if isinstance(values, list | tuple) and values and all(isinstance(one, int | np.integer | str) for one in values):
        return np.asarray(values)
    return values


def images_of(given: npt.NDArray[Any], rules: Arrays, where: str) -> Images | None:
    """Channels last, grey three times, without transparency. None for another number of axes or channels."""
    shape, done = given.shape, []
    if given.ndim == 3:
        given = given[..., None]
    elif given.ndim != 4:
        return None
    elif shape[3] not in (1, 3, 4) and shape[1] in (1, 3, 4):
        given = given.transpose(0, 2, 3, 1)
        done.append("channels come first")
    if given.shape[3] not in (1, 3, 4):
        return None
    if given.shape[3] == 4:
        given = given[..., :3]
        done.append("transparency is ignored")
    if given.shape[3] == 1:
        given = np.broadcast_to(given, (*given.shape[:3], 3))  # grey, not copied
    values = given
    size = (values.shape[1], values.shape[2])
    if values.dtype == np.uint8 and rules.scale in (None, 255):
        return Images(len(values), size, lambda row: np.ascontiguousarray(values[row]), values, "; ".join(done))
    if not np.issubdtype(values.dtype, np.floating) or rules.scale is None:
        raise UserError(f"{where}: images are {values.dtype} {shape}; expected uint8{_meant(values, rules)}")
    white = rules.scale
    done.append(f"floats from 0 to {white}")

    def one(row: int) -> Pixels:
        image = np.asarray(values[row], np.float64)
        if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= white):
            text = f"values from {image.min():g} to {image.max():g}; the card says `scale: {white}`"
            raise UserError(f"{where}: image {row}: {text}")
        return (image * (255 / white) + 0.5).astype(np.uint8)

    return Images(len(values), size, one, None, "; ".join(done))


def _meant(values: npt.NDArray[Any], rules: Arrays) -> str:
    """Which word in the card would do, as the first image looks."""
    if rules.scale is not None or not len(values) or not np.issubdtype(values.dtype, np.floating):
        return "; bytes from 0 to 255" if not np.issubdtype(values.dtype, np.floating) else ""
    low, high = float(np.min(values[:64])), float(np.max(values[:64]))
    if low < 0 or not high > 0 or high > 255:
        return f"; the first ones go from {low:g} to {high:g}: undo what normalised them"
    word = f"`scale: {1 if high <= 1 else 255}`"
    return f"; the first ones go from {low:g} to {high:g}: write {word} below `source` in the card"


def labels_of(
    given: npt.NDArray[Any], count: int, classes: Sequence[str], rules: Arrays, where: str, *, several: bool = False
) -> Labels | None:
    """Numbers, names, or one-hot rows as numbers from 0. None for another shape or kind.

    With `several` a row may have any number of ones: (N, C) of 1 where a class is there, 0 or -1 where not.
    """
    if several:
        return _of_several(given, (count, len(classes)), where)
    given = _column(given)
    if given.ndim == 2 and given.shape == (count, len(classes)) and given.dtype.kind in "iufb":
        if not (((given == 0) | (given == 1)).all() and (given.sum(1) == 1).all()):
            way = "; `multi_label: true` in the card where an image may have several classes"
            raise UserError(f"{where}: labels {given.shape} are not one-hot: a row has not exactly one 1{way}")
        return np.asarray(given.argmax(1), np.int64)
    if given.shape != (count,):
        return None
    if given.dtype.kind in "USO":
        return _by_name(given, classes, where)
    if not np.issubdtype(given.dtype, np.integer):
        return None
    labels = given.astype(np.int64)
    if not rules.first_label and len(labels) and (labels.min() < 0 or labels.max() >= len(classes)):
        numbers = {name: number for number, name in enumerate(classes)}
        if {str(one) for one in np.unique(labels)} <= numbers.keys():  # classes that are called by their numbers
            return np.array([numbers[str(one)] for one in labels], np.int64)
    if not rules.first_label and len(labels) and labels.min() == 1 and labels.max() == len(classes):
        raise UserError(f"{where}: labels from 1 to {len(classes)}: write `first_label: 1` below `source` in the card")
    return labels - rules.first_label


def _column(given: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Labels (N, 1) or (N, 1, 1, 1) as (N,)."""
    return given.reshape(len(given)) if given.ndim > 1 and given.size == len(given) else given


def _of_several(given: npt.NDArray[Any], shape: tuple[int, int], where: str) -> Labels | None:
    """Rows of 1, and 0 or -1, as 1 and 0 (N, C). None for another shape or kind."""
    if given.shape != shape or given.dtype.kind not in "iufb":
        return None
    there = given == 1
    strange = ~(there | (given == 0))
    if given.dtype.kind in "if":
        strange &= given != -1
    if strange.any():
        row, label = map(int, np.argwhere(strange)[0])
        text = f"{given[row, label]} of class {label}; a class is there, 1, or not, 0 or -1"
        raise UserError(f"{where}: labels of image {row}: {text}")
    return np.asarray(there, np.int64)


def expected_labels(count: int, place: Place) -> str:
    """What labels should be, in words."""
    if place.multi_label:
        return f"0 and 1 {(count, len(place.classes or ()))}, a column for each class"
    return f"{(count,)}, one an image"


def classes_of(labels: Sequence[npt.NDArray[Any]]) -> tuple[list[str], bool, dict[str, int]]:
    """What a first card says of the labels of all splits: classes, whether an image has several, more of the source."""
    given = np.concatenate([_column(one) for one in labels])
    if given.ndim == 2:
        return list(map(str, range(given.shape[1]))), not (given.sum(1) == 1).all(), {}
    if given.dtype.kind in "OUS":
        return in_order({one.decode() if isinstance(one, bytes) else str(one) for one in given.tolist()}), False, {}
    numbers = list(map(int, np.unique(given)))
    first = int(bool(numbers) and numbers[0] == 1)
    if given.dtype.kind not in "iub" or numbers != list(range(first, first + len(numbers))):  # called by their numbers
        return list(map(str, numbers)), False, {}
    return list(map(str, range(len(numbers)))), False, {"first_label": first} if first else {}


def _by_name(given: npt.NDArray[Any], classes: Sequence[str], where: str) -> Labels:
    numbers = {name: number for number, name in enumerate(classes)}
    names = [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in given.tolist()]
    if unknown := next((name for name in names if name not in numbers), None):
        raise UserError(f"{where}: no class {unknown!r}{did_you_mean(unknown, classes)}")
    return np.array([numbers[name] for name in names], np.int64)


def size_and_scale(images: Any) -> tuple[int | None, dict[str, int]]:
    """What a first card says of arrays of pixels: their side, and what white is where they are floats.

    None where the shape has no side, and nothing of floats that are neither: whoever reads them says what is wrong.
    """
    size = next((int(side) for side in images.shape[1:] if side > 4), None)
    if not np.issubdtype(images.dtype, np.floating):
        return size, {}
    first = np.asarray(images[:64])
    return size, {} if np.nanmin(first) < 0 else {"scale": 1 if np.nanmax(first) <= 1 else 255}
