"""The rows of a split that is drawn."""

from collections.abc import Sequence

import numpy as np

from sem_bench.config.fields import SplitName
from sem_bench.data.drawn_split import DrawnSplit, rows_of
from sem_bench.data.readers.opened import Labels
from sem_bench.data.several_labels import strata


def drawn_rows(split: SplitName, drawn: DrawnSplit, names: Sequence[str], labels: Labels | None) -> Labels:
    """Sorted rows of a split, of images with these names (N); labels (N,) or (N, C), None where there are none."""
    groups = [0] * len(names) if labels is None else strata(labels).tolist()
    return np.array(rows_of(split, drawn, names, groups), np.int64)
