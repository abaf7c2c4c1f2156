"""A first card of a data set, written from what is seen of it: source, splits, classes, sizes, mean and spread."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sem_bench.base.files import shown
from sem_bench.config.cards import Library
from sem_bench.config.fields import SplitName
from sem_bench.data.card import dataset_card
from sem_bench.data.dataset import DataSet
from sem_bench.data.first_source import look
from sem_bench.data.images import central
from sem_bench.data.patterns import is_pattern
from sem_bench.data.readers.opened import Labels, Opened
from sem_bench.data.sources.base import Seen
from sem_bench.errors import UserError

SIZES = (224, 128, 96, 64, 32, 16, 8)  # of which the largest is proposed that does not enlarge most images
SAMPLE = 400  # images that sizes, mean and spread are measured on
UNLABELLED = "  entropy: {}\n  rank: {}\n"  # the evaluations that need no labels
QUICK_BATCH = 128  # of the recipe that the suite names


def first_card(path: Path, *, name: str | None, size: int | None, root: Path) -> list[str]:
    """Write datasets/NAME.yaml and a small suite, NAME.yaml; returns lines: what was found, what is left to say.

    `root` is the data folder, `size` the side of what a network sees. Raises UserError where a file is there
    already and where nothing is found that a card can name.
    """
    path = Path(path)
    try:
        there = path.exists() or is_pattern(path)
    except ValueError as error:  # a pattern of too many files
        raise UserError(str(error)) from None
    if not there:
        raise UserError(f"{shown(path)}: no such file or folder")
    stem = path.resolve().name if path.is_dir() else path.name.partition("{")[0].partition(".")[0]
    name = name or re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._-") or "mine"
    card, suite = Path("datasets", f"{name}.yaml"), Path(f"{name}.yaml")
    if card.exists():
        raise UserError(f"{shown(card)}: exists already; `--name` gives the new one another name")
    seen = look(path, root)
    if len(seen.classes) == 1:
        raise UserError(f"{shown(path)}: all images are of one class, {seen.classes[0]!r}: nothing to tell apart")
    card.parent.mkdir(exist_ok=True)
    try:
        lines = _tried(card, name, seen, size, root)
    except BaseException:
        card.unlink(missing_ok=True)
        raise
    if not suite.exists():
        suite.write_text(_suite(name, seen), encoding="utf-8")
        lines += [f"wrote {suite}, a small suite", f"next: python -m sem_bench doctor {suite}"]
    return lines


def _tried(card: Path, name: str, seen: Seen, size: int | None, root: Path) -> list[str]:
    """The card as it is; where its images cannot be read so, as images of 16 bits."""
    try:
        return _written(card, name, seen, size, root)
    except UserError as error:
        deep = replace(seen, source={**seen.source, "bits": 16})
        deep.notes = [*seen.notes, "more than 8 bits a channel: `bits: 16` scales 0 to 65535 to 0 to 255"]
        try:
            lines = _written(card, name, deep, size, root)
        except UserError:
            raise error from None
        seen.splits = deep.splits
        return lines


def _written(card: Path, name: str, seen: Seen, size: int | None, root: Path) -> list[str]:
    """The card, written as it is known and read again for what is measured."""
    fixed = seen.size
    chosen_on: tuple[SplitName, ...] = ("val",) if seen.val else ()
    splits: tuple[SplitName, ...] = ("train", *chosen_on, "test") if seen.classes else ("train",)
    counts: dict[SplitName, int] = {one: seen.splits.get(one, 1) for one in splits}
    first = fixed or size or SIZES[-1]
    card.write_text(_text(name, seen, counts, first, None), encoding="utf-8")
    opened = {one: _opened(name, root, one) for one in splits}
    train = opened["train"]
    rows = [i * train.count // min(SAMPLE, train.count) for i in range(min(SAMPLE, train.count))]
    sizes = [train.read(row).size for row in rows]
    short = int(np.median([min(one) for one in sizes]))
    alike = len(set(sizes)) == 1 and sizes[0][0] == sizes[0][1] and 8 <= short <= 256
    size = fixed or size or (short if alike else next((one for one in SIZES if one <= short), SIZES[-1]))
    pixels = np.stack([np.asarray(central(train.read(row), resize=size, size=size)) for row in rows]) / 255
    measured = {"mean": pixels.mean((0, 1, 2)).tolist(), "std": np.maximum(pixels.std((0, 1, 2)), 0.001).tolist()}
    counts = {one: found.count for one, found in opened.items()}
    seen.splits = counts
    if seen.classes and train.labels is not None:
        several = train.labels.ndim == 2
        often, tested = (_often(opened[one].labels, len(seen.classes)) for one in ("train", "test"))
        if lacking := [name for name, count in zip(seen.classes, often, strict=True) if not count]:
            raise UserError(f"{train.where}: no training image of class {lacking[0]!r}")
        seen.absent = [name for name, count in zip(seen.classes, tested, strict=True) if not count]
        if often.max() > 3 * max(1, often.min()):
            seen.notes.append(
                f"classes have {often.min()} to {often.max()} training images: see `metric: "
                f"{'macro_f1' if several else 'mean_per_class'}`"
            )
    card.write_text(_text(name, seen, counts, size, measured), encoding="utf-8")
    dataset_card(Library(Path()), name)  # what is wrong with it now is a mistake of ours
    px = " px" if len(set(sizes)) == 1 else f" to {max(w for w, _ in sizes)} x {max(h for _, h in sizes)} px"
    smallest = f"{min(w for w, _ in sizes)} x {min(h for _, h in sizes)}"
    lines = [
        f"wrote {card}: {seen.source['type']}, {', '.join(f'{n:,} {one}' for one, n in counts.items())}"
        + (f", {len(seen.classes):,} classes" if seen.classes else ""),
        f"images: {smallest}{px}; a network sees {size} px (`image_size`)",
    ]
    lines += [*seen.notes, *(f"{one}: {found.aside}" for one, found in opened.items() if found.aside)]
    return [*lines, "yours to say in it: summary and licence"]


def _often(labels: Labels | None, classes: int) -> Labels:
    """How many images each class (C,) has."""
    assert labels is not None
    return labels.sum(0) if labels.ndim == 2 else np.bincount(labels[labels >= 0], minlength=classes)[:classes]


def _opened(name: str, root: Path, split: SplitName) -> Opened:
    library = Library(Path())
    found = DataSet(dataset_card(library, name), library, root)
    data = found.labelled() if found.card.classes else found.training()
    return data.source.read(data, split, found.place)


def _text(
    name: str, seen: Seen, counts: Mapping[SplitName, int], size: int, measured: Mapping[str, Sequence[float]] | None
) -> str:
    lines = [
        f"summary: {_word(name)}  # say what it is",
        f"source: {_flow(seen.source)}",
        f"splits: {_flow(dict(counts))}",
        f"image_size: {size}",
    ]
    if seen.classes:
        words = ", ".join(map(_word, seen.classes))
        lines += [f"classes: [{words}]"] if len(words) < 100 else ["classes:", *_wrapped(words)]
    if seen.multi_label:
        lines.append("multi_label: true  # an image may have several classes, or none")
    if seen.absent:
        lines.append(f"absent_in_test: [{', '.join(map(_word, seen.absent))}]")
    measured = measured or {"mean": [0.5] * 3, "std": [0.25] * 3}
    numbers = {key: "[" + ", ".join(f"{one:.3f}" for one in values) + "]" for key, values in measured.items()}
    lines += [
        f"normalise: {{mean: {numbers['mean']}, std: {numbers['std']}}}  # of {SAMPLE} training images at most",
        "licence: unknown  # say whose it is, and what it allows",
    ]
    return "\n".join([*lines, ""])


def _wrapped(words: str) -> list[str]:
    return textwrap.wrap(f"[{words}]", 116, initial_indent="  ", subsequent_indent="   ", break_long_words=False)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    return _word(value) if isinstance(value, str) else json.dumps(value)


def _word(text: str) -> str:
    """A text of YAML that is read as this text."""
    plain = re.fullmatch(r"[A-Za-z_./][\w ./-]*[\w./]|[A-Za-z_.]", text) is not None
    return text if plain and yaml.safe_load(text) == text else json.dumps(text, ensure_ascii=False)


def _suite(name: str, seen: Seen) -> str:
    train = seen.splits["train"]
    batch = "" if train >= QUICK_BATCH else f", batch_size: {max(3, train // 2)}"
    knn = "" if seen.multi_label else f"  knn: {{k: {min(20, train)}}}\n"
    evaluate = f"  probe: {{fractions: [1.0]}}\n{knn}" if seen.classes else UNLABELLED
    return f"""name: {name}
seeds: [0]
grid:
  methods: [simclr]
  embeddings: {{none: {{}}, sem: {{L: 64, V: 8}}}}
  backbones: [resnet10w16s2]
  datasets: [{name}]
pretrain: {{recipe: quick{batch}}}
evaluate:
{evaluate}"""
