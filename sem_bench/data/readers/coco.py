"""JSON files of COCO: which images there are, and which classes their annotations name."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sem_bench.base.digest import digest
from sem_bench.base.files import lines_digest, shown
from sem_bench.config.fields import SplitName
from sem_bench.config.validation import did_you_mean
from sem_bench.data.dataset import Place, located
from sem_bench.data.described import Data
from sem_bench.data.drawn_split import DrawnSplit
from sem_bench.data.junk import junk
from sem_bench.data.readers.drawn import drawn_rows
from sem_bench.data.readers.image_files import read_image
from sem_bench.data.readers.opened import Labels, Opened
from sem_bench.data.readers.words import DRAWN, as_class, split_patterns, splits_said
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.coco import CocoSource
from sem_bench.errors import UserError

KEPT = ("images", "annotations", "categories", "id", "name", "file_name", "image_id", "category_id")
FIRST = re.compile(rb'\s*\{\s*"(info|licenses?|images|annotations|categories)"\s*:')  # of such a file
BESIDE = 1000  # files of JSON in a folder that are looked at


class _OtherJsonError(UserError):
    """A file that is none of COCO."""


@dataclass(frozen=True)
class _Coco:
    """What is kept of a file."""

    images: Sequence[str]  # their files
    categories: Sequence[str]
    rows: Labels  # (A,) of each annotation its image,
    numbers: Labels  # and its category


def open_coco(source: CocoSource, data: Data, split: SplitName, place: Place) -> Opened:
    """The images of a split. A file that is absent, or in two splits, is an error with its name."""
    file, folder = _where(source, split, place)
    found = _opened(file)
    _check_apart(source, split, place)
    labels, aside = (None, "") if place.classes is None else _labels(found, file, place)
    rows = np.arange(len(found.images))
    if source.split is not None:
        rows = drawn_rows(split, source.split, found.images, labels)
        labels = None if labels is None else labels[rows]
    names = [found.images[row] for row in rows.tolist()]
    seen = hashlib.sha256(b"" if labels is None else labels.tobytes()).hexdigest()
    return Opened(
        f"{shown(file)}: {split}",
        len(names),
        labels,
        lambda row: read_image(folder / names[row], source),
        fingerprint=digest([lines_digest(_sizes(file, folder, names)), seen]),
        names=names,
        aside=aside,
    )


def _where(source: CocoSource, split: SplitName, place: Place) -> tuple[Path, Path]:
    """The JSON of a split, and the folder of its images."""
    word = source.word(split)
    file = located(place.root, source.path.replace("{split}", word))
    return file, located(place.root, source.images.replace("{split}", word)) if source.images else file.parent


def _check_apart(source: CocoSource, split: SplitName, place: Place) -> None:
    """Raises UserError where an image stands in the files of two splits."""
    file, folder = _where(source, split, place)
    names = set(_opened(file).images)
    for name in place.splits:
        other, beside = _where(source, name, place)
        if other != file and beside == folder and (twice := names & set(_opened(other).images)):
            raise UserError(f"{shown(file)}: {min(twice)} is an image of {shown(other)}, too")


def _labels(found: _Coco, file: Path, place: Place) -> tuple[Labels, str]:
    """(N, C) of 0 and 1 where an image may have several classes, else (N,); and what is left out, in words."""
    classes = place.classes or ()
    there, used = _there(found, classes), set(found.numbers.tolist())
    others = [name for number, name in enumerate(found.categories) if name not in classes and number in used]
    if place.multi_label:
        return there, f"{len(others)} categories are no class of the card: {_few(others)}" if others else ""
    if others:
        raise UserError(f"{shown(file)}: no class {others[0]!r}{did_you_mean(others[0], classes)}")
    counts = there.sum(1)
    if (counts != 1).any():
        row = int(np.flatnonzero(counts != 1)[0])
        way = "`multi_label: true` in the card takes several, and none"
        raise UserError(f"{shown(file)}: {found.images[row]} has {counts[row]} classes; {way}")
    return there.argmax(1), ""


def _there(found: _Coco, classes: Sequence[str]) -> Labels:
    """(N, C): 1 where an image has a class."""
    own = {name: number for number, name in enumerate(classes)}
    numbers = np.array([own.get(name, len(own)) for name in found.categories], np.int64)
    there = np.zeros((len(found.images), len(own) + 1), np.int64)  # the last for all others
    there[found.rows, numbers[found.numbers]] = 1
    return there[:, :-1]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _sizes(file: Path, folder: Path, names: Sequence[str]) -> Iterator[str]:
    """Names and sizes of the files, as a fingerprint has them."""
    for name in names:
        try:
            yield f"{name}\t{(folder / name).stat().st_size}"
        except OSError:
            raise UserError(f"{shown(file)}: {shown(folder / name)}: no such image") from None


def _opened(file: Path) -> _Coco:
    try:
        status = file.stat()
    except OSError as error:
        raise UserError(f"{shown(file)}: cannot be read: {error.strerror}") from None
    return _content(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _content(file: Path, changed: int, size: int) -> _Coco:
    """A file, read once while it does not change. Raises UserError where it is none of COCO."""
    try:
        with file.open(encoding="utf-8-sig") as text:
            whole = json.load(text, object_hook=_kept)
    except json.JSONDecodeError as error:
        raise UserError(f"{shown(file)}:{error.lineno}: no JSON ({error.msg})") from None
    except (UnicodeDecodeError, RecursionError):
        raise UserError(f"{shown(file)}: no JSON") from None
    except OSError as error:
        raise UserError(f"{shown(file)}: cannot be read: {error.strerror}") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(whole, dict) or not isinstance(whole.get(key), list):
            raise _OtherJsonError(f"{shown(file)}: no list of {key}, as COCO has it")
    images, annotations, categories = (
        _listed(whole, key, needs, file)
        for key, needs in (
            ("images", ("id", "file_name")),
            ("annotations", ("image_id", "category_id")),
            ("categories", ("id", "name")),
        )
    )
    rows = _numbered([one["id"] for one in images], "images", file)
    numbers = _numbered([one["id"] for one in categories], "categories", file)
    for key, known in (("image_id", rows), ("category_id", numbers)):
        if strange := [one[key] for one in annotations if one[key] not in known]:
            raise UserError(f"{shown(file)}: an annotation has {key} {strange[0]!r}, which is not there")
    names = [str(one["file_name"]).replace("\\", "/") for one in images]
    if len(set(names)) < len(names):
        raise UserError(f"{shown(file)}: {Counter(names).most_common(1)[0][0]} is named a second time")
    return _Coco(
        names,
        [as_class(str(one["name"]).strip()) for one in categories],
        np.array([rows[one["image_id"]] for one in annotations], np.int64),
        np.array([numbers[one["category_id"]] for one in annotations], np.int64),
    )


def _kept(one: dict[str, Any]) -> dict[str, Any]:
    """Of an object what is needed: masks and captions take a thousand times the memory."""
    return {key: one[key] for key in KEPT if key in one}


def _listed(whole: Any, key: str, needs: Sequence[str], file: Path) -> list[dict[str, Any]]:
    """A list of objects that have these keys."""
    found: list[dict[str, Any]] = whole[key]
    for number, one in enumerate(found):
        for need in needs:
            if not isinstance(one, dict) or not isinstance(one.get(need), str | int):
                raise UserError(f"{shown(file)}: number {number} of {key} has no {need}")
    return found


def _numbered(ids: Sequence[Any], key: str, file: Path) -> dict[Any, int]:
    found = {one: row for row, one in enumerate(ids)}
    if len(found) < len(ids):
        raise UserError(f"{shown(file)}: {key}: id {Counter(ids).most_common(1)[0][0]!r} is there twice")
    return found


def coco_files(path: Path) -> tuple[str, Mapping[SplitName, str]] | None:
    """The JSON of a path, below it: one with {split} in its name and the words of the splits, or a single one.

    Of several kinds that of objects, `instances`. None where there is no such file; UserError where it is not clear.
    """
    if path.is_file():
        return ("", {}) if path.suffix.lower() == ".json" and _may_be(path) else None
    near = (file for pattern in ("*.json", "*/*.json") for file in path.glob(pattern))
    names = [file.relative_to(path).as_posix() for file in islice(near, BESIDE) if _may_be(file)]
    names = sorted(name for name in names if not junk(name))
    names = [name for name in names if "instances" in name] or [name for name in names if _is_coco(path / name)]
    patterns = [(name, words) for name, words in split_patterns(names).items() if splits_said(words) is not None]
    if len(patterns) == 1:
        return patterns[0]
    if len(names) > 1:
        few = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise UserError(f"{shown(path)}: {len(names)} files of COCO, {few}: choose, as `card {shown(path / names[0])}`")
    return (names[0], {}) if names else None


def _may_be(file: Path) -> bool:
    """Whether a file begins as those of COCO do."""
    try:
        with file.open("rb") as content:
            return FIRST.match(content.read(4096).removeprefix(b"\xef\xbb\xbf")) is not None
    except OSError:
        return False


def _is_coco(file: Path) -> bool:
    """Whether a file has the lists that those of COCO have; whatever else is wrong with it is for the reader to say."""
    try:
        _opened(file)
    except _OtherJsonError:
        return False
    except UserError:
        pass
    return True


def first_card(path: Path, below: str, words: Mapping[SplitName, str]) -> Seen:
    """What a first card says of a file, or of those of the splits: the categories that each split has images of."""
    card = splits_said(dict(words)) if words else dict(DRAWN)
    names = {split: below.replace("{split}", word) for split, word in (words or {"train": ""}).items()}
    found = {split: _opened(path / name if name else path) for split, name in names.items()}
    seen = Seen(card or {}, below={"path": below}, val="val" in found, names=list(found["train"].images[:8]))
    seen.word = words.get("train", "")
    there = [
        {one.categories[number] for number in one.numbers.tolist()} for split, one in found.items() if split != "val"
    ]
    categories = list(dict.fromkeys(found["train"].categories))
    seen.classes = [name for name in categories if all(name in some for some in there)]
    if not words:
        seen.classes = _drawn_classes(found["train"], seen.classes)
    without = [name for name in categories if name not in seen.classes]
    if len(seen.classes) < 2:
        where = shown(path / names["train"] if below else path)
        raise UserError(
            f"{where}: {len(seen.classes)} categories with images for training and for testing; two are needed"
        )
    if without:
        seen.notes.append(f"{len(without)} categories without images in each split are left out: {_few(without)}")
    seen.multi_label = any(_several(one, some) for one in found.values() for some in (seen.classes, one.categories))
    return seen


def _drawn_classes(found: _Coco, classes: Sequence[str]) -> list[str]:
    """The classes that both splits have images of, where a first card draws them."""
    classes, drawn = list(classes), DrawnSplit.model_validate(DRAWN["split"])
    while True:
        labels = _there(found, classes)
        parts = [labels[drawn_rows(split, drawn, found.images, labels)] for split in ("train", "test")]
        everywhere = np.all([part.any(0) for part in parts], 0).tolist()
        both = [name for name, there in zip(classes, everywhere, strict=True) if there]
        if both == classes:
            return classes
        classes = both


def _several(found: _Coco, classes: Sequence[str]) -> bool:
    """Whether an image has not exactly one of the classes."""
    pairs = {(row, number) for row, number in zip(found.rows.tolist(), found.numbers.tolist(), strict=True)}
    counts = Counter(row for row, number in pairs if found.categories[number] in classes)
    return len(counts) < len(found.images) or max(counts.values(), default=0) > 1
