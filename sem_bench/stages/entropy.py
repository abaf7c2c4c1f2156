"""Entropy of the simplices on the training images (docs/protocol.md, Entropy)."""

import csv
from pathlib import Path
from typing import Any

from sem_bench import config, features, simplices
from sem_bench.sem import SimplicialEmbedding
from sem_bench.workspace import Workspace


def run(job: config.EntropyJob, workspace: Workspace) -> dict[str, Any]:
    """Rows at the pretraining temperature, with the histogram and the course over training."""
    found = features.load(job.data, workspace)
    embedding = found.encoder.embedding
    assert isinstance(embedding, SimplicialEmbedding)
    shape = (embedding.V, embedding.L)
    chunks = (embedding.logits(part.float()).unflatten(1, shape) for part in found.h_train.split(features.CHUNK))
    measured = simplices.measure(chunks, tau=job.tau, bins=job.bins)
    shared = {"column": "train", "fraction": 1.0, "representation": "sem", "tau_d": job.tau, "notes": []}
    values = {
        "entropy_share": measured.normalised,
        "entropy": measured.entropy,
        "entropy_std": measured.entropy_std,
        "largest_probability": measured.largest_probability,
        "dead_simplices": measured.dead,
    }
    rows = [shared | {"metric": metric, "value": value} for metric, value in values.items()]
    rows[0] |= {"histogram": measured.histogram, "course": course(workspace.inputs["pretrain"] / "log.csv")}
    return {"rows": rows, "images": measured.images}


def course(log: Path) -> list[list[float]]:
    """[epoch, H / log V] of each epoch, on the sample that pretraining watches."""
    rows = list(csv.DictReader(log.read_text().splitlines())) if log.exists() else []
    return [[float(row["epoch"]), float(row["simplex_entropy"])] for row in rows if row["simplex_entropy"]]
