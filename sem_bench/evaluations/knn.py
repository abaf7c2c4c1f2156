"""Weighted nearest neighbours on frozen features: nothing is fitted, nothing selected (docs/protocol.md)."""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from sem_bench.base.randomness import derived_seed
from sem_bench.config.fields import Model, Seed, Temperature
from sem_bench.data.described import LabelledData
from sem_bench.evaluations.measures import features, selection
from sem_bench.evaluations.measures.features import Features
from sem_bench.evaluations.measures.neighbours import predict
from sem_bench.workspace import Workspace


class KnnJob(Model):
    """Everything that the nearest neighbours depend on, beside the pretrained encoder."""

    data: LabelledData
    tau: Temperature | None
    k: int
    temperature: Temperature
    holdout: Seed | None = None  # classify a hold-out of train, drawn with this seed, and not the test images


class KnnSettings(Model):
    """Weighted nearest neighbours, docs/protocol.md."""

    k: Annotated[int, Field(ge=1)] = 20
    temperature: Temperature = 0.1


def run(job: KnnJob, workspace: Workspace) -> dict[str, Any]:
    """A row for h, and one for z or SEM at the pretraining temperature."""
    found = features.load(job.data, workspace)
    (voters, labels), (queries, truth) = _sides(found, job.holdout)
    rows = []
    for representation in found.representations(job.tau):
        predicted = predict(
            voters,
            labels.to(workspace.device),
            queries,
            classes=len(job.data.classes),
            k=job.k,
            temperature=job.temperature,
            of=representation.of,
        )
        rows.append(
            {
                "column": "kNN",
                "fraction": 1.0,
                "metric": "knn_top1",
                "representation": representation.name,
                "tau_d": representation.tau_d,
                "value": _percent(predicted.cpu() == truth),
                "notes": [],
            }
        )
    return {"rows": rows, "k": min(job.k, len(labels)), "temperature": job.temperature}


def _sides(found: Features, holdout: int | None) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """h and labels of who votes and of who is classified: train and test, or both of train, parted as by the probe."""
    h, labels = found.h_train, found.train.labels
    if holdout is None:
        return (h, labels), (found.h_test, found.test.labels)
    seed = derived_seed(holdout, "split", "validation", 0)
    voting, held = map(torch.from_numpy, selection.stratified_holdout(labels.numpy(), selection.HOLDOUT, seed=seed))
    return (h[voting], labels[voting]), (h[held], labels[held])


def _percent(correct: Tensor) -> float:
    return 100 * float(correct.double().mean())
