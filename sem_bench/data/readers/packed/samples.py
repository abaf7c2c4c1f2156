"""Samples under one name: an image, and its label in a text or under a key of a JSON beside it."""

import json
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sem_bench.base.files import shown
from sem_bench.data.dataset import Place
from sem_bench.data.readers.image_files import ENDINGS
from sem_bench.data.readers.opened import Labels
from sem_bench.data.readers.words import LABELS, LISTS, in_order, label_number, parts_of, several_in, splits_in
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.packed import Packed, PackedColumns
from sem_bench.errors import UserError

TEXTS = ("cls", "cls.txt", "label", "label.txt", "class")  # endings of a file that holds the label alone
LARGEST = 2**20  # bytes of a file that holds a label


def name_and_ending(path: str) -> tuple[str, str]:
    """As WebDataset splits a file's name: at the first dot behind the last slash. The ending is in lower case."""
    folder, _, name = path.rpartition("/")
    stem, _, ending = name.partition(".")
    return (f"{folder}/{stem}" if folder else stem), ending.lower()


def is_image(ending: str, columns: PackedColumns) -> bool:
    """Whether a file of this ending is the image of its sample."""
    if columns.image is not None:
        return ending == columns.image.lower()
    return f".{ending}".endswith(ENDINGS)


def may_be_label(ending: str, columns: PackedColumns) -> bool:
    """Whether a file of this ending may hold the label."""
    return ending in TEXTS or ending == "json" or (columns.label is not None and ending == columns.label.lower())


def numbered(parts: Iterable[tuple[Path, Sequence[str], Callable[[int], str]]], source: Packed, place: Place) -> Labels:
    """Labels (N,) as numbers, or (N, C) of 0 and 1 where an image may have several classes.

    Of each file its labels as they are written, and what names the image of a row.
    """
    numbers = {name: number for number, name in enumerate(place.classes or ())}
    known, found = dict[str, int](), array("q")  # of each text its number in `several`, or that of its class
    several: list[list[int]] = []
    for file, labels, name in parts:
        for row, text in enumerate(labels):
            if text not in known:
                where = f"{shown(file)}: {name(row)}"
                if place.multi_label:
                    known[text] = len(several)
                    several.append(_row_of(text, source, numbers, where))
                elif listed_labels(text) is not None:
                    raise UserError(f"{where}: a list of labels: `multi_label: true` in the card takes several")
                else:
                    known[text] = label_number(text, numbers, source.first_label, where)
            found.append(known[text])
    codes: Labels = np.array(found, np.int64)
    return np.array(several, np.int64).reshape(-1, len(numbers))[codes] if place.multi_label else codes


def _row_of(text: str, source: Packed, numbers: Mapping[str, int], where: str) -> list[int]:
    """1 for each class that a label names, else 0: a list of JSON, or names with a separator."""
    listed = listed_labels(text)
    if listed is None:
        listed = parts_of(text, source.separator) if source.separator else [text]
    there = {label_number(one, numbers, source.first_label, where) for one in listed if one}
    return [int(label in there) for label in range(len(numbers))]


def seen_labels(labels: set[str], words: Iterable[str]) -> Seen:
    """What a first card says of labels as they are written, and of the words of splits."""
    card, val = splits_in(words)
    lists = [listed for text in labels if (listed := listed_labels(text)) is not None]
    if lists:
        return Seen(card, in_order({one for listed in lists for one in listed}), multi_label=True, val=val)
    if (several := several_in(labels)) is not None:
        return Seen({**card, "separator": several[0]}, in_order(several[1]), multi_label=True, val=val)
    return Seen(card, in_order(labels), val=val)


def listed_labels(text: str) -> list[str] | None:
    """The labels in a list of JSON; None of any other text."""
    try:
        found = json.loads(text) if text.startswith("[") else None
    except ValueError:
        return None
    return [str(one).strip() for one in found] if isinstance(found, list) else None


def label_text(beside: Mapping[str, bytes], columns: PackedColumns, where: str, endings: Sequence[str]) -> str:
    """The label of a sample, from the files beside its image that may hold it, by ending."""
    asked = columns.label or ""
    for ending in [asked.lower()] if asked else TEXTS:
        if ending in beside and ending != "json":
            return beside[ending].decode("utf-8", "replace").strip()
    if "json" in beside:
        try:
            values = json.loads(beside["json"])
        except ValueError:
            raise UserError(f"{where}.json: no JSON") from None
        for key in [asked] if asked else (*LABELS, *LISTS):
            if isinstance(values, dict) and isinstance(value := values.get(key), str | int | list):
                return json.dumps(value) if isinstance(value, list) else str(value).strip()
    there = ", ".join(endings) or "nothing"
    if "json" in beside and isinstance(values, dict):
        there += f" with the keys {', '.join(map(str, values))}"
    missing = f"no label {asked!r}" if asked else "no label"
    way = "" if asked else "; `columns: {label: cls}` below `source` names an ending, or a key of the .json"
    raise UserError(f"{where}: {missing}: the sample has {there}{way}")
