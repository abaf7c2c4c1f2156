"""The words of tables and packed sets: what columns and splits are usually called, and what a label means."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sem_bench.config.fields import SplitName
from sem_bench.config.validation import did_you_mean
from sem_bench.errors import UserError

PATHS = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_path",
    "img",
    "image_id",
    "id",
)
LABELS = (
    *("label", "class", "class_name", "category", "target", "y", "species", "label_name", "class_label", "label_id"),
    *("class_id", "category_id", "category_name", "diagnosis", "dx", "breed"),
)
LISTS = ("labels", "classes", "tags", "categories", "attributes")  # of an image that may have several
SPLITS = ("split", "set", "subset", "partition", "fold")
USUAL: dict[SplitName, Sequence[str]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),  # test images of a first card where there are no others
    "test": ("test", "testing"),
}
_LIST = re.compile(r"\[(.*)\]")
_YEAR = re.compile(r"(19|20)\d\d$")
SPLIT_WORDS = tuple(word for words in USUAL.values() for word in words)
SAID = {"1": 1, "0": 0, "-1": 0, "1.0": 1, "0.0": 0, "-1.0": 0, "true": 1, "false": 0}  # of a class, in its column
MOST_CLASSES = 100_000
DRAWN = {"split": {"test": 0.2, "seed": 0}}  # below `source` of a first card where nothing says the splits


def split_names(names: Iterable[str]) -> dict[SplitName, str]:
    """Of names of folders the one of each split, in capitals or not, with a year or not: train, Train, train2017."""
    lower = {_YEAR.sub("", name.lower()): name for name in sorted(names, reverse=True)}
    found = {split: next((lower[word] for word in words if word in lower), None) for split, words in USUAL.items()}
    return {split: name for split, name in found.items() if name is not None}


def split_parts(names: Iterable[str]) -> dict[SplitName, str]:
    """Of names of folders that say a split in a part, as seg_train and seg_test: the one of each."""
    found: dict[SplitName, list[str]] = {}
    for name in names:
        parts = {_YEAR.sub("", part) for part in re.split(r"[ ._-]", name.lower())}
        for split, words in USUAL.items():
            if parts & set(words):
                found.setdefault(split, []).append(name)
    alone = {split: some[0] for split, some in found.items() if len(some) == 1}
    return alone if "train" in alone and len(alone) > 1 else {}


def split_patterns(files: Iterable[str]) -> dict[str, dict[SplitName, str]]:
    """Of names of files that say a split, as list_train.txt: by the pattern, list_{split}.txt, the words of splits.

    A word may have a year, train2017, and stand in the name of a folder, too.
    """
    found: dict[str, dict[SplitName, str]] = {}
    for file in files:
        stem, _, ending = file.rpartition(".")
        parts = re.split(r"([._/-])", stem)
        for split, words in USUAL.items():
            for part in dict.fromkeys(parts):
                if _YEAR.sub("", part.lower()) in words:
                    pattern = "".join("{split}" if one == part else one for one in parts)
                    found.setdefault(f"{pattern}.{ending}", {}).setdefault(split, part)
    return found


def splits_said(words: dict[SplitName, str]) -> dict[str, Any] | None:
    """What a first card says below `source` of the words in names; None where train or test has none.

    Images to choose on become test images in `words` where there are no others.
    """
    if "test" not in words and "val" in words:
        words["test"] = words.pop("val")
    if not {"train", "test"} <= words.keys():
        return None
    values = {split: words[split] for split in USUAL if words.get(split, split) != split}
    return {"values": values} if values else {}


def splits_in(words: Iterable[str]) -> tuple[dict[str, Any], bool]:
    """What a first card says below `source` of the words in a column or in names, and whether `val` is among them.

    Images to choose on are test images where there are no others. Words that say no split are left out; where train or
    test is missing both are drawn.
    """
    words = list(dict.fromkeys(words))
    found = {split: [word for word in words if word.lower() in usual] for split, usual in USUAL.items()}
    others = len(words) > sum(map(len, found.values()))
    if not found["test"]:
        found["test"], found["val"], others = found["val"], [], True
    if not (found["train"] and found["test"]):
        return dict(DRAWN), False
    values = {split: some[0] if len(some) == 1 else some for split, some in found.items() if some}
    return {"values": values} if others else {}, bool(found["val"])


def in_order(labels: Iterable[str]) -> list[str]:
    """Labels as the classes of a first card: numbers in their order, else by the alphabet."""
    labels = dict.fromkeys(map(as_class, labels))
    numbers = all(re.fullmatch(r"-?\d+(\.\d*)?", value) for value in labels)
    return sorted(labels, key=float) if numbers else sorted(labels)


def as_class(name: str) -> str:
    """A name as that of a class, which may be that of a folder."""
    return name.replace("/", "_").replace("\\", "_").lstrip(".")[:100]


def several_in(texts: Iterable[str], column: str = "") -> tuple[str, set[str]] | None:
    """What stands between several labels in one text, and all labels; None where a text is one label.

    A comma or a blank only where the name of the column says several.
    """
    texts = list(texts)
    usual = "|;, " if column.lower() in LISTS else "|;"
    if any(_LIST.fullmatch(text) for text in texts):
        usual = ","
    separator = next((one for one in usual if any(one in text for text in texts)), None)
    return None if separator is None else (separator, {one for text in texts for one in parts_of(text, separator)})


def parts_of(text: str, separator: str) -> list[str]:
    """The labels in one text; also of ['red', 'round'], as a list of Python is written."""
    listed = _LIST.fullmatch(text.strip())
    parts = (listed[1] if listed else text).split(separator)
    return [part for one in parts if (part := one.strip().strip("'\"" if listed else ""))]


def plain(name: str) -> str:
    """A class's name without capitals, spaces and punctuation."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def split_words(values: Mapping[SplitName, str | list[str]]) -> dict[SplitName, set[str]]:
    """What each split is called in lower case, as a card's `values` say or as usual."""
    said = {name: values.get(name, list(usual)) for name, usual in USUAL.items()}
    return {
        name: {one.lower() for one in ([value] if isinstance(value, str) else value)} for name, value in said.items()
    }


def strange_split(value: str, known: set[str]) -> str:
    """What to say of a word that is none of them."""
    text = f"split {value!r}; known are {', '.join(sorted(known))}"
    if value.lower() in USUAL["val"]:
        text += f": `values: {{train: [train, {value}]}}` below `source` counts them as training images, "
        return text + "`val: COUNT` in the card's `splits` lets probes choose on them"
    return text + ": `values: {train: NAME, test: NAME}` below `source` says what they are called"


def label_number(text: str, numbers: Mapping[str, int], first: int, where: str) -> int:
    """By the class's name, else by its number."""
    if (label := numbers.get(text)) is not None or (label := numbers.get(as_class(text))) is not None:
        return label
    try:
        number = int(text)
    except ValueError:
        raise UserError(f"{where}: no class {text!r}{did_you_mean(text, list(numbers))}") from None
    if not 0 <= number - first < len(numbers):
        last = len(numbers) - 1 + first
        hint = "; `first_label: 1` below `source` where they count from 1" if number == last + 1 and not first else ""
        raise UserError(f"{where}: label {number}, but the card names {len(numbers)} classes, {first} to {last}{hint}")
    return number - first
