"""Weighted nearest neighbours on frozen features: nothing is fitted, nothing selected (docs/protocol.md)."""

from typing import Any

from torch import Tensor

from sem_bench import config, features
from sem_bench.neighbours import predict
from sem_bench.workspace import Workspace


def run(job: config.KnnJob, workspace: Workspace) -> dict[str, Any]:
    """A row for h, and one for z or SEM at the pretraining temperature."""
    found = features.load(job.data, workspace)
    rows = []
    for representation in found.representations(job.tau):
        predicted = predict(
            found.h_train,
            found.train.labels.to(workspace.device),
            found.h_test,
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
                "value": _percent(predicted.cpu() == found.test.labels),
                "notes": [],
            }
        )
    return {"rows": rows, "k": min(job.k, len(found.train.labels)), "temperature": job.temperature}


def _percent(correct: Tensor) -> float:
    return 100 * float(correct.double().mean())
