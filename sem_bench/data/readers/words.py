"""The words of tables and packed sets: what columns and splits are usually called, and what a label means."""

import re
from collections.abc import Iterable, Mapping, Sequence

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
LABELS = ("label", "class", "class_name", "category", "target", "y", "species", "label_name")
LISTS = ("labels", "classes", "tags", "categories", "attributes")  # of an image that may have several
SPLITS = ("split", "set", "subset", "partition", "fold")
USUAL: dict[SplitName, Sequence[str]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),  # test images of a first card where there are no others
    "test": ("test", "testing"),
}
SPLIT_WORDS = tuple(word for words in USUAL.values() for word in words)
SAID = {"1": 1, "0": 0, "-1": 0, "1.0": 1, "0.0": 0, "-1.0": 0, "true": 1, "false": 0}  # of a class, in its column
MOST_CLASSES = 100_000


def split_names(names: Iterable[str]) -> dict[SplitName, str]:
    """Of names of folders the one of each split, in capitals or not."""
    lower = {name.lower(): name for name in names}
    found = {split: next((lower[word] for word in words if word in lower), None) for split, words in USUAL.items()}
    return {split: name for split, name in found.items() if name is not None}


def split_patterns(files: Iterable[str]) -> dict[str, dict[SplitName, str]]:
    """Of names of files that say a split, as list_train.txt: by the pattern, list_{split}.txt, the words of splits."""
    found: dict[str, dict[SplitName, str]] = {}
    for file in files:
        stem, _, ending = file.rpartition(".")
        parts = re.split(r"([._-])", stem)
        for split, words in USUAL.items():
            for i, part in enumerate(parts):
                if part.lower() in words:
                    pattern = "".join([*parts[:i], "{split}", *parts[i + 1 :]])
                    found.setdefault(f"{pattern}.{ending}", {}).setdefault(split, part)
    return found


def in_order(labels: Iterable[str]) -> list[str]:
    """Labels as the classes of a first card: numbers in their order, else by the alphabet."""
    labels = list(labels)
    numbers = all(value.lstrip("-").isdigit() for value in labels)
    return sorted(labels, key=int) if numbers else sorted(labels)


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
    if (label := numbers.get(text)) is not None:
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
