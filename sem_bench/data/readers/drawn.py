"""The rows of a split that is drawn."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sem_bench.base.digest import digest
from sem_bench.config.fields import SplitName
from sem_bench.data.drawn_split import DrawnSplit, rows_of
from sem_bench.data.readers.opened import Labels, Opened
from sem_bench.data.several_labels import strata


def drawn_rows(split: SplitName, drawn: DrawnSplit, names: Sequence[str], labels: Labels | None) -> Labels:
    """Sorted rows of a split, of images with these names (N); labels (N,) or (N, C), None where there are none."""
    groups = [0] * len(names) if labels is None else strata(labels).tolist()
    return np.array(rows_of(split, drawn, names, groups), np.int64)


def drawn_from(opened: Opened, split: SplitName, drawn: DrawnSplit) -> Opened:
    """A split of images that are known by their number; each is read when it is needed."""
    rows = drawn_rows(split, drawn, list(map(str, range(opened.count))), opened.labels)
    return replace(
        opened,
        count=len(rows),
        labels=None if opened.labels is None else opened.labels[rows],
        read=lambda row: opened.read(int(rows[row])),
        arrays=None,
        fingerprint=None if opened.fingerprint is None else digest([opened.fingerprint, rows.tolist()]),
    )
