"""Tables of Arrow, from Parquet or Hugging Face: which columns hold what, and labels as numbers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from sem_bench.config.fields import SplitName
from sem_bench.config.validation import did_you_mean
from sem_bench.data.readers.opened import Labels
from sem_bench.data.readers.words import (
    LABELS,
    MOST_CLASSES,
    PATHS,
    SPLITS,
    in_order,
    label_number,
    plain,
    split_words,
    strange_split,
)
from sem_bench.data.sources.packed import Packed
from sem_bench.errors import UserError

IMAGES = ("image", "img", "jpg", "png", "bytes", "picture", "photo", "content", *PATHS)


@dataclass(frozen=True)
class Columns:
    """The columns of a table, by name."""

    image: str
    holds: Literal["bytes", "paths"]
    inside: bool  # the bytes are a field of a struct
    label: str | None
    split: str | None
    classes: Sequence[str] | None  # the names that the table itself has for its labels


def columns_of(schema: Any, source: Packed, where: str, *, labelled: bool) -> Columns:
    """From the card, else by their usual names, else the only ones that can be meant."""
    asked, names = source.columns, list(schema.names)
    for one in filter(None, (asked.image, asked.label, asked.split)):
        if one not in names:
            raise UserError(f"{where}: no column {one!r}{did_you_mean(one, names) or _there(names)}")
    kinds = {name: kind for name in names if (kind := _holds(schema.field(name).type)) is not None}
    split = asked.split or (None if source.split else next((one for one in names if one.lower() in SPLITS), None))
    known = _class_labels(schema)
    label = asked.label
    if label is None and labelled:
        label = _only(known) or _only([one for one in names if one.lower() in LABELS])
    image = asked.image or _image([one for one in kinds if one not in (label, split)], kinds)
    if image is None or image not in kinds:
        ask = f"which column holds the images? `columns: {{image: NAME}}` says it{_there(names)}"
        if image is not None:
            ask = f"column {image!r} is {schema.field(image).type}: neither paths nor bytes of image files"
        raise UserError(f"{where}: {ask}")
    if label is None and labelled:
        label = _only([one for one in names if one not in (image, split) and _may_be_label(schema.field(one).type)])
        if label is None:
            raise UserError(f"{where}: which column is the label? `columns: {{label: NAME}}` says it{_there(names)}")
    struct = types.is_struct(schema.field(image).type)
    return Columns(image, kinds[image], struct, label if labelled else None, split, known.get(label or ""))


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
    """The columns of classes by Hugging Face's note in a schema, and the names of their classes."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: one["names"] for name, one in features.items() if one.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def labels_in(column: Any, columns: Columns, source: Packed, classes: Sequence[str], where: str) -> Labels:
    """A column of labels (N,) as numbers of the card's classes: by name where the table knows or says names."""
    codes, texts = _encoded(column, where)

    def there(code: int) -> str:
        return f"{where}, row {int(np.flatnonzero(codes == code)[0])}"

    numbers = {name: number for number, name in enumerate(classes)}
    known = list(map(plain, columns.classes or []))
    if not known or (len(known) == len(classes) and not set(known) & set(map(plain, classes))):
        found = [label_number(text, numbers, source.first_label, there(code)) for code, text in enumerate(texts)]
    else:
        found = [_by_name(text, columns.classes or [], classes, there(code)) for code, text in enumerate(texts)]
    return np.array(found, np.int64)[codes]


def _by_name(text: str, names: Sequence[str], classes: Sequence[str], where: str) -> int:
    """The card's class that has the name which the table has for a number."""
    if not text.isdigit() or int(text) >= len(names):
        raise UserError(f"{where}: label {text}, but there are names of {len(names)} classes beside it: is it hidden?")
    name = names[int(text)]
    found = [number for number, one in enumerate(classes) if plain(one) == plain(name)]
    if not found:
        raise UserError(f"{where}: no class {name!r}{did_you_mean(name, classes)}")
    return found[0]


def _encoded(column: Any, where: str) -> tuple[Labels, list[str]]:
    """A column as numbers (N,) into the different texts in it."""
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise UserError(f"{where}, row {row}: no label")
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if not (types.is_integer(column.type) or _holds(column.type) == "paths"):
        raise UserError(f"{where}: labels are {column.type}; expected a number or a name for each image")
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


def splits_in(column: Any, where: str) -> list[str]:
    """The words in a column of splits."""
    return _encoded(column, f"{where}: the column of splits")[1]


def classes_in(columns: Columns, column: Any, where: str) -> list[str]:
    """The classes of a first card: as the table names them, else its labels. No name that a folder could not have."""
    names = columns.classes or in_order(_encoded(column, where)[1])
    return [name.replace("/", "_").replace("\\", "_").lstrip(".")[:100] for name in names]
