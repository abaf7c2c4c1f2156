"""Expressivity: accuracy on train and test against the number of labels (docs/protocol.md, Expressivity)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sem_bench.config.fields import (
    Fraction,
    Fractions,
    Model,
    Names,
    Penalties,
    Seed,
    Temperature,
    Temperatures,
    percent,
)
from sem_bench.data.described import LabelledData
from sem_bench.evaluation import Arm, Before, Cost, Evaluation, NetCost, Planned
from sem_bench.evaluations.measures.memory_sizes import COPIES
from sem_bench.evaluations.probe import ProbeSettings
from sem_bench.report.figures.look import DASHES, INK, Look, shades_of
from sem_bench.report.figures.panels import (
    SPREAD,
    Drawn,
    complete_rows,
    footnote,
    legend,
    legend_entry,
    panels_of,
    rows_of,
)
from sem_bench.report.layout import Metric, Table
from sem_bench.report.row import FigureKey, Row, grouped

if TYPE_CHECKING:
    from sem_bench.evaluations.measures.features import Features, Representation
    from sem_bench.evaluations.measures.selection import Rows
    from sem_bench.workspace import Workspace


class ExpressivityJob(Model):
    """Everything that accuracy against labels depends on, beside the pretrained encoder."""

    data: LabelledData
    fractions: list[Fraction]
    tau: list[Temperature]  # empty: the representation has no temperature
    l2: Penalties
    seed: Seed

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return [percent(fraction) for fraction in self.fractions]


class ExpressivitySettings(Model):
    """Accuracy on train and test against the number of labels, of h and of SEM at each tau."""

    methods: Names | None = None  # None: all
    tau: Temperatures = [0.01, 0.1, 1.0, 10.0]  # of SEM
    fractions: Fractions = [0.01, 0.1, 1.0]  # of the labels


class Expressivity(Evaluation[ExpressivitySettings, ExpressivityJob]):
    """Of h and of the embedding at each temperature."""

    name, summary, order = "expressivity", "accuracy on train and test against the number of labels", 80
    version = 2
    Settings, Job, figure = ExpressivitySettings, ExpressivityJob, "expressivity"
    table = Table(
        name="expressivity",
        metrics=[
            Metric(name="train", header="{column} train", gain=False),
            Metric(name="test", header="{column} test"),
            Metric(name="gap", header="{column} gap", gain=False),
        ],
        order=60,
        legend="expressivity: accuracy on the labelled training images and on test, of h and of SEM at tau_d",
        gains=False,
        every=True,
        extras=["labels"],
    )

    def jobs(
        self, asked: ExpressivitySettings, arm: Arm, seed: int, before: Mapping[str, Sequence[Before]]
    ) -> Iterator[Planned[ExpressivityJob]]:
        """One job, with the penalties of the suite's probe."""
        probe = arm.asked_of("probe") or ProbeSettings()
        yield Planned(
            ExpressivityJob(
                data=arm.labelled(superclasses=False),
                fractions=sorted(asked.fractions),
                tau=asked.tau if arm.embedding.heated else [],
                l2=probe.l2,
                seed=seed,
            )
        )

    def owes(self, entry: Mapping[str, Any]) -> list[FigureKey]:
        """Test accuracy of h at each fraction."""
        return [(column, f, "test", "h") for column, f in zip(entry["columns"], entry["fractions"], strict=True)]

    def run(self, job: ExpressivityJob, workspace: Workspace) -> dict[str, Any]:
        """Rows (train, test, gap) of h and of the embedding at each temperature, at each fraction of the labels."""
        from sem_bench.base.randomness import derived_seed
        from sem_bench.evaluations.measures import features, selection

        found = features.load(job.data, workspace)
        heated = [found.h, *(found.output(tau) for tau in job.tau)]
        representations = heated if job.tau else found.representations(None)
        rows: list[dict[str, Any]] = []
        total = len(job.fractions) * len(representations)
        for fraction in job.fractions:
            seed = derived_seed(job.seed, "split", "subset", 0)
            labelled = selection.stratified_subset(found.train.labels.numpy(), fraction, seed=seed)
            for one in representations:
                rows += _rows(job, found, one, labelled, fraction)
                workspace.progress(len(rows) // 3, total, f"{rows[-2]['value']:.1f} %")
        return {"rows": rows}

    def cost(self, job: ExpressivityJob, net: NetCost) -> Cost:
        """A probe for each fraction and temperature."""
        seconds = net.fit_seconds(job.data) * sum(job.fractions) * (1 + len(job.tau)) / 5
        return Cost(seconds, COPIES * net.head_bytes(len(job.data.classes)) + net.chunk_bytes())

    def draw(self, rows: Sequence[Row], look: Look) -> Drawn:
        """Accuracy on the labelled images, on test, and their gap, against the number of labels; a figure a method."""
        metrics = {
            "train": "accuracy on the labelled images [%]",
            "test": "test accuracy [%]",
            "gap": "gap, train − test [points]",
        }
        for method, found in grouped(rows_of(rows, self.table.name, *metrics), look.method).items():
            drawn = complete_rows(found, "labels")
            if not drawn:
                continue
            shown = [metric for metric in metrics if any(row.metric == metric for row in drawn)]
            figure, panels = panels_of(drawn[0], f"Expressivity: {method}", grid=(1, len(shown)), size=(2.5, 2.6))
            ticks = sorted({row.extra["labels"] for row in drawn})
            for axis, metric in zip(panels[0], shown, strict=True):
                axis.set(xscale="log", xlabel="labels", ylabel=metrics[metric])
                axis.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks], rotation=90 if len(ticks) > 4 else 0)
                axis.minorticks_off()
            taus = sorted({row.tau_d for row in drawn if row.tau_d is not None})
            shades = dict(zip(taus, shades_of(look.colour(drawn[0]), len(taus)), strict=True))
            handles = []
            for line in grouped(drawn, lambda row: (look.embedding(row), row.representation, row.tau_d)).values():
                tau_d, single = line[0].tau_d, all(row.n == 1 for row in line)
                style = {
                    "color": INK if tau_d is None else shades[tau_d],
                    "linestyle": DASHES[1] if tau_d is None else "-",
                }
                style |= look.marker(line[0], hollow=single)
                name = line[0].representation if tau_d is None else f"τ_d = {tau_d:g}"
                handles.append(legend_entry(f"{look.embedding(line[0])}: {name}", **style))
                for axis, metric in zip(panels[0], shown, strict=True):
                    points = sorted(
                        (row.extra["labels"], row.mean, row.std or 0) for row in line if row.metric == metric
                    )
                    if points:
                        axis.errorbar(*zip(*points, strict=True), elinewidth=0.8, **style)
            legend(figure, handles)
            footnote(figure, found, look, drawn, SPREAD if any(row.std for row in drawn) else "")
            yield method, figure


def _rows(
    job: ExpressivityJob, found: Features, one: Representation, labelled: Rows, fraction: float
) -> list[dict[str, Any]]:
    """Train, test and gap of one representation: the penalty is chosen inside the labels, as the probe does."""
    import torch

    from sem_bench.evaluations.measures.candidates import Contest
    from sem_bench.evaluations.measures.probing import Prober

    prober = Prober(found, labelled, fraction, job.seed, draw=0, classes=len(job.data.classes))
    fitted = prober.fit(Contest("top1", [one], job.l2))
    rows = torch.from_numpy(labelled)
    right = fitted.predict(found.h_train[rows.to(found.h_train.device)]) == found.train.labels[rows]
    train = 100 * float(right.double().mean())
    test = 100 * float((fitted.predict(found.h_test) == found.test.labels).double().mean())
    shared = {
        "column": percent(fraction),
        "fraction": fraction,
        "representation": one.name if one.tau_d is None else f"{one.name} {one.tau_d:g}",
        "tau_d": one.tau_d,
        "labels": len(labelled),
        "l2": fitted.choice.l2,
        "notes": fitted.notes,
    }
    figures = {"train": train, "test": test, "gap": train - test}
    return [shared | {"metric": metric, "value": value} for metric, value in figures.items()]
