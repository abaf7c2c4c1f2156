"""What arrays of images and labels are usually called, and files of them."""

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sem_bench.config.fields import SplitName
from sem_bench.data.readers.words import DRAWN, USUAL, split_patterns, splits_said

Pair = tuple[str, str]
"""The names of images and labels."""
OF_SPLITS: list[Pair] = [
    ("{split}_images", "{split}_labels"),
    ("x_{split}", "y_{split}"),
    ("X_{split}", "y_{split}"),
    ("{split}_x", "{split}_y"),
    ("{split}_X", "{split}_y"),
    ("images_{split}", "labels_{split}"),
    ("{split}_data", "{split}_labels"),
]
ALONE: list[Pair] = [  # where there is one pair
    ("images", "labels"),
    ("image", "label"),
    ("x", "y"),
    ("X", "y"),
    ("X", "Y"),
    ("data", "labels"),
    ("data", "label"),
    ("images", "targets"),
    ("data", "targets"),
]


MANY = 100  # arrays whose shapes are looked at


@dataclass(frozen=True)
class Found:
    """A usual pair of names, and which arrays are there."""

    pair: Pair
    splits: dict[SplitName, Pair]
    card: dict[str, Any] = field(default_factory=dict)  # what a first card says below `source` of the splits


def of_split(pair: Pair, word: str) -> Pair:
    """A pair with the word of a split in the place of {split}."""
    return pair[0].replace("{split}", word), pair[1].replace("{split}", word)


def names_in(
    there: Iterable[str], shape_of: Callable[[str], Sequence[int] | None], patterns: Sequence[Pair] = OF_SPLITS
) -> Found | None:
    """The names of images and labels among arrays: usual ones, else those that the shapes tell.

    Of train and test, or of one pair that splits are drawn from. None where there is no such pair.
    """
    there = list(there)
    if (found := _usual(there, patterns)) is not None or len(there) > MANY:
        return found
    shapes = {name: shape for name in there if (shape := shape_of(name)) is not None}
    return _by_shape(shapes)


def _by_shape(shapes: Mapping[str, Sequence[int]]) -> Found | None:
    """Two arrays, or two for each split, of which one can be images and the other cannot."""
    whole = split_patterns(f"{name}.array" for name in shapes)
    splits = {name.removesuffix(".array"): words for name, words in whole.items() if splits_said(words) is not None}
    some = {name: shapes[of_split((name, ""), words["train"])[0]] for name, words in splits.items()} or dict(shapes)
    images = [name for name, shape in some.items() if len(shape) > 2]
    labels = [name for name, shape in some.items() if len(shape) < 3]
    if len(some) != 2 or len(images) != 1 or some[images[0]][:1] != some[labels[0]][:1]:
        return None
    pair = images[0], labels[0]
    if not splits:
        return Found(pair, {"train": pair}, dict(DRAWN))
    words = splits[pair[0]]
    return Found(pair, {split: of_split(pair, word) for split, word in words.items()}, splits_said(words) or {})


def _usual(there: Container[str], patterns: Sequence[Pair]) -> Found | None:
    for pair in patterns:
        words = {split: word for split in USUAL if (word := _word(there, pair, split)) is not None}
        if (card := splits_said(words)) is not None:
            return Found(pair, {split: of_split(pair, word) for split, word in words.items()}, card)
    trains = [of_split(pair, word) for pair in patterns if (word := _word(there, pair, "train")) is not None]
    alone = next((pair for pair in (*ALONE, *trains) if _are_there(there, pair)), None)
    return None if alone is None else Found(alone, {"train": alone}, dict(DRAWN))


def _word(there: Container[str], pair: Pair, split: SplitName) -> str | None:
    """What a split is called in the names that are there."""
    return next((word for word in USUAL[split] if _are_there(there, of_split(pair, word))), None)


def _are_there(there: Container[str], pair: Pair) -> bool:
    return all(name in there for name in pair)


@dataclass(frozen=True)
class Files:
    """Files of arrays in a folder; {split} stands for the word of a split where each has its own."""

    images: str
    labels: str  # the same where images and labels are in one
    words: dict[SplitName, str]  # of the splits; empty: there is one of each


def files_of_arrays(names: Iterable[str]) -> Files | None:
    """The files that belong together: of train and test, of images and labels, or of all four; None: no such."""
    names = list(names)
    patterns = {name: words for name, words in split_patterns(names).items() if splits_said(words) is not None}
    if len(patterns) == 1:
        ((name, words),) = patterns.items()
        return Files(name, name, words)
    among = list(patterns) or names
    for images, labels in ALONE:
        for name in among:
            other = re.sub(rf"(?<![A-Za-z]){images}(?![A-Za-z])", labels, name)
            if other != name and other in among:
                return Files(name, other, patterns.get(name, {}))
    return None
