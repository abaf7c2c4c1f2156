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
    around: list[float] = []  # seconds before the first job, and after the last

    def run() -> float:
        with tempfile.TemporaryDirectory() as results:
            command = [sys.executable, "-m", "sem_bench", "run", str(SUITE), "--results", results]
            command += ["--device", options.device.type]
            command += [word for one in assignments for word in ("--set", one)]
            began = time.time()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            ended = time.time()
            paths = list(Path(results).glob("*/*/result.json"))
            computing[:] = [json.loads(path.read_text())["provenance"]["seconds"] for path in paths]
            ends = [path.stat().st_mtime for path in paths]
        first = min(end - seconds for end, seconds in zip(ends, computing, strict=True))
        around[:] = [first - began, ended - max(ends)]
        return ended - began

    def said() -> str:
        before, after = around
        return (
            f"{len(computing)} jobs, {sum(computing):.0f} s in all, {slots} at a time; "
            f"{before:.1f} s before the first, {after:.1f} s after the last"
        )

    contestants = [
        Contestant("run", run, "ours", note=said),
        Contestant("its jobs alone", lambda: sum(computing) / slots, "floor"),
    ]
    yield Case("suite.yaml", contestants, repeats=1, warm_up=False)
