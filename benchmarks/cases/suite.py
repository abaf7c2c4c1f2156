"""The default suite from its first job to its tables: seconds, and the part of them in which no job computes."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.paired import Case, Contestant, Options
from sem_bench.base import machine
from sem_bench.runs.crew import Asked, shared_out
from sem_bench.runs.plan import read_plan

SUITE = Path(__file__).parents[2] / "suite.yaml"
QUICK = [
    "grid.methods=[simclr]",
    "grid.embeddings={none: {}}",
    "grid.images={train: 300, test: 100}",
    "pretrain.epochs=1",
    "evaluate={knn: {k: 20}}",
]


def cases(options: Options) -> Iterator[Case]:
    """One run, with as many jobs at a time as `run` chooses; the floor is the seconds of its jobs over those slots."""
    assignments = QUICK if options.quick else []
    slots, _ = shared_out(
        read_plan(SUITE, assignments).unique(),
        Asked(device=options.device.type),
        gpus=len(machine.gpus(options.device.type)),
        cores=machine.cores(),
        memory=machine.memory(),
    )
    computing: list[float] = []

    def run() -> float:
        with tempfile.TemporaryDirectory() as results:
            command = [sys.executable, "-m", "sem_bench", "run", str(SUITE), "--results", results]
            command += ["--device", options.device.type]
            command += [word for one in assignments for word in ("--set", one)]
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            took = time.perf_counter() - began
            found = [json.loads(path.read_text()) for path in Path(results).glob("*/*/result.json")]
        computing[:] = [one["provenance"]["seconds"] for one in found]
        return took

    contestants = [
        Contestant(
            "run", run, "ours", note=lambda: f"{len(computing)} jobs, {sum(computing):.0f} s in all, {slots} at a time"
        ),
        Contestant("its jobs alone", lambda: sum(computing) / slots, "floor"),
    ]
    yield Case("suite.yaml", contestants, repeats=1, warm_up=False)
