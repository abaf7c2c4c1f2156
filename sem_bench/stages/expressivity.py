"""Expressivity: accuracy on train and test against the number of labels (docs/protocol.md, Expressivity)."""

from typing import Any

import torch

from sem_bench import config, features, selection
from sem_bench.contests import Contest
from sem_bench.features import Features, Representation
from sem_bench.randomness import derived_seed
from sem_bench.stages.probe import fit
from sem_bench.workspace import Workspace


def run(job: config.ExpressivityJob, workspace: Workspace) -> dict[str, Any]:
    """Rows (train, test, gap) for h, and for SEM at each temperature, at each fraction of the labels."""
    found = features.load(job.data, workspace)
    heated = [found.h, *(found.sem(tau) for tau in job.tau)]
    representations = heated if job.tau else found.representations(None)
    rows: list[dict[str, Any]] = []
    total = len(job.fractions) * len(representations)
    for fraction in job.fractions:
        seed = derived_seed(job.seed, "split", "subset", 0)
        labelled = selection.stratified_subset(found.train.labels.numpy(), fraction, seed=seed)
        for one in representations:
            rows += _rows(job, found, one, labelled, fraction)
            workspace.progress(len(rows) // 3, total, f"{rows[-2]['value']:.1f} %")
    return {"rows": rows}


def _rows(
    job: config.ExpressivityJob, found: Features, one: Representation, labelled: selection.Rows, fraction: float
) -> list[dict[str, Any]]:
    """Train, test and gap of one representation: the penalty is chosen inside the labels, as the probe does."""
    fitted = fit(
        found, Contest("top1", [one], job.l2), labelled, fraction, job.seed, draw=0, classes=len(job.data.classes)
    )
    rows = torch.from_numpy(labelled)
    right = fitted.predict(found.h_train[rows.to(found.h_train.device)]) == found.train.labels[rows]
    train = 100 * float(right.double().mean())
    test = 100 * float((fitted.predict(found.h_test) == found.test.labels).double().mean())
    shared = {
        "column": f"{100 * fraction:g}%",
        "fraction": fraction,
        "representation": one.name if one.tau_d is None else f"{one.name} {one.tau_d:g}",
        "tau_d": one.tau_d,
        "labels": len(labelled),
        "l2": fitted.choice.l2,
        "notes": fitted.notes,
    }
    figures = {"train": train, "test": test, "gap": train - test}
    return [shared | {"metric": metric, "value": value} for metric, value in figures.items()]
