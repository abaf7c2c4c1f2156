"""`doctor`: is everything there that a run needs?"""

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from sem_bench import config
from sem_bench.dataset import DataSet, Place
from sem_bench.errors import UserError
from sem_bench.jobs import Job
from sem_bench.plan import Plan, read_plan

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
        from sem_bench import contract

        plan = read_plan(suite, data=data)
        lines.append(f"suite        {suite}: {len(plan.unique())} jobs")
        for arm, job in _arms(plan).items():
            assert isinstance(job.config, config.PretrainJob)
            wrong = contract.problems(job.config, job.method_code, job.weights)
            lines += [f"method       {arm}: {problem}" for problem in wrong] or [f"method       {arm}: well"]
            healthy = healthy and not wrong
        for name, described, place in (entry for dataset in plan.datasets for entry in _sets(dataset)):
            line, well = _data(described, place)
            lines.append(f"data         {name}: {line}")
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


def _arms(plan: Plan) -> dict[str, Job]:
    """One pretraining of each method with each embedding on images of each size, of each external encoder."""
    arms: dict[str, Job] = {}
    seen: dict[str, tuple[object, ...]] = {}
    for job in plan.unique():
        if isinstance(job.config, config.PretrainJob):
            name = f"{job.cell.method} {'' if job.cell.ip is None else '+ IP '}{job.cell.embedding}"
            settings = job.config.embedding, job.config.data.image_size, job.config.weights
            if seen.setdefault(name, settings) != settings:
                name += f" ({job.config.embedding.type}, {job.config.data.image_size} px)"
            arms.setdefault(name, job)
    return arms


def _sets(dataset: DataSet) -> Iterator[tuple[str, config.Data, Place]]:
    """A data set and its shifted test sets."""
    yield dataset.name, dataset.labelled() if dataset.card.labelled else dataset.training(), dataset.place
    for key in dataset.card.shifts:
        described, place = dataset.shift(key)
        yield f"{dataset.name}/{key}", described, place


def _data(described: config.Data, place: Place) -> tuple[str, bool]:
    """Load the data and hold them against the card."""
    from sem_bench import data

    if absent := place.absent():
        return f"NOT FOUND: {', '.join(map(str, absent))}", False
    try:
        if isinstance(described, config.ShiftedData) and described.source.type == "corrupted":
            kinds, severities = described.source.corruptions, described.source.severities
            made = data.corrupted(described, place, name=kinds[0], severity=severities[0])
            text = f"{len(made)} test x {len(kinds)} corruptions x {len(severities)} severities"
        else:
            splits = data.load_all(described, place, workers=os.cpu_count() or 1)
            text = ", ".join(f"{_read(split)} {name}" for name, split in splits.items())
    except UserError as error:
        return f"FAULTY: {error}", False
    return f"{text}, {described.image_size} px", True
