"""Effective rank and spread of h as pretraining left it: numbers that need no labels (docs/protocol.md, Rank)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sem_bench.base.files import read_json
from sem_bench.config.fields import Model
from sem_bench.data.described import TrainingData
from sem_bench.evaluation import Arm, Before, Cost, Evaluation, NetCost, Planned
from sem_bench.report.layout import Metric, Table

if TYPE_CHECKING:
    from sem_bench.workspace import Workspace

SECONDS = 0.1  # a file is read


class RankJob(Model):
    """The images that pretraining watched; all else comes with the pretrained encoder."""

    data: TrainingData

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return ["train"]


class RankSettings(Model):
    """Effective rank (RankMe) and spread of h on the images of pretraining; needs no labels."""


class Rank(Evaluation[RankSettings, RankJob]):
    """What pretraining measures after each epoch, of the last one."""

    name, summary, order = "rank", "effective rank (RankMe) and spread of h; needs no labels", 65
    Settings, Job = RankSettings, RankJob
    gpu, labels, in_every_dump = 0.0, False, False
    table = Table(
        name="rank",
        metrics=[
            Metric(name="effective_rank", header="effective rank"),
            Metric(name="feature_std", header="spread"),
        ],
        order=45,
        legend="h on at most 512 images of pretraining: effective rank (RankMe; higher: more directions are in use), "
        "and spread (1: all directions are alike, 0: all images are)",
        unit="",
        digits=2,
        gains=False,
        every=True,
    )

    def jobs(
        self, asked: RankSettings, arm: Arm, seed: int, before: Mapping[str, Sequence[Before]]
    ) -> Iterator[Planned[RankJob]]:
        """One job."""
        data, place = arm.pretrained_on()
        yield Planned(RankJob(data=data), place=place)

    def owes(self, entry: Mapping[str, Any]) -> list[tuple[str, float, str, str]]:
        """The rank of h, whatever stands for the arm elsewhere."""
        return [("train", 1.0, self.table.metrics[0].name, "h")]

    def run(self, job: RankJob, workspace: Workspace) -> dict[str, Any]:
        """Rows from the result of the pretraining."""
        health = read_json(workspace.inputs["pretrain"] / "result.json")["metrics"]["health"]
        row = {"column": "train", "fraction": 1.0, "representation": "h", "tau_d": None, "notes": []}
        return {"rows": [row | {"metric": metric.name, "value": health[metric.name]} for metric in self.table.metrics]}

    def cost(self, job: RankJob, net: NetCost) -> Cost:
        """That of reading a file."""
        return Cost(SECONDS, 0.0)
