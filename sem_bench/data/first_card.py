"""A first card of a data set, written from what is seen of it: source, splits, classes, sizes, mean and spread."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import yaml

from sem_bench.base.files import shown
from sem_bench.config.cards import Library
from sem_bench.config.fields import SplitName
from sem_bench.data.archives import ENDINGS as ARCHIVES
from sem_bench.data.archives import unpack
from sem_bench.data.card import dataset_card
from sem_bench.data.dataset import DataSet
from sem_bench.data.images import central
from sem_bench.data.junk import junk
from sem_bench.data.patterns import is_pattern, top_of
from sem_bench.data.readers.array_forms import classes_of
from sem_bench.data.readers.arrays import split_arrays
from sem_bench.data.readers.csv import first_look, lists_images, splits_of
from sem_bench.data.readers.image_files import ENDINGS
from sem_bench.data.readers.opened import Opened
from sem_bench.data.readers.words import split_words
from sem_bench.data.sources import KINDS
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.csv import CsvSource
from sem_bench.errors import UserError

TRAIN, TEST = ("train", "training", "Train"), ("test", "testing", "Test")
VAL = ("val", "valid", "validation", "Val")  # in the place of test where that is absent
CELEBA = ("list_attr_celeba", "list_eval_partition")  # the table of its attributes, and that of its splits
PARTITION: dict[SplitName, str] = {"train": "0", "val": "1", "test": "2"}  # what its splits are called
SIZES = (224, 128, 96, 64, 32, 16, 8)  # of which the largest is proposed that does not enlarge most images
SAMPLE = 400  # images that sizes, mean and spread are measured on
QUICK_BATCH = 128  # of the recipe that the suite names


def first_card(path: Path, *, name: str | None, size: int | None, root: Path) -> list[str]:
    """Write datasets/NAME.yaml and a small suite, NAME.yaml; returns lines: what was found, what is left to say.

    `root` is the data folder, `size` the side of what a network sees. Raises UserError where a file is there
    already and where nothing is found that a card can name.
    """
    path = Path(path)
    if not path.exists() and not is_pattern(path):
        raise UserError(f"{shown(path)}: no such file or folder")
    stem = path.resolve().name if path.is_dir() else path.name.partition("{")[0].partition(".")[0]
    name = name or re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._-") or "mine"
    card, suite = Path("datasets", f"{name}.yaml"), Path(f"{name}.yaml")
    if card.exists():
        raise UserError(f"{shown(card)}: exists already; `--name` gives the new one another name")
    seen = _look(path, root)
    card.parent.mkdir(exist_ok=True)
    try:
        lines = _written(card, name, seen, size, root)
    except BaseException:
        card.unlink(missing_ok=True)
        raise
    if seen.classes and not suite.exists():
        suite.write_text(_suite(name, seen), encoding="utf-8")
        lines += [f"wrote {suite}, a small suite", f"next: python -m sem_bench doctor {suite}"]
    return lines


def _look(path: Path, root: Path) -> Seen:
    for kind in KINDS:
        if (seen := kind.seen(path)) is not None:
            name = get_args(kind.model_fields["type"].annotation)[0]
            seen.source = {"type": name, "path": _said(path / seen.below, root), **seen.source}
            if seen.names:
                seen.source |= _images(path, seen.names, root)
            return seen
    if path.is_file() and path.name.lower().endswith(ARCHIVES):
        folder = path.with_name(path.name[: -len(next(e for e in ARCHIVES if path.name.lower().endswith(e)))])
        if not folder.exists():
            unpack(path, folder, keep=(*TRAIN, *TEST, *VAL))
        seen = _look(folder, root)
        return replace(seen, source={**seen.source, "archive": _said(path, root)})
    if path.is_file() and _is_table(path):
        return _table(path, root)
    if path.suffix.lower() == ".npz":
        return _arrays(path, root)
    if path.is_file():
        raise UserError(
            f"{shown(path)}: no folder, table (.csv, .tsv), arrays (.npz) or archive ({', '.join(ARCHIVES)}); "
            "packed: .parquet, .h5, .hdf5, .lmdb"
        )
    return _folder(path, root)


def _folders(path: Path) -> list[Path]:
    return sorted(one for one in path.iterdir() if one.is_dir() and not junk(one.name))


def _has_image(path: Path) -> bool:
    return any(one.suffix.lower() in ENDINGS and not junk(one.relative_to(path).as_posix()) for one in path.rglob("*"))


def _folder(path: Path, root: Path) -> Seen:
    tables = _tables(path)
    tables = [one for one in tables if one.stem == CELEBA[0]] or tables
    inside = _folders(path)
    names = [one.name for one in inside]
    train = next((one for one in TRAIN if one in names), None)
    if train is None and len(tables) == 1:
        return _table(tables[0], root)
    if train is None and len(inside) == 1 and not tables and _folders(inside[0]):
        return _folder(inside[0], root)
    source: dict[str, Any] = {"type": "folder", "path": _said(path, root)}
    if train is not None:
        test, val = (next((one for one in usual if one in names), None) for usual in (TEST, VAL))
        test, val = (test, val) if test else (val, None)
        own = [one.name for one in _folders(path / train) if _has_image(one)]
        others = [one for one in names if one not in (train, test, val)]
        seen = Seen(source, own if test else [], val=val is not None and bool(own))
        folders = {"train": train, "val": val, "test": test} if own else {"train": train}
        seen.source["folders"] = {name: folder for name, folder in folders.items() if folder}
        seen.notes += [f"not read: {', '.join(others)}"] if others else []
        if test and own:
            there = [one.name for one in _folders(path / test) if _has_image(one)]
            if strange := [one for one in there if one not in own]:
                raise UserError(f"{shown(path / test / strange[0])}: a class that {train} lacks")
            seen.absent = [one for one in own if one not in there]
        if seen.source["folders"] == {one: one for one in seen.source["folders"]}:
            del seen.source["folders"]
        return seen
    classes = [one.name for one in inside if _has_image(one)]
    if len(classes) > 1:
        return Seen({**source, "split": {"test": 0.2, "seed": 0}}, classes)
    if _has_image(path):
        seen = Seen({**source, "folders": {"train": "."}})
        seen.notes.append(
            "no folders of classes, so the images are for pretraining only: `evaluate_on` names another set"
        )
        return seen
    raise UserError(f"{shown(path)}: no image in it; endings looked for: {' '.join(ENDINGS)}")


def _table(path: Path, root: Path) -> Seen:
    source: dict[str, Any] = {"type": "csv", "path": _said(path, root)}
    bare = CsvSource.model_validate(source)
    found = first_look(bare, path)
    source |= _images(path, found.names, root)
    partition = next((one for one in _tables(path.parent) if one.stem == CELEBA[1]), None)
    if partition is not None and found.split is None:
        source["partition"] = _said(partition, root)
    words = splits_of(bare, path, partition if found.split is None else None)
    if not words:
        source["split"] = {"test": 0.2, "seed": 0}
    elif {PARTITION["train"], PARTITION["test"]} <= set(words) <= set(PARTITION.values()):
        source["values"] = {split: word for split, word in PARTITION.items() if word in words}
    if found.separator is not None:
        source["separator"] = found.separator
    val = bool({word.lower() for word in words} & split_words(source.get("values", {}))["val"])
    return Seen(source, found.classes, multi_label=found.multi_label, val=val)


def _tables(path: Path) -> list[Path]:
    """The tables in a folder."""
    return [one for one in sorted(path.iterdir()) if one.is_file() and not junk(one.name) and _is_table(one)]


def _is_table(path: Path) -> bool:
    ending = path.suffix.lower()
    return ending in (".csv", ".tsv") or (ending == ".txt" and lists_images(path))


def _images(path: Path, names: Sequence[str], root: Path) -> dict[str, str]:
    """What a card says of where the files lie that a table names: beside it, or in a folder there."""
    here = path if path.is_dir() else top_of(path) if is_pattern(path) else path.parent
    inside = _folders(here)
    for folder in (here, *inside, *(deeper for one in inside for deeper in _folders(one))):
        if names and (folder / names[0]).is_file():
            return {} if folder == here else {"images": _said(folder, root)}
    raise UserError(f"{shown(path)}: it names {names[0]!r}, which is neither beside it nor in a folder there")


def _arrays(path: Path, root: Path) -> Seen:
    source: dict[str, Any] = {"type": "npz", "path": _said(path, root)}
    found = split_arrays(path)
    if "train" not in found:
        raise UserError(
            f"{shown(path)}: no arrays of the usual names, such as train_images, x_train; write a card by hand"
        )
    counts = {name: len(labels) for name, (_, labels) in found.items()}
    seen = Seen(source, val="val" in counts, splits=counts)
    seen.classes, seen.multi_label, more = classes_of([labels for _, labels in found.values()])
    source |= more
    images = found["train"][0]
    if np.issubdtype(images.dtype, np.floating):
        source["scale"] = 1 if float(images[:64].max()) <= 1 else 255
    sides = [side for side in images.shape[1:] if side > 4]
    seen.size = int(sides[0])
    return seen


def _said(path: Path, root: Path) -> str:
    """As a card writes it: from the data folder where it lies there."""
    whole, top = path.resolve(), root.resolve()
    return whole.relative_to(top).as_posix() if whole.is_relative_to(top) else whole.as_posix()


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
        often = train.labels.sum(0) if several else np.bincount(train.labels, minlength=len(seen.classes))
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
    return f"""name: {name}
seeds: [0]
grid:
  methods: [simclr]
  embeddings: {{none: {{}}, sem: {{L: 64, V: 8}}}}
  backbones: [resnet10w16s2]
  datasets: [{name}]
pretrain: {{recipe: quick{batch}}}
evaluate:
  probe: {{fractions: [1.0]}}
{knn}"""
