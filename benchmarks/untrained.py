"""How much of SEM's gain does a softmax layer give that nobody trained? A control on the baseline's own features.

    python benchmarks/untrained.py SUITE RESULTS DATA [KEY=YAML ...]

For each finished pretraining without an embedding: its h, then Linear and BatchNorm at initial weights (running
statistics of the training images) and SEM at each tau_d of the suite's grid, of the size of the suite's `sem`; the
probe's own search and data, at 100 % of the labels. Beside it the probe on h itself. Test accuracy in percent.
"""

import sys
from functools import partial
from pathlib import Path

import torch

from sem_bench import config, features, sem
from sem_bench.contests import Contest
from sem_bench.features import Features, Representation
from sem_bench.plan import read_plan
from sem_bench.randomness import initialisation
from sem_bench.stages.probe import Report, labelled_rows, probe
from sem_bench.store import Store
from sem_bench.workspace import Workspace

CPU = torch.device("cpu")


def untrained(found: Features, size: config.Embedding, seed: int) -> sem.SimplicialEmbedding:
    """SEM of that size at initial weights; BatchNorm knows the mean and variance of the training images."""
    assert size.L is not None and size.V is not None
    with initialisation(seed, "untrained"):
        embedding = sem.SimplicialEmbedding(found.h_train.shape[1], L=size.L, V=size.V, tau=1.0)
    with torch.no_grad():
        z = embedding.linear(found.h_train)
        embedding.norm.running_mean, embedding.norm.running_var = z.mean(0), z.var(0)
    return embedding.eval().requires_grad_(False)


def main(suite: Path, results: Path, data: Path, assignments: list[str]) -> None:
    """Print a line for each method and seed."""
    plan, store = read_plan(suite, assignments, data=data), Store(results)
    size = next(one for grid in plan.suite.grid for one in grid.embeddings.values() if one.type == "sem")
    grid = plan.suite.evaluate.probe
    assert grid is not None
    for job in plan.unique():
        if not isinstance(job.config, config.ProbeJob) or job.config.fraction < 1 or job.cell.embedding != "none":
            continue
        source = store.by_digest("pretrain", job.inputs["pretrain"])
        if source is None:
            continue
        workspace = Workspace(Path(), {"pretrain": source}, job.method_code, job.place, results / "cache", CPU)
        found = features.load(job.config.data, workspace)
        embedding = untrained(found, size, job.config.seed)
        softmaxes = [Representation("untrained", tau, partial(embedding, tau=tau)) for tau in grid.tau]
        rows = labelled_rows(found, job.config, 0)
        report = Report("100%")
        plain, _, _ = probe(job.config, found, Contest("top1", [found.h], job.config.fixed_l2), rows, 0, report)
        mixed, _, _ = probe(job.config, found, Contest("top1", softmaxes, grid.l2), rows, 0, report)
        line = f"h {plain['value']:.1f}, untrained SEM {mixed['value']:.1f}"
        choice = f"tau_d {mixed['tau_d']:g}, l2 {mixed['l2']:g}"
        print(f"{job.cell.method} seed {job.cell.seed}: {line} ({choice})", flush=True)  # noqa: T201


if __name__ == "__main__":
    suite, results, data = map(Path, sys.argv[1:4])
    main(suite, results, data, sys.argv[4:])
