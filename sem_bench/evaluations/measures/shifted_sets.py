"""The probe's heads, not retrained, on shifted test sets."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from sem_bench.base.limits import CHUNK
from sem_bench.data.loading import all_corrupted
from sem_bench.encoder import Encoder
from sem_bench.evaluations.measures import features
from sem_bench.evaluations.measures.logistic import Head
from sem_bench.evaluations.measures.probing import load_heads
from sem_bench.evaluations.robustness import RobustnessJob
from sem_bench.workspace import Workspace


def evaluate(job: RobustnessJob, workspace: Workspace) -> dict[str, Any]:
    """Rows for each of the probe's heads."""
    encoder = features.pretrained(workspace)
    heads = load_heads(workspace.inputs["probe"], workspace.device)
    found = (_corrupted if job.data.source.kinds else _shifted)(job, workspace, encoder, heads)
    shared = {"column": job.shift, "fraction": job.fraction}
    extra = job.data.left_out
    notes = [f"left out: {len(extra)} of the classes of {job.shift}, which the base set lacks"] if extra else []
    return {"rows": [shared | row | {"notes": notes} for row in found]}


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
            yield described | {"metric": head["metric"].replace("top1", "top1_all"), "value": value}


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
