"""Transfer: a linear probe on another data set, on all its labels (docs/protocol.md, Transfer)."""

from typing import TYPE_CHECKING, Any, Literal

from sem_bench.config.fields import Model, Names
from sem_bench.evaluations.probe import ProbeJob

if TYPE_CHECKING:
    from sem_bench.workspace import Workspace


class TransferJob(ProbeJob):
    """Everything that a probe on another data set depends on, beside the pretrained encoder."""

    metric: Literal["top1", "mean_per_class"] = "top1"

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return [self.data.name]


class TransferSettings(Model):
    """A probe on other data sets, on all their labels; grids of the probe's settings."""

    datasets: Names


def run(job: TransferJob, workspace: "Workspace") -> dict[str, Any]:
    """As the probe; the column is the data set, the metric its card's."""
    from sem_bench.evaluations.measures.probing import ProbeReport, evaluate

    return evaluate(job, workspace, ProbeReport(job.data.name, job.metric))
