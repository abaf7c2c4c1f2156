"""Robustness: the probe's heads, not retrained, on a shifted test set (docs/protocol.md, Robustness)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from sem_bench.config.fields import Classes, Fraction, Model, Name, Names, percent
from sem_bench.config.validation import did_you_mean
from sem_bench.data.described import ShiftedData
from sem_bench.evaluation import (
    EVALUATION_SECONDS,
    USUAL_WIDTH,
    Arm,
    Asking,
    Before,
    Cost,
    Evaluation,
    NetCost,
    Planned,
    Problem,
)
from sem_bench.report.figures.look import Look
from sem_bench.report.figures.panels import (
    Drawn,
    complete_rows,
    footnote,
    heat_map,
    main_rows,
    panels_of,
    rows_of,
)
from sem_bench.report.layout import Beside, Metric, Remark, Table
from sem_bench.report.row import Row, grouped

if TYPE_CHECKING:
    from sem_bench.data.dataset import DataSet, Place
    from sem_bench.data.described import Data
    from sem_bench.workspace import Workspace

PASSED = 20000  # images of a shifted set for which a pass takes as long as a probe


class RobustnessJob(Model):
    """Everything that a shifted test set's accuracy depends on, beside the encoder and the probe's heads."""

    data: ShiftedData
    shift: Name  # the key in the base set's card
    classes: Classes  # of the base set: what the heads tell apart
    fraction: Fraction  # of the probe

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return [self.shift]


class RobustnessSettings(Model):
    """The probe's head on shifted test sets: `shifts` are keys of the data set's card."""

    shifts: Names = ["v2", "r", "a", "c"]
    images: Annotated[int, Field(ge=1)] | None = None  # of each corruption at each severity; None: all


class Robustness(Evaluation[RobustnessSettings, RobustnessJob]):
    """Sets of fewer classes among their own, and among all; corrupted sets as means over all kinds."""

    name, summary, order, reads = "robustness", "accuracy of the probe's heads on shifted test sets", 30, ("probe",)
    Settings, Job, figure = RobustnessSettings, RobustnessJob, "corruptions"
    table = Table(
        name="robustness",
        metrics=[
            Metric(name="top1", images=True, published=True),
            Metric(name="top1_all", header="{column}, all classes", images=True),
            Metric(
                name="mce",
                header="{column}, mCE",
                gain=False,
                legend="mCE: error relative to AlexNet's in percent, lower is better",
            ),
        ],
        order=20,
        legend="shifted test sets: the probe's head, not retrained; test as in the comparison; "
        "sets of fewer classes among their own, and among all",
        group=["fraction"],
        beside=Beside(table="comparison", metric="top1", column="test"),
        extras=["matrix"],
        remarks=[
            Remark(
                field="matrix.images",
                text="corruptions: {value:g} images of each corruption and severity, the same ones for all arms",
            )
        ],
    )

    def problems(self, asked: RobustnessSettings, asking: Asking) -> Iterator[Problem]:
        """Shifts that a data card does not name."""
        for name in asking.evaluated:
            known = asking.card(name).shifts
            for i, shift in enumerate(asked.shifts):
                if shift not in known:
                    yield ("shifts", i), f"{name!r} has no shift {shift!r}{did_you_mean(shift, known)}"

    def jobs(
        self, asked: RobustnessSettings, arm: Arm, seed: int, before: Mapping[str, Sequence[Before]]
    ) -> Iterator[Planned[RobustnessJob]]:
        """A job for each shift and probe."""
        classes = arm.labelled().classes
        for shift in asked.shifts:
            data, place = arm.shifted(shift)
            limit = asked.images if data.source.kinds else None
            limit = None if limit is None or limit >= data.test else limit
            data = data.model_copy(update={"test_limit": limit})
            for probe in before["probe"]:
                fraction = probe.config.fraction
                job = RobustnessJob(data=data, shift=shift, classes=classes, fraction=fraction)
                suffix = f"-{shift}-{fraction * 100:g}pc"
                yield Planned(job, suffix=suffix, place=place, inputs={"probe": probe.digest})

    def run(self, job: RobustnessJob, workspace: Workspace) -> dict[str, Any]:
        """Rows for each of the probe's heads."""
        from sem_bench.evaluations.measures.shifted_sets import evaluate

        return evaluate(job, workspace)

    def cost(self, job: RobustnessJob, net: NetCost) -> Cost:
        """A pass over the images of each kind."""
        images = (len(job.data.source.kinds) or 1) * job.data.used("test")
        seconds = EVALUATION_SECONDS * max(1, net.width / USUAL_WIDTH) * images / PASSED
        return Cost(seconds, net.head_bytes(len(job.data.classes)) + net.chunk_bytes())

    def sets(self, asked: RobustnessSettings, dataset: DataSet) -> Iterator[tuple[str, Data, Place]]:
        """The shifted sets."""
        for key in asked.shifts:
            yield key, *dataset.shift(key)

    def draw(self, rows: Sequence[Row], look: Look) -> Drawn:
        """Accuracy by corruption and severity, an arm beside the other; a figure a method, one scale a fraction."""
        every = [
            row
            for row in main_rows(rows_of(rows, self.table.name, self.table.metrics[0].name))
            if row.mean is None or row.extra.get("matrix")
        ]
        places = {(row.column, row.fraction) for row in every if row.mean is not None}
        limits = {place: _limits(row for row in every if (row.column, row.fraction) == place) for place in places}
        parts = grouped(every, lambda row: (look.method(row), row.column, row.fraction))
        for (method, column, fraction), found in parts.items():
            drawn = complete_rows(found)
            if not drawn:
                continue
            widest, tallest = (
                max(len(row.extra["matrix"][name]) for row in drawn) for name in ("severities", "corruptions")
            )
            size = (0.3 + 0.36 * widest, 0.6 + 0.2 * tallest)
            first = drawn[0].extra["matrix"]["corruptions"]
            title = f"Accuracy under corruption: {method}, probe at {percent(fraction)} of labels"
            figure, panels = panels_of(drawn[0], title, grid=(1, len(drawn)), size=size)
            for axis, row in zip(panels[0], drawn, strict=True):
                names = [str(name).replace("_", " ") for name in row.extra["matrix"]["corruptions"]]
                severities = list(map(str, row.extra["matrix"]["severities"]))
                image = heat_map(
                    axis, row.extra["matrix"]["values"], severities, names, limits=limits[column, fraction]
                )
                axis.set(title=f"{look.embedding(row)}\nmean {row.mean:.1f} %", xlabel="severity")
                axis.tick_params(labelleft=axis is panels[0, 0] or row.extra["matrix"]["corruptions"] != first)
            figure.colorbar(image, ax=list(panels[0]), label="accuracy [%]", fraction=0.05)
            counts = {row.extra["matrix"]["images"] for row in drawn if row.extra["matrix"].get("images")}
            footnote(
                figure, found, look, drawn, *(f"{count:g} images of each corruption and severity" for count in counts)
            )
            yield "-".join([method, column, f"{100 * fraction:g}"] if len(places) > 1 else [method]), figure


def _limits(rows: Iterable[Row]) -> tuple[float, float]:
    """The lowest and the highest value of their matrices."""
    values = [value for row in rows if row.mean is not None for line in row.extra["matrix"]["values"] for value in line]
    return min(values), max(values)
