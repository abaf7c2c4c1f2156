"""Sweeps: which settings to try, how to choose among them, and for how long."""

from itertools import product
from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sem_bench.config.cards import Card, CardModel, Library
from sem_bench.config.fields import Model, Name, Names, Seed, Temperatures, unique

PARAMETERS = ("tau", "tau_target", "L", "V", "lr", "weight_decay")
WHOLE = ("L", "V")  # parameters that are whole numbers
MANY = 10**5  # points of a space that are no longer tried one by one
DIGITS = 4  # of a number drawn from a range: more would make nothing but long names


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, found {value!r}")
    return value


Number = Annotated[int | float, Field(allow_inf_nan=False), BeforeValidator(_number)]
Params = dict[str, Any]  # parameter -> number


class Axis(Model):
    """Where a parameter may lie: from `low` to `high`, or one of `values`."""

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    values: Annotated[list[Number], Field(min_length=1), AfterValidator(unique)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.values is not None:
            if (self.low, self.high, self.log) != (None, None, False):
                raise ValueError("`values` stand alone: no low, high or log beside them")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs low and high, or values")
        if self.low == self.high:
            raise ValueError(f"the range from {self.low:g} to {self.high:g} is empty")
        if self.low > self.high:
            raise ValueError(f"the range from {self.low:g} to {self.high:g} is reversed")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range starts above 0, found low {self.low:g}")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        values = self.values or [value for value in (self.low, self.high) if value is not None]
        return min(values), max(values)

    @property
    def first(self) -> float:
        """One of the values."""
        return self.values[0] if self.values else self.ends[0]

    def points(self, *, whole: bool) -> list[float] | None:
        """All values; None where they cannot be counted, or are too many."""
        if self.values or not whole:
            return self.values
        low, high = map(int, self.ends)
        return list(range(low, high + 1)) if high - low < MANY else None

    def settled(self, value: float, *, whole: bool) -> float:
        """A value as a trial uses it: rounded where it was drawn from a range."""
        if self.values or whole:
            return value
        return min(max(float(f"{value:.{DIGITS}g}"), self.ends[0]), self.ends[1])

    def __contains__(self, value: float) -> bool:
        """Whether a value may be tried."""
        return value in self.values if self.values else self.ends[0] <= value <= self.ends[1]


def _above(least: float, *, itself: bool = False, whole: bool = False) -> AfterValidator:
    """An axis whose values lie above `least`, or from it on."""

    def check(axis: Axis) -> Axis:
        low = axis.ends[0]
        numbers = [*(axis.values or ()), *axis.ends]
        if whole and (broken := [value for value in numbers if not isinstance(value, int)]):
            raise ValueError(f"must be whole, found {broken[0]}")
        if low < least or (low == least and not itself):
            raise ValueError(f"must be {'at least' if itself else 'above'} {least:g}, found {low:g}")
        return axis

    return AfterValidator(check)


class Space(Model):
    """The settings that are tried; what is not named stays as the suite has it."""

    tau: Annotated[Axis, _above(0)] | None = None
    tau_target: Annotated[Axis, _above(0)] | None = None
    L: Annotated[Axis, _above(1, itself=True, whole=True)] | None = None
    V: Annotated[Axis, _above(2, itself=True, whole=True)] | None = None
    lr: Annotated[Axis, _above(0)] | None = None
    weight_decay: Annotated[Axis, _above(0, itself=True)] | None = None
    product: Annotated[int, Field(ge=2)] | None = None  # L*V; the one of the two that is not named follows

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if not self.axes:
            raise ValueError(f"must name one of {', '.join(PARAMETERS)}")
        if self.product is None:
            return self
        if (self.L is None) == (self.V is None):
            raise ValueError("product: name one of L and V; the other follows")
        name, axis = ("L", self.L) if self.L is not None else ("V", self.V)
        assert axis is not None
        if axis.values is None:
            raise ValueError(f"product: {name} needs values, which divide it")
        for value in axis.values:
            if self.product % value or self.product // value < (2 if name == "L" else 1):
                raise ValueError(
                    f"product: {name} = {value} leaves no {'V' if name == 'L' else 'L'} to L*V = {self.product}"
                )
        return self

    @property
    def axes(self) -> dict[str, Axis]:
        """The named parameters."""
        return {name: axis for name in PARAMETERS if (axis := getattr(self, name)) is not None}

    @property
    def names(self) -> list[str]:
        """The parameters that a trial sets, in the order of tables."""
        set_ = {*self.axes, *(WHOLE if self.product else ())}
        return [name for name in PARAMETERS if name in set_]

    @property
    def points(self) -> list[Params] | None:
        """Every setting, the last parameter fastest; None where a range has too many."""
        lists = []
        for name, axis in self.axes.items():
            if (points := axis.points(whole=name in WHOLE)) is None:
                return None
            lists.append(points)
        if prod(map(len, lists)) > MANY:
            return None
        return [dict(zip(self.axes, point, strict=True)) for point in product(*lists)]

    def settled(self, params: Params) -> Params:
        """The settings of a trial: numbers from a range rounded, and what follows from `product`."""
        found = {name: axis.settled(params[name], whole=name in WHOLE) for name, axis in self.axes.items()}
        if self.product is not None:
            known, other = ("L", "V") if "L" in found else ("V", "L")
            found[other] = self.product // found[known]
        return {name: found[name] for name in self.names}


class Pruner(Model):
    """Ends a pretraining early that does worse than others at the same epoch."""

    type: Literal["median", "halving"]
    startup_trials: Annotated[int, Field(ge=0)] = 5  # median: finished trials before anything is pruned
    warmup_epochs: Annotated[int, Field(ge=1)] = 1  # epochs of every trial that are never pruned
    factor: Annotated[int, Field(ge=2)] = 3  # halving: one of so many goes on


class Sweep(CardModel):
    """sweeps/NAME.yaml."""

    summary: str
    suite: str = "suite.yaml"  # the base suite
    set: list[str] = []  # changes to it, as those of --set; not of another suite
    methods: Names = ["byol"]
    embedding: Name = "sem"  # the arm: its label in the suite, or the first of this type
    space: Space  # what is tried
    tau_d: Temperatures | None = None  # of the probe, for each trial; None: the suite's
    objective: Literal["probe", "knn", "rankme"] = "probe"  # by validation
    sampler: Literal["tpe", "grid", "random", "qmc"] = "tpe"
    seed: Seed = 0  # of the sampler; trials themselves have seed 0
    pruner: Annotated[Pruner | None, BeforeValidator(lambda value: None if value == "none" else value)] = None
    trials: Annotated[int, Field(ge=1)]  # of each method

    @model_validator(mode="after")
    def _grid(self) -> Self:
        if self.sampler == "grid" and self.space.points is None:
            ranges = [name for name, axis in self.space.axes.items() if axis.points(whole=name in WHOLE) is None]
            if ranges:
                raise ValueError(f"sampler grid needs values of {ranges[0]}, not a range")
            raise ValueError(f"sampler grid: the space has more than {MANY:,} points")
        return self


def sweep_card(library: Library, name: str) -> Card[Sweep]:
    """The card of a sweep. Raises UserError for a faulty one, KeyError for an unknown one."""
    return library.checked("sweep", name, Sweep)
