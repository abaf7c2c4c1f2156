"""What a sweep maximises, a class each. To add one, add its class to `OBJECTIVES` and its name to the card's.

A class says which jobs a trial is made of and how its value is read from their results, in words and units too. The
table of a sweep is made by it from JSON alone, so nothing heavy is imported here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from sem_bench.runs.arm import Arm
    from sem_bench.runs.job import Job
    from sem_bench.runs.sweep_card import Params
    from sem_bench.sweep.subjects import Subject

Tried = dict[str, Any]
"""A point of the search inside a trial: `tau_d`, the `value` there, and whatever else was chosen for it."""
Metrics = Mapping[str, dict[str, Any]]
"""The metrics of finished jobs, by digest."""

HOLDOUT = "on a tenth of the training images, one seed"


class Objective:
    """What the three share; by default top-1 in percent on a hold-out, the best over the temperatures tau_d."""

    metric: ClassVar[str]  # in rows
    legend: ClassVar[str]  # below a table
    column = "hold-out"  # of a table
    axis = "hold-out top-1 [%]"  # of a figure
    unit = " %"
    labelled = True  # whether it needs labels
    heated = True  # whether it searches tau_d
    measure = "sem_bench.sweep.pruner_measures:neighbours_accuracy"  # what a pruner compares after each epoch

    def jobs(self, subject: "Subject", params: "Params", *, seed: int) -> "list[Job]":
        """The jobs of a trial: pretraining, and what the value is read from."""
        raise NotImplementedError

    def search(self, subject: "Subject", jobs: "Sequence[Job]", metrics: Metrics) -> list[Tried]:
        """The value of a finished trial at each tau_d, or one where there is no temperature; none without a hold-out.

        `jobs` are the trial's.
        """
        raise NotImplementedError

    def representation(self, subject: "Subject") -> str:
        """What is looked at: h, z or sem."""
        return subject.representation

    def misfits(self, arm: "Arm") -> Iterator[str]:
        """Why it cannot judge an arm."""
        return iter(())


class Probe(Objective):
    """The accuracy of the linear probe."""

    metric = "validation_top1"
    legend = f"hold-out: best top-1 of the probe over tau_d in percent, {HOLDOUT}"

    def jobs(self, subject: "Subject", params: "Params", *, seed: int) -> "list[Job]":
        """Pretraining and probe."""
        return list(subject.with_params(params, probe=subject.probe).jobs(seed))

    def search(self, subject: "Subject", jobs: "Sequence[Job]", metrics: Metrics) -> list[Tried]:
        """The best penalty at each tau_d."""
        row = next(row for row in _rows(subject, jobs, metrics) if row["metric"] == "top1")
        if row["validation"] is None:
            return []
        # A probe of an earlier version tells its choice alone.
        tried = row.get("search") or [{name: row[name] for name in ("tau_d", "l2", "validation")}]
        return [
            {
                "tau_d": one["tau_d"],
                "l2": one["l2"],
                "value": one["validation"],
                "chosen": one["tau_d"] == row["tau_d"],
            }
            for one in tried
        ]


class Knn(Objective):
    """The accuracy of the nearest neighbours."""

    metric = "validation_knn_top1"
    legend = f"hold-out: best top-1 of the nearest neighbours over tau_d in percent, {HOLDOUT}"

    def jobs(self, subject: "Subject", params: "Params", *, seed: int) -> "list[Job]":
        """Pretraining, and for each tau_d a vote on the hold-out."""
        *before, votes = subject.with_params(params, knn=subject.knn).jobs(seed)
        temperatures: list[float | None] = [*subject.tau_d] or [None]
        return [*before, *(self._held_out(votes, tau, seed) for tau in temperatures)]

    def _held_out(self, votes: "Job", tau: float | None, seed: int) -> "Job":
        changes = {"tau": tau, "holdout": seed}
        name = "-holdout" + ("" if tau is None else f"-td{tau:g}")
        return replace(votes, slug=votes.slug + name, config=votes.config.model_copy(update=changes))

    def search(self, subject: "Subject", jobs: "Sequence[Job]", metrics: Metrics) -> list[Tried]:
        """The votes at each tau_d."""
        return [{"tau_d": row["tau_d"], "value": row["value"]} for row in _rows(subject, jobs, metrics)]


class RankMe(Objective):
    """Effective rank of h on training images (Garrido et al., ICML 2023): it needs no labels, and no tau_d."""

    metric = "effective_rank"
    legend = "rank: effective rank of h (RankMe) on training images, one seed, no labels"
    column = "rank"
    axis = "effective rank of h"
    unit = ""
    labelled = False
    heated = False
    measure = "sem_bench.sweep.pruner_measures:effective_rank_of_h"

    def jobs(self, subject: "Subject", params: "Params", *, seed: int) -> "list[Job]":
        """Pretraining alone."""
        return list(subject.with_params(params).jobs(seed))

    def search(self, subject: "Subject", jobs: "Sequence[Job]", metrics: Metrics) -> list[Tried]:
        """The rank that the pretraining noted at its end."""
        return [{"tau_d": None, "value": metrics[jobs[0].digest]["health"]["effective_rank"]}]

    def representation(self, subject: "Subject") -> str:
        """Always h."""
        return "h"

    def misfits(self, arm: "Arm") -> Iterator[str]:
        """One whose h no setting changes."""
        if not arm.card.trained:
            yield "leaves h as it is, and rankme sees nothing else"


OBJECTIVES: dict[str, Objective] = {"probe": Probe(), "knn": Knn(), "rankme": RankMe()}


def _rows(subject: "Subject", jobs: "Sequence[Job]", metrics: Metrics) -> list[dict[str, Any]]:
    """The rows of a trial's evaluations for what stands for the arm."""
    rows = [row for job in jobs if job.kind != "pretrain" for row in metrics[job.digest]["rows"]]
    return [row for row in rows if row["representation"] == subject.representation]
