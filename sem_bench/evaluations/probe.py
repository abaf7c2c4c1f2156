"""The linear probe on frozen features, at one fraction of the labels a job (docs/protocol.md, Probe)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from sem_bench.base.limits import FLOAT
from sem_bench.config.fields import (
    Fraction,
    Fractions,
    Model,
    Penalties,
    Rule,
    Seed,
    Temperature,
    Temperatures,
    percent,
)
from sem_bench.data.described import LabelledData
from sem_bench.evaluation import FACTORS, Arm, Before, Cost, Evaluation, NetCost, Planned
from sem_bench.evaluations import comparison
from sem_bench.evaluations.measures.memory_sizes import COPIES, KEPT, SOLVER, WIDEST_EXACT, WIDEST_GRAM
from sem_bench.report.row import FigureKey

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.report.figures.look import Look
    from sem_bench.report.figures.panels import Drawn
    from sem_bench.report.row import Row
    from sem_bench.workspace import Workspace


SKETCHED = 5e-8  # seconds a number of the features, for each sketch with its candidates and each head, on two cores
LEAST_SKETCH = 64  # numbers
SKETCHED_CLASSES = 100  # with which that was measured


class ProbeJob(Model):
    """Everything that a probe depends on, beside the pretrained encoder."""

    data: LabelledData
    fraction: Fraction
    tau: list[Temperature]  # empty: the representation has no temperature
    fixed_tau: Temperature | None  # also reported: tau_d at the pretraining tau, without search
    l2: Penalties  # of every representation; where the best lies on an edge they go on
    between: Annotated[int, Field(ge=1)]  # in the search: penalties for each of l2, where there is no temperature
    seed: Seed
    subset: str | None = None  # digest of the list that names the labelled images; None: they are drawn
    sketch: int | None = None  # numbers of the sketch on which candidates are judged; None: all numbers
    rule: Rule = "best"


class ProbeSettings(Model):
    """Linear probes on frozen features, docs/protocol.md. A search begins with the grids `l2` and `tau`, of tau_d.

    Without `tau`: at 0.3, 1 and 3 times the temperature of pretraining. Candidates with more than
    16,384 numbers, on more than 4,096 images, are judged on a sketch of `sketch` numbers; 0: never.
    """

    fractions: Fractions = [1.0, 0.01]  # of the labels
    tau: Temperatures | None = None  # tau_d to begin with; None: 0.3, 1 and 3 times the one of pretraining
    l2: Penalties = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2]  # to begin with
    sketch: Annotated[int, Field(ge=0, le=WIDEST_GRAM)] = (
        2048  # numbers of the sketch that judges wide features; 0: never
    )
    # What is taken of the candidates: best by validation, of equal penalties the strongest; median, weakest: of equal
    # ones the median, the weakest; one_se: the strongest within a standard error of the best.
    rule: Rule = "best"

    @model_validator(mode="after")
    def _equal_search(self) -> Self:
        if 0 < self.sketch < LEAST_SKETCH:
            raise ValueError(f"sketch is 0, or at least {LEAST_SKETCH} numbers")
        if len(self.tau or FACTORS) > 1 and len(self.l2) < 2:
            raise ValueError("l2 needs two values, or arms without a temperature could not search as many")
        return self


class Probe(Evaluation[ProbeSettings, ProbeJob]):
    """Logistic regression; other evaluations read its heads."""

    name, summary, order = "probe", "accuracy of a linear probe on frozen features", 10
    version = 2
    Settings, Job, table, figure = ProbeSettings, ProbeJob, comparison.COMPARISON, "gains"
    multi_label = True
    outputs = ("head.pt", "predictions.bin")
    shared_from = 60.0  # to start a process takes some four

    def jobs(
        self, asked: ProbeSettings, arm: Arm, seed: int, before: Mapping[str, Sequence[Before]]
    ) -> Iterator[Planned[ProbeJob]]:
        """A job a fraction of the labels."""
        for fraction in asked.fractions:
            yield Planned(probe_job(asked, arm, fraction, seed), suffix=f"-{fraction * 100:g}pc")

    def needs(self, job: ProbeJob, place: Place) -> Iterator[Path]:
        """The list of labelled images, where there is one."""
        if job.subset is not None:
            yield place.subset(job.fraction)

    def owes(self, entry: Mapping[str, Any]) -> list[FigureKey]:
        """Of the arm's representation and of h."""
        fraction = float(entry["fraction"])
        names = dict.fromkeys((entry["representation"], "h"))
        return [(percent(fraction), fraction, entry.get("metric") or "top1", name) for name in names]

    def run(self, job: ProbeJob, workspace: Workspace) -> dict[str, Any]:
        """A row for each draw and contest; the heads in head.pt, the test images got right in predictions.bin."""
        from sem_bench.evaluations.measures.probing import ProbeReport, evaluate

        return evaluate(job, workspace, ProbeReport(percent(job.fraction), job.data.multi_label or "top1"))

    def cost(self, job: ProbeJob, net: NetCost) -> Cost:
        """All penalties that fit into SOLVER are fitted side by side; on a sketch, all of them."""
        left = net.head_bytes(len(job.data.classes))
        head = COPIES * left
        if job.sketch is not None:
            images = job.fraction * job.data.used("train")
            sketch = FLOAT * job.sketch * (3 * net.width + 2 * images)
            rounded = FLOAT / 2 * net.width * images
            kept = rounded if rounded <= KEPT else 0
            heads = max(1, len(job.data.classes) / SKETCHED_CLASSES)
            seconds = SKETCHED * images * net.width * (len(job.tau) + 1) * heads
            return Cost(seconds, max(SOLVER, head) + sketch + kept + net.chunk_bytes(), left)
        penalties = len(job.l2) * job.between
        together = min(penalties, max(1, SOLVER // head))
        return Cost(net.fit_seconds(job.data), head * together + net.chunk_bytes(), left)

    def draw(self, rows: Sequence[Row], look: Look) -> Drawn:
        """The gains of the comparison."""
        return comparison.draw(rows, look)


def without_all_labels(name: str, others: Mapping[str, Any]) -> Iterator[str]:
    """What an evaluation of that name says where the probe is asked for, and not at all labels."""
    if others["probe"] is not None and 1.0 not in others["probe"].fractions:
        yield f"{name} reads the head at all labels: add 1.0 to the probe's fractions"


def at_all_labels(before: Mapping[str, Sequence[Before]]) -> Before:
    """The probe at all labels."""
    (probe,) = (job for job in before["probe"] if job.config.fraction == 1)
    return probe


def probe_job(
    asked: ProbeSettings, arm: Arm, fraction: float, seed: int, *, other: LabelledData | None = None
) -> ProbeJob:
    """The probe of an arm, perhaps on other data. All begin with as many candidates (docs/protocol.md)."""
    search, data = arm.search(asked.tau, asked.l2), other or arm.labelled(val=fraction == 1)
    wide = (arm.width or 0) > WIDEST_EXACT and fraction * data.used("train") > WIDEST_GRAM
    return ProbeJob(
        data=data,
        fraction=fraction,
        tau=search.tau,
        fixed_tau=search.fixed_tau,
        l2=asked.l2,
        between=len(asked.tau or FACTORS),
        seed=seed,
        subset=None if other else arm.subset(fraction),
        sketch=asked.sketch or None if wide else None,
        rule=asked.rule,
    )
