"""The linear probe on frozen features, at one fraction of the labels a job (docs/protocol.md, Probe)."""

from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from sem_bench.config.fields import Fraction, Fractions, Model, Penalties, Positive, Seed, Temperature, Temperatures
from sem_bench.data.described import LabelledData

if TYPE_CHECKING:
    from sem_bench.workspace import Workspace


class ProbeJob(Model):
    """Everything that a probe depends on, beside the pretrained encoder."""

    data: LabelledData
    fraction: Fraction
    tau: list[Temperature]  # empty: the representation has no temperature
    fixed_tau: Temperature | None  # also reported: tau_d at the pretraining tau, without search
    l2: list[Positive]  # for each of `tau`
    fixed_l2: Penalties  # as many candidates for representations without a temperature
    seed: Seed
    subset: str | None = None  # digest of the list that names the labelled images; None: they are drawn


class ProbeSettings(Model):
    """Linear probes on frozen features, docs/protocol.md. `tau` is the grid of tau_d, `l2` its partner."""

    fractions: Fractions = [1.0, 0.01]
    tau: Temperatures = [0.1, 0.3, 1.0, 3.0, 10.0]
    l2: Penalties = [1e-7, 2e-6, 3e-5, 5e-4, 1e-2]

    @model_validator(mode="after")
    def _equal_search(self) -> Self:
        if len(self.tau) > 1 and len(self.l2) < 2:
            raise ValueError("l2 needs two values, or arms without a temperature could not search as many")
        return self


def run(job: ProbeJob, workspace: "Workspace") -> dict[str, Any]:
    """A row for each draw and contest; the heads in head.pt, the test images got right in predictions.bin."""
    from sem_bench.evaluations.measures.probing import ProbeReport, evaluate

    return evaluate(job, workspace, ProbeReport(f"{100 * job.fraction:g}%"))
