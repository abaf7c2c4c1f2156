"""Train and test drawn from images that come without a split: of each class its share, the same for everyone."""

import hashlib
import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from sem_bench.config.fields import Model, SplitName


class DrawnSplit(Model):
    """`split: {test: 0.2, seed: 0}`."""

    test: Annotated[float, Field(gt=0, lt=1)]  # share of each class
    seed: Annotated[int, Field(ge=0)] = 0


def rows_of(split: SplitName, drawn: DrawnSplit, names: Sequence[str], labels: Sequence[int]) -> list[int]:
    """The rows of a split, in order. `names` (N) are the images' names, `labels` (N) their classes.

    An image's place depends on its name and the seed alone, by SHA-256: no library and no order of files changes it.
    Of n images of a class round(test * n) are test images, but at least one of each split where there are two.
    """
    by_class: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        by_class.setdefault(label, []).append(row)
    test: set[int] = set()
    for rows in by_class.values():
        count = min(max(math.floor(drawn.test * len(rows) + 0.5), 1), len(rows) - 1)
        ranked = sorted(rows, key=lambda row: hashlib.sha256(f"{drawn.seed}\t{names[row]}".encode()).digest())
        test.update(ranked[:count])
    return [row for row in range(len(labels)) if (row in test) == (split == "test")]
