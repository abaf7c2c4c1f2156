"""The contract of evaluations: what is measured of a pretrained encoder, said in one module.

`evaluations/NAME.py` in the package or next to a suite holds a subclass with that name. Plans, tables and estimates ask
it before torch is there: import torch, numpy and what computes inside `run`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from sem_bench.base.limits import CHUNK, FLOAT
from sem_bench.config.fields import (
    Fraction,
    Model,
    Score,
    Seed,
    Temperature,
)
from sem_bench.data.described import LabelledData, ShiftedData, TrainingData
from sem_bench.report.file_models import Metrics, validated
from sem_bench.report.layout import FIXED_TAU, Beside, Metric, Remark, Table
from sem_bench.report.row import FigureKey

if TYPE_CHECKING:
    from pathlib import Path

    from sem_bench.config.cards import Library
    from sem_bench.data.card import DatasetCard
    from sem_bench.data.dataset import DataSet, Place
    from sem_bench.data.described import Data
    from sem_bench.nets.card import Cost as BackboneCost
    from sem_bench.nets.card import EmbeddingSettings
    from sem_bench.report.figures.look import Look
    from sem_bench.report.figures.panels import Drawn
    from sem_bench.report.row import Row
    from sem_bench.workspace import Workspace

# What an evaluation needs. Its import lines are part of the digests of its jobs, so these names stay here.
__all__ = [
    "Beside",
    "Cost",
    "Evaluation",
    "Fraction",
    "LabelledData",
    "Metric",
    "Model",
    "NetCost",
    "Planned",
    "Remark",
    "Search",
    "Seed",
    "ShiftedData",
    "Table",
    "Temperature",
    "TrainingData",
]

S = TypeVar("S", bound=Model)
J = TypeVar("J", bound=Model)
Problem = tuple[tuple[str | int, ...], str]  # keys below the evaluation's own, and what is wrong there


class Stage(Generic[J]):
    """A kind of job. Raise `version` whenever the same configuration would give other results."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    Job: ClassVar[type[Model]]  # all that a digest sees of a job, beside its inputs
    outputs: ClassVar[tuple[str, ...]] = ()  # files beside config.json that other jobs or readers look into
    gpu: ClassVar[float] = 1.0  # the share of a GPU that a job needs; 0: it computes on the CPU
    shared_from: ClassVar[float] = math.inf  # seconds of a job on one device from which several share it
    source: Path | None = None  # the user's file that it stands in; its code is a part of its jobs' digests

    def needs(self, job: J, place: Place) -> Iterator[Path]:
        """Files that must be there, beside the data."""
        yield from ()

    def run(self, job: J, workspace: Workspace) -> dict[str, Any]:
        """Do a job; returns its metrics, of an evaluation {"rows": [...], ...}.

        A row has column, fraction, metric, representation, tau_d, value, notes, and what `table.extras` names.
        """
        raise NotImplementedError

    def cost(self, job: J, net: NetCost) -> Cost:
        """What a job takes."""
        raise NotImplementedError

    def said(self, metrics: Mapping[str, Any]) -> str:
        """A few words on what a job found, for the line that says it is done."""
        return ""


@dataclass(frozen=True)
class Search:
    """What arms choose among, equally many candidates each (docs/protocol.md)."""

    tau: list[float]  # tau_d; empty: the representation has no temperature
    fixed_tau: float | None  # that of pretraining, reported without search
    grid: list[float]  # of penalties or learning rates, for each of `tau`
    fixed_grid: list[float]  # as many candidates for representations without a temperature to search


@dataclass(frozen=True)
class Planned(Generic[J]):
    """A job before it has arm, slug and digest."""

    job: J
    suffix: str = ""  # of its slug
    place: Place | None = None  # None: where the arm's own data are
    inputs: Mapping[str, str] = field(default_factory=dict)  # role -> digest; "pretrain" is added


class Before(Protocol):
    """A job of the same arm and seed that an evaluation builds on."""

    @property
    def config(self) -> Any:
        """Its configuration."""

    @property
    def digest(self) -> str:
        """Its digest."""


class Arm(Protocol):
    """What an evaluation may ask of the arm that it follows (runs/arm.py has it)."""

    @property
    def embedding(self) -> EmbeddingSettings:
        """With its temperatures."""

    @property
    def width(self) -> int | None:
        """How many numbers the embedding gives; None where it gives h, or its card does not say."""

    @property
    def simplices(self) -> bool:
        """Whether the embedding's output is a number of probability vectors."""

    def asked_of(self, evaluation: str) -> Any:
        """The settings of another evaluation; None where the suite does not ask for it."""

    def labelled(self, *, superclasses: bool = True, val: bool = False) -> LabelledData:
        """The data of evaluation, as the network knows them; with the `val` split for what chooses on it."""

    def images(self) -> LabelledData | TrainingData:
        """The same for what reads no labels: where there are none, the training images alone."""

    def pretrained_on(self) -> tuple[TrainingData, Place]:
        """The data of pretraining, and where they are."""

    def subset(self, fraction: float) -> str | None:
        """The digest of the list of labelled images that the data card names for a fraction; None: they are drawn."""

    def shifted(self, key: str) -> tuple[ShiftedData, Place]:
        """A shifted test set, by its key in the data card; likewise."""

    def other(self, dataset: str) -> tuple[LabelledData, Score, Place]:
        """Another labelled data set, likewise; what its card measures; where it is."""

    def search(self, tau: Sequence[float] | None, grid: Sequence[float]) -> Search:
        """Candidates, equally many for each arm. Without `tau`: those around the temperature of pretraining."""

    def layers(self) -> Sequence[Arm]:
        """The arms whose layer is worth a fresh copy on this network: itself, or those that the baseline is for.

        Their embedding is of the package, has a temperature and is trained.
        """


@dataclass(frozen=True)
class Asking:
    """What a suite asks for, for an evaluation to hold its settings against."""

    library: Library
    methods: set[str]
    evaluated: Mapping[str, int]  # data set of evaluation -> the number of training images in use
    others: Mapping[str, Any]  # evaluation -> its settings; None: not asked for

    def card(self, dataset: str) -> DatasetCard:
        """The card of a data set."""
        from sem_bench.data.card import dataset_card

        return dataset_card(self.library, dataset).content


EVALUATION_SECONDS = 2.0  # of a probe on 5,000 images and 512 features, on two cores
USUAL_WIDTH, USUAL_IMAGES, USUAL_CLASSES = 512, 5000, 20


@dataclass(frozen=True)
class NetCost:
    """What estimates know of the encoder of a job."""

    features: int  # numbers of h
    width: int  # numbers of the widest representation
    embedding: int  # numbers that the embedding gives; 0 where it gives h
    backbone: BackboneCost  # what its card says
    attached: bool  # whether it stands on a finished encoder: nothing is trained then

    @property
    def speed(self) -> float:
        """Images a second through a training step of two views at 32 px."""
        return self.backbone.speed

    def reading_seconds(self, data: Data) -> float:
        """Of features of a split and one product with them, roughly."""
        return EVALUATION_SECONDS / 2 * max(1, self.width / USUAL_WIDTH) * data.used("train") / USUAL_IMAGES

    def fit_seconds(self, data: LabelledData) -> float:
        """Of a probe on all labels."""
        return 2 * self.reading_seconds(data) * max(1, len(data.classes) / USUAL_CLASSES)

    def chunk_bytes(self) -> float:
        """Of the representation of a chunk of images, and what is made of it."""
        return FLOAT * 4 * CHUNK * self.width

    def head_bytes(self, classes: int) -> float:
        """Of one linear head."""
        return FLOAT * self.width * classes


@dataclass(frozen=True)
class Cost:
    """What a job takes, roughly."""

    seconds: float  # on two cores
    bytes: float  # at the peak, beside Python with torch and the features that stay in memory
    kept: float = 0.0  # bytes of the weights that it leaves on the disk


class Evaluation(Stage[J], Generic[S, J]):
    """One evaluation. `Settings` is what a suite says below `evaluate: NAME`."""

    gpu = 0.25
    summary: ClassVar[str]
    order: ClassVar[int] = 1000  # among the evaluations of an arm
    Settings: ClassVar[type[Model]]
    table: ClassVar[Table]
    figure: ClassVar[str] = ""  # how the files of `draw` begin
    reads: ClassVar[tuple[str, ...]] = ()  # other evaluations, of smaller order, on whose jobs it builds
    in_every_dump: ClassVar[bool] = True  # of suites, though they do not ask for it; of ours from before
    labels: ClassVar[bool] = True  # whether it reads labels: data without any are refused then
    multi_label: ClassVar[bool] = False  # whether it can read images that may have several classes
    names: ClassVar[Mapping[str, str]] = {}  # settings that name cards -> their kind, such as "dataset"

    def lacks(self, asked: S, others: Mapping[str, Any]) -> Iterator[str]:
        """What it misses among the settings of the other evaluations (None: not asked for)."""
        for name in self.reads:
            if others.get(name) is None:
                yield f"{self.name} reads the heads of the {name}: add `{name}`"

    def problems(self, asked: S, asking: Asking) -> Iterator[Problem]:
        """What it wants of data sets and methods, and they do not have."""
        yield from ()

    def jobs(self, asked: S, arm: Arm, seed: int, before: Mapping[str, Sequence[Before]]) -> Iterator[Planned[J]]:
        """The jobs that follow an arm's pretraining; `before` has those of the evaluations that it `reads`."""
        raise NotImplementedError

    def owes(self, entry: Mapping[str, Any]) -> list[FigureKey]:
        """The figures that a job of the manifest was to give, at the least: its holes while it has no result."""
        metric = str(entry.get("metric") or self.table.metrics[0].name)
        fraction = float(entry.get("fraction", 1.0))
        return [(str(column), fraction, metric, entry["representation"]) for column in entry.get("columns", [])]

    def check(self, metrics: Any) -> None:
        """Raise ValueError where what `run` returned is no evaluation's."""
        found = validated(Metrics, metrics)
        if found is None or not found.rows:
            names = "column, fraction, metric, representation, value"
            raise ValueError(f'{self.name}: run returns {{"rows": [...]}}, each row with {names} (a finite number)')
        shown = [metric.name for metric in self.table.metrics]
        if not any(row.metric.removesuffix(FIXED_TAU) in shown for row in found.rows):
            raise ValueError(f"{self.name}: no row has a metric of its table ({', '.join(shown)})")

    def said(self, metrics: Mapping[str, Any]) -> str:
        """The first of its table's metrics that it has, of the representation that was read last: "100% 24.1"."""
        found = validated(Metrics, metrics)
        rows = (found and found.rows) or []
        for name in (metric.name.removesuffix(FIXED_TAU) for metric in self.table.metrics):
            if own := [row for row in rows if row.metric.removesuffix(FIXED_TAU) == name]:
                last = own[-1].representation
                first = next(row for row in own if row.representation == last)
                alike = [row.value for row in own if (row.representation, row.metric) == (last, first.metric)]
                return f"{first.column} {sum(alike) / len(alike):.{self.table.digits}f}"
        return ""

    def cost(self, job: J, net: NetCost) -> Cost:
        """Of a job."""
        data: Any = job.data  # type: ignore[attr-defined]
        return Cost(net.reading_seconds(data), net.head_bytes(len(data.classes)) + net.chunk_bytes())

    def sets(self, asked: S, dataset: DataSet) -> Iterator[tuple[str, Data, Place]]:
        """Data that it reads beside those of the arm: (key, as it reads them, where they are)."""
        yield from ()

    def draw(self, rows: Sequence[Row], look: Look) -> Drawn:
        """Figures of the rows of one suite, data set and recipe: (what the file's name ends in, figure)."""
        yield from ()


def finer(grid: Sequence[float], count: int) -> list[float]:
    """`count` values, log-spaced over the range of a grid, so that each search has as many candidates."""
    low, high = min(grid), max(grid)
    if count == 1:
        return [low]
    if low == high:  # no range to fill: the same number of candidates is one value
        return [low]
    return [float(f"{low * (high / low) ** (i / (count - 1)):.6g}") for i in range(count)]


FACTORS = 0.3, 1.0, 3.0  # of the temperature of pretraining: where a search begins that names none


def search(temperature: float | None, tau: Sequence[float] | None, grid: Sequence[float]) -> Search:
    """The candidates of an arm with that temperature, or with none."""
    fixed = finer(grid, len(tau or FACTORS) * len(grid))
    if temperature is None:
        return Search([], None, [], fixed)
    around = [float(f"{factor * temperature:.6g}") for factor in FACTORS]
    return Search(list(tau or around), temperature, list(grid), fixed)


AnyEvaluation = Evaluation[Any, Any]
