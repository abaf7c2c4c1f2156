"""Transfer: a linear probe on another data set, on all its labels (docs/protocol.md, Transfer)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sem_bench.config.fields import (
    Model,
    Names,
    Score,
)
from sem_bench.evaluation import Arm, Asking, Before, Cost, Evaluation, NetCost, Planned, Problem
from sem_bench.evaluations.probe import Probe, ProbeJob, ProbeSettings, probe_job
from sem_bench.report.layout import Metric, Table

if TYPE_CHECKING:
    from sem_bench.workspace import Workspace


class TransferJob(ProbeJob):
    """Everything that a probe on another data set depends on, beside the pretrained encoder."""

    metric: Score = "top1"

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return [self.data.name]


class TransferSettings(Model):
    """A probe on other data sets, on all their labels; grids of the probe's settings."""

    datasets: Names  # `list datasets`


class Transfer(Evaluation[TransferSettings, TransferJob]):
    """The probe's search, on other data."""

    name, summary, order = "transfer", "accuracy of a linear probe on other data sets", 50
    version = 2
    Settings, Job = TransferSettings, TransferJob
    multi_label = True
    outputs, shared_from = Probe.outputs, Probe.shared_from
    names = {"datasets": "dataset"}
    table = Table(
        name="transfer",
        metrics=[
            Metric(name="top1", images=True, published=True),
            Metric(name="mean_per_class", header="{column} (per class)", published=True),
            Metric(name="macro_f1", header="{column} (F1)"),
            Metric(
                name="map",
                header="{column} (mAP)",
                legend="mAP: the mean over classes of the average precision, each against the rest, in percent",
            ),
        ],
        order=30,
        fixed=True,
        legend="transfer: a probe at tau_d = tau on all labels of another data set; "
        "per class: the mean over its classes (balanced accuracy); F1: the mean over its classes of F1, in percent",
    )

    def problems(self, asked: TransferSettings, asking: Asking) -> Iterator[Problem]:
        """Data sets without labels."""
        for i, name in enumerate(asked.datasets):
            if not asking.card(name).labelled:
                yield ("datasets", i), f"{name!r} has no labelled train and test images, which transfer needs"

    def jobs(
        self, asked: TransferSettings, arm: Arm, seed: int, before: Mapping[str, Sequence[Before]]
    ) -> Iterator[Planned[TransferJob]]:
        """A job a data set, with the grids of the suite's probe."""
        settings = arm.asked_of("probe") or ProbeSettings()
        for name in asked.datasets:
            data, metric, place = arm.other(name)
            probe = probe_job(settings, arm, 1.0, seed, other=data)
            yield Planned(TransferJob(**dict(probe), metric=metric), suffix=f"-{name}", place=place)

    def run(self, job: TransferJob, workspace: Workspace) -> dict[str, Any]:
        """As the probe; the column is the data set, the metric its card's."""
        from sem_bench.evaluations.measures.probing import ProbeReport, evaluate

        return evaluate(job, workspace, ProbeReport(job.data.name, job.metric))

    def cost(self, job: TransferJob, net: NetCost) -> Cost:
        """That of a probe."""
        return Probe().cost(job, net)
