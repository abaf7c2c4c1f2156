"""A table of image files, read line by line: what is kept of it are the rows of the split that is asked for."""

from __future__ import annotations

import codecs
import csv
import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from sys import intern

import numpy as np
import numpy.typing as npt

from sem_bench.base import mistaken
from sem_bench.base.digest import digest
from sem_bench.base.files import lines_digest, shown
from sem_bench.config.fields import SplitName
from sem_bench.config.validation import did_you_mean
from sem_bench.data.dataset import Place, located
from sem_bench.data.described import Data
from sem_bench.data.readers.drawn import drawn_rows
from sem_bench.data.readers.image_files import ENDINGS, read_image
from sem_bench.data.readers.opened import Labels, Opened
from sem_bench.data.readers.words import (
    LABELS,
    LISTS,
    MOST_CLASSES,
    PATHS,
    SAID,
    SPLITS,
    USUAL,
    in_order,
    label_number,
    parts_of,
    plain,
    several_in,
    split_words,
    strange_split,
)
from sem_bench.data.sources.csv import Column, CsvSource
from sem_bench.errors import UserError

DELIMITERS = ",;\t|"
_SAID = {**SAID, "": 0}


@dataclass(frozen=True)
class _Table:
    """Where a table's columns are."""

    source: CsvSource
    file: Path
    delimiter: str
    header: bool
    path: int
    label: int | None
    split: int | None
    partition: Mapping[str, str] | None  # the splits of the files, where another table says them
    counted: bool  # the first line is the number of images
    several: Sequence[int] = ()  # the column of each class; empty: all in `label`

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line numbers and cells, without the header and empty lines."""
        lines = _lines(self.file, self.delimiter, counted=self.counted)
        yield from islice(lines, int(self.header), None)

    @property
    def splits_said(self) -> bool:
        """Whether a column or another table says the splits."""
        return self.split is not None or self.partition is not None

    def split_of(self, number: int, row: list[str]) -> str:
        """What a line's split is called."""
        if self.partition is None:
            assert self.split is not None
            return self.cell(number, row, self.split)
        name = self.cell(number, row, self.path)
        if name not in self.partition:
            where = f"{shown(self.file)}:{number}"
            raise UserError(f"{where}: {name} has no line in {Path(self.source.partition).name}")
        return self.partition[name]

    def cell(self, number: int, row: list[str], column: int) -> str:
        """A cell, stripped. Raises UserError where the line is too short."""
        if column >= len(row):
            raise UserError(f"{shown(self.file)}:{number}: {len(row)} columns; expected at least {column + 1}")
        return row[column].strip()

    def name(self, number: int, row: list[str]) -> str:
        """The file that a row names; tables from Windows have backslashes."""
        return self.cell(number, row, self.path).replace("\\", "/") + self.source.ending


def open_csv(source: CsvSource, data: Data, split: SplitName, place: Place) -> Opened:
    """The rows of a split. A file that is absent or named twice is an error with its line."""
    file = located(place.root, source.table_of(split))
    partition = located(place.root, source.partition) if source.partition else None
    classes = place.classes
    table = _table(
        source, file, labelled=classes is not None, classes=classes, several=place.multi_label, partition=partition
    )
    if not table.splits_said and source.split is None and not source.a_table_each and len(place.splits) > 1:
        raise UserError(
            f"{shown(file)}: no column says the split: name it in `columns: {{split: NAME}}`, or write "
            "`split: {test: 0.2, seed: 0}` below `source` to draw it"
        )
    folder = _folder(source, split, place)
    others = [name for name in place.splits if name != split and _folder(source, name, place) == folder]
    files = [located(place.root, source.table_of(name)) for name in others if source.a_table_each]
    tables = [_table(source, one, labelled=False) for one in files]
    names, labels, lines, aside = _read(table, split, place, tables)
    chosen = None if place.classes is None else labels
    if source.split is not None:
        rows = drawn_rows(split, source.split, names, chosen).tolist()
        names = [names[row] for row in rows]
        lines, chosen = array("q", [lines[row] for row in rows]), None if chosen is None else chosen[rows]
    paths = _Paths(folder, names)
    seen = hashlib.sha256(b"" if chosen is None else chosen.tobytes()).hexdigest()
    fingerprint = digest([lines_digest(_sizes(table, paths, lines)), seen])
    where = f"{shown(file)}: {split}"
    return Opened(
        where,
        len(names),
        chosen,
        lambda row: read_image(paths[row], source),
        fingerprint=fingerprint,
        names=names,
        aside=aside,
    )


def _folder(source: CsvSource, split: SplitName, place: Place) -> Path:
    """The folder that the paths of a split start in."""
    if source.images:
        return located(place.root, source.images.replace("{split}", source.word(split)))
    return located(place.root, source.table_of(split)).parent


@dataclass(frozen=True)
class _Paths:
    folder: Path
    names: Sequence[str]

    def __getitem__(self, row: int) -> Path:
        return self.folder / self.names[row]


def _sizes(table: _Table, paths: _Paths, lines: Sequence[int]) -> Iterator[str]:
    """Names and sizes of the files, as a fingerprint has them."""
    for row, name in enumerate(paths.names):
        try:
            yield f"{name}\t{paths[row].stat().st_size}"
        except OSError:
            raise UserError(f"{shown(table.file)}:{lines[row]}: {shown(paths[row])}: no such image") from None


def _read(
    table: _Table, split: SplitName, place: Place, others_of_it: Sequence[_Table]
) -> tuple[list[str], Labels, Sequence[int], str]:
    """Of the split's rows, or of all where it is drawn: names, labels and line numbers; and what is left out.

    `others_of_it`: the tables of the other splits, where each has one; they name other files.
    """
    source, names, lines = table.source, list[str](), array("q")
    labels = array("b" if place.multi_label else "q")
    numbers, others = {name: number for number, name in enumerate(place.classes or [])}, 0
    wanted = split_words(source.values)
    known = set[str]().union(*(wanted[name] for name in place.splits))
    complete = set(source.values) >= set(place.splits)  # the card says all: the rest is left out
    hashes = array("q")  # of all names: one in two splits is an error, and they need not be kept for that
    for number, row in table.rows():
        name = table.name(number, row)
        hashes.append(hash(name))
        if table.splits_said:
            value = table.split_of(number, row)
            if value.lower() not in known:
                if not complete:
                    raise UserError(f"{shown(table.file)}:{number}: {strange_split(value, known)}")
                others += 1
            if value.lower() not in wanted[split]:
                continue
        names.append(name)
        lines.append(number)
        if place.multi_label:
            labels.extend(_labels_of(table, number, row, numbers))
        elif table.several:
            there = _labels_of(table, number, row, numbers)
            if sum(there) != 1:
                where, way = f"{shown(table.file)}:{number}", "`multi_label: true` in the card takes several, and none"
                raise UserError(f"{where}: {name} has {sum(there)} classes; {way}")
            labels.append(there.index(1))
        elif place.classes is not None:
            assert table.label is not None
            text = table.cell(number, row, table.label)
            labels.append(label_number(text, numbers, source.first_label, f"{shown(table.file)}:{number}"))
    for other in others_of_it:
        hashes.extend(hash(other.name(number, row)) for number, row in other.rows())
    _check_names([*others_of_it, table], np.frombuffer(hashes, np.int64))
    found: Labels = np.array(labels, np.int64)
    if place.multi_label:
        found = found.reshape(len(names), len(numbers))
    return names, found, lines, f"{others:,} lines of other splits are left out" if others else ""


def _check_names(tables: Sequence[_Table], hashes: npt.NDArray[np.int64]) -> None:
    """Raises UserError where a file is named twice. The tables are read again where two names have one hash."""
    values, counts = np.unique(hashes, return_counts=True)
    often, seen = set(values[counts > 1].tolist()), set[str]()
    for table in tables if often else ():
        for number, row in table.rows():
            name = table.name(number, row)
            if name in seen:
                raise UserError(f"{shown(table.file)}:{number}: {name} is named a second time")
            if hash(name) in often:
                seen.add(name)


def _labels_of(table: _Table, number: int, row: list[str], numbers: Mapping[str, int]) -> list[int]:
    """1 for each class that an image has, else 0: from the classes' columns, or from names in one."""
    where, first = f"{shown(table.file)}:{number}", table.source.first_label
    if table.several:
        cells = [table.cell(number, row, column) for column in table.several]
        for name, cell in zip(numbers, cells, strict=True):
            if cell.lower() not in _SAID:
                raise UserError(f"{where}: {name} is {cell!r}; a class is there, 1, or not, 0 or -1")
        return [_SAID[cell.lower()] for cell in cells]
    assert table.label is not None
    assert table.source.separator is not None
    names = parts_of(table.cell(number, row, table.label), table.source.separator)
    there = {label_number(name, numbers, first, where) for name in names}
    return [int(label in there) for label in range(len(numbers))]


def _table(
    source: CsvSource,
    file: Path,
    *,
    labelled: bool,
    classes: Sequence[str] | None = None,
    several: bool = False,
    partition: Path | None = None,
) -> _Table:
    """The columns, from the card, else from the first line, else from what the cells look like.

    Each class has a column where an image may have `several` and none is a separator, and where no column is the label.
    """
    delimiter, counted = _form(file, source.delimiter)
    start = [row for _, row in islice(_lines(file, delimiter, counted=counted), 2)]
    if not start:
        raise UserError(f"{shown(file)}: no line in it")
    first = [cell.strip() for cell in start[0]]
    looks = [_is_image(cell) for cell in first]
    header = source.header if source.header is not None else not any(looks)
    names, words = ([name.lower() for name in first], list(map(plain, first))) if header else ([], [])
    example = [cell.strip() for cell in start[-1]] if header and len(start) > 1 else first

    def column(asked: Column | None, usual: Sequence[str], key: str) -> int | None:
        if isinstance(asked, int) or (isinstance(asked, str) and not header and asked.isdigit()):
            return int(asked)
        if asked is not None:
            if asked.lower() not in names:
                hint = did_you_mean(asked, first) if header else "; it has no line of names: write a number from 0"
                raise UserError(f"{shown(file)}: no column {asked!r}{hint}")
            return names.index(asked.lower())
        return next((words.index(name) for name in usual if name in words), None)

    path = column(source.columns.path, PATHS, "path")
    if path is None:
        path = next((i for i, cell in enumerate(example) if _is_image(cell)), None)
    alone = source.split is not None or source.a_table_each or partition is not None  # no column says the split
    split = None if alone else column(source.columns.split, SPLITS, "split")
    label = column(source.columns.label, (*LABELS, *LISTS), "label")
    own: Sequence[int] = ()
    absent = [name for name in classes or () if name.lower() not in names]
    if several and source.separator is None and absent:
        way = "; `separator: ';'` below `source` where one column names them all"
        raise UserError(f"{shown(file)}: no column {absent[0]!r}{did_you_mean(absent[0], first)}{way}")
    if classes and not absent and (source.separator is None if several else label is None):
        own, labelled = [names.index(name.lower()) for name in classes], False
    if path is None:
        raise UserError(
            f"{shown(file)}: which column names the files? `columns: {{path: ...}}` says it; {_there(first)}"
        )
    known = set[str]().union(*split_words(source.values).values(), *USUAL.values())
    if split is None and not alone and not header:
        split = next((i for i, cell in enumerate(first) if i != path and cell.lower() in known), None)
    if label is None and labelled:
        rest = [i for i in range(len(first)) if i not in (path, split)]
        if len(rest) != 1:
            text = "which column is the label? `columns: {label: ...}` says it"
            raise UserError(f"{shown(file)}: {text}; {_there(first)}")
        label = rest[0]
    said = None if partition is None else _partition(partition)
    return _Table(source, file, delimiter, header, path, label, split, said, counted, own)


def _partition(file: Path) -> dict[str, str]:
    """The splits of files by name, from a table of their own."""
    delimiter, counted = _form(file, None)
    lines = _lines(file, delimiter, counted=counted)
    number, first = next(lines, (0, [""]))
    path = next((i for i, cell in enumerate(first) if _is_image(cell.strip())), None)
    rows = chain([(number, first)], lines) if path is not None else lines
    names = [cell.strip().lower() for cell in first]
    if path is None:
        path = next((names.index(name) for name in PATHS if name in names), 0)
    split = next((names.index(name) for name in SPLITS if name in names), None)
    split = split if split is not None or len(first) != 2 else 1 - path
    if split is None:
        raise UserError(f"{shown(file)}: expected a column of files and one of splits; {_there(first)}")
    found = dict[str, str]()
    for number, row in rows:
        if len(row) <= max(path, split):
            text = f"{len(row)} columns; expected at least {max(path, split) + 1}"
            raise UserError(f"{shown(file)}:{number}: {text}")
        name = row[path].strip()
        if name in found:
            raise UserError(f"{shown(file)}:{number}: {name} is named a second time")
        found[name] = intern(row[split].strip())
    return found


@dataclass(frozen=True)
class FirstLook:
    """What a first card says of a table."""

    split: int | None  # the column that says it
    names: list[str]  # the first files
    classes: list[str]
    multi_label: bool = False
    separator: str | None = None  # between the labels of an image
    others: Sequence[str] = ()  # the columns that are not read


def first_look(source: CsvSource, file: Path) -> FirstLook:
    """The columns that are found and the labels in them; without a label the columns that say 0 and 1 are classes.

    Raises UserError where there is neither, or too many.
    """
    try:
        table = _table(source, file, labelled=True)
    except UserError:
        table = _table(source, file, labelled=False)
        classes = _columns_of_truths(table)
        if len(classes) < 2:
            raise
        others = [name for name in _others(table, []) if name not in classes]
        where = [_names(table).index(name) for name in classes]
        alone = all(sum(_SAID[table.cell(number, row, i).lower()] for i in where) == 1 for number, row in table.rows())
        return FirstLook(table.split, _first_names(table), classes, multi_label=not alone, others=others)
    assert table.label is not None
    texts = _texts(table, table.label)
    several = several_in(texts, _names(table)[table.label] if table.header else "")
    others = _others(table, [table.label])
    if several is None:
        if empty := next((number for number, row in table.rows() if not table.cell(number, row, table.label)), None):
            raise UserError(f"{shown(file)}:{empty}: no label")
        return FirstLook(table.split, _first_names(table), in_order(texts), others=others)
    separator, labels = several
    return FirstLook(table.split, _first_names(table), in_order(labels), True, separator, others)


def _first_names(table: _Table) -> list[str]:
    found = [table.name(number, row) for number, row in islice(table.rows(), 8)]
    if not found:
        raise UserError(f"{shown(table.file)}: no line below that of the names")
    return found


def _others(table: _Table, read: Sequence[int]) -> list[str]:
    """The names of the columns that are not read."""
    names = _names(table) if table.header else []
    return [name for i, name in enumerate(names) if name and i not in (table.path, table.split, *read)]


def _names(table: _Table) -> list[str]:
    """The first line."""
    return [cell.strip() for cell in next(_lines(table.file, table.delimiter, counted=table.counted))[1]]


def _columns_of_truths(table: _Table) -> list[str]:
    """The names of the columns that hold a 1, 0 or -1, and nothing else."""
    if not table.header:
        return []
    names = _names(table)
    left = {i for i in range(len(names)) if i not in (table.path, table.split) and names[i]}
    for number, row in table.rows():
        left -= {i for i in left if table.cell(number, row, i).lower() not in SAID}
        if not left:
            break
    return [names[i] for i in sorted(left)]


def _texts(table: _Table, column: int) -> set[str]:
    """The different texts in a column. Raises UserError where they are too many."""
    found = set[str]()
    for number, row in table.rows():
        found.add(table.cell(number, row, column))
        if len(found) > MOST_CLASSES:
            text = f"more than {MOST_CLASSES:,} different labels: `columns` of a card names another"
            raise UserError(f"{shown(table.file)}: {text}")
    return found


def lists_images(file: Path) -> bool:
    """Whether a text is a table of image files, without a line of names or as those of CelebA."""
    try:
        start = _start(file)
    except UserError:
        return False
    delimiter, counted = _form(file, None)
    cells = start[0].split(delimiter) if start else []
    return counted or (len(cells) > 1 and any(_is_image(cell.strip()) for cell in cells))


def splits_of(source: CsvSource, file: Path, partition: Path | None) -> list[str]:
    """The words for splits in a column, or in another table."""
    table = _table(source, file, labelled=False, partition=partition)
    if table.partition is not None:
        return sorted(set(table.partition.values()))
    return [] if table.split is None else sorted(_texts(table, table.split))


def _there(first: Sequence[str]) -> str:
    return f"the first line is {', '.join(map(repr, first[:8]))}"


def _is_image(cell: str) -> bool:
    return cell.lower().endswith(ENDINGS)


def _start(file: Path) -> list[str]:
    """The first three lines that are not empty."""
    return list(islice((line for line in _text(file) if line.strip()), 3))


def _form(file: Path, said: str | None) -> tuple[str, bool]:
    """The delimiter, a blank for blanks of any number; and whether the first line is a number of images, as in CelebA.

    A usual one, that the first line has most of outside quotes; blanks where there is none and it begins with an image.
    """
    start = _start(file)
    if len(start) == 3 and start[0].strip().isdigit() and _is_image(start[2].split()[0]):
        return said or " ", True
    line = start[0] if start else ""
    outside = "".join(line.split('"')[::2])
    found = max(DELIMITERS, key=outside.count)
    words = line.split()
    if found not in outside and len(words) > 1 and _is_image(words[0]):
        found = " "
    return said or found, False


def _lines(file: Path, delimiter: str, *, counted: bool) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty and their line numbers; a number before the line of names is left out."""
    text = _text(file)
    if delimiter == " ":
        text = (" ".join(line.split()) + "\n" for line in text)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    rows = ((reader.line_num, row) for row in reader if row and any(map(str.strip, row)))
    rows = (one for one in rows if one[0] > 1 or not one[1][0].lower().startswith("sep="))  # a line for Excel
    try:
        if counted:
            _, (number, names), first = next(rows), next(rows), next(rows)
            yield number, [*["image"] * (len(first[1]) - len(names)), *names]
            yield first
        yield from rows
    except csv.Error as error:
        raise UserError(f"{shown(file)}:{reader.line_num}: {error}") from None


def _text(file: Path) -> Iterator[str]:
    """Its lines, without a byte order mark."""
    try:
        with file.open("rb") as start:
            wide = start.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        with file.open(encoding="utf-16" if wide else "utf-8-sig", newline="") as lines:
            for line in lines:
                if "\0" in line:
                    raise UserError(f"{shown(file)}: no text in UTF-8, there are zeros in it")
                yield line
    except UnicodeDecodeError:
        instead = mistaken.kind(file) or "save it as such, a line for each image, with commas or tabs between"
        raise UserError(f"{shown(file)}: no text in UTF-8: {instead}") from None
    except OSError as error:
        raise UserError(f"{shown(file)}: cannot be read: {error.strerror}") from None
