"""Tables and lists of image files: which of them a first card takes, and where the files lie."""

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sem_bench.base.files import shown
from sem_bench.config.fields import SplitName
from sem_bench.data.first_paths import entries, said, subfolders
from sem_bench.data.patterns import is_pattern, top_of
from sem_bench.data.readers.csv import first_look, lists_images, splits_of
from sem_bench.data.readers.image_files import ENDINGS
from sem_bench.data.readers.words import split_names, split_patterns, splits_in, splits_said
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.csv import CsvSource
from sem_bench.errors import UserError

TABLES, LISTS = (".csv", ".tsv"), (".txt", ".lst")
CELEBA = ("list_attr_celeba", "list_eval_partition")  # the table of its attributes, and that of its splits
PARTITION: dict[SplitName, str] = {"train": "0", "val": "1", "test": "2"}  # what its splits are called
MANY = 10_000  # files of a folder that are looked at for one of a like name
FEW = 12  # folders that are looked into for tables


def listed(path: Path, root: Path) -> Seen | None:
    """Of the tables in a folder: one for each split, or the one of them that names images and labels."""
    tables = [one for one in entries(path) if is_table(one)]
    return _of_tables(path, [one for one in tables if one.stem == CELEBA[0]] or tables, root)


def listed_below(path: Path, root: Path) -> Seen | None:
    """The same of the tables in the folders of a folder, such as one of images and one of lists."""
    inside = subfolders(path)
    tables = [one for folder in inside for one in entries(folder) if is_table(one)] if len(inside) <= FEW else []
    return _of_tables(path, [one for one in tables if one.stem == CELEBA[0]] or tables, root)


def _of_tables(top: Path, tables: Sequence[Path], root: Path) -> Seen | None:
    """What a first card says of tables in `top` or in its folders; None where none of them names images and labels."""
    for pattern, words in split_patterns([one.relative_to(top).as_posix() for one in tables]).items():
        if (card := splits_said(words)) is not None:
            source = {"type": "csv", "path": f"{said(top, root)}/{pattern}", **card}
            files = {split: top / pattern.replace("{split}", word) for split, word in words.items()}
            try:
                return _table_each(source, files, root, top)
            except UserError:
                continue  # tables for people who hold the labels back
    found: list[Seen] = []
    problems: list[UserError] = []
    for one in tables:
        try:
            found.append(table(one, root, top))
        except UserError as error:
            problems.append(error)
    if len(found) > 1:
        names = ", ".join(str(shown(one)) for one in tables)
        raise UserError(f"{shown(top)}: {len(found)} tables name images, {names}: choose, as `card {shown(tables[0])}`")
    if not found:
        if len(tables) == 1 and tables[0].parent == top and tables[0].suffix.lower() in TABLES:
            raise problems[0]
        return None
    found[0].notes += [f"not read: {one.name}" for one in tables if said(one, root) != found[0].source["path"]]
    return found[0]


def _table_each(source: dict[str, Any], files: dict[SplitName, Path], root: Path, top: Path) -> Seen:
    """A table for each split."""
    bare = CsvSource.model_validate(source)
    found = {name: first_look(bare, file) for name, file in files.items()}
    train = found["train"]
    source |= where_images_lie(files["train"], train.names, root, top, word=bare.word("train"))
    for name, one in found.items():
        if strange := [label for label in one.classes if label not in train.classes]:
            raise UserError(f"{shown(files[name])}: {strange[0]!r} is a class that {files['train'].name} lacks")
    if train.separator is not None:
        source["separator"] = train.separator
    return Seen(source, train.classes, multi_label=train.multi_label, val="val" in files)


def table(path: Path, root: Path, top: Path | None = None) -> Seen:
    """What a first card says of one table; its images may lie in the folders of `top`."""
    source: dict[str, Any] = {"type": "csv", "path": said(path, root)}
    bare = CsvSource.model_validate(source)
    found = first_look(bare, path)
    source |= where_images_lie(path, found.names, root, top)
    near = entries(path.parent)
    if path.stem == CELEBA[0]:  # officially in a folder of its own
        near += sorted(path.parent.parent.glob(f"*/{CELEBA[1]}.*"))
    partition = next((one for one in near if one.stem == CELEBA[1] and is_table(one)), None)
    if partition is not None and found.split is None:
        source["partition"] = said(partition, root)
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


def where_images_lie(
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
            inside = subfolders(one)
            train = [folder for folder in inside if "train" in split_names([folder.name])]
            deeper = [folder for some_folder in inside for folder in subfolders(some_folder)]
            for ending in ("", *ENDINGS):
                for folder in (one, *train, *inside, *deeper):
                    if some and all((folder / f"{name}{ending}").is_file() for name in some):
                        where = {} if folder == default else {"images": _of_word(said(folder, root), word)}
                        return where | ({"ending": ending} if ending else {})
    text = f"{shown(path)}: it names {names[0][:60]!r}, which is neither beside it nor in a folder there"
    alike = _alike(tops, names[0])
    raise UserError(f"{text}; {shown(alike)} is there" if alike else text)


def _alike(tops: Iterable[Path], name: str) -> Path | None:
    """A file of the same name in another folder or in other capitals, as a table from elsewhere names it."""
    wanted = name.replace("\\", "/").rpartition("/")[2].lower()
    for top in tops:
        for folder in (top, *subfolders(top)):
            found = next((one for one in islice(folder.iterdir(), MANY) if one.name.lower() == wanted), None)
            if found is not None:
                return found
    return None


def _of_word(path: str, word: str) -> str:
    """A path with {split} in the place of the word of a split."""
    return re.sub(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z])", "{split}", path) if word else path


def is_table(path: Path) -> bool:
    """A list, which may be any text, is one where its lines begin with images."""
    ending = path.suffix.lower()
    return ending in (*TABLES, *LISTS) and path.is_file() and (ending in TABLES or lists_images(path))
