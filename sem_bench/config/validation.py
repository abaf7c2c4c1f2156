"""From a strict YAML document to a checked model, or to one clear line for every mistake in it."""

import difflib
import math
import re
import types
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import ErrorDetails

from sem_bench.errors import MOST, UserError

M = TypeVar("M", bound=BaseModel)
Location = tuple[str | int, ...]


class Document(Protocol):
    """Data that was read from somewhere, and where its parts stand."""

    @property
    def data(self) -> object:
        """Mappings, lists and scalars."""

    def place(self, location: Sequence[str | int]) -> str:
        """PATH:LINE of a part."""


LISTED = 30  # names that a message says at most
SYNONYMS = {  # what others call a key, without punctuation, by ours
    "tau": ("temperature", "temp", "t"),
    "lr": ("learningrate", "baselr"),
    "batch_size": ("bs", "batch"),
    "weight_decay": ("wd",),
    "epochs": ("nepochs", "numepochs", "maxepochs"),
    "methods": ("algorithms", "models"),
    "backbones": ("architectures", "arch", "encoders", "networks"),
    "k": ("neighbors", "neighbours", "nneighbors", "numneighbors"),
    "l2": ("regularisation", "regularization", "penalty"),
    "fractions": ("labels", "percentages"),
    "L": ("groups",),
    "V": ("simplexsize", "vocabulary"),
}


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """'; did you mean ...?' with the nearest spelling, else the list of what there is."""
    names = list(known)
    if near := _nearest(name, names):
        return f"; did you mean {near!r}?"
    if len(names) > LISTED:
        return f"; there are {len(names):,}, such as {', '.join(names[:3])}"
    return f"; there is {', '.join(names)}" if names else "; there is none"


def known(names: Iterable[str], what: str = "name") -> BeforeValidator:
    """For the annotation of a field: its value is one of the names. `what` is the field's own name, for the message."""

    def check(value: object) -> object:
        if value not in list(names):
            raise ValueError(f"unknown {what} {value!r}{did_you_mean(value, names)}")
        return value

    return BeforeValidator(check)


def _nearest(name: object, names: Sequence[str]) -> str | None:
    plain = {_plain(known): known for known in reversed(names)}
    if (same := plain.get(_plain(name))) is not None:
        return same
    if synonym := next((known for known in names if _plain(name) in SYNONYMS.get(known, ())), None):
        return synonym
    if near := difflib.get_close_matches(str(name), names, n=1, cutoff=0.6):
        return near[0]
    return next((plain[near] for near in difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.6)), None)


def _plain(name: object) -> str:
    """Without capitals, spaces and punctuation: SimCLR, MoCo-v2 and CIFAR-10 are written in many ways."""
    return re.sub(r"[\W_]+", "", str(name)).lower()


def _is_extra(details: ErrorDetails) -> bool:
    return details["type"] == "extra_forbidden"


def validate(model: type[M], document: Document) -> M:
    """The document as a model. Raises UserError with a line for each mistake."""
    if not isinstance(document.data, dict):
        raise UserError(f"{document.place(())}: expected keys and values, found {_kind(document.data)}")
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        found, left = found[: MOST - 1], len(found) - MOST + 1  # of thousands, each would take its time
        misspelt = {(d["loc"][:-1], _nearest(d["loc"][-1], _keys(model, d["loc"][:-1]))) for d in found if _is_extra(d)}
        said = [d for d in found if d["type"] != "missing" or (d["loc"][:-1], d["loc"][-1]) not in misspelt]
        more = [f"{document.place(())}: and {left:,} mistakes more"] if left > 0 else []
        raise UserError([*(_line(model, document, details) for details in said), *more]) from None


def at(document: Document, location: Sequence[str | int], text: str) -> str:
    """A problem's line: file, line number, text."""
    return f"{document.place(location)}: {text}"


def _line(model: type[BaseModel], document: Document, details: ErrorDetails) -> str:
    location = _present(document.data, details["loc"])
    return at(document, location, _text(model, details, location))


def _present(data: object, loc: Location) -> Location:
    """Pydantic's location without what the file does not have: an index where one mapping stands for a list."""
    found: list[str | int] = []
    for position, part in enumerate(loc):
        if isinstance(data, dict) and part not in data and data.get("type") == part:
            continue  # pydantic names the member of a union by its type
        inside = _child(data, part)
        if inside is None and position < len(loc) - 1:
            continue
        found.append(part)
        data = inside[0] if inside else None
    return tuple(found)


def _child(data: object, part: str | int) -> tuple[object] | None:
    if isinstance(data, dict) and part in data:
        return (data[part],)
    return (data[part],) if isinstance(data, list) and isinstance(part, int) and part < len(data) else None


def _text(model: type[BaseModel], details: ErrorDetails, location: Location) -> str:
    kind, value = details["type"], details["input"]
    where = dotted(location)
    parent = dotted(location[:-1])
    of_parent = f" in {parent}" if parent else ""
    key = location[-1] if location else ""
    if kind == "extra_forbidden":
        return f"unknown key {key!r}{of_parent}{did_you_mean(key, _keys(model, details['loc'][:-1]))}"
    if kind == "missing":
        return f"missing key {key!r}{of_parent}"
    if kind == "literal_error":
        expected = [word.strip("'") for word in details["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return f"{where}: unknown {key} {value!r}{did_you_mean(value, expected)}"
    if kind == "value_error":
        return f"{where}: {details['ctx']['error']}" if where else str(details["ctx"]["error"])
    if kind == "union_tag_not_found":
        return f"missing key 'type' in {where}"
    if kind == "union_tag_invalid":
        known = details["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"{where}.type: unknown type {details['ctx']['tag']!r}{did_you_mean(details['ctx']['tag'], known)}"
    if kind == "string_pattern_mismatch":
        allowed = "letters, digits, '.', '_' and '-' only"
        if re.match(details["ctx"]["pattern"], "a b"):  # of a class, which is that of a folder, too
            allowed = "no slash and no dot in front"
        return f"{where}: {value!r} is no name: {allowed}"
    if kind == "too_short":
        least = details["ctx"]["min_length"]
        return f"{where}: must not be empty" if least == 1 else f"{where}: needs at least {least}"
    if kind == "finite_number":
        return f"{where}: {value} is not a finite number"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return (
            f"{where}: expected keys and values, found {_kind(value)}{_as_mapping(value, _keys(model, details['loc']))}"
        )
    message = details["msg"].removeprefix("Input ")
    if kind == "less_than_equal" and details["ctx"]["le"] == 1 and value <= 100 and value == int(value):
        return f"{where}: {message}, found {value}; it is a share: {value:g} % is {value / 100:g}"
    return f"{where}: {message}, found {_kind(value)}{_spelling(kind, value)}"


def _as_mapping(value: object, keys: Sequence[str]) -> str:
    """How to write the keys of which a value says one, or names some; "" where that is not clear."""
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value) and not keys:
        return f"; write {{{', '.join(f'{one}: {{...}}' for one in value)}}}"
    if isinstance(value, int | float) and not isinstance(value, bool) and keys:
        return f"; its keys are {', '.join(keys)}, as in {{{keys[0]}: {value}}}"
    return f"; its keys are {', '.join(keys)}" if keys else ""


def _spelling(kind: str, value: object) -> str:
    """How to write a value that has the wrong type and one meaning; "" where there is none."""
    if kind == "list_type" and isinstance(value, str | int | float) and not isinstance(value, bool):
        return f"; write [{value}]"
    if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
        return f'; write "{value}"'
    if not kind.startswith(("int", "float")) or isinstance(value, bool) or not isinstance(value, str | float):
        return ""
    text = str(value).strip().replace("_", "")
    share = text.endswith("%")
    try:
        number = float(text.removesuffix("%")) / (100 if share else 1)
    except ValueError:
        return ""
    if not math.isfinite(number) or (kind.startswith("int") and (share or not number.is_integer())):
        return ""
    return f"; write {int(number) if kind.startswith('int') else text if not share else f'{number:g}'}"


def dotted(location: Location) -> str:
    """A place as a message says it: grid[1].embeddings.sem."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return repr(value) if len(repr(value)) < 60 else repr(value)[:57] + "..."


def _keys(model: type[BaseModel], loc: Location) -> list[str]:
    """The keys that are allowed at a location of the model."""
    here: Any = model
    for part in loc:
        here = _below(here, part)
    models = [m for m in _alternatives(here) if isinstance(m, type) and issubclass(m, BaseModel)]
    return [field.alias or name for m in models for name, field in m.model_fields.items()]


def _below(annotation: Any, part: str | int) -> Any:
    for choice in _alternatives(annotation):
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            for name, field in choice.model_fields.items():
                if part in (name, field.alias):
                    return field.annotation
            if "type" in choice.model_fields and part in get_args(choice.model_fields["type"].annotation):
                return choice  # the member of a union that its type names
        origin, arguments = get_origin(choice), get_args(choice)
        if origin is list and isinstance(part, int):
            return arguments[0]
        if origin is dict:
            return arguments[1]
    return None


def _alternatives(annotation: Any) -> list[Any]:
    if hasattr(annotation, "__metadata__"):
        return _alternatives(annotation.__origin__)
    if get_origin(annotation) in (Union, types.UnionType):
        return [choice for argument in get_args(annotation) for choice in _alternatives(argument)]
    return [annotation]
