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
    Penalty,
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
    from sem_bench.evaluations.measures.features import Representation
    from sem_bench.evaluations.measures.probing import Prober
    from sem_bench.workspace import Workspace


class ExpressivityJob(Model):
    """Everything that accuracy against labels depends on, beside the pretrained encoder."""

    data: LabelledData
    fractions: list[Fraction]
    tau: list[Temperature]  # empty: the representation has no temperature
    l2: Penalties
    fixed_l2: Penalty
    seed: Seed

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return [percent(fraction) for fraction in self.fractions]


class ExpressivitySettings(Model):
    """Accuracy on train and test against the number of labels, of h, of z and of SEM at each tau.

    Once at the same small penalty for all, `fixed_l2`, and once at the one that validation chooses, as the probe does.
    """

    methods: Names | None = None  # None: all
    tau: Temperatures = [0.01, 0.1, 1.0, 10.0]  # of SEM
    fractions: Fractions = [0.01, 0.1, 1.0]  # of the labels
    fixed_l2: Penalty = 1e-6  # of features whose centred RMS norm is 1


class Expressivity(Evaluation[ExpressivitySettings, ExpressivityJob]):
    """Of h, of z, and of the embedding at each temperature."""

    name, summary, order = "expressivity", "accuracy on train and test against the number of labels", 80
    version = 3
    Settings, Job, figure = ExpressivitySettings, ExpressivityJob, "expressivity"
    table = Table(
        name="expressivity",
        metrics=[
            Metric(name="train", header="{column} train", gain=False),
            Metric(name="test", header="{column} test"),
            Metric(name="gap", header="{column} gap", gain=False),
        ],
        order=60,
        legend="expressivity: accuracy on the labelled training images and on test, of h, of z before the softmax, and "
        "of SEM at tau_d; with an l2 behind it at that one, else at the l2 that validation chooses",
        gains=False,
        every=True,
        extras=["labels", "fixed_l2"],
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
                fixed_l2=asked.fixed_l2,
                seed=seed,
            )
        )

    def owes(self, entry: Mapping[str, Any]) -> list[FigureKey]:
        """Test accuracy of h at each fraction."""
        return [(column, f, "test", "h") for column, f in zip(entry["columns"], entry["fractions"], strict=True)]

    def run(self, job: ExpressivityJob, workspace: Workspace) -> dict[str, Any]:
        """Rows (train, test, gap) of each representation, at each fraction of the labels and by both penalties."""
        from sem_bench.base.randomness import derived_seed
        from sem_bench.evaluations.measures import features, selection
        from sem_bench.evaluations.measures.probing import Prober

        found = features.load(job.data, workspace)
        heated = [found.h, found.z, *(found.output(tau) for tau in job.tau)]
        representations = heated if job.tau else found.representations(None)
        rows: list[dict[str, Any]] = []
        total = 2 * len(job.fractions) * len(representations)
        for fraction in job.fractions:
            seed = derived_seed(job.seed, "split", "subset", 0)
            labelled = selection.stratified_subset(found.train.labels.numpy(), fraction, seed=seed)
            prober = Prober(found, labelled, fraction, job.seed, draw=0, classes=len(job.data.classes))
            for one in representations:
                for fixed_l2 in (None, job.fixed_l2):
                    rows += _rows(prober, one, fraction, job.l2 if fixed_l2 is None else [fixed_l2], fixed_l2)
                    workspace.progress(len(rows) // 3, total, f"{rows[-2]['value']:.1f} %")
        return {"rows": rows}

    def cost(self, job: ExpressivityJob, net: NetCost) -> Cost:
        """A probe for each fraction and temperature."""
        seconds = net.fit_seconds(job.data) * sum(job.fractions) * (2 + len(job.tau)) / 5
        return Cost(seconds, COPIES * net.head_bytes(len(job.data.classes)) + net.chunk_bytes())

    def draw(self, rows: Sequence[Row], look: Look) -> Drawn:
        """Accuracy on the labelled images, on test, and their gap, against the number of labels; a figure a method.

        At the same penalty for all, where there are such rows.
        """
        metrics = {
            "train": "accuracy on the labelled images [%]",
            "test": "test accuracy [%]",
            "gap": "gap, train − test [points]",
        }
        for method, found in grouped(rows_of(rows, self.table.name, *metrics), look.method).items():
            complete = complete_rows(found, "labels")
            fixed = [row for row in complete if row.extra.get("fixed_l2") is not None]
            drawn = fixed or complete
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
                    "linestyle": DASHES[1 + line[0].representation.startswith("z")] if tau_d is None else "-",
                }
                style |= look.marker(line[0], hollow=single)
                name = line[0].representation.partition(",")[0] if tau_d is None else f"τ_d = {tau_d:g}"
                handles.append(legend_entry(f"{look.embedding(line[0])}: {name}", **style))
                for axis, metric in zip(panels[0], shown, strict=True):
                    points = sorted(
                        (row.extra["labels"], row.mean, row.std or 0) for row in line if row.metric == metric
                    )
                    if points:
                        axis.errorbar(*zip(*points, strict=True), elinewidth=0.8, **style)
            legend(figure, handles)
            penalty = f"l2 = {fixed[0].extra['fixed_l2']:g} everywhere" if fixed else ""
            chosen = {id(row) for row in complete} - {id(row) for row in drawn}
            said = [row for row in found if id(row) not in chosen]
            footnote(figure, said, look, drawn, penalty, SPREAD if any(row.std for row in drawn) else "")
            yield method, figure


def _rows(
    prober: Prober, one: Representation, fraction: float, l2: list[float], fixed_l2: float | None
) -> list[dict[str, Any]]:
    """Train, test and gap of one representation: its penalty is chosen inside the labels, or the only one."""
    import torch

    from sem_bench.evaluations.measures.candidates import Contest

    found, fitted = prober.found, prober.fit(Contest("top1", [one], l2))
    rows = torch.from_numpy(prober.labelled)
    right = fitted.predict(found.h_train[rows.to(found.h_train.device)]) == found.train.labels[rows]
    train = 100 * float(right.double().mean())
    test = 100 * float((fitted.predict(found.h_test) == found.test.labels).double().mean())
    name = one.name if fixed_l2 is None else f"{one.name}, l2 {fixed_l2:g}"
    shared = {
        "column": percent(fraction),
        "fraction": fraction,
        "representation": name if one.tau_d is None else f"{name} {one.tau_d:g}",
        "tau_d": one.tau_d,
        "labels": len(prober.labelled),
        "l2": fitted.choice.l2,
        "fixed_l2": fixed_l2,
        "notes": fitted.notes if fixed_l2 is None else fitted.unfinished,
    }
    figures = {"train": train, "test": test, "gap": train - test}
    return [shared | {"metric": metric, "value": value} for metric, value in figures.items()]
