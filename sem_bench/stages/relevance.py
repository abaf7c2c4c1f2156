"""Semantic relevance of the probe's weights (docs/protocol.md, Relevance)."""

from typing import Any

import torch

from sem_bench import config, relevance, sem
from sem_bench.files import read_json
from sem_bench.randomness import derived_seed
from sem_bench.stages.probe import superclass_of
from sem_bench.workspace import Workspace


def run(job: config.RelevanceJob, workspace: Workspace) -> dict[str, Any]:
    """Two rows for each head and K; the features and neighbours of each class stand in `graphs`."""
    pretrained = config.PretrainJob.model_validate(read_json(workspace.inputs["pretrain"] / "config.json"))
    heads = torch.load(workspace.inputs["probe"] / "head.pt", map_location="cpu", weights_only=True)
    superclass = superclass_of(job.data.classes, job.data.superclasses)
    seed = derived_seed(job.seed, "split", "relevance")
    rows, graphs = [], []
    for head in heads:
        weight = head["weight"]
        if head["representation"] != "h":  # features in the paper's order: number v of group l is l*V + v
            embedding = pretrained.embedding
            assert embedding.L is not None and embedding.V is not None
            weight = sem.to_group_major(weight, L=embedding.L, V=embedding.V)
        for k in job.top_k:
            found = relevance.measure(weight.numpy(), superclass, top_k=k, permutations=job.permutations, seed=seed)
            shared = {
                "column": str(k),
                "fraction": 1.0,
                "representation": head["representation"],
                "tau_d": head["tau_d"],
                "draw": head["draw"],
                "base_rate": found.base_rate,
                "neighbours": found.neighbours_per_class,
                "features": found.distinct_features,
                "isolated": found.without_neighbours,
                "notes": [],
            }
            null = {"null": found.null.mean, "null_low": found.null.low, "null_high": found.null.high}
            per_class = head["metric"].replace("top1", "relevance_per_class")
            rows.append(shared | null | {"metric": per_class, "value": found.per_class})
            rows.append(shared | {"metric": head["metric"].replace("top1", "relevance"), "value": found.relevance})
            graphs.append({"column": str(k), "metric": per_class, "representation": head["representation"]}
                          | {"features": found.features, "neighbours": found.neighbours})  # fmt: skip
            workspace.progress(len(graphs), len(heads) * len(job.top_k), f"{found.per_class:.3f}")
    return {"rows": rows, "classes": job.data.classes, "graphs": graphs}
