"""What the files of a results folder hold, as models: a file is validated once, where it is read.

What is read of it has to be right; what else stands there is nobody's business.
"""

import json
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sem_bench.base.digest import canonical_json
from sem_bench.config.fields import BackboneName, Marker, Name
from sem_bench.errors import printable
from sem_bench.report.layout import Table
from sem_bench.report.row import ARM, FigureKey

SCHEMA = 1
_STRICT = json.JSONEncoder(allow_nan=False)


def plain(value: Any) -> Any:
    """The value, where JSON can hold it. Raises ValueError for an infinite number, such as 1e999."""
    _STRICT.encode(value)
    return value


Text = dict[str, Any]  # of JSON
Plain = Annotated[Text, AfterValidator(plain)]
Number = Annotated[float, Field(ge=-1e99, le=1e99)]  # whose square is a number, too
Seconds = Annotated[float, Field(ge=0, le=1e99)]
Exact = Annotated[int | float, Field(ge=-1e99, le=1e99)]  # as it stands there: 1 is not made 1.0
Part = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=240)]  # of a path, as suites make them
Said = Annotated[str, AfterValidator(printable)]  # for a terminal
FilePart = Annotated[str, Field(pattern=r"^[^/\\\x00]+$")]
Sum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
M = TypeVar("M", bound="File")


def folder_name(slug: str, digest: str) -> str:
    """Of a job's folder below the one of its kind."""
    return f"{slug}-{digest[:12]}"


class File(BaseModel):
    """A file, or a part of one."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)  # built where one is read


class Listed(File):
    """A job that a manifest or a sweep names."""

    kind: Name
    slug: Part
    digest: Sum

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return folder_name(self.slug, self.digest)


def _typed(settings: Text) -> Text:
    if not isinstance(settings.get("type"), str):
        raise ValueError("no type")
    return settings


class JobEntry(Listed):
    """A job of a manifest, and where it stands in the tables."""

    inputs: dict[Name, Sum]
    method: Name
    ip: Plain | None
    embedding: Said  # the suite's label
    embedding_config: Annotated[Plain, AfterValidator(_typed)]
    backbone: BackboneName
    dataset: Said
    recipe: Name
    epochs: int
    seed: int
    external: bool = False
    baseline: str = ""
    fraction: Number | None = None
    fractions: list[Number] | None = None
    columns: list[Said] | None = None
    metric: Said | None = None
    representation: Said = ""  # that stands for its arm
    marker: Marker | None = None
    owes: list[FigureKey] | None = None

    @property
    def arm(self) -> str:
        """What the seeds of a cell share."""
        return canonical_json([self.kind, self.embedding_config["type"], *(getattr(self, name) for name in ARM)])

    @property
    def pretrained(self) -> str:
        """The digest of the pretraining whose backbone it looks at."""
        return self.baseline or self.inputs["pretrain"]


class ManifestFile(File):
    """results/suites/NAME.json."""

    version: Literal[1] = Field(alias="schema")
    number: Annotated[int, Field(ge=0, lt=2**62)] = 0  # of the runs in this folder, which clocks do not count
    written: datetime
    tables: dict[str, Table] | None = None  # of each kind of job
    jobs: list[JobEntry]
    sweeps: list[Part] = []


class Provenance(File):
    """What a result was made with, on and from."""

    model_config = ConfigDict(strict=True)

    device: str | None = None
    precision: str | None = None
    compiled: bool | None = None  # by torch, the backbone; None: no
    threads: int | None = None  # of each process
    devices: int | None = None  # None: one
    images: dict[str, str] | None = None  # "in memory" or "streamed", by split
    seconds: Seconds | None = None
    when: str | None = None
    data: dict[str, str] | None = None  # fingerprints, by split
    files: dict[FilePart, int] | None = None  # sizes, by name

    @property
    def whole(self) -> bool:
        """Whether it says all that runs ask for."""
        return None not in (self.data, self.files, self.seconds, self.when)


class ResultFile(File):
    """result.json of any job."""

    version: Literal[1] = Field(alias="schema")
    kind: str
    digest: str
    config: Plain
    metrics: Text
    provenance: Provenance | None = None
    inputs: dict[str, str] = {}  # role -> digest
    # None: of an earlier version.
    sums: dict[FilePart, Sum] | None = None  # of the files that the job left
    bits: Sum | None = None  # of what other jobs build on
    stands_on: dict[str, Sum] | None = None  # the `bits` of the inputs that were read
    sum: Sum | None = None


class FigureRow(File):
    """One measured number of an evaluation: one draw of a column, with what a table's `extras` name."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    column: Said
    fraction: Number
    metric: Said
    representation: Said
    value: Number
    tau_d: Exact | None = None
    notes: list[Said] | None = None


class Metrics(File):
    """What a result says of a pretraining or an evaluation."""

    rows: list[FigureRow] | None = None
    notes: list[Said] | None = None
    predictions: str | None = None


def validated(model: type[M], content: Any) -> M | None:
    """A file's content as a model; None where it does not fit."""
    try:
        return model.model_validate(content)
    except (ValidationError, RecursionError):
        return None
