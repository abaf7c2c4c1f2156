"""`list keys`: every key that a suite or a card can have, with its type, what it is without, and its meaning."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from tabulate import tabulate

from sem_bench.base import screen
from sem_bench.config.cards import Library
from sem_bench.config.meanings import meanings
from sem_bench.config.validation import did_you_mean
from sem_bench.data.card import DatasetCard
from sem_bench.errors import UserError
from sem_bench.evaluations.registry import evaluations
from sem_bench.nets.card import BackboneCard, EmbeddingCard
from sem_bench.runs.suite import suite_model
from sem_bench.runs.sweep_card import Sweep
from sem_bench.training.card import MethodCard

CARDS: dict[str, type[BaseModel]] = {
    "dataset": DatasetCard,
    "method": MethodCard,
    "embedding": EmbeddingCard,
    "backbone": BackboneCard,
    "sweep": Sweep,
}
SUITE = "suite"
NEEDED = "needed"
WIDTHS = (32, 22, 56)  # of the columns beside the key
Schema = dict[str, Any]


def keys(name: str | None, folder: Path) -> str:
    """The keys of one kind of file, or of all. Raises UserError for another name."""
    if name not in (None, SUITE, *CARDS):
        raise UserError(f"list keys: no {name!r}{did_you_mean(name, [SUITE, *CARDS])}")
    models = {SUITE: suite_model(evaluations(Library(folder)))} | CARDS
    return "\n\n".join(_file(models[one], one) for one in ([name] if name else models))


def _file(model: type[BaseModel], name: str) -> str:
    schema = model.model_json_schema(by_alias=True)
    defined: dict[str, Schema] = schema.get("$defs", {})
    classes = {one.__name__: one for one in _models(BaseModel)}
    parts = [f"{name}\n{'=' * len(name)}\n{_section(schema, model)}"]
    for title, own in defined.items():
        if own.get("properties"):
            said = f"{_named(title)}: {own['description']}" if own.get("description") else _named(title)
            parts.append(f"{screen.wrapped(said.splitlines()[0])}\n{_section(own, classes[title])}")
    return "\n\n".join(parts)


def section(model: type[BaseModel]) -> str:
    """The keys of one part of a file."""
    return _section(model.model_json_schema(by_alias=True), model)


def _section(schema: Schema, model: type[BaseModel]) -> str:
    aliases = {field.alias: key for key, field in model.model_fields.items() if field.alias}
    comments, needed = meanings(model), schema.get("required", [])
    lines = [
        [
            key,
            _type(one),
            NEEDED if key in needed else _value(one.get("default")),
            comments.get(aliases.get(key, key), ""),
        ]
        for key, one in schema["properties"].items()
    ]
    headers = ["key", "type", "default", "meaning"]
    beside = max(len(line[0]) for line in [headers, *lines]) + 6
    widths = [None, *screen.shares(*WIDTHS, beside=beside)]
    return tabulate(lines, headers, tablefmt="simple", maxcolwidths=widths, disable_numparse=True)


def _models(above: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in above.__subclasses__():
        yield one
        yield from _models(one)


def _named(title: str) -> str:
    """ "IpIrmSettings" -> "ip irm"; the name that a type has in the tables."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in title).split()
    return " ".join(words[:-1] if words[-1] in ("settings", "source") and len(words) > 1 else words)


def _value(default: object) -> str:
    if isinstance(default, dict):
        default = {key: value for key, value in default.items() if value is not None}
    return "-" if default is None or default == {} else in_a_line(default) or "-"


def in_a_line(value: object) -> str:
    """A value as YAML has it, in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _type(schema: Schema) -> str:
    """A type in words: "whole number from 1", "list of text", "yes or no"."""
    if "$ref" in schema:
        return _named(schema["$ref"].rsplit("/", 1)[1])
    if options := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return " or ".join(dict.fromkeys(_type(one) for one in options if one.get("type") != "null"))
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    match schema.get("type"):
        case "integer":
            return "whole number" + _bounds(schema)
        case "number":
            return "number" + _bounds(schema)
        case "boolean":
            return "true or false"
        case "string":
            return "text"
        case "array" if "prefixItems" in schema:
            each = schema["prefixItems"]
            return f"{len(each)} of {_type(each[0])}"
        case "array":
            return f"list of {_type(schema.get('items', {}))}"
        case "object":
            return f"names with {_type(_values(schema))}"
    return "any"


def _values(schema: Schema) -> Schema:
    """What a mapping holds."""
    patterns: Mapping[str, Schema] = schema.get("patternProperties", {})
    held = schema.get("additionalProperties")
    return next(iter(patterns.values()), held if isinstance(held, dict) else {})


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _bounds(schema: Schema) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    words = [f"from {_number(low)}"] if low is not None else [f"above {_number(above)}"] if above is not None else []
    words += [f"to {_number(high)}"] if high is not None else [f"below {_number(below)}"] if below is not None else []
    return "".join(f" {word}" for word in words)
