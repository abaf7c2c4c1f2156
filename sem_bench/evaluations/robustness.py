"""Robustness: the probe's heads, not retrained, on a shifted test set (docs/protocol.md, Robustness)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from sem_bench.base.limits import CHUNK
from sem_bench.config.fields import Classes, Fraction, Model, Name, Names
from sem_bench.data.described import ShiftedData
from sem_bench.data.loading import all_corrupted
from sem_bench.encoder import Encoder
from sem_bench.evaluations.measures import features
from sem_bench.evaluations.measures.logistic import Head
from sem_bench.report.figures.look import Look
from sem_bench.report.figures.panels import (
    Drawn,
    complete_rows,
    footnote,
    grouped,
    heat_map,
    main_rows,
    panels_of,
    rows_of,
)
from sem_bench.report.row import Row
from sem_bench.workspace import Workspace


class RobustnessJob(Model):
    """Everything that a shifted test set's accuracy depends on, beside the encoder and the probe's heads."""

    data: ShiftedData
    shift: Name  # the key in the base set's card
    classes: Classes  # of the base set: what the heads tell apart
    fraction: Fraction  # of the probe

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return [self.shift]


class RobustnessSettings(Model):
    """The probe's head on shifted test sets: `shifts` are keys of the data set's card."""

    shifts: Names = ["v2", "r", "a", "c"]
    images: Annotated[int, Field(ge=1)] | None = None  # of each corruption at each severity; None: all


def draw(rows: Sequence[Row], look: Look) -> Drawn:
    """Accuracy by corruption and severity, an arm beside the other; a figure for each method, one scale a fraction."""
    every = [row for row in main_rows(rows_of(rows, "robustness", "top1")) if row["mean"] is None or row.get("matrix")]
    places = {(row["column"], row["fraction"]) for row in every if row["mean"] is not None}
    limits = {place: _limits(row for row in every if (row["column"], row["fraction"]) == place) for place in places}
    for (method, *place), found in grouped(
        every, lambda row: (look.method(row), row["column"], row["fraction"])
    ).items():
        drawn = complete_rows(found)
        if not drawn:
            continue
        widest, tallest = (max(len(row["matrix"][name]) for row in drawn) for name in ("severities", "corruptions"))
        size = (0.3 + 0.36 * widest, 0.6 + 0.2 * tallest)
        first = drawn[0]["matrix"]["corruptions"]
        title = f"Accuracy under corruption: {method}, probe at {100 * place[1]:g}% of labels"
        figure, panels = panels_of(drawn[0], title, grid=(1, len(drawn)), size=size)
        for axis, row in zip(panels[0], drawn, strict=True):
            names = [str(name).replace("_", " ") for name in row["matrix"]["corruptions"]]
            severities = list(map(str, row["matrix"]["severities"]))
            image = heat_map(axis, row["matrix"]["values"], severities, names, limits=limits[tuple(place)])
            axis.set(title=f"{look.embedding(row)}\nmean {row['mean']:.1f} %", xlabel="severity")
            axis.tick_params(labelleft=axis is panels[0, 0] or row["matrix"]["corruptions"] != first)
        figure.colorbar(image, ax=list(panels[0]), label="accuracy [%]", fraction=0.05)
        counts = {row["matrix"]["images"] for row in drawn if row["matrix"].get("images")}
        footnote(figure, found, look, drawn, *(f"{count:g} images of each corruption and severity" for count in counts))
        yield "-".join([method, place[0], f"{100 * place[1]:g}"] if len(places) > 1 else [method]), figure


def _limits(rows: Iterable[Row]) -> tuple[float, float]:
    """The lowest and the highest value of their matrices."""
    values = [value for row in rows if row["mean"] is not None for line in row["matrix"]["values"] for value in line]
    return min(values), max(values)


def run(job: RobustnessJob, workspace: Workspace) -> dict[str, Any]:
    """Rows for each of the probe's heads."""
    encoder = features.pretrained(workspace)
    heads = torch.load(workspace.inputs["probe"] / "head.pt", map_location=workspace.device, weights_only=True)
    found = (_corrupted if job.data.source.kinds else _shifted)(job, workspace, encoder, heads)
    shared = {"column": job.shift, "fraction": job.fraction}
    return {"rows": [shared | row | {"notes": []} for row in found]}


def own_classes(job: RobustnessJob) -> Tensor:
    """For each class of the shifted set its number in the base set: by name, never by position."""
    return torch.tensor([job.classes.index(name) for name in job.data.classes])


def logits(encoder: Encoder, head: dict[str, Any], h: Tensor) -> Tensor:
    """What a head of the probe says (N, C) of backbone features h (N, d)."""
    of = features.representation(encoder, head["representation"], head["tau_d"]).of
    classifier = Head(head["weight"], head["bias"])
    return torch.cat([classifier.predict(of(part) * head["scale"]) for part in h.split(CHUNK)]).cpu()


def accuracy(scores: Tensor, labels: Tensor, own: Tensor, *, among: Tensor) -> float:
    """Percent right: the best of the classes `among` against the true one, `labels` counting in `own`."""
    best = among[scores[:, among].argmax(1)]
    return 100 * float((best == own[labels]).double().mean())


def _shifted(
    job: RobustnessJob, workspace: Workspace, encoder: Encoder, heads: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    split = workspace.load(job.data, "test")
    h = features.of_split(encoder, job.data, split, workspace, name=job.shift)
    own, everyone = own_classes(job), torch.arange(len(job.classes))
    for head in heads:
        scores = logits(encoder, head, h)
        described = {key: head[key] for key in ("representation", "tau_d", "draw")}
        value = accuracy(scores, split.labels, own, among=own)
        yield described | {"metric": head["metric"], "value": value}
        if len(own) < len(everyone):
            value = accuracy(scores, split.labels, own, among=everyone)
            yield described | {"metric": f"{head['metric']}_all", "value": value}


def _corrupted(
    job: RobustnessJob, workspace: Workspace, encoder: Encoder, heads: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    kinds, own = job.data.source.kinds, own_classes(job)
    values: list[list[float]] = [[] for _ in heads]
    splits = all_corrupted(job.data, workspace.place, memory=workspace.memory, workers=workspace.workers)
    for number, split in enumerate(splits, 1):
        h = features.of_split(encoder, job.data, split, workspace, name=job.shift)
        for head, row in zip(heads, values, strict=True):
            row.append(accuracy(logits(encoder, head, h), split.labels, own, among=own))
        workspace.progress(number, len(kinds), f"{row[-1]:.1f} %")
    workspace.load(job.data, "test")  # the fingerprint of the whole
    corruptions, severities = (list(dict.fromkeys(part)) for part in zip(*kinds, strict=True))
    count = len(severities)
    for head, row in zip(heads, values, strict=True):
        rows = [row[start : start + count] for start in range(0, len(row), count)]
        matrix = {"corruptions": corruptions, "severities": severities, "values": rows, "images": len(h)}
        described = {key: head[key] for key in ("representation", "tau_d", "draw")}
        yield described | {"metric": head["metric"], "value": sum(row) / len(row), "matrix": matrix}
        mce = mean_corruption_error(rows, corruptions, job.data.reference_errors)
        if mce is not None:
            yield described | {"metric": head["metric"].replace("top1", "mce"), "value": mce}


def mean_corruption_error(rows: list[list[float]], corruptions: list[str], reference: dict[str, float]) -> float | None:
    """mCE in percent (Hendrycks and Dietterich, ICLR 2019, section 4.2); None where a reference error is not known.

    `rows` are accuracies in percent, by corruption and severity; `reference` mean errors of AlexNet.
    """
    if not corruptions or not set(corruptions) <= reference.keys():
        return None
    ratios = [(1 - sum(row) / len(row) / 100) / reference[name] for row, name in zip(rows, corruptions, strict=True)]
    return 100 * sum(ratios) / len(ratios)
