"""Readers: a split of a data set, however its images lie on disk, opened as one thing.

Whatever is wrong with a user's files is a UserError of one line that names the file.
"""

from collections.abc import Sequence

from sem_bench.base.files import shown
from sem_bench.config.fields import SplitName
from sem_bench.data.dataset import Place
from sem_bench.data.described import Data
from sem_bench.data.readers.opened import Labels, Opened
from sem_bench.errors import UserError


def open_split(data: Data, split: SplitName, place: Place) -> Opened:
    """A split of a data set. Raises UserError where it is not what the card says."""
    opened = data.source.read(data, split, place)
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
