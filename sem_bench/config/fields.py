"""The kinds of values that files hold, with their bounds, and the names that the engine itself knows."""

import math
from collections import Counter
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def unique(values: list[Any]) -> list[Any]:
    """The values, which are names or numbers; raises ValueError where one stands there twice."""
    if len(set(values)) < len(values):  # a list may be long, and is looked at often
        repeated = next(value for value, often in Counter(values).items() if often > 1)
        raise ValueError(f"{repeated!r} stands there twice")
    return values


def finite(value: Any) -> Any:
    """Raises ValueError for a number that no file of JSON can hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return value


def percent(fraction: float) -> str:
    """A fraction of the labels as columns of tables and cards say it: "1%"."""
    return f"{100 * fraction:g}%"


def _increasing(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise ValueError(f"[{values[0]:g}, {values[1]:g}] is reversed")
    return values


def _computable(value: float) -> float:
    if not 1e-30 <= value <= 1e30:  # far beyond what single precision tells apart
        raise ValueError(f"should be from 1e-30 to 1e30, found {value:g}")
    return value


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)]
Count = Annotated[int, Field(ge=0, le=10**6)]
BatchSize = Annotated[int, Field(ge=2, le=10**6)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]+)?%$")]  # as a table's columns say it
Fraction = Annotated[float, Field(gt=0, le=1)]
Temperature = Positive
Range = Annotated[tuple[NonNegative, NonNegative], BeforeValidator(_as_tuple), AfterValidator(_increasing)]
Bounds = Annotated[tuple[float, float], BeforeValidator(_as_tuple), AfterValidator(_increasing)]
Channels = Annotated[tuple[NonNegative, NonNegative, NonNegative], BeforeValidator(_as_tuple)]
PositiveChannels = Annotated[tuple[Positive, Positive, Positive], BeforeValidator(_as_tuple)]
BackboneName = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)
]
Names = Annotated[list[Name], Field(min_length=1), AfterValidator(unique)]
ClassName = Annotated[
    str, Field(pattern=r"^[^/\\\x00-\x1f.][^/\\\x00-\x1f]*$", max_length=100)
]  # also that of a folder
Classes = Annotated[list[ClassName], Field(min_length=2), AfterValidator(unique)]
Members = Annotated[list[ClassName], Field(min_length=1), AfterValidator(unique)]
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(unique)]
Fractions = Annotated[list[Fraction], Field(min_length=1), AfterValidator(unique)]
Temperatures = Annotated[list[Temperature], Field(min_length=1), AfterValidator(unique), AfterValidator(sorted)]
# Accuracy; balanced accuracy; the mean over classes of F1; that of the average precision, of several labels an image.
Score = Literal["top1", "mean_per_class", "macro_f1", "map"]
SplitName = Literal["train", "val", "test"]  # val: judges the candidates of probes
Marker = Annotated[str, Field(pattern=r"^[.,ov^<>12348spP*hH+xXDd|_]$")]  # of a figure, as matplotlib names it
Scalar = Annotated[bool | int | float | str, AfterValidator(finite)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.py$", max_length=60)]
# Where files lie on this machine: from the data folder, "~" is the home. It enters no digest and no result.
Where = Annotated[str, Field(exclude=True)]
ImageSize = Annotated[int, Field(ge=8, le=4096)]
Penalty = Annotated[float, AfterValidator(_computable)]
# Which of the candidates that validation judged a probe takes; not in the files of jobs with the usual one.
RuleName = Literal["best", "median", "weakest", "one_se"]
Rule = Annotated[RuleName, Field(exclude_if=lambda rule: rule == "best")]
Penalties = Annotated[list[Penalty], Field(min_length=1), AfterValidator(unique), AfterValidator(sorted)]


class Model(BaseModel):
    """Strict, closed and frozen: "2" is no number, an unknown key is an error, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, serialize_by_alias=True)


def resolved(model: BaseModel) -> dict[str, Any]:
    """A model as plain data without the fields at their default: what a digest sees."""
    return model.model_dump(mode="json", exclude_defaults=True)


def whole(value: Any) -> Any:
    """A model as plain data with all its fields, also those that no digest sees: what another process needs of it.

    Its class's `model_validate_json` reads it back, through JSON.
    """
    if isinstance(value, BaseModel):
        own = {field.alias or name: getattr(value, name) for name, field in type(value).model_fields.items()}
        return whole(own | (value.model_extra or {}))
    if isinstance(value, dict):
        return {key: whole(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [whole(one) for one in value]
    return str(value) if isinstance(value, PurePath) else value


def defaults_for_nothing(value: object) -> object:
    """What is named without settings takes its defaults."""
    return {} if value is None else value
