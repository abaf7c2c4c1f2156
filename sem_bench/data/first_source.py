"""What lies in a folder, a table, a file or an archive: the source of a first card."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, get_args

from sem_bench.base.files import shown
from sem_bench.config.fields import SplitName
from sem_bench.data.archives import ENDINGS as ARCHIVES
from sem_bench.data.archives import unpack
from sem_bench.data.first_paths import entries, has_image, said, subfolders
from sem_bench.data.first_tables import LISTS, TABLES, is_table, listed, listed_below, table, where_images_lie
from sem_bench.data.junk import junk
from sem_bench.data.readers.array_forms import classes_of, size_and_scale
from sem_bench.data.readers.array_names import ALONE, OF_SPLITS, Found
from sem_bench.data.readers.arrays import Splits, npy_arrays, split_arrays
from sem_bench.data.readers.image_files import ENDINGS
from sem_bench.data.readers.words import DRAWN, split_names, split_parts
from sem_bench.data.sources import KINDS
from sem_bench.data.sources.base import Seen
from sem_bench.errors import UserError

CODE = "code beside a card reads it (docs/data.md, Code beside the card)"
OTHERS = {  # what people bring and no kind reads
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "save the spreadsheet as .csv"),
    **dict.fromkeys((".jsonl", ".json", ".xml", ".yaml"), "write paths and labels as .csv"),
    **dict.fromkeys((".mat", ".pkl", ".pickle", ".pt", ".pth"), CODE),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".7z", ".rar"), "unpack it first"),
}
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
            paths = {key: said(path / one, root) for key, one in seen.below.items()}
            seen.source = {"type": name, **paths, **seen.source}
            if seen.names:
                below = seen.below["path"]
                seen.source |= where_images_lie(path, seen.names, root, below=below, word=seen.word)
            return seen
    if path.is_file() and path.name.lower().endswith(ARCHIVES):
        return _archive(path, root)
    if path.is_file() and is_table(path):
        return table(path, root)
    if path.suffix.lower() == ".npz":
        return _arrays({"type": "npz", "path": said(path, root)}, *split_arrays(path))
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
    drawn_below = "split" in seen.source and seen.source["path"] != said(folder, root)
    if seen.source["type"] == "folder" and not drawn_below:  # a run may unpack it again
        return replace(seen, source={**seen.source, "archive": said(path, root)})
    return replace(seen, notes=[*seen.notes, f"unpacked into {shown(folder)}, where the card reads it"])


class _SplitNames:
    """All names of folders that say a split."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(split_names([name]))


def _folder(path: Path, root: Path) -> Seen:
    inside = subfolders(path)
    splits = split_names(one.name for one in inside)
    if "train" not in splits:
        splits = split_parts(one.name for one in inside) or splits
    splits = {split: _deeper(path, name) for split, name in splits.items()}
    train = splits.get("train")
    classes = [one.name for one in subfolders(path / train) if has_image(one)] if train else []
    if train and classes:
        return _split_folders(path, root, splits, classes)
    if (seen := listed(path, root) or _npy(path, root)) is not None:
        return seen
    if train is None and len(inside) == 1 and any(one.is_dir() or is_table(one) for one in entries(inside[0])):
        return look(inside[0], root)
    classes = [one.name for one in inside if has_image(one)]
    source: dict[str, Any] = {"type": "folder", "path": said(path, root)}
    if train is None and len(classes) > 1:
        return Seen({**source, **DRAWN}, classes)
    if (
        train is None
        and len(classes) == 1
        and len([one for one in subfolders(path / classes[0]) if has_image(one)]) > 1
    ):
        seen = _folder(path / classes[0], root)
        seen.notes += _not_read(path, classes)
        return seen
    if (seen := listed_below(path, root)) is not None:
        return seen
    if not has_image(path):
        for name, way in OF_TORCHVISION.items():
            if (path / name).exists():
                raise UserError(f"{shown(path / name)}: {way} (docs/data.md, source: {{type: torchvision}})")
        there = [one.name for one in entries(path)]
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
    inside = [one.name for one in subfolders(path / name)]
    return f"{name}/{name}" if inside == [PurePath(name).name] else name


def _split_folders(path: Path, root: Path, splits: dict[SplitName, str], classes: list[str]) -> Seen:
    """Folders of splits with folders of classes; val is test where there is no other."""
    train, val = splits["train"], splits.get("val")
    test, val = (splits["test"], val) if "test" in splits else (val, None)
    notes: list[str] = []
    if test and not any(has_image(one) for one in subfolders(path / test)):
        notes.append(f"not read: {test}, which has no folders of classes")
        test, val = val, None
    if test is None:
        source = {"type": "folder", "path": said(path / train, root), **DRAWN}
        read = [PurePath(one).parts[0] for one in splits.values()]
        return Seen(source, classes, notes=[*notes, *_not_read(path, read)])
    seen = Seen({"type": "folder", "path": said(path, root)}, classes, val=val is not None)
    folders = {name: folder for name, folder in (("train", train), ("val", val), ("test", test)) if folder}
    if any(name != folder for name, folder in folders.items()):
        seen.source["folders"] = folders
    seen.notes = notes + _not_read(path, [PurePath(one).parts[0] for one in splits.values()])
    there = [one.name for one in subfolders(path / test) if has_image(one)]
    if strange := [one for one in there if one not in classes]:
        raise UserError(f"{shown(path / test / strange[0])}: a class that {train} lacks")
    seen.absent = [one for one in classes if one not in there]
    return seen


def _not_read(path: Path, read: Iterable[str]) -> list[str]:
    """A note of the folders and tables beside what is read, and of annotations."""
    known = set(read)
    beside = [one.name for one in entries(path) if one.name not in known and _may_say_labels(one)]
    notes = [f"not read: {', '.join(beside)}"] if beside else []
    near = (one for pattern in ("*.json", "*/*.json") for one in path.glob(pattern))  # not in each of a million images
    if any(not junk(one.relative_to(path).as_posix()) for one in near):
        notes.append("annotations in JSON are not read: a table of paths and labels is (docs/data.md)")
    return notes


def _npy(path: Path, root: Path) -> Seen | None:
    """A folder of .npy files with a usual pair of names."""
    found = npy_arrays(path)
    return None if found is None else _arrays({"type": "npy", "path": said(path, root)}, *found, ending=".npy")


def _arrays(source: dict[str, Any], names: Found, arrays: Splits, ending: str = "") -> Seen:
    if (ending and names.pair != OF_SPLITS[0]) or names.pair not in (*ALONE, *OF_SPLITS):
        source |= {key: name + ending for key, name in zip(("images", "labels"), names.pair, strict=True)}
    counts = {name: len(images) for name, (images, _) in arrays.items()}
    seen = Seen(source, val="val" in counts, splits=counts)
    seen.classes, seen.multi_label, more = classes_of([labels for _, labels in arrays.values()])
    seen.size, scale = size_and_scale(arrays["train"][0])
    source |= more | names.card | scale
    return seen


def _may_say_labels(path: Path) -> bool:
    """Whether a file or folder beside images may be about them: no image, no archive, no word to the reader."""
    if path.is_dir():
        return True
    ending, told = path.suffix.lower(), ("readme", "license", "licence", "requirements", "changelog")
    return ending in (*TABLES, *LISTS, ".xlsx", ".xls", ".jsonl", ".mat") and not path.stem.lower().startswith(told)
