"""Of SEM's gain, how much is pretraining, and how much the layer that the probe reads (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from sem_bench.config.fields import Fractions, Model, percent
from sem_bench.evaluation import Arm, Before, Cost, Evaluation, NetCost, Planned
from sem_bench.evaluations.probe import Probe, ProbeJob, ProbeSettings, probe_job
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.report.figures import waterfall
from sem_bench.report.layout import Contrast, Metric, Table
from sem_bench.report.layout import Reading as Read
from sem_bench.report.row import FigureKey

if TYPE_CHECKING:
    from sem_bench.data.dataset import Place
    from sem_bench.evaluations.measures.features import Features
    from sem_bench.evaluations.measures.readings import Reading
    from sem_bench.report.figures.look import Look
    from sem_bench.report.figures.panels import Drawn
    from sem_bench.report.row import Row
    from sem_bench.workspace import Workspace

H, FRESH, OWN = Read(reads="h", arm="baseline"), Read(reads="fresh", arm="baseline"), Read(reads="own")
GRAFTED = Read(reads="fresh")  # on the network that was pretrained with a layer
CONTRASTS = [
    Contrast(name="gain", of=OWN, less=H, role="total", legend="own layer on its network - h of the baseline"),
    Contrast(name="layer", of=FRESH, less=H, role="part", legend="fresh layer on the baseline - h of the baseline"),
    Contrast(
        name="pretraining",
        of=GRAFTED,
        less=FRESH,
        role="part",
        legend="fresh layer on the arm's network - the same on the baseline",
    ),
    Contrast(
        name="trained layer", of=OWN, less=GRAFTED, role="part", legend="own layer - fresh layer, both on its network"
    ),
    Contrast(name="h to h", of=Read(reads="h"), less=H, legend="h of the arm's network - h of the baseline"),
    Contrast(
        name="width",
        of=Read(reads="own", arm="control"),
        less=H,
        legend="z of the arm of the same L and V without a softmax - h of the baseline",
    ),
    Contrast(
        name="search", of=Read(reads="own searched"), less=OWN, legend="tau_d of the own layer searched - fixed at tau"
    ),
    Contrast(
        name="fresh search",
        of=Read(reads="fresh searched", arm="baseline"),
        less=FRESH,
        legend="likewise of the fresh layer on the baseline",
    ),
    Contrast(
        name="searched gain",
        of=Read(reads="own searched"),
        less=Read(reads="h searched", arm="baseline"),
        legend="gain with the search of the probe on both sides, equal candidates",
    ),
    Contrast(name="softmax", of=OWN, less=Read(reads="own z"), legend="own layer - its z, before the softmax"),
    Contrast(
        name="fresh softmax",
        of=FRESH,
        less=Read(reads="fresh z", arm="baseline"),
        legend="likewise of the fresh layer on the baseline",
    ),
    Contrast(
        name="relu",
        of=Read(reads="relu", arm="baseline"),
        less=H,
        legend="random ReLU layer of the same width on the baseline - h of the baseline",
    ),
    Contrast(
        name="over relu",
        of=FRESH,
        less=Read(reads="relu", arm="baseline"),
        legend="fresh layer - random ReLU layer of the same weights, both on the baseline",
    ),
]


class Layer(Model):
    """A layer to put on the network."""

    embedding: EmbeddingSettings
    width: int
    candidates: dict[str, Any]  # the fields in which the probe of the arm that has such a layer is another


class DecompositionJob(ProbeJob):
    """Everything that the readings of a network depend on, beside the pretrained encoder: a probe's job, and layers."""

    layers: list[Layer]
    draws: int

    def probe(self, layer: Layer) -> ProbeJob:
        """That of an arm with such a layer."""
        return self.model_copy(update=layer.candidates)


class DecompositionSettings(Model):
    """Fresh layers on finished networks, `draws` of their weights averaged. Candidates are those of the probe."""

    fractions: Fractions = [1.0]  # of the labels
    draws: Annotated[int, Field(ge=1, le=100)] = 3  # of fresh layers


class Decomposition(Evaluation[DecompositionSettings, DecompositionJob]):
    """The network's pretraining crossed with what the probe reads."""

    name, summary, order = "decomposition", "how much of a gain is pretraining, how much the layer that is read", 15
    Settings, Job, figure = DecompositionSettings, DecompositionJob, "decomposition"
    table = Table(
        name="decomposition",
        metrics=[Metric(name="top1", gain=False)],
        order=15,
        legend="gain = layer + pretraining + trained layer, to the last digit; the other columns stand apart",
        unit="points of top-1",
        digits=2,
        group=["fraction"],
        extras=["reads", "layer"],
        contrasts=CONTRASTS,
    )

    def jobs(
        self, asked: DecompositionSettings, arm: Arm, seed: int, before: Mapping[str, Sequence[Before]]
    ) -> Iterator[Planned[DecompositionJob]]:
        """A job a fraction of the labels; none of a layer that was never trained: the baseline has it."""
        probe, arms = arm.asked_of("probe") or ProbeSettings(), arm.layers()
        if arm.embedding.heated and not arms:
            return
        for fraction in asked.fractions:
            own = _fields(probe_job(probe, arm, fraction, seed))
            layers = {
                layer_name(one.embedding): _layer(one, own, probe_job(probe, one, fraction, seed)) for one in arms
            }
            job = DecompositionJob(**own, layers=list(layers.values()), draws=asked.draws)
            yield Planned(job, suffix=f"-{fraction * 100:g}pc")

    def needs(self, job: DecompositionJob, place: Place) -> Iterator[Path]:
        """As the probe."""
        return Probe().needs(job, place)

    def owes(self, entry: Mapping[str, Any]) -> list[FigureKey]:
        """Of h, and of the arm's own layer."""
        fraction, main = float(entry["fraction"]), entry["representation"]
        return [(percent(fraction), fraction, "top1", name) for name in ("h", *["own"] * (main != "h"))]

    def run(self, job: DecompositionJob, workspace: Workspace) -> dict[str, Any]:
        """A row for each reading and draw, at each subset of the labels."""
        from sem_bench.evaluations.measures import features, probing

        found = features.load(job.data, workspace)
        each, subsets = list(_readings(job, found)), probing.subsets(job, found, workspace)
        report = probing.ProbeReport(percent(job.fraction))
        rows: list[dict[str, Any]] = []
        for draw, labelled in enumerate(subsets):
            for _, alike in groupby(each, key=lambda reading: id(reading[0].found)):
                same = list(alike)
                prober = probing.prober_of(same[0][0].probe, same[0][0].found, labelled, draw)
                for one, shown, layer in same:
                    row, _, _ = probing.probe(one.probe, prober, one.contest, report)
                    row |= {"metric": "top1", "representation": shown, "reads": one.reads, "layer": layer}
                    rows.append(row)
                    workspace.progress(len(rows), len(each) * len(subsets), f"{shown} {row['value']:.1f} %")
        return {"rows": rows}

    def cost(self, job: DecompositionJob, net: NetCost) -> Cost:
        """A probe of the arm, and of each layer one and a half for each draw: z and ReLU come on top."""
        own, seconds, needed = Probe().cost(job, net), 0.0, 0.0
        for layer in job.layers:
            wide = replace(net, width=max(net.width, layer.width), embedding=layer.width)
            each = Probe().cost(job.probe(layer), wide)
            seconds += 1.5 * job.draws * each.seconds
            needed = max(needed, each.bytes)
        return Cost(own.seconds + seconds, max(own.bytes, needed))

    def draw(self, rows: Sequence[Row], look: Look) -> Drawn:
        """From h of the baseline to the own layer, step by step."""
        return waterfall.draw(rows, look, self.table)


def _fields(job: ProbeJob) -> dict[str, Any]:
    return {name: getattr(job, name) for name in ProbeJob.model_fields}


def _layer(arm: Arm, own: Mapping[str, Any], probe: ProbeJob) -> Layer:
    """What no fresh layer depends on is left out."""
    settings = arm.embedding.model_copy(update={"tau_target": None})
    others = {name: value for name, value in _fields(probe).items() if value != own[name]}
    return Layer(embedding=settings, width=arm.width or 0, candidates=others)


def layer_name(settings: EmbeddingSettings) -> str:
    """A layer in a word or two: "sem L=64 V=8 tau=1"."""
    said = settings.parameters | ({"tau": f"{settings.tau:g}"} if settings.heated else {})
    return " ".join([settings.type, *(f"{name}={value}" for name, value in said.items())])


def _readings(job: DecompositionJob, found: Features) -> Iterator[tuple[Reading, str, str | None]]:
    """Each with its name in rows, and the layer that it belongs to."""
    from sem_bench.evaluations.measures import readings

    baseline = found.encoder.embedding.representation == "h"
    own = layer_name(job.layers[0].embedding) if job.layers and not baseline else None
    for one in readings.of_network(job, found):
        yield one, one.reads, own
    for layer in job.layers:
        name = layer_name(layer.embedding)
        behind = f": {_short(layer, job)}" * baseline
        for draw in range(job.draws):
            fresh = readings.fresh_layer(layer.embedding, found, seed=job.seed, draw=draw)
            for one in readings.of_layer(readings.FRESH, job.probe(layer), found, fresh):
                yield one, one.reads + behind, name
            if baseline:
                relu = readings.fresh_relu(layer.width, found, seed=job.seed, draw=draw)
                for one in readings.without_temperature(readings.RELU, job.probe(layer), found, relu):
                    yield one, one.reads + behind, name


def _short(layer: Layer, job: DecompositionJob) -> str:
    """The name of one of several layers, with its temperature only where that tells them apart.

    For methods have temperatures of their own, and arms alike have the same readings.
    """
    alike = [one for one in job.layers if one.embedding.parameters == layer.embedding.parameters]
    return layer_name(layer.embedding if len(alike) > 1 else layer.embedding.model_copy(update={"tau": None}))
