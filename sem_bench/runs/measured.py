"""Devices whose speed was measured: files of benchmarks/records, from `benchmarks/run.py --only pretrain --json`.

Only what was measured there is known there: the images a second of SimCLR's step (two views, no momentum branch) with a
backbone. `plan --on NAME` reads them; a device that has no file cannot be named.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sem_bench.base.files import BUILTIN, read_json
from sem_bench.config.validation import did_you_mean
from sem_bench.errors import UserError
from sem_bench.runs.job import Job, data_of
from sem_bench.training.cost import view_area

FOLDER = BUILTIN / "benchmarks" / "records"
EARLIER = "_before"  # how files of earlier code end
CASE = re.compile(r"simclr, (\S+), (\d+) px, .*")


@dataclass(frozen=True)
class Device:
    """What is known of a device."""

    path: Path
    speeds: dict[tuple[str, int], float]  # by backbone and size of the views: images a second

    def seconds(self, job: Job) -> float | None:
        """What a pretraining takes there; None where nothing like it was measured.

        As a stage counts the time on two cores, scaled by the ratio of the two speeds of its backbone, which is taken
        at the measured size that is nearest.
        """
        size = data_of(job).image_size
        known = [px for backbone, px in self.speeds if backbone == job.cell.backbone]
        sizes = sorted(known, key=lambda px: abs(px - size))
        if not sizes:
            return None
        here = job.parts.cost.speed / view_area(sizes[0], job.parts.cost.stem)
        return job.cost.seconds * here / self.speeds[job.cell.backbone, sizes[0]]


def device(name: str) -> Device:
    """The device of that name. Raises UserError, which names all, where nothing was measured on it."""
    found = {path.stem: path for path in sorted(FOLDER.glob("*.json")) if not path.stem.endswith(EARLIER)}
    if name not in found:
        measure = f"python benchmarks/run.py --only pretrain --json > benchmarks/records/{name}.json"
        raise UserError(f"--on {name}: no speeds of it are kept{did_you_mean(name, found)}; `{measure}` measures them")
    return Device(found[name], _speeds(read_json(found[name])))


def _speeds(rows: Sequence[dict[str, object]]) -> dict[tuple[str, int], float]:
    ours = [row for row in rows if row["name"] == "pretrain" and row["who"] == "ours"]
    cases = [(CASE.fullmatch(str(row["case"])), row["images_per_s"]) for row in ours]
    return {(case[1], int(case[2])): speed for case, speed in cases if case and isinstance(speed, float)}
