"""`doctor`: is everything there that a run needs?"""

import argparse
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sem_bench.base import machine, screen
from sem_bench.base.files import no_folder
from sem_bench.config.cards import shipped
from sem_bench.data.dataset import Place
from sem_bench.data.described import Data, ShiftedData
from sem_bench.errors import UserError, printable
from sem_bench.runs.job import Job, data_of
from sem_bench.runs.plan import Plan, read_plan
from sem_bench.training.job import PretrainJob

if TYPE_CHECKING:
    from sem_bench.data.split import Split
    from sem_bench.nets.encoder_parts import EncoderParts


PACKAGES = ("torch", "torchvision", "lightly", "optuna", "numpy", "pillow", "pydantic", "scikit-learn")
ENOUGH_GB = 2.0


Said = Iterator[tuple[str, bool]]  # lines, each with whether all is well with what it is about


def report(suite: Path | None, results: Path, data: Path, assignments: Sequence[str] = ()) -> Said:
    """A line for each thing looked at, as soon as it was."""
    yield f"python       {platform.python_version()} on {platform.system()} {platform.machine()}", True
    for package in PACKAGES:
        try:
            yield f"{package:12} {version(package)}", True
        except PackageNotFoundError:
            yield f"{package:12} NOT INSTALLED", False
    for line in _devices():
        yield line, True
    if why := no_folder(results):
        raise UserError(f"--results {results}: {why}")
    existing = next(path for path in (results.resolve(), *results.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    yield f"disk         {free:.1f} GB free at {existing}" + (" - LITTLE" if free < ENOUGH_GB else ""), True
    if suite is not None:
        plan = read_plan(suite, assignments, data=data)
        yield f"suite        {suite}: {len(plan.unique())} jobs", True
        yield from _parts(plan)
        for name, described, place in _sets(plan):
            line, well = _data(described, place)
            yield f"data         {name}: {line}", well


def _parts(plan: Plan) -> Said:
    """What is wrong with each arm and each backbone."""
    from sem_bench.training import device_check, dry_run

    arms, own = _arms(plan), dict[str, device_check.Arm]()
    wrong, fine = dict[str, list[str]](), dict[str, str]()
    for arm, job in arms.items():
        assert isinstance(job.config, PretrainJob)
        wrong[arm], tried = dry_run.trial(job.config, job.method_code, job.weights, parts=job.parts)
        fine[arm] = _ok(job, tried)
        if not wrong[arm] and job.config.weights is None and _has_own_code(job):  # ours is tried in the tests
            own[arm] = job.config, job.method_code, job.parts
        else:
            yield from _said_of(arm, wrong[arm], fine[arm])
    for arm, problem in zip(own, device_check.problems(list(own.values())), strict=True):
        yield from _said_of(arm, [problem] if problem else [], fine[arm])
    for (name, size), parts in _backbones(plan).items():
        problem = dry_run.backbone_problem(parts, size)
        only = "" if problem else dry_run.one_device_only(parts, size)
        well = f"ok, on one device only: {only}" if only else "ok"
        yield f"backbone     {name}, {size} px: {problem or well}", not problem


def _said_of(arm: str, problems: Sequence[str], fine: str) -> Said:
    for problem in problems:
        yield f"method       {arm}: {problem}", False
    if not problems:
        yield f"method       {arm}: {fine}", True


def _devices() -> list[str]:
    import torch

    from sem_bench.base.device import precision

    cpu = torch.device("cpu")
    lines = [f"cpu          {torch.get_num_threads()} threads, {precision(cpu)}"]
    size, free = machine.memory() / 2**30, machine.free_memory() / 2**30
    lines.append(f"memory       {size:.1f} GiB, {free:.1f} free")
    for i in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(i).total_memory / 2**30
        name = torch.cuda.get_device_name(i)
        lines.append(f"cuda:{i}       {name}, {memory:.0f} GiB, {precision(torch.device('cuda', i))}")
    return lines


def _read(split: "Split") -> int:
    """Every image is looked at, also of data that do not fit into memory; how many there are."""
    return len(split) if split.images is not None else sum(len(part) for part in split.prepared())


def _ok(job: Job, tried: int) -> str:
    """What is said of an arm in which nothing was wrong."""
    assert isinstance(job.config, PretrainJob)
    own = job.config.training.batch_size
    return "ok" if tried == own else f"ok, tried with batches of {tried:,} and not {own:,}"


def _has_own_code(job: Job) -> bool:
    """Whether the method, the embedding or the backbone is the user's."""
    return not shipped("method", job.method_code) or job.parts.embedding.own or job.parts.backbone.own


def _arms(plan: Plan) -> dict[str, Job]:
    """One pretraining of each method, embedding, recipe and size of images, and of each external encoder."""
    arms: dict[str, Job] = {}
    seen: dict[str, tuple[object, ...]] = {}
    for job in plan.unique():
        if isinstance(job.config, PretrainJob) and not job.inputs:  # else nothing is trained
            name = f"{job.cell.method} {'' if job.cell.ip is None else '+ IP '}{job.cell.embedding}"
            backbone = job.cell.backbone if job.parts.backbone.own else None  # else all are tried on a small one
            training = job.config.training.model_copy(update={"epochs": 0})
            settings = job.config.embedding, job.config.data.image_size, job.config.weights, backbone, training
            if seen.setdefault(name, settings) != settings:
                own = "" if backbone is None else f"{backbone}, "
                name += f" ({job.config.embedding.type}, {own}{job.config.data.image_size} px)"
                if seen.setdefault(name, settings) != settings:
                    name = f"{name[:-1]}, {job.cell.recipe}, batches of {training.batch_size})"
            arms.setdefault(name, job)
    return arms


def _backbones(plan: Plan) -> "dict[tuple[str, int], EncoderParts]":
    """Each backbone with each size of images that it is to see."""
    jobs = [job for job in plan.unique() if isinstance(job.config, PretrainJob)]
    return {(job.cell.backbone, data_of(job).image_size): job.parts for job in jobs}


def _sets(plan: Plan) -> Iterator[tuple[str, Data, Place]]:
    """Every data set that the suite touches: to train and evaluate on, and what evaluations read beside them."""
    evaluated = {grid.evaluate_on or name for grid in plan.suite.grid for name in grid.datasets}
    needed = {path for job in plan.unique() for path in job.needs}
    for dataset in plan.datasets:
        lists = tuple(one for one in dataset.place.subsets if one[1] in needed)
        place = dataset.place.model_copy(update={"subsets": lists})
        yield dataset.name, dataset.labelled() if dataset.card.labelled else dataset.training(), place
        for evaluation in plan.evaluations.values() if dataset.name in evaluated else ():
            if (asked := plan.suite.asked(evaluation.name)) is not None:
                for key, described, place in evaluation.sets(asked, dataset):
                    yield f"{dataset.name}/{key}", described, place


def _data(described: Data, place: Place) -> tuple[str, bool]:
    """Load the data and hold them against the card: what was found, or where it was looked for and what to do."""
    get = f"; {place.get}" if place.get else ""
    if absent := place.absent():
        return f"NOT FOUND: {', '.join(map(str, absent))}{get}", False
    if place.unfetched:
        return f"not here yet: {', '.join(map(str, place.unfetched))}{get}", True
    described = described.model_copy(update={"source": described.source.offline()})  # looking must not download
    try:
        found = _shifted(described, place) if described.source.kinds else _counted(described, place)
    except (UserError, OSError) as error:
        return f"FAULTY: {error}{get}", False
    return f"{found}, {described.image_size} px", True


def _shifted(described: Data, place: Place) -> str:
    """A corrupted set: one kind of those that are made when they are read, all of those on disk."""
    from sem_bench.data import loading

    assert isinstance(described, ShiftedData)
    corruptions, severities = (dict.fromkeys(part) for part in zip(*described.source.kinds, strict=True))
    splits = loading.all_corrupted(described, place, workers=os.cpu_count() or 1)
    counts = [_read(split) for split in (splits if place.base is None else islice(splits, 1))]
    return f"{counts[0]} test x {len(corruptions)} corruptions x {len(severities)} severities"


def _counted(described: Data, place: Place) -> str:
    from sem_bench.data import labelled_lists, loading

    splits = loading.load_all(described, place, workers=os.cpu_count() or 1)
    counts = [f"{_read(split)} {name}" for name, split in splits.items()]
    counts += [f"{name}: {split.aside}" for name, split in splits.items() if split.aside]
    for fraction, path in place.subsets:
        train = splits["train"]
        assert train.names is not None
        counts.append(
            f"{len(labelled_lists.rows_named(path, train.names, train.labels.numpy()))} in the list of {fraction}"
        )
    return ", ".join(counts)


def command(options: argparse.Namespace) -> int:
    """Print it."""
    if options.assignments and options.suite is None:
        raise UserError("--set changes a suite; there is none")
    healthy = True
    for line, well in report(options.suite, options.results, options.data, options.assignments):
        print(screen.wrapped(printable(line), indent=13), flush=True)  # noqa: T201 - the next one can take a while
        healthy = healthy and well
    return 0 if healthy else 2
