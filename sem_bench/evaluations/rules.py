"""The probe by each rule of choice among the same candidates (docs/protocol.md, Another rule)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from sem_bench.config.fields import Fractions, Model, RuleName
from sem_bench.evaluation import Arm, Before, Cost, Evaluation, NetCost, Planned
from sem_bench.evaluations.probe import Probe, ProbeJob, ProbeSettings, probe_job
from sem_bench.report.layout import FIXED_TAU, Metric, Table
from sem_bench.report.row import FigureKey

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.workspace import Workspace

RULES: tuple[RuleName, ...] = get_args(RuleName)


class RulesSettings(Model):
    """Whether the rule by which a probe chooses decides who wins. Candidates are those of the probe."""

    fractions: Fractions = [1.0]  # of the labels


class Rules(Evaluation[RulesSettings, ProbeJob]):
    """All candidates are fitted once; a rule that takes another one costs its head."""

    name, summary, order = "rules", "the probe by each rule of choice among the same candidates", 16
    Settings, Job = RulesSettings, ProbeJob
    table = Table(
        name="rules",
        metrics=[
            Metric(name=f"top1{FIXED_TAU}"),
            Metric(name="top1", header="{column} searched"),
        ],
        by_metric=True,
        order=16,
        legend="rules: of equally accurate penalties best takes the strongest, median the median, weakest the weakest; "
        "one_se takes the strongest within a standard error of the best",
        group=["fraction"],
    )

    def jobs(
        self, asked: RulesSettings, arm: Arm, seed: int, before: Mapping[str, Sequence[Before]]
    ) -> Iterator[Planned[ProbeJob]]:
        """A job a fraction of the labels; the suite's own rule is one of all."""
        probe = (arm.asked_of("probe") or ProbeSettings()).model_copy(update={"rule": "best"})
        for fraction in asked.fractions:
            yield Planned(probe_job(probe, arm, fraction, seed), suffix=f"-{fraction * 100:g}pc")

    def needs(self, job: ProbeJob, place: Place) -> Iterator[Path]:
        """As the probe."""
        return Probe().needs(job, place)

    def owes(self, entry: Mapping[str, Any]) -> list[FigureKey]:
        """The arm's representation by each rule."""
        fraction, main = float(entry["fraction"]), entry["representation"]
        return [(rule, fraction, f"top1{end}", main) for rule in RULES for end in (FIXED_TAU, "")]

    def run(self, job: ProbeJob, workspace: Workspace) -> dict[str, Any]:
        """A row for each draw, contest and rule."""
        from sem_bench.evaluations.measures import features, probing

        found = features.load(job.data, workspace)
        wanted, each = probing.contests(job, found), probing.subsets(job, found, workspace)
        rows: list[dict[str, Any]] = []
        for draw, labelled in enumerate(each):
            prober = probing.prober_of(job, found, labelled, draw)
            for contest, rule in product(wanted, RULES):
                report = probing.ProbeReport(rule)
                row, _, _ = probing.probe(job, prober, replace(contest, rule=rule), report)
                rows.append(row)
                workspace.progress(len(rows), len(each) * len(wanted) * len(RULES), f"{rule} {row['value']:.1f} %")
        return {"rows": rows}

    def cost(self, job: ProbeJob, net: NetCost) -> Cost:
        """That of the probe, which fits the same candidates; nothing is left."""
        return replace(Probe().cost(job, net), kept=0.0)
