"""A table of image files, read line by line: what is kept of it are the rows of the split that is asked for."""

from __future__ import annotations

import csv
import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sem_bench.base.digest import digest
from sem_bench.base.files import lines_digest, shown
from sem_bench.config.fields import SplitName
from sem_bench.config.validation import did_you_mean
from sem_bench.data.dataset import Place, located
from sem_bench.data.described import Data
from sem_bench.data.drawn_split import rows_of
from sem_bench.data.readers.image_files import ENDINGS, read_image
from sem_bench.data.readers.opened import Labels, Opened
from sem_bench.data.readers.words import (
    LABELS,
    MOST_CLASSES,
    PATHS,
    SPLITS,
    USUAL,
    in_order,
    label_number,
    split_words,
    strange_split,
)
from sem_bench.data.several_labels import strata
from sem_bench.data.sources.csv import Column, Columns, CsvSource
from sem_bench.errors import UserError

DELIMITERS = ",;\t|"
_SAID = {"1": 1, "0": 0, "-1": 0, "1.0": 1, "0.0": 0, "true": 1, "false": 0, "": 0}  # of a class, in its column


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
    several: Sequence[int] = ()  # of images with several classes: the column of each class; empty: all in `label`

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line numbers and cells, without the header and empty lines."""
        lines = _lines(self.file, self.delimiter)
        yield from islice(lines, int(self.header), None)

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
    table = _table(source, file, labelled=place.classes is not None, several=_several(place))
    if table.split is None and source.split is None and not source.a_table_each and len(place.splits) > 1:
        raise UserError(
            f"{shown(file)}: no column says the split: name it in `columns: {{split: NAME}}`, or write "
            "`split: {test: 0.2, seed: 0}` below `source` to draw it"
        )
    folder = located(place.root, source.images) if source.images else file.parent
    others = [name for name in place.splits if name != split] if source.a_table_each else []
    tables = [_table(source, located(place.root, source.table_of(name)), labelled=False) for name in others]
    names, labels, lines, aside = _read(table, split, place, tables)
    chosen = None if place.classes is None else labels
    if source.split is not None:
        rows = rows_of(split, source.split, names, [0] * len(names) if chosen is None else strata(chosen).tolist())
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
        if table.split is not None:
            value = table.cell(number, row, table.split)
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


def _several(place: Place) -> Sequence[str] | None:
    """The classes of which an image may have several."""
    return place.classes if place.multi_label else None


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
    names = table.cell(number, row, table.label).split(table.source.separator)
    there = {label_number(name.strip(), numbers, first, where) for name in names if name.strip()}
    return [int(label in there) for label in range(len(numbers))]


def _table(source: CsvSource, file: Path, *, labelled: bool, several: Sequence[str] | None = None) -> _Table:
    """The columns, from the card, else from the first line, else from what the cells look like."""
    delimiter = source.delimiter or _delimiter(file)
    start = [row for _, row in islice(_lines(file, delimiter), 2)]
    if not start:
        raise UserError(f"{shown(file)}: no line in it")
    first = [cell.strip() for cell in start[0]]
    looks = [_is_image(cell) for cell in first]
    header = source.header if source.header is not None else not any(looks)
    names = [name.lower() for name in first] if header else []
    example = [cell.strip() for cell in start[-1]] if header and len(start) > 1 else first

    def column(asked: Column | None, usual: Sequence[str], key: str) -> int | None:
        if isinstance(asked, int) or (isinstance(asked, str) and not header and asked.isdigit()):
            return int(asked)
        if asked is not None:
            if asked.lower() not in names:
                hint = did_you_mean(asked, first) if header else "; it has no line of names: write a number from 0"
                raise UserError(f"{shown(file)}: no column {asked!r}{hint}")
            return names.index(asked.lower())
        return next((names.index(name) for name in usual if name in names), None)

    path = column(source.columns.path, PATHS, "path")
    if path is None:
        path = next((i for i, cell in enumerate(example) if _is_image(cell)), None)
    alone = source.split is not None or source.a_table_each  # no column says the split
    split = None if alone else column(source.columns.split, SPLITS, "split")
    label = column(source.columns.label, LABELS, "label")
    classes: Sequence[int] = ()
    if several is not None and source.separator is None:
        absent = [name for name in several if name.lower() not in names]
        if absent:
            way = "; `separator: ';'` below `source` where one column names them all"
            raise UserError(f"{shown(file)}: no column {absent[0]!r}{did_you_mean(absent[0], first)}{way}")
        classes, labelled = [names.index(name.lower()) for name in several], False
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
    return _Table(source, file, delimiter, header, path, label, split, classes)


def named_columns(source: CsvSource, file: Path) -> tuple[Columns, list[str]]:
    """The columns that are found, by number, and the first names of files; for whoever writes a card."""
    table = _table(source, file, labelled=True)
    names = [table.name(number, row) for number, row in islice(table.rows(), 8)]
    return Columns(path=table.path, label=table.label, split=table.split), names


def has_val(source: CsvSource, file: Path) -> bool:
    """Whether its column of splits names images to choose on."""
    table, wanted = _table(source, file, labelled=True), split_words(source.values)["val"]
    assert table.split is not None
    return any(table.cell(number, row, table.split).lower() in wanted for number, row in table.rows())


def label_values(source: CsvSource, file: Path) -> list[str]:
    """The labels in a table, numbers in their order, else by the alphabet. Raises UserError where they are too many."""
    table = _table(source, file, labelled=True)
    assert table.label is not None
    found: set[str] = set()
    for number, row in table.rows():
        found.add(table.cell(number, row, table.label))
        if len(found) > MOST_CLASSES:
            raise UserError(
                f"{shown(file)}: more than {MOST_CLASSES:,} different labels: `columns` of a card names another"
            )
    return in_order(found)


def _there(first: Sequence[str]) -> str:
    return f"the first line is {', '.join(map(repr, first[:8]))}"


def _is_image(cell: str) -> bool:
    return cell.lower().endswith(ENDINGS)


def _delimiter(file: Path) -> str:
    """The one that the first line has most of, outside quotes; a space in lists that are no .csv or .tsv."""
    line = next((line for line in _text(file) if line.strip()), "")
    outside = "".join(line.split('"')[::2])
    plain = file.suffix.lower() not in (".csv", ".tsv") and not any(one in outside for one in DELIMITERS)
    return " " if plain else max(DELIMITERS, key=outside.count)


def _lines(file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty and their line numbers."""
    reader = csv.reader(_text(file), delimiter=delimiter, strict=True, skipinitialspace=delimiter == " ")
    try:
        for row in reader:
            if row and any(map(str.strip, row)):
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{shown(file)}:{reader.line_num}: {error}") from None


def _text(file: Path) -> Iterator[str]:
    """Its lines, without a byte order mark."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            yield from lines
    except UnicodeDecodeError:
        raise UserError(f"{shown(file)}: no text in UTF-8") from None
    except OSError as error:
        raise UserError(f"{shown(file)}: cannot be read: {error.strerror}") from None
