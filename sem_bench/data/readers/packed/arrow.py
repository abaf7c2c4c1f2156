"""Tables of Arrow, from Parquet or Hugging Face: which columns hold what, and labels as numbers."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from sem_bench.config.fields import SplitName
from sem_bench.config.validation import did_you_mean
from sem_bench.data.dataset import Place
from sem_bench.data.readers.opened import Labels
from sem_bench.data.readers.words import (
    LABELS,
    LISTS,
    MOST_CLASSES,
    PATHS,
    SAID,
    SPLITS,
    as_class,
    in_order,
    label_number,
    parts_of,
    plain,
    several_in,
    split_words,
    splits_in,
    strange_split,
)
from sem_bench.data.sources.base import Seen
from sem_bench.data.sources.packed import Packed
from sem_bench.errors import UserError

IMAGES = ("image", "img", "jpg", "png", "bytes", "picture", "photo", "content", *PATHS)


Reader = Callable[[str], Any]
"""The column of a name, of all rows."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table, by name."""

    image: str
    holds: Literal["bytes", "paths"]
    inside: bool  # the bytes are a field of a struct
    label: str | None
    split: str | None
    classes: Sequence[str] | None  # the names that the table itself has for its labels
    several: Sequence[str] = ()  # of images with several classes: the column of each; empty: `label` lists them


def columns_of(schema: Any, source: Packed, where: str, place: Place) -> Columns:
    """From the card, else by their usual names, else the only ones that can be meant."""
    names = list(schema.names)
    if not place.multi_label or source.columns.label or source.separator:
        return _columns(schema, source, where, labelled=place.classes is not None, lists=place.multi_label)
    lower = {name.lower(): name for name in names}
    absent = [name for name in place.classes or () if name.lower() not in lower]
    if not absent:
        return _columns(schema, source, where, several=[lower[name.lower()] for name in place.classes or ()])
    try:
        return _columns(schema, source, where, labelled=True, lists=True)
    except UserError as error:
        way = f"; with a column for each class, {absent[0]!r} has none{did_you_mean(absent[0], names)}"
        raise UserError(f"{error}{way}") from None


def _columns(
    schema: Any,
    source: Packed,
    where: str,
    *,
    labelled: bool = False,
    lists: bool = False,
    several: Sequence[str] = (),
) -> Columns:
    asked, names = source.columns, list(schema.names)
    for one in filter(None, (asked.image, asked.label, asked.split)):
        if one not in names:
            raise UserError(f"{where}: no column {one!r}{did_you_mean(one, names) or _there(names)}")
    kinds = {name: kind for name in names if (kind := _holds(schema.field(name).type)) is not None}
    split = asked.split or (None if source.split else next((one for one in names if one.lower() in SPLITS), None))
    known = _class_labels(schema)
    label = asked.label
    if label is None and labelled:
        label = _only(known) or _only([one for one in names if one.lower() in (*LABELS, *(LISTS if lists else ()))])
    image = asked.image or _image([one for one in kinds if one not in (label, split)], kinds)
    if image is None or image not in kinds:
        ask = f"which column holds the images? `columns: {{image: NAME}}` says it{_there(names)}"
        if image is not None:
            ask = f"column {image!r} is {schema.field(image).type}: neither paths nor bytes of image files"
        raise UserError(f"{where}: {ask}")
    if label is None and labelled:
        others = [one for one in names if one not in (image, split)]
        listed = _only([one for one in others if _is_list(schema.field(one).type)])
        single = _only([one for one in others if _may_be_label(schema.field(one).type)])
        label = (listed or single) if lists else (single or listed)
        if label is None:
            raise UserError(f"{where}: which column is the label? `columns: {{label: NAME}}` says it{_there(names)}")
    struct = types.is_struct(schema.field(image).type)
    own = known.get(label or "")
    return Columns(image, kinds[image], struct, label if labelled else None, split, own, several)


def _there(names: Sequence[str]) -> str:
    return f"; the columns are {', '.join(names[:8])}" + (", ..." if len(names) > 8 else "")


def _only(some: Any) -> str | None:
    return next(iter(some)) if len(some) == 1 else None


def _image(names: Sequence[str], kinds: dict[str, Any]) -> str | None:
    """Bytes before paths, usual names before others."""
    for kind in ("bytes", "paths"):
        these = [one for one in names if kinds[one] == kind]
        usual = [one for word in IMAGES for one in these if one.lower() == word]
        if usual or len(these) == 1:
            return (usual or these)[0]
        if these:
            return None
    return None


def _holds(kind: Any) -> Literal["bytes", "paths"] | None:
    """What a column may be of images; None: nothing."""
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_struct(kind):
        return "bytes" if kind.get_field_index("bytes") >= 0 else None
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return "bytes"
    return "paths" if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) else None


def _may_be_label(kind: Any) -> bool:
    return types.is_integer(kind) or types.is_boolean(kind) or types.is_dictionary(kind) or _holds(kind) == "paths"


def _class_labels(schema: Any) -> dict[str, Sequence[str]]:
    """The columns of classes, or lists of them, by Hugging Face's note in a schema, and the names of the classes."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        inner = {name: one[0] if isinstance(one, list) else one.get("feature", one) for name, one in features.items()}
        return {name: one["names"] for name, one in inner.items() if one.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def labels_of(column: Reader, columns: Columns, source: Packed, place: Place, where: str) -> Labels | None:
    """Labels (N,), or (N, C) of 0 and 1 where an image may have several classes; None where there are none."""
    classes = place.classes or ()
    if columns.several:
        return np.stack([_there_or_not(column(name), name, where) for name in columns.several], 1)
    if columns.label is None:
        return None
    found = column(columns.label)
    if place.multi_label:
        return _labels_of_lists(found, columns, source, classes, where)
    codes, texts = _encoded(found, where)
    numbers = _numbers(texts, lambda code: int(np.flatnonzero(codes == code)[0]), columns, source, classes, where)
    return numbers[codes]


def _there_or_not(column: Any, name: str, where: str) -> Labels:
    """The column of a class (N,): 1 where it is there, 0 where not."""
    codes, texts = _encoded(column, f"{where}: column {name!r}", floats=True)
    for code, text in enumerate(texts):
        if text.lower() not in SAID:
            here = f"{where}, row {int(np.flatnonzero(codes == code)[0])}"
            raise UserError(f"{here}: {name} is {text!r}; a class is there, 1, or not, 0 or -1")
    return np.array([SAID[text.lower()] for text in texts], np.int64)[codes]


def _labels_of_lists(column: Any, columns: Columns, source: Packed, classes: Sequence[str], where: str) -> Labels:
    """A column of lists as (N, C): of names or numbers of classes, or of a 0 or 1 for each class."""
    lists = _lists(column, source, where)
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(lists)), lengths)
    codes, texts = _encoded(pc.list_flatten(lists), where, floats=True)
    found = np.zeros((len(lists), len(classes)), np.int64)
    if len(lists) and (lengths == len(classes)).all() and all(text.lower() in SAID for text in texts):
        # A 0 or 1 for each class: as numbers of classes, no image of three or more could have as many different ones.
        return np.array([SAID[text.lower()] for text in texts], np.int64)[codes].reshape(found.shape)
    first = _numbers(texts, lambda code: int(rows[codes == code][0]), columns, source, classes, where)
    found[rows, first[codes]] = 1
    return found


def _lists(column: Any, source: Packed, where: str) -> Any:
    """The lists of a column (N), of texts what its separator parts."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise UserError(f"{where}, row {row}: no label; an empty list where it has no class")
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_list(column.type):
        return column
    if source.separator is None:
        text = f"labels are {column.type}; expected lists, or `separator: ';'` below `source` where texts name several"
        raise UserError(f"{where}: {text}")
    texts = pc.cast(column, pa.string()).to_pylist()
    parts = [parts_of(text, source.separator) for text in texts]
    return pa.array(parts, pa.list_(pa.string()))


def _is_list(kind: Any) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _numbers(
    texts: Sequence[str],
    row_of: Callable[[int], int],
    columns: Columns,
    source: Packed,
    classes: Sequence[str],
    where: str,
) -> Labels:
    """What texts mean as numbers of the card's classes: by name where the table knows or says names.

    `row_of` gives a row that has the text of a number.
    """

    def there(code: int) -> str:
        return f"{where}, row {row_of(code)}"

    numbers = {name: number for number, name in enumerate(classes)}
    known = list(map(plain, columns.classes or []))
    if not known or (len(known) == len(classes) and not set(known) & set(map(plain, classes))):
        found = [label_number(text, numbers, source.first_label, there(code)) for code, text in enumerate(texts)]
    else:
        found = [_by_name(text, columns.classes or [], classes, there(code)) for code, text in enumerate(texts)]
    return np.array(found, np.int64)


def _by_name(text: str, names: Sequence[str], classes: Sequence[str], where: str) -> int:
    """The card's class that has the name which the table has for a number."""
    if not text.isdigit() or int(text) >= len(names):
        raise UserError(f"{where}: label {text}, but there are names of {len(names)} classes beside it: is it hidden?")
    name = names[int(text)]
    found = [number for number, one in enumerate(classes) if plain(one) == plain(name)]
    if not found:
        raise UserError(f"{where}: no class {name!r}{did_you_mean(name, classes)}")
    return found[0]


def _encoded(column: Any, where: str, *, floats: bool = False) -> tuple[Labels, list[str]]:
    """A column as numbers (N,) into the different texts in it; with `floats` they may be such."""
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise UserError(f"{where}, row {row}: no label")
    column = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_boolean(column.type):
        column = column.cast(pa.int8())
    number = types.is_integer(column.type) or (floats and types.is_floating(column.type))
    if not (number or _holds(column.type) == "paths"):
        way = "; `multi_label: true` in the card where it may have several" if _is_list(column.type) else ""
        raise UserError(f"{where}: labels are {column.type}; expected a number or a name for each image{way}")
    encoded = pc.dictionary_encode(column).combine_chunks()
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    texts = [str(one).strip() for one in encoded.dictionary.to_pylist()]
    if len(texts) > MOST_CLASSES:
        raise UserError(
            f"{where}: more than {MOST_CLASSES:,} different labels: `columns: {{label: NAME}}` names another"
        )
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), texts


def rows_said(
    column: Any, split: SplitName, source: Packed, splits: Sequence[SplitName], where: str
) -> tuple[Labels, str]:
    """The rows whose column says the split, and what is left out, in words."""
    codes, texts = _encoded(column, f"{where}: the column of splits")
    wanted = split_words(source.values)
    known = set[str]().union(*(wanted[name] for name in splits))
    strange = [text for text in texts if text.lower() not in known]
    if strange and not set(source.values) >= set(splits):
        raise UserError(f"{where}: {strange_split(strange[0], known)}")
    mine = np.array([text.lower() in wanted[split] for text in texts], np.bool_)
    other = np.array([text.lower() not in known for text in texts], np.bool_)
    left = int(other[codes].sum()) if len(codes) else 0
    return np.flatnonzero(mine[codes]), f"{left:,} rows of other splits are left out" if left else ""


def words_in(column: Any, where: str) -> list[str]:
    """The words in a column of splits."""
    return _encoded(column, f"{where}: the column of splits")[1]


def first_columns(schema: Any, column: Reader, source: Packed, where: str) -> Columns:
    """The columns as a first card takes them: several for each class where there is no label, but some are 0 and 1."""
    try:
        return _columns(schema, source, where, labelled=True, lists=True)
    except UserError:
        several = [one for one in schema.names if _says_there(schema.field(one).type, partial(column, one))]
        if len(several) < 2:
            raise
        return _columns(schema, source, where, several=several)


def _says_there(kind: Any, column: Callable[[], Any]) -> bool:
    """Whether a column may be that of a class: truths, or 0 and 1."""
    if types.is_boolean(kind):
        return True
    if not (types.is_integer(kind) or types.is_floating(kind)):
        return False
    return set(pc.unique(column()).to_pylist()) in ({0, 1}, {-1, 1})


def seen_in(columns: Columns, column: Reader, words: Iterable[str], where: str) -> Seen:
    """What a first card says: the classes as the table names them, else its labels, as names of folders."""
    card, val = splits_in(words)
    if columns.several:
        return Seen(card, list(columns.several), multi_label=True, val=val)
    assert columns.label is not None
    labels = column(columns.label)
    several = _is_list(labels.type)
    if several:
        labels = pc.list_flatten(labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else labels)
    texts = columns.classes or _encoded(labels, where)[1]
    parted = None if several or columns.classes else several_in(texts, columns.label)
    if parted is not None:
        return Seen({**card, "separator": parted[0]}, in_order(parted[1]), multi_label=True, val=val)
    names = list(map(as_class, columns.classes)) if columns.classes else in_order(texts)
    return Seen(card, names, multi_label=several, val=val)
