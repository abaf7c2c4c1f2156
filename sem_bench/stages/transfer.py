"""Transfer: a linear probe on another data set, on all its labels (docs/protocol.md, Transfer)."""

from typing import Any

from sem_bench import config
from sem_bench.stages import probe
from sem_bench.workspace import Workspace


def run(job: config.TransferJob, workspace: Workspace) -> dict[str, Any]:
    """As the probe; the column is the data set, the metric its card's."""
    return probe.evaluate(job, workspace, probe.Report(job.data.name, job.metric))
