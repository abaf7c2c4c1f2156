"""Splits drawn from images that come without one: of each class its share, the same for everyone."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from sem_bench.config.fields import Model, SplitName


class DrawnSplit(Model):
    """`split: {test: 0.2, seed: 0}`, with `val: 0.1` where a probe is to choose on images of its own."""

    test: Annotated[float, Field(gt=0, lt=1)]  # share of each class
    seed: Annotated[int, Field(ge=0)] = 0
    val: Annotated[float, Field(gt=0, lt=1)] | None = None  # likewise

    @model_validator(mode="after")
    def _some_to_train_on(self) -> Self:
        if self.test + (self.val or 0) >= 1:
            raise ValueError("test and val leave nothing to train on")
        return self


def check_drawn(drawn: DrawnSplit | None, splits: Iterable[SplitName]) -> None:
    """Raises ValueError where a card counts images of a split that is not drawn, or the other way round."""
    if drawn is not None and ("val" in splits) != (drawn.val is not None):
        raise ValueError("source: `val` stands in `splits` and in `split: {test: 0.2, val: 0.1}`, or in neither")


def rows_of(split: SplitName, drawn: DrawnSplit, names: Sequence[str], labels: Sequence[int]) -> list[int]:
    """The rows of a split, in order. `names` (N) are the images' names, `labels` (N) their classes.

    An image's place depends on its name and the seed alone, by SHA-256: no library and no order of files changes it.
    Of n images of a class round(test * n) are test images, but at least one of each split where there are two; then
    val has its share of the rest, but for one.
    """
    by_class: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        by_class.setdefault(label, []).append(row)
    chosen: dict[SplitName, set[int]] = {"test": set(), "val": set()}
    for rows in by_class.values():
        count = min(max(math.floor(drawn.test * len(rows) + 0.5), 1), len(rows) - 1)
        ranked = sorted(rows, key=lambda row: hashlib.sha256(f"{drawn.seed}\t{names[row]}".encode()).digest())
        held = min(math.floor((drawn.val or 0) * len(rows) + 0.5), len(rows) - 1 - count)
        chosen["test"].update(ranked[:count])
        chosen["val"].update(ranked[count : count + held])
    if split in chosen:
        return sorted(chosen[split])
    return [row for row in range(len(labels)) if row not in chosen["test"] | chosen["val"]]
