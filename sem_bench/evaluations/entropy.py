"""Entropy of the simplices on the training images (docs/protocol.md, Entropy)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from sem_bench.base.limits import CHUNK
from sem_bench.config.fields import Model, Temperature
from sem_bench.data.described import LabelledData, TrainingData
from sem_bench.evaluation import Arm, Before, Cost, Evaluation, NetCost, Planned
from sem_bench.report.figures.look import Look
from sem_bench.report.figures.panels import (
    Drawn,
    complete_rows,
    footnote,
    legend,
    legend_entry,
    main_rows,
    panels_of,
    rows_of,
)
from sem_bench.report.job_folder import read
from sem_bench.report.layout import Metric, Table
from sem_bench.report.row import Row

if TYPE_CHECKING:
    from sem_bench.workspace import Workspace


class EntropyJob(Model):
    """Everything that the simplices' entropy depends on, beside the pretrained encoder."""

    data: LabelledData | TrainingData
    tau: Temperature
    bins: int

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return ["train"]


class EntropySettings(Model):
    """Entropy of the simplices on the training images; embeddings with a temperature only."""

    bins: Annotated[int, Field(ge=2, le=1000)] = 20  # of the histogram


class Entropy(Evaluation[EntropySettings, EntropyJob]):
    """How far the simplices are from one-hot and from uniform."""

    name, summary, order = "entropy", "entropy of the simplices on the training images; needs no labels", 60
    Settings, Job, figure = EntropySettings, EntropyJob, "entropy"
    labels = False
    table = Table(
        name="entropy",
        metrics=[
            Metric(name="entropy_share", header="H / log V"),
            Metric(name="entropy", header="H"),
            Metric(name="largest_probability", header="largest p"),
        ],
        order=50,
        legend="entropy of the simplices in nats, at the pretraining temperature, on the training images",
        unit="",
        digits=3,
        gains=False,
        extras=["histogram", "course"],
    )

    def jobs(
        self, asked: EntropySettings, arm: Arm, seed: int, before: Mapping[str, Sequence[Before]]
    ) -> Iterator[Planned[EntropyJob]]:
        """One job, of an arm whose embedding makes simplices."""
        tau = arm.embedding.tau
        if tau is not None and arm.simplices:
            yield Planned(EntropyJob(data=arm.images(), tau=tau, bins=asked.bins))

    def run(self, job: EntropyJob, workspace: Workspace) -> dict[str, Any]:
        """Rows at the pretraining temperature, with the histogram and the course over training."""
        from sem_bench.evaluations.measures import features, simplices

        encoder, h = features.of_train(job.data, workspace)
        embedding = encoder.embedding
        assert embedding.groups is not None
        shape = embedding.groups[::-1]
        chunks = (embedding.raw(part.float()).unflatten(1, shape) for part in h.split(CHUNK))
        measured = simplices.measure(chunks, tau=job.tau, bins=job.bins, log_probabilities=embedding.log_probabilities)
        shared = {
            "column": "train",
            "fraction": 1.0,
            "representation": embedding.representation,
            "tau_d": job.tau,
            "notes": [],
        }
        values = {
            "entropy_share": measured.normalised,
            "entropy": measured.entropy,
            "entropy_std": measured.entropy_std,
            "largest_probability": measured.largest_probability,
            "dead_simplices": measured.dead,
        }
        rows = [shared | {"metric": metric, "value": value} for metric, value in values.items()]
        rows[0] |= {"histogram": measured.histogram, "course": course(workspace.inputs["pretrain"])}
        return {"rows": rows, "images": measured.images}

    def cost(self, job: EntropyJob, net: NetCost) -> Cost:
        """That of reading the features."""
        return Cost(net.reading_seconds(job.data), net.chunk_bytes())

    def draw(self, rows: Sequence[Row], look: Look) -> Drawn:
        """How the entropies of the simplices are distributed, and their mean over training."""
        arms = main_rows(rows_of(rows, self.table.name, self.table.metrics[0].name))
        counted = [row for row in complete_rows(arms, "histogram") if sum(row.extra["histogram"]) > 0]
        followed = [row for row in complete_rows(arms, "course") if row.extra["course"]]
        drawn = list({id(row): row for row in counted + followed}.values())
        if not drawn:
            return
        count = bool(counted) + bool(followed)
        figure, panels = panels_of(rows[0], "Entropy of the simplices", grid=(1, count), size=(3.2, 2.9))
        if counted:
            panels[0, 0].set(xlabel="normalised entropy H / log V", ylabel="probability density", xlim=(-0.02, 1.02))
        for row in counted:
            bins, total = len(row.extra["histogram"]), sum(row.extra["histogram"])
            density = [bins * number / total for number in row.extra["histogram"]]
            colour, dashes = look.colour(row), look.dashes(row)
            edges = [number / bins for number in range(bins + 1)]
            panels[0, 0].stairs(density, edges, color=colour, linestyle=dashes, linewidth=1.4)
            peak = max(range(bins), key=lambda number: density[number])
            style = look.marker(row, hollow=row.n == 1) | {"color": colour, "linestyle": "None"}
            panels[0, 0].plot([(peak + 0.5) / bins], [density[peak]], **style)
        if followed:
            panels[0, -1].set(xlabel="epoch", ylabel="mean of H / log V", ylim=(-0.02, 1.02))
        for row in followed:
            epochs, shares = zip(*row.extra["course"], strict=True)
            style = look.marker(row, hollow=row.n == 1) | {"markevery": max(1, len(epochs) // 6)}
            panels[0, -1].plot(epochs, shares, color=look.colour(row), linestyle=look.dashes(row), **style)
        styles = ((row, {"color": look.colour(row), "linestyle": look.dashes(row)}) for row in drawn)
        marked = ((row, style | look.marker(row, hollow=row.n == 1)) for row, style in styles)
        legend(figure, [legend_entry(f"{look.method(row)}, {look.embedding(row)}", **style) for row, style in marked])
        footnote(figure, arms, look, drawn, "left: the marker is at the largest bin" if counted else "")
        yield "", figure


def course(pretrained: Path) -> list[list[float]]:
    """[epoch, H / log V] of each epoch, on the sample that pretraining watches. Raises DamagedError."""
    if not (pretrained / "log.csv").exists():  # of an embedding that was put on a finished encoder
        return []
    rows = read(pretrained, "log.csv", lambda file: list(csv.DictReader(file.read().decode().splitlines())))
    return [[float(row["epoch"]), float(row["simplex_entropy"])] for row in rows if row["simplex_entropy"]]
