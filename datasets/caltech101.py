"""Caltech-101 as folders of classes: so many images of each, drawn at random but once for all, are for training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sem_bench.errors import UserError
from sem_bench.validation import did_you_mean


def load(
    split: str, *, count: int, image_size: int, root: Path, classes: Sequence[str], per_class: int = 30, seed: int = 0
) -> tuple[list[Path], list[int]]:
    """The files and labels of a split. What is drawn of a class depends on its name and its files' names alone."""
    top = root / "caltech101" / "101_ObjectCategories"
    for folder in sorted(path for path in top.iterdir() if path.is_dir() and path.name[0] != "."):
        if folder.name not in classes:
            raise UserError(f"{folder}: no class of the card{did_you_mean(folder.name, classes)}")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = sorted((top / name).glob("[!.]*.jpg"))
        if len(images) <= per_class:
            raise UserError(f"{top / name}: {len(images)} images; {per_class} for training and one more are needed")
        order = np.random.default_rng([seed, *name.encode()]).permutation(len(images))
        chosen = order[:per_class] if split == "train" else order[per_class:]
        files += [images[number] for number in sorted(chosen)]
        labels += [label] * len(chosen)
    return files, labels
