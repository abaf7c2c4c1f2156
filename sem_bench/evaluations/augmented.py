"""The original SEM code's linear evaluation: heads trained on augmented images (docs/protocol.md, Augmented)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from sem_bench.config.fields import BatchSize, Model, Penalties, Positive, Seed, Temperature
from sem_bench.data.described import LabelledData
from sem_bench.evaluation import Arm, Asking, Before, Cost, Evaluation, NetCost, Planned, Problem
from sem_bench.evaluations.comparison import COMPARISON
from sem_bench.evaluations.probe import ProbeSettings

if TYPE_CHECKING:
    from sem_bench.workspace import Workspace


class AugmentedJob(Model):
    """Everything that heads on augmented images depend on, beside the pretrained encoder."""

    data: LabelledData
    tau: list[Temperature]  # empty: the representation has no temperature
    fixed_tau: Temperature | None  # also reported: tau_d at the pretraining tau, without search
    lr: list[Positive]  # for each of `tau`
    fixed_lr: list[Positive]  # as many candidates for representations without a temperature
    epochs: Annotated[int, Field(ge=1)] = 100
    batch_size: BatchSize = 256
    seed: Seed

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return ["100% aug"]


class AugmentedSettings(Model):
    """The original code's linear evaluation, beside the probe: SGD on augmented images; tau_d as the probe's."""

    epochs: Annotated[int, Field(ge=1, le=10**5)] = 100
    batch_size: BatchSize = 256
    lr: Penalties = [0.1, 1.0, 10.0]  # for each tau_d; features have a mean square length of 1


class Augmented(Evaluation[AugmentedSettings, AugmentedJob]):
    """SGD on crops and flips, all candidates in one pass over the images."""

    name, summary, order = "augmented", "accuracy of linear heads trained on augmented images, as in the original", 70
    gpu = 1.0  # it trains on images
    Settings, Job, table = AugmentedSettings, AugmentedJob, COMPARISON

    def problems(self, asked: AugmentedSettings, asking: Asking) -> Iterator[Problem]:
        """Data sets smaller than a batch."""
        for name, count in asking.evaluated.items():
            if asked.batch_size > count:
                text = f"augmented's batch of {asked.batch_size} is larger than the {count} training images of {name!r}"
                yield ("batch_size",), text

    def jobs(
        self, asked: AugmentedSettings, arm: Arm, seed: int, before: Mapping[str, Sequence[Before]]
    ) -> Iterator[Planned[AugmentedJob]]:
        """One job, with the temperatures of the suite's probe."""
        probe = arm.asked_of("probe") or ProbeSettings()
        search = arm.search(probe.tau, asked.lr)
        yield Planned(
            AugmentedJob(
                data=arm.labelled(superclasses=False),
                tau=search.tau,
                fixed_tau=search.fixed_tau,
                lr=search.grid,
                fixed_lr=search.fixed_grid,
                epochs=asked.epochs,
                batch_size=asked.batch_size,
                seed=seed,
            )
        )

    def run(self, job: AugmentedJob, workspace: Workspace) -> dict[str, Any]:
        """A row for each contest."""
        from sem_bench.evaluations.measures.augmented_heads import evaluate

        return evaluate(job, workspace)

    def cost(self, job: AugmentedJob, net: NetCost) -> Cost:
        """A forward pass of one view for each epoch."""
        seconds = job.epochs * job.data.used("train") / net.speed / 4
        return Cost(seconds, net.head_bytes(len(job.data.classes)) + net.chunk_bytes())
