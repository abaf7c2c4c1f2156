"""Readers: a split of a data set, however its images lie on disk, opened as one thing.

Whatever is wrong with a user's files is a UserError of one line that names the file.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sem_bench.base.digest import digest
from sem_bench.base.files import shown
from sem_bench.config.fields import SplitName
from sem_bench.data.dataset import Place
from sem_bench.data.described import Data, ShiftedData
from sem_bench.data.readers.opened import Labels, Opened
from sem_bench.data.several_labels import occurring
from sem_bench.errors import UserError


def open_split(data: Data, split: SplitName, place: Place) -> Opened:
    """A split of a data set. Raises UserError where it is not what the card says."""
    opened = data.source.read(data, split, place)
    wanted = data.counts[split]
    if opened.count != wanted:
        text = f"{opened.where}: {opened.count} images, but {shown(place.card)} says {split}: {wanted}"
        raise UserError("; ".join(filter(None, [text, opened.aside])))
    if place.classes is not None:
        if opened.labels is None:
            raise UserError(f"{opened.where}: no labels, but {shown(place.card)} names classes")
        _check_labels(opened.labels, place, split, opened.where)
        if without := _without(opened.labels, place, split):
            text = f"without an image of {', '.join(without)}"
            opened = replace(opened, aside="; ".join(filter(None, [opened.aside, text])))
        if isinstance(data, ShiftedData) and data.left_out:
            return _shared(opened, place.classes, data)
    return opened


def _without(labels: Labels, place: Place, split: SplitName) -> Sequence[str]:
    """The classes that a split may lack and does: those that the card names of test, any of val."""
    if split == "val":
        there = occurring(labels)
        return [name for label, name in enumerate(place.classes or ()) if label not in there]
    return place.absent_in_test if split == "test" else ()


def _shared(opened: Opened, classes: Sequence[str], data: ShiftedData) -> Opened:
    """The images of the classes that the base set has, their labels counting in `data.classes`."""
    number = np.array([data.classes.index(name) if name in data.classes else -1 for name in classes])[opened.labels]
    rows = np.flatnonzero(number >= 0)
    names = data.left_out
    few = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    aside = f"left out: {opened.count - len(rows):,} images of classes that the base set lacks: {few}"
    return replace(
        opened,
        count=len(rows),
        labels=number[rows].astype(np.int64),
        read=lambda row: opened.read(int(rows[row])),
        arrays=None if opened.arrays is None else opened.arrays[rows],
        fingerprint=None if opened.fingerprint is None else digest([opened.fingerprint, data.left_out]),
        names=None if opened.names is None else [opened.names[row] for row in rows.tolist()],
        aside="; ".join(filter(None, [opened.aside, aside])),
    )


def _check_labels(labels: Labels, place: Place, split: SplitName, where: str) -> None:
    classes = place.classes or ()
    there = occurring(labels)
    strange = sorted(there - set(range(len(classes))))
    if strange:
        last = len(classes) - 1
        raise UserError(f"{where}: label {strange[0]}, but the card names {len(classes)} classes, 0 to {last}")
    absent = [classes[label] for label in sorted(set(range(len(classes))) - there)]
    if split == "val":  # what it lacks is not validated on
        return
    if split == "test":
        absent = [name for name in absent if name not in place.absent_in_test]
    if absent:
        raise UserError(f"{where}: no image of class {absent[0]!r}{place.may_be_absent(split, absent)}")
