"""Robustness: the probe's heads, not retrained, on a shifted test set (docs/protocol.md, Robustness)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
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
from sem_bench.report.layout import FIXED_TAU, Beside, Metric, Remark, Table
from sem_bench.report.row import Row, grouped, without_search

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

    shifts: Names = ["v2", "r", "a", "c"]  # keys of `shifts` in the card
    images: Annotated[int, Field(ge=1)] | None = None  # of each corruption at each severity; None: all


class Robustness(Evaluation[RobustnessSettings, RobustnessJob]):
    """Sets of fewer classes among their own, and among all; corrupted sets as means over all kinds."""

    name, summary, order, reads = "robustness", "accuracy of the probe's heads on shifted test sets", 30, ("probe",)
    version = 2
    Settings, Job, figure = RobustnessSettings, RobustnessJob, "corruptions"
    table = Table(
        name="robustness",
        metrics=[
            Metric(name="top1", images=True, published=True),
            Metric(name="top1_all", header="{column}, all classes", images=True, published=True),
            Metric(
                name="mce",
                header="{column}, mCE",
                gain=False,
                legend="mCE: error relative to AlexNet's in percent, lower is better",
            ),
        ],
        order=20,
        legend="shifted test sets (v2: made anew; r: renditions; a: hard ones; c: corrupted; others as the data card "
        "says): the probe's head at tau_d = tau, not retrained; test as in the comparison; sets of fewer "
        "classes among their own, and among all",
        group=["fraction"],
        fixed=True,
        beside=Beside(table="comparison", metric=f"top1{FIXED_TAU}", column="test"),
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
        """The mean over severities of each corruption, a line an arm; a figure a set and fraction of labels."""
        own = [row for row in rows if row.table == self.table.name]
        every = [
            row
            for row in main_rows(rows_of(without_search(own), self.table.name, self.table.metrics[0].name))
            if row.mean is None or row.extra.get("matrix")
        ]
        parts = grouped(every, lambda row: (row.column, row.fraction))
        drawn = {place: rows for place, found in parts.items() if (rows := complete_rows(found))}
        for (column, fraction), shown in drawn.items():
            matrices = [row.extra["matrix"] for row in shown]
            names = list(dict.fromkeys(name for matrix in matrices for name in matrix["corruptions"]))
            severities = list(dict.fromkeys(str(one) for matrix in matrices for one in matrix["severities"]))
            counts = {matrix["images"] for matrix in matrices if matrix.get("images")}
            title = f"Accuracy under corruption, probe at {percent(fraction)} of labels"
            size = (2.2 + 0.45 * len(names), 1.6 + 0.22 * len(shown))
            figure, ((axis,),) = panels_of(shown[0], title, grid=(1, 1), size=size)
            arms = [f"{look.method(row)}, {look.embedding(row)}, mean {row.mean:.1f} %" for row in shown]
            columns = [str(name).replace("_", " ") for name in names]
            image = heat_map(axis, [_means(matrix, names) for matrix in matrices], columns, arms, digits=1)
            for label in axis.get_xticklabels():
                label.set(rotation=45, ha="right", rotation_mode="anchor")
            figure.colorbar(image, ax=axis, label="accuracy [%]", fraction=0.05)
            said = [f"mean over severities {', '.join(severities)}"]
            said += [f"{count:g} images of each corruption and severity" for count in counts]
            footnote(figure, parts[column, fraction], look, shown, *said, markers=False)
            yield "-".join([column, f"{100 * fraction:g}"] if len(drawn) > 1 else []), figure


def _means(matrix: Mapping[str, Any], names: Sequence[str]) -> list[float | None]:
    """The mean over severities of each corruption; None for one that the matrix lacks."""
    means = {name: fmean(line) for name, line in zip(matrix["corruptions"], matrix["values"], strict=True)}
    return [means.get(name) for name in names]
