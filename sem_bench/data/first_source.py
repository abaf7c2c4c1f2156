"""What lies in a folder, a table, a file or an archive: the source of a first card."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from sem_bench.base.files import shown
from sem_bench.config.fields import SplitName
from sem_bench.data.archives import ENDINGS as ARCHIVES
from sem_bench.data.archives import unpack
from sem_bench.data.junk import junk
from sem_bench.data.patterns import is_pattern, top_of
from sem_bench.data.readers.array_forms import classes_of
from sem_bench.data.readers.arrays import npy_arrays, split_arrays
from sem_bench.data.readers.csv import first_look, lists_images, splits_of
from sem_bench.data.readers.image_files import ENDINGS
from sem_bench.data.readers.words import split_names, split_patterns, split_words
from sem_bench.data.sources import KINDS
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.csv import CsvSource
from sem_bench.errors import UserError

TABLES, LISTS = (".csv", ".tsv"), (".txt", ".lst")
CELEBA = ("list_attr_celeba", "list_eval_partition")  # the table of its attributes, and that of its splits
PARTITION: dict[SplitName, str] = {"train": "0", "val": "1", "test": "2"}  # what its splits are called
DRAWN = {"test": 0.2, "seed": 0}
OF_TORCHVISION = {  # what only its classes read, and which of them
    "cifar-10-batches-py": "the card cifar10 reads it below DATA/cifar10",
    "cifar-100-python": "the card cifar100 reads it below DATA/cifar100",
    "stl10_binary": "the card stl10 reads it below DATA/stl10",
    "train-images-idx3-ubyte": "torchvision's MNIST and FashionMNIST read it below ROOT/CLASS/raw",
    "train-images-idx3-ubyte.gz": "torchvision's MNIST and FashionMNIST read it below ROOT/CLASS/raw",
    "train_32x32.mat": "torchvision's SVHN reads it",
}


def look(path: Path, root: Path) -> Seen:
    """What a first card can say of it; `root` is the data folder. Raises UserError where nothing is found."""
    for kind in KINDS:
        if (seen := kind.seen(path)) is not None:
            name = get_args(kind.model_fields["type"].annotation)[0]
            seen.source = {"type": name, "path": _said(path / seen.below, root), **seen.source}
            if seen.names:
                seen.source |= _images(path, seen.names, root)
            return seen
    if path.is_file() and path.name.lower().endswith(ARCHIVES):
        return _archive(path, root)
    if path.is_file() and _is_table(path):
        return _table(path, root)
    if path.suffix.lower() == ".npz":
        if not (found := split_arrays(path)):
            raise UserError(
                f"{shown(path)}: no arrays of the usual names, such as train_images, x_train; write a card by hand"
            )
        return _arrays({"type": "npz", "path": _said(path, root)}, found)
    if path.is_file():
        raise UserError(
            f"{shown(path)}: no folder, table (.csv, .tsv), list (.txt), arrays (.npz) or archive "
            f"({', '.join(ARCHIVES)}); packed: .parquet, .h5, .hdf5, .lmdb"
        )
    return _folder(path, root)


def _archive(path: Path, root: Path) -> Seen:
    folder = path.with_name(path.name[: -len(next(e for e in ARCHIVES if path.name.lower().endswith(e)))])
    if not folder.exists():
        unpack(path, folder, keep=_SplitNames())
    seen = look(folder, root)
    if seen.source["type"] == "folder":  # a run may unpack it again
        return replace(seen, source={**seen.source, "archive": _said(path, root)})
    return replace(seen, notes=[*seen.notes, f"unpacked into {shown(folder)}, where the card reads it"])


class _SplitNames:
    """All names of folders that say a split."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(split_names([name]))


def _folder(path: Path, root: Path) -> Seen:
    inside = _folders(path)
    splits = split_names(one.name for one in inside)
    train = splits.get("train")
    classes = [one.name for one in _folders(path / train) if _has_image(one)] if train else []
    if train and classes:
        return _split_folders(path, root, splits, classes)
    if (seen := _listed(path, root) or _npy(path, root)) is not None:
        return seen
    if train is None and len(inside) == 1 and any(one.is_dir() or _is_table(one) for one in _there(inside[0])):
        return _folder(inside[0], root)
    classes = [one.name for one in inside if _has_image(one)]
    source: dict[str, Any] = {"type": "folder", "path": _said(path, root)}
    if train is None and len(classes) > 1:
        return Seen({**source, "split": DRAWN}, classes)
    if not _has_image(path):
        for name, way in OF_TORCHVISION.items():
            if (path / name).exists():
                raise UserError(f"{shown(path / name)}: {way} (docs/data.md, source: {{type: torchvision}})")
        raise UserError(f"{shown(path)}: no image in it; endings looked for: {' '.join(ENDINGS)}")
    seen = Seen({**source, "folders": {"train": train or "."}})
    if train == "train":
        del seen.source["folders"]
    seen.notes = _not_read(path, [train] if train else [one.name for one in inside])
    seen.notes.append(
        "no folders of classes, so no labels: the suite measures what needs none, `evaluate_on` names another set"
    )
    return seen


def _split_folders(path: Path, root: Path, splits: dict[SplitName, str], classes: list[str]) -> Seen:
    """Folders of splits with folders of classes; val is test where there is no other."""
    train, val = splits["train"], splits.get("val")
    test, val = (splits["test"], val) if "test" in splits else (val, None)
    seen = Seen({"type": "folder", "path": _said(path, root)}, classes if test else [], val=val is not None)
    folders = {name: folder for name, folder in (("train", train), ("val", val), ("test", test)) if folder}
    if any(name != folder for name, folder in folders.items()):
        seen.source["folders"] = folders
    seen.notes = _not_read(path, folders.values())
    if test:
        there = [one.name for one in _folders(path / test) if _has_image(one)]
        if strange := [one for one in there if one not in classes]:
            raise UserError(f"{shown(path / test / strange[0])}: a class that {train} lacks")
        seen.absent = [one for one in classes if one not in there]
    return seen


def _not_read(path: Path, read: Iterable[str]) -> list[str]:
    """A note of the folders and tables beside what is read, and of annotations."""
    known = set(read)
    beside = [one.name for one in _there(path) if one.name not in known and (one.is_dir() or _is_table(one))]
    notes = [f"not read: {', '.join(beside)}"] if beside else []
    near = (one for pattern in ("*.json", "*/*.json") for one in path.glob(pattern))  # not in each of a million images
    if any(not junk(one.relative_to(path).as_posix()) for one in near):
        notes.append("annotations in JSON are not read: a table of paths and labels is (docs/data.md)")
    return notes


def _listed(path: Path, root: Path) -> Seen | None:
    """Of a folder its tables: one for each split, or the one of them that names images and labels here."""
    tables = [one for one in _there(path) if _is_table(one)]
    tables = [one for one in tables if one.stem == CELEBA[0]] or tables
    for pattern, words in split_patterns([one.name for one in tables]).items():
        if "train" in words and len(words) > 1:
            if "test" not in words:
                words["test"] = words.pop("val")
            values = {name: word for name, word in words.items() if word != name}
            source: dict[str, Any] = {"type": "csv", "path": f"{_said(path, root)}/{pattern}"}
            try:
                return _table_each(path, {**source, **({"values": values} if values else {})}, words, root)
            except UserError:
                continue  # tables for people who hold the labels back
    found: list[Seen] = []
    problems: list[UserError] = []
    for one in tables:
        try:
            found.append(_table(one, root))
        except UserError as error:
            problems.append(error)
    if len(found) > 1:
        names = ", ".join(str(shown(one)) for one in tables)
        raise UserError(
            f"{shown(path)}: {len(found)} tables name images, {names}: choose, as `card {shown(tables[0])}`"
        )
    if not found and len(tables) == 1 and tables[0].suffix.lower() in TABLES:
        raise problems[0]
    if not found:
        return None
    found[0].notes += [f"not read: {one.name}" for one in tables if _said(one, root) != found[0].source["path"]]
    return found[0]


def _table_each(path: Path, source: dict[str, Any], words: dict[SplitName, str], root: Path) -> Seen:
    """A table for each split."""
    files = {name: path / CsvSource.model_validate(source).table_of(name).rsplit("/", 1)[-1] for name in words}
    bare = CsvSource.model_validate(source)
    found = {name: first_look(bare, file) for name, file in files.items()}
    train = found["train"]
    source |= _images(files["train"], train.names, root)
    for name, one in found.items():
        if strange := [label for label in one.classes if label not in train.classes]:
            raise UserError(f"{shown(files[name])}: {strange[0]!r} is a class that {files['train'].name} lacks")
    if train.separator is not None:
        source["separator"] = train.separator
    return Seen(source, train.classes, multi_label=train.multi_label, val="val" in words)


def _table(path: Path, root: Path) -> Seen:
    source: dict[str, Any] = {"type": "csv", "path": _said(path, root)}
    bare = CsvSource.model_validate(source)
    found = first_look(bare, path)
    source |= _images(path, found.names, root)
    partition = next((one for one in _there(path.parent) if one.stem == CELEBA[1] and _is_table(one)), None)
    if partition is not None and found.split is None:
        source["partition"] = _said(partition, root)
    words = splits_of(bare, path, partition if found.split is None else None)
    if not words:
        source["split"] = DRAWN
    elif {PARTITION["train"], PARTITION["test"]} <= set(words) <= set(PARTITION.values()):
        source["values"] = {split: word for split, word in PARTITION.items() if word in words}
    if found.separator is not None:
        source["separator"] = found.separator
    val = bool({word.lower() for word in words} & split_words(source.get("values", {}))["val"])
    return Seen(source, found.classes, multi_label=found.multi_label, val=val)


def _images(path: Path, names: Sequence[str], root: Path) -> dict[str, str]:
    """What a card says of where the files lie that a table names: beside it or in a folder there, and their ending."""
    here = path if path.is_dir() else top_of(path) if is_pattern(path) else path.parent
    inside = _folders(here)
    deeper = [folder for one in inside for folder in _folders(one)]
    train = [one for one in inside if "train" in split_names([one.name])]
    for some in (names, names[:1]):  # a single absent image is for the reader to say, with its line
        for ending in ("", *ENDINGS):
            for folder in (here, *train, *inside, *deeper):
                if some and all((folder / f"{name}{ending}").is_file() for name in some):
                    where = {} if folder == here else {"images": _said(folder, root)}
                    return where | ({"ending": ending} if ending else {})
    raise UserError(f"{shown(path)}: it names {names[0]!r}, which is neither beside it nor in a folder there")


def _npy(path: Path, root: Path) -> Seen | None:
    """A folder of .npy files with a usual pair of names."""
    if (found := npy_arrays(path)) is None:
        return None
    (images, labels), arrays = found
    names = {} if images == "{split}_images.npy" else {"images": images, "labels": labels}
    return _arrays({"type": "npy", "path": _said(path, root), **names}, arrays)


def _arrays(source: dict[str, Any], found: dict[SplitName, tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> Seen:
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


def _there(path: Path) -> list[Path]:
    return [one for one in sorted(path.iterdir()) if not junk(one.name)]


def _folders(path: Path) -> list[Path]:
    return [one for one in _there(path) if one.is_dir()]


def _has_image(path: Path) -> bool:
    return any(one.suffix.lower() in ENDINGS and not junk(one.relative_to(path).as_posix()) for one in path.rglob("*"))


def _is_table(path: Path) -> bool:
    """A list, which may be any text, is one where its lines begin with images."""
    ending = path.suffix.lower()
    return path.is_file() and (ending in TABLES or (ending in LISTS and lists_images(path)))


def _said(path: Path, root: Path) -> str:
    """As a card writes it: from the data folder where it lies there."""
    whole, top = path.resolve(), root.resolve()
    return whole.relative_to(top).as_posix() if whole.is_relative_to(top) else whole.as_posix()
