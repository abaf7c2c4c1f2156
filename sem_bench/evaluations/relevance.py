"""Semantic relevance of the probe's weights (docs/protocol.md, Relevance)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from sem_bench.config.fields import Model, Seed, unique
from sem_bench.data.described import LabelledData
from sem_bench.evaluation import Arm, Asking, Before, Evaluation, Planned, Problem
from sem_bench.evaluations.probe import at_all_labels, without_all_labels
from sem_bench.nets.card import MAX_WIDTH
from sem_bench.report.figures.look import INK, PALE, Look, shades_of
from sem_bench.report.figures.panels import (
    SPREAD,
    Drawn,
    complete_rows,
    footnote,
    legend,
    legend_entry,
    main_rows,
    panels_of,
    rows_of,
)
from sem_bench.report.layout import Metric, Remark, Table
from sem_bench.report.row import FigureKey, Row, grouped

if TYPE_CHECKING:
    from sem_bench.workspace import Workspace


NEIGHBOURS = " neighbours"  # ends the columns of equal numbers of neighbours
K = Annotated[int, Field(ge=1, le=MAX_WIDTH)]


class RelevanceJob(Model):
    """Everything that semantic relevance depends on, beside the probe's heads."""

    data: LabelledData
    top_k: list[int]
    neighbours: list[int]  # of a class on average, for each of which K is found
    permutations: int
    seed: Seed

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return [str(k) for k in self.top_k] + [f"{count}{NEIGHBOURS}" for count in self.neighbours]


class RelevanceSettings(Model):
    """Semantic relevance of the probe's head at all labels, for the top_k features of each class.

    And for as many as give a class `neighbours` on average, of those that are at most half of the other classes.
    """

    top_k: Annotated[list[K], Field(min_length=1), AfterValidator(unique)] = [1, 2, 5, 10]  # features of each class
    neighbours: Annotated[list[K], AfterValidator(unique)] = [2, 4, 8]  # on average, for a top_k of each arm's own
    permutations: Annotated[int, Field(ge=1, le=10**5)] = 200  # for the null


class Relevance(Evaluation[RelevanceSettings, RelevanceJob]):
    """Do classes that share features share a superclass?"""

    name, summary, order, reads = "relevance", "do classes that share features share a superclass?", 40, ("probe",)
    version = 2  # relevance among the classes that have neighbours, and at equal numbers of neighbours
    gpu = 0.0  # it reads the weights of heads
    Settings, Job, figure = RelevanceSettings, RelevanceJob, "relevance"
    table = Table(
        name="relevance",
        metrics=[
            Metric(
                name="relevance_per_class",
                header="K = {column}",
                gain=False,
                aside=" ({connected:.3f}; {isolated:.0%})",
                legend="K: share of the classes with a common feature (of the K largest) that have its superclass; "
                "in brackets its mean over classes that have a neighbour, and the share that have none and count as 0",
            ),
            Metric(
                name="relevance_matched",
                aside=" ({null:.3f}; {top_k:.3g})",
                legend="neighbours: its mean over classes that have one, at the K that gives a class so many; "
                "in brackets chance (classes permuted) and K; gains are of what lies above chance",
            ),
        ],
        hidden=[Metric(name="relevance", gain=False)],
        order=40,
        unit="",
        digits=3,
        chance="null",
        extras=[
            "null",
            "null_low",
            "null_high",
            "base_rate",
            "neighbours",
            "features",
            "isolated",
            "connected",
            "top_k",
        ],
        remarks=[
            Remark(field="base_rate", text="base rate: {value:.3f} of the other classes lie in a class's superclass")
        ],
    )

    def lacks(self, asked: RelevanceSettings, others: Mapping[str, Any]) -> Iterator[str]:
        """The probe, and its head at all labels."""
        yield from super().lacks(asked, others)
        yield from without_all_labels(self.name, others)

    def problems(self, asked: RelevanceSettings, asking: Asking) -> Iterator[Problem]:
        """Data sets without superclasses."""
        for name in asking.evaluated:
            if not asking.card(name).superclasses:
                yield (), f"{name!r} has no superclasses, which relevance needs"

    def jobs(
        self, asked: RelevanceSettings, arm: Arm, seed: int, before: Mapping[str, Sequence[Before]]
    ) -> Iterator[Planned[RelevanceJob]]:
        """One job, on the head at all labels."""
        probe = at_all_labels(before)
        data = arm.labelled()
        counts = [count for count in asked.neighbours if 2 * count < len(data.classes)]
        job = RelevanceJob(data=data, seed=seed, **asked.model_dump() | {"neighbours": counts})
        yield Planned(job, inputs={"probe": probe.digest})

    def owes(self, entry: Mapping[str, Any]) -> list[FigureKey]:
        """For each K, and for each number of neighbours."""
        known = {True: "relevance_matched", False: "relevance_per_class"}
        return [
            (column, 1.0, known[column.endswith(NEIGHBOURS)], entry["representation"]) for column in entry["columns"]
        ]

    def run(self, job: RelevanceJob, workspace: Workspace) -> dict[str, Any]:
        """Two rows for each head and K; the features and neighbours of each class stand in `graphs`."""
        from sem_bench.base.randomness import derived_seed
        from sem_bench.evaluations.measures import class_graph
        from sem_bench.evaluations.measures.probing import load_heads, superclass_of
        from sem_bench.nets.embeddings import sem

        heads = load_heads(workspace.inputs["probe"], "cpu")
        superclass = superclass_of(job.data.classes, job.data.superclasses)
        seed = derived_seed(job.seed, "split", "relevance")
        rows, graphs = [], []
        for head in heads:
            weight = head["weight"]
            if head["representation"] != "h" and workspace.parts.groups is not None:
                L, V = workspace.parts.groups  # features in the paper's order: number v of group l is l*V + v
                weight = sem.to_group_major(weight, L=L, V=V)
            weight = weight.numpy()
            found_k = [(f"{count}{NEIGHBOURS}", class_graph.least_k(weight, count)) for count in job.neighbours]
            for column, k in [*((str(k), k) for k in job.top_k), *found_k]:
                found = class_graph.measure(weight, superclass, top_k=k, permutations=job.permutations, seed=seed)
                matched = column.endswith(NEIGHBOURS)
                # Classes without neighbours count in neither relevance nor chance where arms are compared.
                share = max(1 - found.without_neighbours, 1 / len(superclass)) if matched else 1.0
                shared = {
                    "column": column,
                    "fraction": 1.0,
                    "representation": head["representation"],
                    "tau_d": head["tau_d"],
                    "draw": head["draw"],
                    "base_rate": found.base_rate,
                    "neighbours": found.neighbours_per_class,
                    "features": found.distinct_features,
                    "isolated": found.without_neighbours,
                    "connected": found.connected,
                    "top_k": k,
                    "notes": [],
                }
                null = {"null": found.null.mean, "null_low": found.null.low, "null_high": found.null.high}
                null = {name: value / share for name, value in null.items()}
                main = "relevance_matched" if matched else "relevance_per_class"
                metric = head["metric"].replace("top1", main)
                value = found.connected if matched else found.per_class
                rows.append(shared | null | {"metric": metric, "value": value})
                if not matched:
                    whole = head["metric"].replace("top1", "relevance")
                    rows.append(shared | {"metric": whole, "value": found.relevance})
                graphs.append({"column": column, "metric": metric, "representation": head["representation"]}
                              | {"features": found.features, "neighbours": found.neighbours})  # fmt: skip
                total = len(heads) * (len(job.top_k) + len(job.neighbours))
                workspace.progress(len(graphs), total, f"{found.per_class:.3f}")
        return {"rows": rows, "classes": job.data.classes, "graphs": graphs}

    def draw(self, rows: Sequence[Row], look: Look) -> Drawn:
        """Semantic relevance against K, beside what chance gives; a panel for each method."""
        arms = main_rows(rows_of(rows, self.table.name, self.table.metrics[0].name))
        drawn = complete_rows(arms)
        if not drawn:
            return
        methods, embeddings = grouped(drawn, look.method), list(grouped(drawn, look.embedding))
        height = math.ceil(len(methods) / 4)
        columns = math.ceil(len(methods) / height)
        figure, panels = panels_of(
            drawn[0], "Semantic relevance", grid=(height, columns), size=(1.9, 1.9), sharex=True, sharey=True
        )
        ticks = sorted({int(row.column) for row in drawn})
        base_rate = {"color": INK, "linestyle": "--", "linewidth": 0.9}
        panels[0, 0].set_xscale("log", base=2)
        panels[0, 0].set_xticks(ticks, list(map(str, ticks)), minor=False)
        for number, axis in enumerate(panels.flat):
            if number >= len(methods):
                axis.remove()
            elif number + columns >= len(methods):  # nothing below it
                axis.set(xlabel="K")
                axis.tick_params(labelbottom=True)
        for axis, (method, found) in zip(panels.flat, methods.items(), strict=False):
            axis.set(title=method)
            for name, line in grouped(found, look.embedding).items():
                line = sorted(line, key=lambda row: int(row.column))
                ks = [int(row.column) for row in line]
                colour = shades_of(look.colour(line[0]), len(embeddings))[embeddings.index(name)]
                style = look.marker(line[0], hollow=all(row.n == 1 for row in line))
                axis.errorbar(ks, [row.mean for row in line], [row.std or 0 for row in line], color=colour, **style)
                null = complete_rows(line, "null_low", "null_high")
                if null:
                    edges = ([row.extra[end] for row in null] for end in ("null_low", "null_high"))
                    axis.fill_between([int(row.column) for row in null], *edges, color=colour, alpha=0.2, linewidth=0)
                base = complete_rows(line, "base_rate")
                axis.plot([int(row.column) for row in base], [row.extra["base_rate"] for row in base], **base_rate)
        figure.supylabel("semantic relevance", fontsize=9)
        from matplotlib.patches import Patch

        shades = dict(zip(embeddings, shades_of(PALE, len(embeddings)), strict=True))
        firsts = grouped(drawn, look.embedding).items()
        handles = [
            legend_entry(name, color=shades[name], ls="-", **look.marker(row[0], hollow=False)) for name, row in firsts
        ]
        band = Patch(color=PALE, alpha=0.4, linewidth=0, label="chance, 95 %")
        legend(
            figure,
            [
                *handles,
                *[band] * bool(complete_rows(drawn, "null_low", "null_high")),
                *[legend_entry("base rate", **base_rate)] * bool(complete_rows(drawn, "base_rate")),
            ],
        )
        spread = SPREAD if any(row.std for row in drawn) else ""
        chance = "chance: classes permuted among superclasses" if complete_rows(drawn, "null_low", "null_high") else ""
        footnote(
            figure,
            arms,
            look,
            drawn,
            "mean over classes, of the K largest weights of each",
            spread,
            chance,
            column=self.table.metrics[0].header,
        )
        yield "", figure
