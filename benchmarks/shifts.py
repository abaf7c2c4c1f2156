"""How hard are the shifted test sets of shapes? The heads of a finished suite on them, as they are.

    python -m sem_bench run suites/calibration.yaml --set 'grid.methods=[supervised, simclr]'
    python benchmarks/shifts.py suites/calibration.yaml

Percent right among a set's own classes (the others' logits masked), mean over the suite's seeds, for each method
without an embedding, with its 100 % head.
"""

import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean

import torch

from sem_bench.data import loading
from sem_bench.evaluations.probe import ProbeJob
from sem_bench.nets import frozen
from sem_bench.runs.plan import read_plan
from sem_bench.runs.store import Store
from sem_bench.training.pretrained import load_encoder

CPU = torch.device("cpu")


def main(suite: Path, results: Path) -> None:
    """Print a row for each set."""
    plan, store = read_plan(suite), Store(results)
    (shapes,) = plan.datasets
    labelled = shapes.labelled()
    figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for job in plan.unique():
        settings = job.config
        probe = store.by_digest("probe", job.digest) if isinstance(settings, ProbeJob) else None
        source = store.by_digest("pretrain", job.inputs["pretrain"]) if probe else None
        if probe is None or source is None or getattr(settings, "fraction", 0) < 1:
            continue
        encoder = load_encoder(source, CPU)
        head = torch.load(probe / "head.pt", weights_only=True)[0]
        for name in ("test", "v2", "r", "a"):
            described, place = (labelled, shapes.place) if name == "test" else shapes.shift(name)
            split = loading.load(described, "test", place)
            h = torch.cat(list(frozen.backbone_features(encoder, labelled, split.prepared(), CPU)))
            own = torch.tensor([labelled.classes.index(one) for one in described.classes])
            logits = (head["scale"] * h) @ head["weight"][own].T + head["bias"][own]
            right = (logits.argmax(1) == split.labels).double().mean()
            figures[name][job.cell.method].append(100 * float(right))
    for name, methods in figures.items():
        print(name, {method: round(mean(values), 1) for method, values in methods.items()})  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "results"))
