"""What many jobs cost: the paper's tables on 1, 8 and 64 devices, the simulator against real runs, overhead.

python benchmarks/scaling.py cost [--device cuda]         # measures steps here, lays the real plans out over devices
python benchmarks/scaling.py against RESULTS [--slots 2]  # what the simulator says of a run that was made
python benchmarks/scaling.py overhead [--jobs 1000]       # jobs of no work, through the real schedule
python benchmarks/scaling.py again [--jobs 1000]          # `run` where they are all done, and the share of checksums
"""

# ruff: noqa: T201

import argparse
import cProfile
import json
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from tabulate import tabulate

from sem_bench.base.limits import FLOAT, Limits
from sem_bench.cli import main as cli
from sem_bench.evaluation import Evaluation
from sem_bench.runs.estimate import as_tasks, work
from sem_bench.runs.executors import Executor
from sem_bench.runs.executors.here import Here
from sem_bench.runs.executors.processes import Processes
from sem_bench.runs.job import Job, data_of
from sem_bench.runs.order import Need
from sem_bench.runs.plan import Plan, read_plan
from sem_bench.runs.progress import human_seconds, reporter
from sem_bench.runs.queue import Task, simulate
from sem_bench.runs.schedule import Schedule
from sem_bench.runs.store import Store
from sem_bench.training.job import PretrainJob

SUITES = {"1a, 1b (CIFAR-100)": "suites/cifar100.yaml", "1c, 2, 3 (ImageNet)": "suites/imagenet.yaml"}
MEASURED = ("simclr", "moco", "byol")  # methods whose steps are timed, on each backbone and size
STEPS, IMAGES = 4, {32: 64, 224: 8}  # timed steps, and images of one, by size
JPEG = 110e3  # bytes of an image of ImageNet on disk
DEVICES = (1, 8, 64)


def step_seconds(job: Job, device: str) -> float:
    """Seconds an image of a real training step of a job, on noise."""
    import torch

    from sem_bench.base.device import choose_device
    from sem_bench.data.split import Split, reader
    from sem_bench.training import parameter_groups
    from sem_bench.training.checkpoint import TrainingState
    from sem_bench.training.pretrain import build_method
    from sem_bench.training.step import Step
    from sem_bench.training.views import ViewPlan, Views

    where = choose_device(device)
    config = job.config
    assert isinstance(config, PretrainJob)
    size = config.data.image_size
    batch = IMAGES[size] * (8 if where.type == "cuda" else 1)
    training = config.training.model_copy(update={"epochs": 1, "batch_size": batch, "accumulate": 1})
    config = config.model_copy(update={"training": training})
    images = torch.randint(256, (batch * (STEPS + 2), 3, size, size), dtype=torch.uint8)
    split = Split(torch.zeros(len(images), dtype=torch.int64), "noise", size, size, images, reader(images))
    method = build_method(config, job.method_code, classes=2, images=len(images), parts=job.parts)
    method = method.to(where, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    state = TrainingState(method, parameter_groups.build(method, config.training), "noise")
    took = []
    with Views(ViewPlan.of(config), split, where, last=STEPS + 1) as views:
        step = Step(config, state, views, where)
        for _ in range(STEPS + 1):
            began = time.perf_counter()
            step()
            state.step += 1
            took.append(time.perf_counter() - began)
    return statistics.median(took[1:]) / batch


def cost(device: str) -> None:
    """Device-hours, and hours on several devices, of each suite that holds tables of the paper."""
    rows: list[list[str | int]] = []
    steps: list[list[object]] = []
    for tables, path in SUITES.items():
        plan = read_plan(Path(path))
        ratios = list(_ratios(plan, device, steps))
        ratio = statistics.median(ratios)
        jobs = plan.unique()
        seconds = {job.digest: work(job) * ratio for job in jobs}
        needs = {job.digest: Need() for job in jobs}
        total = sum(seconds.values())
        networks = sum(not isinstance(job.stage, Evaluation) for job in jobs)
        spans = [simulate(as_tasks(jobs, seconds, needs, {}), count) for count in DEVICES]
        disk, read = _disk(jobs), _read(jobs)
        rows.append(
            [
                tables,
                networks,
                len(jobs),
                f"{total / 3600:,.0f}",
                *(f"{span / 86400:,.1f}" for span in spans),
                f"{disk / 1e9:,.0f}",
                f"{read / 1e12:,.2f}",
                f"{read / spans[-1] / 1e6:,.1f}",
            ]
        )
    headers = ["method", "backbone", "px", "ms an image", "estimate"]
    print(tabulate(steps, headers=headers, tablefmt="github", floatfmt=".1f"), end="\n\n")
    headers = ["tables", "networks", "jobs", "device-hours", *(f"days on {count}" for count in DEVICES)]
    headers += ["disk [GB]", "read [TB]", f"read on {DEVICES[-1]} [MB/s]"]
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True, colalign=("left", *9 * ["right"])))


def _ratios(plan: Plan, device: str, steps: list[list[object]]) -> Iterator[float]:
    """Measured over estimated seconds of the plan's pretrainings."""
    seen = set()
    for job in plan.unique():
        config = job.config
        what = job.cell.method, job.cell.backbone
        if not isinstance(config, PretrainJob) or job.cell.embedding != "none" or config.ip is not None:
            continue
        if job.cell.method in MEASURED and what not in seen:
            seen.add(what)
            images = config.data.used("train") * config.training.epochs
            expected, found = work(job) / images, step_seconds(job, device)
            steps.append([*what, config.data.image_size, found * 1e3, expected * 1e3])
            yield found / expected


def _disk(jobs: Sequence[Job]) -> float:
    """Bytes that stay: weights of encoders, cached features, heads of probes; and checkpoints of what still trains."""
    total = 0.0
    for job in jobs:
        parts = job.parts
        features, width = parts.backbone.out_dim or 0, parts.embedding.out_dim or 0
        if isinstance(job.stage, Evaluation):
            data = data_of(job)
            if job.kind in ("probe", "transfer"):
                total += 2 * FLOAT * (features + width) * len(data.classes)  # type: ignore[attr-defined]
            if job.kind in ("knn", "transfer"):  # the features of a network on a data set, once
                total += FLOAT * features * sum(map(data.used, data.counts))
        else:
            total += FLOAT * (parts.cost.weights * 1e6 + features * width)
    return total


def _read(jobs: Sequence[Job]) -> float:
    """Bytes of images that are read: once a job where they stay in memory, else once an epoch."""
    total = 0.0
    for job in jobs:
        data = data_of(job)
        for split in data.counts:
            pixels = 3 * data.image_size**2 * data.used(split)
            if pixels <= Limits().memory:
                total += pixels
            else:
                epochs = job.config.training.epochs if isinstance(job.config, PretrainJob) else 1
                total += JPEG * data.used(split) * epochs
    return total


def against(results: Path, slots: int, suite: str) -> None:
    """A run that was made: the seconds of its jobs laid out by the simulator, beside the time that really passed."""
    manifest = json.loads((results / "suites" / f"{suite}.json").read_text())
    found: dict[str, Task] = {}
    ends: list[tuple[float, float]] = []
    turns: dict[int, int] = {}
    for entry in manifest["jobs"]:
        (path,) = results.glob(f"{entry['kind']}/*{entry['digest'][:12]}/result.json")
        result = json.loads(path.read_text())
        began = path.with_name("config.json").stat().st_mtime  # written when the job begins
        ends.append((began, path.stat().st_mtime))
        turn = turns.setdefault(entry["seed"], len(turns))
        found[entry["digest"]] = Task(
            entry["digest"], tuple(entry["inputs"].values()), turn, result["provenance"]["seconds"]
        )
    took = max(end for _, end in ends) - min(began for began, _ in ends)
    said = simulate(found.values(), slots)
    total = sum(task.seconds for task in found.values())
    print(f"{len(found)} jobs, {human_seconds(total)} in all; first start to last result: {human_seconds(took)}")
    print(f"simulated with {slots} at a time: {human_seconds(said)}, {said / took:.3f} of it")


OWN = '''
"""Jobs of no work."""

from typing import Annotated

from pydantic import Field

from sem_bench.evaluation import Evaluation, LabelledData, Metric, Model, Planned, Seed, Table


class Settings(Model):
    """How many."""

    count: Annotated[int, Field(ge=1)] = 1


class NothingJob(Model):
    """One of them."""

    data: LabelledData
    number: int
    seed: Seed


class Nothing(Evaluation[Settings, NothingJob]):
    """Does nothing."""

    name, summary = "nothing", "jobs of no work"
    Settings, Job = Settings, NothingJob
    table = Table(name="nothing", metrics=[Metric(name="nothing", header="{column}")], legend="nothing")

    def jobs(self, asked, arm, seed, before):
        for number in range(asked.count):
            yield Planned(NothingJob(data=arm.labelled(), number=number, seed=seed), suffix=f"-{number}")

    def run(self, job, workspace):
        row = {"column": "nothing", "fraction": 1.0, "metric": "nothing", "representation": "h", "tau_d": None}
        return {"rows": [row | {"value": 0.0, "notes": []}]}
'''
SUITE = """
name: nothing
seeds: [0]
grid:
  methods: [simclr]
  embeddings: {none: {}}
  backbones: [resnet10w16s2]
  datasets: [shapes]
  images: {train: 200, test: 50}
pretrain: {recipe: quick, epochs: 1}
evaluate: {nothing: {count: COUNT}}
"""


@contextmanager
def of_nothing(count: int) -> Iterator[None]:
    """A folder with a suite of so many jobs of no work; the current folder meanwhile."""
    with tempfile.TemporaryDirectory() as name, chdir(name):
        Path("evaluations").mkdir()
        Path("evaluations/nothing.py").write_text(OWN)
        Path("suite.yaml").write_text(SUITE.replace("COUNT", str(count)))
        yield


def overhead(count: int, slots: int) -> None:
    """Seconds that a job costs beside its own work: order, claim, folder, result, schedule, report."""
    with of_nothing(count):
        began = time.perf_counter()
        jobs = read_plan(Path("suite.yaml")).unique()
        planned = time.perf_counter() - began
        store = Store(Path("results"))
        executor: Executor = Here(store) if slots == 1 else Processes(slots, threads=1)
        with open("said.txt", "w") as said, reporter(0, stream=said, live=False) as progress:
            schedule = Schedule(store, executor, progress, "cpu", Limits(threads=1))
            schedule.drive(jobs, jobs[:1])  # the network, and whatever a first job has to load
            began = time.perf_counter()
            outcomes = schedule.drive(jobs, jobs[1:])
            took = time.perf_counter() - began
            executor.stop()
        assert sum(status == "done" for status in outcomes.values()) == count
        print(
            f"{count} jobs of no work, {slots} at a time: {took / count * 1e3:.1f} ms each; planned in {planned:.2f} s"
        )
    listed = [
        Task(str(i), (str(i - i % 10),) if i % 10 else (), i % 7, 60.0 if i % 10 == 0 else 3.0) for i in range(10000)
    ]
    for count in DEVICES:
        began = time.perf_counter()
        simulate(listed, count)
        print(f"queue of 10,000 jobs on {count} slots: {(time.perf_counter() - began) / 10:.3f} ms a job")


CHECKS = ("holds", "file_digest")  # of a result's own content; of the predictions beside it


def again(count: int) -> None:
    """Seconds of a `run` that finds all done, in a process that has run before, and the share of the checksums."""

    def run() -> float:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            began = time.perf_counter()
            assert cli(["run", "suite.yaml", "--jobs", "1"]) == 0
            return time.perf_counter() - began

    with of_nothing(count):
        run()
        took = sorted(run() for _ in range(3))
        profile = cProfile.Profile()
        profile.runcall(run)
    found: Any = pstats.Stats(profile)
    spent = {name: seconds for (_, _, name), (_, _, _, seconds, _) in found.stats.items() if name in CHECKS}
    shares = ", ".join(f"{name} {spent.get(name, 0.0) / found.total_tt:.1%}" for name in CHECKS)
    print(f"{count} finished jobs: {', '.join(f'{seconds:.2f}' for seconds in took)} s; of a profiled run: {shares}")


def main() -> None:
    """One of the four."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("cost").add_argument("--device", default="auto")
    held = commands.add_parser("against")
    held.add_argument("results", type=Path)
    held.add_argument("--slots", type=int, default=2)
    held.add_argument("--suite", default="quick")
    many = commands.add_parser("overhead")
    many.add_argument("--jobs", type=int, default=1000)
    many.add_argument("--slots", type=int, default=2)
    commands.add_parser("again").add_argument("--jobs", type=int, default=1000)
    options = parser.parse_args()
    match options.command:
        case "cost":
            cost(options.device)
        case "against":
            against(options.results, options.slots, options.suite)
        case "overhead":
            overhead(options.jobs, options.slots)
        case "again":
            again(options.jobs)


if __name__ == "__main__":
    main()
