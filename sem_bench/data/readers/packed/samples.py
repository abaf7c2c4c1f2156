"""Samples under one name: an image, and its label in a text or under a key of a JSON beside it."""

import json
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sem_bench.base.files import shown
from sem_bench.data.readers.image_files import ENDINGS
from sem_bench.data.readers.opened import Labels
from sem_bench.data.readers.words import LABELS, label_number
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


def numbered(
    parts: Iterable[tuple[Path, Sequence[str], Callable[[int], str]]], source: Packed, classes: Sequence[str]
) -> Labels:
    """Labels as numbers: of each file its labels as they are written, and what names the image of a row."""
    numbers, known = {name: number for number, name in enumerate(classes)}, dict[str, int]()
    found = array("q")
    for file, labels, name in parts:
        for row, text in enumerate(labels):
            if text not in known:
                known[text] = label_number(text, numbers, source.first_label, f"{shown(file)}: {name(row)}")
            found.append(known[text])
    return np.array(found, np.int64)


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
        for key in [asked] if asked else LABELS:
            if isinstance(values, dict) and key in values and isinstance(values[key], str | int):
                return str(values[key]).strip()
    there = ", ".join(endings) or "nothing"
    if "json" in beside and isinstance(values, dict):
        there += f" with the keys {', '.join(map(str, values))}"
    missing = f"no label {asked!r}" if asked else "no label"
    way = "" if asked else "; `columns: {label: cls}` below `source` names an ending, or a key of the .json"
    raise UserError(f"{where}: {missing}: the sample has {there}{way}")
