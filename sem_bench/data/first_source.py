"""What lies in a folder, a table, a file or an archive: the source of a first card."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, get_args

from sem_bench.base.files import shown
from sem_bench.config.fields import SplitName
from sem_bench.data.archives import ENDINGS as ARCHIVES
from sem_bench.data.archives import unpack
from sem_bench.data.junk import junk
from sem_bench.data.patterns import is_pattern, top_of
from sem_bench.data.readers.array_forms import classes_of, size_and_scale
from sem_bench.data.readers.array_names import ALONE, OF_SPLITS, Found
from sem_bench.data.readers.arrays import Splits, npy_arrays, split_arrays
from sem_bench.data.readers.csv import first_look, lists_images, splits_of
from sem_bench.data.readers.image_files import ENDINGS
from sem_bench.data.readers.words import DRAWN, split_names, split_parts, split_patterns, splits_in, splits_said
from sem_bench.data.sources import KINDS
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.csv import CsvSource
from sem_bench.errors import UserError

TABLES, LISTS = (".csv", ".tsv"), (".txt", ".lst")
CELEBA = ("list_attr_celeba", "list_eval_partition")  # the table of its attributes, and that of its splits
PARTITION: dict[SplitName, str] = {"train": "0", "val": "1", "test": "2"}  # what its splits are called
CODE = "code beside a card reads it (docs/data.md, Code beside the card)"
OTHERS = {  # what people bring and no kind reads
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "save the spreadsheet as .csv"),
    **dict.fromkeys((".jsonl", ".json", ".xml", ".yaml"), "write paths and labels as .csv"),
    **dict.fromkeys((".mat", ".pkl", ".pickle", ".pt", ".pth"), CODE),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".7z", ".rar"), "unpack it first"),
}
MANY = 10_000  # files of a folder that are looked at for one of a like name
FEW = 12  # folders that are looked into for tables
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
            paths = {key: _said(path / one, root) for key, one in seen.below.items()}
            seen.source = {"type": name, **paths, **seen.source}
            if seen.names:
                below = seen.below["path"]
                seen.source |= _images(path, seen.names, root, below=below, word=seen.word)
            return seen
    if path.is_file() and path.name.lower().endswith(ARCHIVES):
        return _archive(path, root)
    if path.is_file() and _is_table(path):
        return _table(path, root)
    if path.suffix.lower() == ".npz":
        return _arrays({"type": "npz", "path": _said(path, root)}, *split_arrays(path))
    if path.suffix.lower() == ".npy" and (seen := _npy(path.parent, root)) is not None:
        return seen
    if path.is_file():
        text = (
            f"{shown(path)}: no folder, table (.csv, .tsv), list (.txt), arrays (.npz) or archive "
            f"({', '.join(ARCHIVES)}); packed: .parquet, .h5, .hdf5, .lmdb; COCO: .json"
        )
        raise UserError("; ".join(filter(None, [text, OTHERS.get(path.suffix.lower())])))
    return _folder(path, root)


def _archive(path: Path, root: Path) -> Seen:
    folder = path.with_name(path.name[: -len(next(e for e in ARCHIVES if path.name.lower().endswith(e)))])
    if not folder.exists():
        unpack(path, folder, keep=_SplitNames())
    seen = look(folder, root)
    drawn_below = "split" in seen.source and seen.source["path"] != _said(folder, root)
    if seen.source["type"] == "folder" and not drawn_below:  # a run may unpack it again
        return replace(seen, source={**seen.source, "archive": _said(path, root)})
    return replace(seen, notes=[*seen.notes, f"unpacked into {shown(folder)}, where the card reads it"])


class _SplitNames:
    """All names of folders that say a split."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(split_names([name]))


def _folder(path: Path, root: Path) -> Seen:
    inside = _folders(path)
    splits = split_names(one.name for one in inside)
    if "train" not in splits:
        splits = split_parts(one.name for one in inside) or splits
    splits = {split: _deeper(path, name) for split, name in splits.items()}
    train = splits.get("train")
    classes = [one.name for one in _folders(path / train) if _has_image(one)] if train else []
    if train and classes:
        return _split_folders(path, root, splits, classes)
    if (seen := _listed(path, root) or _npy(path, root)) is not None:
        return seen
    if train is None and len(inside) == 1 and any(one.is_dir() or _is_table(one) for one in _there(inside[0])):
        return look(inside[0], root)
    classes = [one.name for one in inside if _has_image(one)]
    source: dict[str, Any] = {"type": "folder", "path": _said(path, root)}
    if train is None and len(classes) > 1:
        return Seen({**source, **DRAWN}, classes)
    if train is None and len(classes) == 1 and len([one for one in _folders(path / classes[0]) if _has_image(one)]) > 1:
        seen = _folder(path / classes[0], root)
        seen.notes += _not_read(path, classes)
        return seen
    if (seen := _listed_below(path, root)) is not None:
        return seen
    if not _has_image(path):
        for name, way in OF_TORCHVISION.items():
            if (path / name).exists():
                raise UserError(f"{shown(path / name)}: {way} (docs/data.md, source: {{type: torchvision}})")
        there = [one.name for one in _there(path)]
        few = f"; there is {', '.join(there[:5])}{', ...' if len(there) > 5 else ''}" if there else ""
        raise UserError(f"{shown(path)}: no image in it; endings looked for: {' '.join(ENDINGS)}{few}")
    seen = Seen({**source, "folders": {"train": train or "."}})
    if train == "train":
        del seen.source["folders"]
    seen.notes = _not_read(path, [train] if train else [one.name for one in inside])
    seen.notes.append(
        "no folders of classes, so no labels: the suite measures what needs none, `evaluate_on` names another set"
    )
    return seen


def _deeper(path: Path, name: str) -> str:
    """A folder of a split, or the only one in it where that has the same name, as archives are unpacked at times."""
    inside = [one.name for one in _folders(path / name)]
    return f"{name}/{name}" if inside == [PurePath(name).name] else name


def _split_folders(path: Path, root: Path, splits: dict[SplitName, str], classes: list[str]) -> Seen:
    """Folders of splits with folders of classes; val is test where there is no other."""
    train, val = splits["train"], splits.get("val")
    test, val = (splits["test"], val) if "test" in splits else (val, None)
    notes: list[str] = []
    if test and not any(_has_image(one) for one in _folders(path / test)):
        notes.append(f"not read: {test}, which has no folders of classes")
        test, val = val, None
    if test is None:
        source = {"type": "folder", "path": _said(path / train, root), **DRAWN}
        read = [PurePath(one).parts[0] for one in splits.values()]
        return Seen(source, classes, notes=[*notes, *_not_read(path, read)])
    seen = Seen({"type": "folder", "path": _said(path, root)}, classes, val=val is not None)
    folders = {name: folder for name, folder in (("train", train), ("val", val), ("test", test)) if folder}
    if any(name != folder for name, folder in folders.items()):
        seen.source["folders"] = folders
    seen.notes = notes + _not_read(path, [PurePath(one).parts[0] for one in splits.values()])
    there = [one.name for one in _folders(path / test) if _has_image(one)]
    if strange := [one for one in there if one not in classes]:
        raise UserError(f"{shown(path / test / strange[0])}: a class that {train} lacks")
    seen.absent = [one for one in classes if one not in there]
    return seen


def _not_read(path: Path, read: Iterable[str]) -> list[str]:
    """A note of the folders and tables beside what is read, and of annotations."""
    known = set(read)
    beside = [one.name for one in _there(path) if one.name not in known and _may_say_labels(one)]
    notes = [f"not read: {', '.join(beside)}"] if beside else []
    near = (one for pattern in ("*.json", "*/*.json") for one in path.glob(pattern))  # not in each of a million images
    if any(not junk(one.relative_to(path).as_posix()) for one in near):
        notes.append("annotations in JSON are not read: a table of paths and labels is (docs/data.md)")
    return notes


def _listed(path: Path, root: Path) -> Seen | None:
    """Of the tables in a folder: one for each split, or the one of them that names images and labels."""
    tables = [one for one in _there(path) if _is_table(one)]
    return _of_tables(path, [one for one in tables if one.stem == CELEBA[0]] or tables, root)


def _listed_below(path: Path, root: Path) -> Seen | None:
    """The same of the tables in the folders of a folder, such as one of images and one of lists."""
    inside = _folders(path)
    tables = [one for folder in inside for one in _there(folder) if _is_table(one)] if len(inside) <= FEW else []
    return _of_tables(path, [one for one in tables if one.stem == CELEBA[0]] or tables, root)


def _of_tables(top: Path, tables: Sequence[Path], root: Path) -> Seen | None:
    """What a first card says of tables in `top` or in its folders; None where none of them names images and labels."""
    for pattern, words in split_patterns([one.relative_to(top).as_posix() for one in tables]).items():
        if (card := splits_said(words)) is not None:
            source = {"type": "csv", "path": f"{_said(top, root)}/{pattern}", **card}
            files = {split: top / pattern.replace("{split}", word) for split, word in words.items()}
            try:
                return _table_each(source, files, root, top)
            except UserError:
                continue  # tables for people who hold the labels back
    found: list[Seen] = []
    problems: list[UserError] = []
    for one in tables:
        try:
            found.append(_table(one, root, top))
        except UserError as error:
            problems.append(error)
    if len(found) > 1:
        names = ", ".join(str(shown(one)) for one in tables)
        raise UserError(f"{shown(top)}: {len(found)} tables name images, {names}: choose, as `card {shown(tables[0])}`")
    if not found:
        if len(tables) == 1 and tables[0].parent == top and tables[0].suffix.lower() in TABLES:
            raise problems[0]
        return None
    found[0].notes += [f"not read: {one.name}" for one in tables if _said(one, root) != found[0].source["path"]]
    return found[0]


def _table_each(source: dict[str, Any], files: dict[SplitName, Path], root: Path, top: Path) -> Seen:
    """A table for each split."""
    bare = CsvSource.model_validate(source)
    found = {name: first_look(bare, file) for name, file in files.items()}
    train = found["train"]
    source |= _images(files["train"], train.names, root, top, word=CsvSource.model_validate(source).word("train"))
    for name, one in found.items():
        if strange := [label for label in one.classes if label not in train.classes]:
            raise UserError(f"{shown(files[name])}: {strange[0]!r} is a class that {files['train'].name} lacks")
    if train.separator is not None:
        source["separator"] = train.separator
    return Seen(source, train.classes, multi_label=train.multi_label, val="val" in files)


def _table(path: Path, root: Path, top: Path | None = None) -> Seen:
    source: dict[str, Any] = {"type": "csv", "path": _said(path, root)}
    bare = CsvSource.model_validate(source)
    found = first_look(bare, path)
    source |= _images(path, found.names, root, top)
    near = _there(path.parent)
    if path.stem == CELEBA[0]:  # officially in a folder of its own
        near += sorted(path.parent.parent.glob(f"*/{CELEBA[1]}.*"))
    partition = next((one for one in near if one.stem == CELEBA[1] and _is_table(one)), None)
    if partition is not None and found.split is None:
        source["partition"] = _said(partition, root)
    words = splits_of(bare, path, partition if found.split is None else None)
    card, val = splits_in(words)
    if {PARTITION["train"], PARTITION["test"]} <= set(words) <= set(PARTITION.values()):
        card = {"values": {split: word for split, word in PARTITION.items() if word in words}}
        val = "val" in card["values"]
    source |= card
    if found.separator is not None:
        source["separator"] = found.separator
    notes = [f"columns not read: {', '.join(found.others)}"] if found.others else []
    if words and "split" in card:
        source.pop("partition", None)
        notes.append(
            f"no splits, so they are drawn: {', '.join(words[:5])}; `values` below `source` says what is which"
        )
    elif words and "values" in card:
        notes.append(f"the splits are called {', '.join(words[:8])}: `values` below `source` says which are read")
    return Seen(source, found.classes, multi_label=found.multi_label, val=val, notes=notes)


def _images(
    path: Path, names: Sequence[str], root: Path, top: Path | None = None, *, below: str = "", word: str = ""
) -> dict[str, str]:
    """What a card says of where the files lie that a table names, and their ending where the names lack it.

    They are looked for in the folder of the table and in the folders there, then in `top`, or in the folder above a
    single table. `below` is the table's path from `path`, `word` that of training where each split has a table.
    """
    here = path if path.is_dir() else top_of(path) if is_pattern(path) else path.parent
    default = (here / below).parent if below else here  # which a card need not name
    tops = dict.fromkeys([here, top or (here.parent if path.is_file() else here)])
    for some in (names, names[:1]):  # a single absent image is for the reader to say, with its line
        for one in tops:
            inside = _folders(one)
            train = [folder for folder in inside if "train" in split_names([folder.name])]
            deeper = [folder for some_folder in inside for folder in _folders(some_folder)]
            for ending in ("", *ENDINGS):
                for folder in (one, *train, *inside, *deeper):
                    if some and all((folder / f"{name}{ending}").is_file() for name in some):
                        where = {} if folder == default else {"images": _of_word(_said(folder, root), word)}
                        return where | ({"ending": ending} if ending else {})
    text = f"{shown(path)}: it names {names[0][:60]!r}, which is neither beside it nor in a folder there"
    alike = _alike(tops, names[0])
    raise UserError(f"{text}; {shown(alike)} is there" if alike else text)


def _alike(tops: Iterable[Path], name: str) -> Path | None:
    """A file of the same name in another folder or in other capitals, as a table from elsewhere names it."""
    wanted = name.replace("\\", "/").rpartition("/")[2].lower()
    for top in tops:
        for folder in (top, *_folders(top)):
            found = next((one for one in islice(folder.iterdir(), MANY) if one.name.lower() == wanted), None)
            if found is not None:
                return found
    return None


def _of_word(path: str, word: str) -> str:
    """A path with {split} in the place of the word of a split."""
    return re.sub(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z])", "{split}", path) if word else path


def _npy(path: Path, root: Path) -> Seen | None:
    """A folder of .npy files with a usual pair of names."""
    found = npy_arrays(path)
    return None if found is None else _arrays({"type": "npy", "path": _said(path, root)}, *found, ending=".npy")


def _arrays(source: dict[str, Any], names: Found, arrays: Splits, ending: str = "") -> Seen:
    if (ending and names.pair != OF_SPLITS[0]) or names.pair not in (*ALONE, *OF_SPLITS):
        source |= {key: name + ending for key, name in zip(("images", "labels"), names.pair, strict=True)}
    counts = {name: len(images) for name, (images, _) in arrays.items()}
    seen = Seen(source, val="val" in counts, splits=counts)
    seen.classes, seen.multi_label, more = classes_of([labels for _, labels in arrays.values()])
    seen.size, scale = size_and_scale(arrays["train"][0])
    source |= more | names.card | scale
    return seen


def _there(path: Path) -> list[Path]:
    return [one for one in sorted(path.iterdir()) if not junk(one.name)]


def _folders(path: Path) -> list[Path]:
    return [one for one in _there(path) if one.is_dir()]


def _has_image(path: Path) -> bool:
    return any(one.suffix.lower() in ENDINGS and not junk(one.relative_to(path).as_posix()) for one in path.rglob("*"))


def _may_say_labels(path: Path) -> bool:
    """Whether a file or folder beside images may be about them: no image, no archive, no word to the reader."""
    if path.is_dir():
        return True
    ending, told = path.suffix.lower(), ("readme", "license", "licence", "requirements", "changelog")
    return ending in (*TABLES, *LISTS, ".xlsx", ".xls", ".jsonl", ".mat") and not path.stem.lower().startswith(told)


def _is_table(path: Path) -> bool:
    """A list, which may be any text, is one where its lines begin with images."""
    ending = path.suffix.lower()
    return path.is_file() and (ending in TABLES or (ending in LISTS and lists_images(path)))


def _said(path: Path, root: Path) -> str:
    """As a card writes it: from the data folder where it lies there."""
    whole, top = path.resolve(), root.resolve()
    return whole.relative_to(top).as_posix() if whole.is_relative_to(top) else whole.as_posix()
