"""`doctor`: is everything there that a run needs?"""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from sem_bench.errors import UserError
from sem_bench.jobs import Job
from sem_bench.plan import read_plan
from sem_bench.store import data_of

if TYPE_CHECKING:
    from sem_bench.data import Split

PACKAGES = ("torch", "torchvision", "lightly", "optuna", "numpy", "pillow", "pydantic", "scikit-learn")
ENOUGH_GB = 2.0


def report(suite: Path | None, results: Path, data: Path) -> tuple[str, bool]:
    """A line for each thing looked at, and whether all of it is well."""
    lines = [f"python       {platform.python_version()} on {platform.system()} {platform.machine()}"]
    healthy = True
    for package in PACKAGES:
        try:
            lines.append(f"{package:12} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package:12} NOT INSTALLED")
            healthy = False
    lines += _devices()
    existing = next(path for path in (results.resolve(), *results.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    lines.append(f"disk         {free:.1f} GB free at {existing}" + (" - LITTLE" if free < ENOUGH_GB else ""))
    if suite is not None:
        jobs = read_plan(suite, data=data).unique()
        lines.append(f"suite        {suite}: {len(jobs)} jobs")
        for job in {job.cell.dataset: job for job in jobs if job.kind != "pretrain"}.values() or jobs[:1]:
            line, well = _data(job)
            lines.append(f"data         {line}")
            healthy = healthy and well
    return "\n".join(lines), healthy


def _devices() -> list[str]:
    import torch

    from sem_bench.workspace import precision

    cpu = torch.device("cpu")
    lines = [f"cpu          {torch.get_num_threads()} threads, {precision(cpu)}"]
    for i in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(i).total_memory / 2**30
        name = torch.cuda.get_device_name(i)
        lines.append(f"cuda:{i}       {name}, {memory:.0f} GiB, {precision(torch.device('cuda', i))}")
    return lines


def _read(split: "Split") -> int:
    """Every image is looked at, also of data that do not fit into memory; how many there are."""
    return len(split) if split.images is not None else sum(len(part) for part in split.prepared())


def _data(job: Job) -> tuple[str, bool]:
    """Load the data and hold them against the card."""
    from sem_bench import data

    described = data_of(job)
    if absent := job.place.absent():
        return f"{described.name}: NOT FOUND: {', '.join(map(str, absent))}", False
    try:
        counts = {
            name: _read(data.load(described, name, job.place, workers=os.cpu_count() or 1)) for name in described.counts
        }
    except UserError as error:
        return f"{described.name}: FAULTY: {error}", False
    size = described.image_size
    return f"{described.name}: " + ", ".join(f"{count} {name}" for name, count in counts.items()) + f", {size} px", True
