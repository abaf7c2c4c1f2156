"""The probe on the few features that its classes weigh most (docs/protocol.md, Masked probe)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from sem_bench.config.fields import Model, Penalties, Seed, unique
from sem_bench.data.described import LabelledData
from sem_bench.evaluation import Arm, Before, Cost, Evaluation, NetCost, Planned
from sem_bench.evaluations.measures.memory_sizes import COPIES
from sem_bench.evaluations.probe import at_all_labels, without_all_labels
from sem_bench.evaluations.relevance import K
from sem_bench.report.layout import FIXED_TAU, Metric, Table
from sem_bench.report.row import FigureKey

if TYPE_CHECKING:
    from torch import Tensor

    from sem_bench.evaluations.measures.features import Representation
    from sem_bench.workspace import Workspace


class MaskedJob(Model):
    """Everything that masked probes depend on, beside the encoder and the probe's heads."""

    data: LabelledData
    top_k: list[int]
    l2: Penalties
    seed: Seed

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return [str(k) for k in self.top_k]


class MaskedSettings(Model):
    """New probes on the features that are among the top_k largest weights of any class of the probe at all labels."""

    top_k: Annotated[list[K], Field(min_length=1), AfterValidator(unique)] = [1, 2, 5, 10]  # features of each class


class Masked(Evaluation[MaskedSettings, MaskedJob]):
    """Do few features suffice?"""

    name, summary, order = "masked", "a probe on the few features that its classes weigh most", 45
    reads = ("probe",)
    Settings, Job = MaskedSettings, MaskedJob
    table = Table(
        name="masked",
        metrics=[Metric(name="masked_top1", header="K = {column}", aside=" ({features:.0f})")],
        order=42,
        legend="K: a new probe at tau_d = tau on the features that are among the K largest weights of any class of the "
        "probe; in brackets how many they are",
        extras=["features"],
    )

    def lacks(self, asked: MaskedSettings, others: Mapping[str, Any]) -> Iterator[str]:
        """The probe, and its head at all labels."""
        yield from super().lacks(asked, others)
        yield from without_all_labels(self.name, others)

    def jobs(
        self, asked: MaskedSettings, arm: Arm, seed: int, before: Mapping[str, Sequence[Before]]
    ) -> Iterator[Planned[MaskedJob]]:
        """One job, on the heads at all labels; with their data, and the penalties that they began with."""
        probe = at_all_labels(before)
        job = MaskedJob(data=probe.config.data, top_k=sorted(asked.top_k), l2=probe.config.l2, seed=seed)
        yield Planned(job, inputs={"probe": probe.digest})

    def owes(self, entry: Mapping[str, Any]) -> list[FigureKey]:
        """For each K."""
        return [(column, 1.0, "masked_top1", entry["representation"]) for column in entry["columns"]]

    def run(self, job: MaskedJob, workspace: Workspace) -> dict[str, Any]:
        """A row for each representation and K."""
        import numpy as np

        from sem_bench.evaluations.measures import features
        from sem_bench.evaluations.measures.candidates import Contest
        from sem_bench.evaluations.measures.probing import Prober, load_heads

        found = features.load(job.data, workspace)
        heads = [
            head
            for head in load_heads(workspace.inputs["probe"], workspace.device)
            if head["metric"].endswith(FIXED_TAU)
        ]
        everything = np.arange(len(found.train))
        prober = Prober(found, everything, 1.0, job.seed, draw=0, classes=len(job.data.classes))
        rows: list[dict[str, Any]] = []
        for head in heads:
            whole = features.representation(found.encoder, head["representation"], head["tau_d"])
            for k in job.top_k:
                kept = largest(head["weight"], k)
                fitted = prober.fit(Contest("top1", [_only(whole, kept, k)], job.l2))
                right = fitted.predict(found.h_test) == found.test.labels
                rows.append(
                    {
                        "column": str(k),
                        "fraction": 1.0,
                        "metric": "masked_top1",
                        "representation": whole.name,
                        "tau_d": whole.tau_d,
                        "features": len(kept),
                        "l2": fitted.choice.l2,
                        "value": 100 * float(right.double().mean()),
                        "notes": fitted.notes,
                    }
                )
                workspace.progress(len(rows), len(heads) * len(job.top_k), f"K = {k}: {rows[-1]['value']:.1f} %")
        return {"rows": rows}

    def cost(self, job: MaskedJob, net: NetCost) -> Cost:
        """A narrow probe for each K, at most as wide as the whole one."""
        classes = len(job.data.classes)
        share = sum(min(1.0, classes * k / net.width) for k in job.top_k)
        return Cost(net.fit_seconds(job.data) * share, COPIES * net.head_bytes(classes) + net.chunk_bytes())


def largest(weight: Tensor, k: int) -> Tensor:
    """The features (n,), in order, that are among the k largest weights, by sign, of any row of weight (C, F)."""
    features: Tensor = weight.topk(min(k, weight.shape[1]), dim=1).indices.unique()
    return features


def _only(whole: Representation, kept: Tensor, k: int) -> Representation:
    """Those features alone."""
    return replace(whole, name=f"{whole.name}, K = {k}", of=lambda h: whole.of(h)[:, kept])
