"""What a table looks like, as plain data that travels in a suite's manifest: printing it needs no code of a stage."""

from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from sem_bench.config.fields import Model, Name

FIXED_TAU = "_fixed_tau"  # ends a metric that is also reported at the temperature of pretraining, without search

PRIMARY = "100%"  # the column of the suite's first table whose gain at the fixed temperature is the primary contrast


def _filled_with(**example: object) -> AfterValidator:
    def check(text: str) -> str:
        try:
            text.format(**example)
        except (KeyError, IndexError, AttributeError):
            raise ValueError(f"{text!r} can name {', '.join(f'{{{name}}}' for name in example)} alone") from None
        return text

    return AfterValidator(check)


class Metric(Model):
    """A figure that a stage measures: a column of its table for each place where it is measured."""

    name: str  # as rows and JSON have it
    header: Annotated[str, _filled_with(column="")] = "{column}"  # of its columns
    gain: bool = True  # whether a difference to the baseline is a gain; that of an error or of a fit to train is not
    images: bool = False  # predictions.bin counts it image by image, so a bootstrap over images applies
    published: bool = False  # whether the numbers of results/published are this one
    unit: str = ""  # in words, where it is not the table's
    legend: str = ""  # a line below tables that have it
    aside: str = ""  # behind its means instead of the table's


class Remark(Model):
    """A line below a table for each number that a field of its rows has."""

    field: str  # of a row, or FIELD.KEY of a mapping in it
    text: Annotated[str, _filled_with(value=1.0)]  # "{value:g} images"


class Beside(Model):
    """Columns of another table that stand first in this one."""

    table: str
    metric: str
    column: str  # what they are called here


class Reading(Model):
    """What stands on one side of a difference: what rows of an arm say under `reads`."""

    reads: str
    arm: Literal["own", "baseline", "control"] = "own"  # control: z of a trained layer as wide, without a temperature


class Contrast(Model):
    """A difference between two readings of the same seed, with a column of its own."""

    name: str  # as rows and JSON have it
    of: Reading
    less: Reading
    role: Literal["total", "part", "apart"] = "apart"  # the parts, in their order, lead from one end of the total on
    legend: str


class Table(Model):
    """How the rows of a table are laid out."""

    name: Name
    metrics: Annotated[list[Metric], Field(min_length=1)]  # shown, in the order of columns; the first stands for a job
    hidden: list[Metric] = []  # more metrics of the rows of which something is to be said
    order: int = 1000  # of the table among others
    legend: str = ""
    unit: str = "top-1 in percent"  # "": each column says its own
    digits: Annotated[int, Field(ge=0, le=10)] = 1
    headline: bool = False  # the suite's first table: no name in its title, and h of the same network beside it
    gains: bool = True  # columns of gains
    group: list[Literal["fraction", "column", "representation"]] = []  # a table for each of their values
    every: bool = False  # a line for each representation and tau_d, and not for the one that stands for its arm
    fixed: bool = False  # shown at the temperature of pretraining; the figures of a search stay in JSON and CSV
    beside: Beside | None = None
    chance: str = ""  # the field of a row that says what chance gives: gains count from there
    aside: str = ""  # behind a mean whose row has it, from the row's fields: " ({null:.3f})"
    extras: list[str] = []  # further fields of a row that tables and figures read
    remarks: list[Remark] = []
    by_metric: bool = False  # columns by metric, then by what was measured; else the other way round
    contrasts: list[Contrast] = []  # of the rows, which say in `reads` and `layer` what they hold; shown in their place

    @model_validator(mode="after")
    def _known(self) -> Self:
        asides = [self.aside, *(metric.aside for metric in (*self.metrics, *self.hidden))]
        named = {name for text in asides for _, name, *_ in Formatter().parse(text) if name} | ({self.chance} - {""})
        if unknown := sorted(named - set(self.extras)):
            raise ValueError(f"chance and aside name fields of `extras`, and {unknown[0]!r} is none")
        return self

    def metric(self, name: str) -> Metric:
        """What there is to say of a metric; of one that the table does not name, nothing."""
        plain = name.removesuffix(FIXED_TAU)
        known = {metric.name: metric for metric in (*self.metrics, *self.hidden)}
        return known.get(name) or known.get(plain) or Metric(name=plain)
