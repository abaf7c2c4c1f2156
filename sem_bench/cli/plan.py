"""`plan`: the jobs that a suite means, their state, and the time that they take."""

import argparse
import json
from collections import Counter
from collections.abc import Sequence

from sem_bench.base import machine, screen
from sem_bench.base.files import shown
from sem_bench.cli.plan_page import Look, duration, memory, page, table, time
from sem_bench.errors import printable
from sem_bench.report.row import BASELINE
from sem_bench.report.sight import sight, spreads_in
from sem_bench.runs import estimate
from sem_bench.runs.crew import Asked, check_devices, foreseen
from sem_bench.runs.estimate import decoded, estimated, streamed, taken, trains
from sem_bench.runs.job import Job
from sem_bench.runs.measured import Device, device
from sem_bench.runs.pending import lacking, states, void
from sem_bench.runs.plan import Plan, read_plan
from sem_bench.runs.store import Store
from sem_bench.sweep.subjects import Subjects, of_suite
from sem_bench.sweep.summary import progress

EACH = 40  # jobs up to which each has its line


def look_at(jobs: Sequence[Job], store: Store, on: Device | None = None) -> list[Look]:
    """What is known of each job; nothing is left of those that are done, nor, `on` a device, where it was not timed."""
    results = {job.digest: result for job in jobs if (result := store.result(job))}
    seconds = estimated(jobs, results) if on is None else {job.digest: _seconds(on, job) or 0.0 for job in jobs}
    others = states([job for job in jobs if job.digest not in results], store)
    return [
        Look(job, others[job.digest], seconds[job.digest], estimate.memory(job))
        if job.digest in others
        else Look(job, "done", 0.0, 0.0)
        for job in jobs
    ]


def _seconds(on: Device, job: Job) -> float | None:
    return on.seconds(job) if trains(job) else None


def as_text(plan: Plan, store: Store, asked: Asked, *, every: bool = False, on: Device | None = None) -> str:
    """What there is to do, how many jobs there are of each state, and the time they will take, here or `on` a device.

    One line a job; of a suite of many jobs a page by kind and by arm instead, unless `every` job is asked for.
    """
    looks = look_at(plan.unique(), store, on)
    short = len(looks) > EACH and not every
    text = _counted(plan.suite.name, looks)
    text += _here(looks, asked) if on is None else _there(looks, on)
    text += _needs(looks)
    if seen := _sight(plan, store):
        text += f"\n{seen}"
    for sweep in of_suite(plan):
        text += f"\n{_sweep(sweep, store)}"
    lacks = lacking([look.job for look in looks if look.state == "no data"])
    absent = dict.fromkeys(line for lines in lacks.values() for line in lines)
    said = [text, *(printable(f"no data: {line}") for line in absent)]
    said += [printable(f"void: {line}") for line in void([look.job for look in looks if look.state != "done"], store)]
    said = [line for part in said + ["--all prints every job"] * short for line in part.splitlines()]
    below = "\n".join(screen.wrapped(line, indent=2) for line in said)
    return f"{page(looks) if short else _lines(looks)}\n\n{below}"


def _sight(plan: Plan, store: Store) -> str:
    """Which gains its seeds can see; nothing where it compares none."""
    compares = any(one.table.headline and plan.suite.asked(name) for name, one in plan.evaluations.items())
    if not compares or all(arm.asked.type == BASELINE for arm in plan.arms):
        return ""
    return sight(len(plan.suite.seeds), spreads_in(store.root, store.folders, plan.suite.name, plan.evaluations))


def _lines(looks: Sequence[Look]) -> str:
    """A line a job; without digests, and without memory, where they do not fit."""
    columns = ["state", "kind", "job", "digest", "time", "memory"]
    rows = [
        [look.state, look.job.kind, look.job.slug, look.job.digest[:12], time(look.left), memory(look.memory)]
        for look in looks
    ]
    text = table(columns, rows, numbers=0)
    for least in ("digest", "memory"):
        if max(map(len, text.splitlines())) > screen.width():
            at = columns.index(least)
            columns, *rows = ([*line[:at], *line[at + 1 :]] for line in (columns, *rows))
            text = table(columns, rows, numbers=0)
    return text


def _counted(name: str, looks: Sequence[Look]) -> str:
    """How many jobs there are of each state."""
    states = Counter(look.state for look in looks)
    counted = ", ".join(f"{count} {state}" for state, count in states.most_common())
    return f"{name}: {len(looks)} jobs: {counted}"


def _here(looks: Sequence[Look], asked: Asked) -> str:
    """The time that they will take as `run` does them on this machine."""
    left = {look.job.digest: look.left for look in looks if look.left}
    if not left:
        return ""
    slots, seconds = foreseen(
        [look.job for look in looks],
        left,
        asked,
        gpus=machine.gpus_in_sight(),
        cores=machine.cores(),
        memory=machine.memory(),
    )
    at_a_time = "jobs at a time" if asked.devices == 1 else "devices"
    text = f"; about {duration(seconds)} left"
    text += f" with {slots} {at_a_time} ({duration(sum(left.values()))} one after the other)" * (slots > 1)
    text += "\ntime: as finished jobs of a kind took, else on two CPU cores"
    return text + _decoding(looks, max(1, machine.cores() // slots))


def _there(looks: Sequence[Look], on: Device) -> str:
    """The time on a device that was measured, as far as it was, and where the numbers come from."""
    left = [look for look in looks if look.state != "done"]
    if not left:
        return ""
    training = [look.job for look in left if trains(look.job)]
    unknown = Counter(job.cell.backbone for job in training if on.seconds(job) is None)
    lacking = [f"{count} pretrainings of {backbone}" for backbone, count in unknown.items()]
    lacking += [f"{others} other jobs"] if (others := len(left) - len(training)) else []
    text = f"; about {duration(sum(look.left for look in left))} of pretraining left on {on.path.stem}, job after job"
    text += f"\ntime: images a second of SimCLR with each backbone, measured: {shown(on.path)}"
    return text + f"\nnot measured there, and not counted: {', '.join(lacking)}" * bool(lacking)


def _needs(looks: Sequence[Look]) -> str:
    """The memory of the largest job left, and the disk that all of them take."""
    left = [look for look in looks if look.state != "done"]
    if not left:
        return ""
    largest = max(look.memory for look in left)
    disk = estimate.disk([look.job for look in left])
    return f"\nmemory: {memory(largest)} for the largest job left, without the images; disk: ~{_size(disk)} of results"


def _size(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"


def _decoding(looks: Sequence[Look], threads: int) -> str:
    """A line where images that do not fit into memory are decoded more slowly than a training takes them."""
    pretrainings = [look for look in looks if look.left and trains(look.job) and streamed(look.job)]
    rates = [(decoded(look.job, threads), taken(look.job, look.left), look.job) for look in pretrainings]
    slow = [rate for rate in rates if rate[0] < rate[1]]
    if not slow:
        return ""
    read, wanted, job = min(slow, key=lambda rate: rate[0] / rate[1])
    return (
        f"\ndecoding is the bottleneck ({len(slow)} pretrainings): with {threads} --workers about {read:,.0f} images a "
        f"second, where {job.slug} takes {wanted:,.0f}; images in memory (--memory, `reduce`) are not decoded"
    )


def _sweep(sweep: Subjects, store: Store) -> str:
    """One line: what it is, how far it is, and how long the rest takes."""
    finished, seconds = progress(sweep, store)
    methods = ", ".join(subject.arm.method.name for subject in sweep.each)
    text = f"sweep {sweep.card.name} of {methods}: {finished} of {sweep.trials * len(sweep.each)} trials finished"
    return text + (f"; about {duration(seconds)} left" if seconds else "")


def as_json(plan: Plan, store: Store) -> str:
    """A list of {kind, slug, digest, status, method, embedding, ip, backbone, dataset, seed}."""
    fields = ("method", "embedding", "ip", "backbone", "dataset", "seed")
    found = states(plan.unique(), store)
    entries = [
        {"kind": job.kind, "slug": job.slug, "digest": job.digest, "status": found[job.digest]}
        | {name: getattr(job.cell, name) for name in fields}
        for job in plan.jobs
    ]
    return json.dumps(entries, indent=1)


def command(options: argparse.Namespace) -> int:
    """Print it."""
    plan, store = read_plan(options.suite, options.assignments, data=options.data), Store(options.results)
    asked = Asked(jobs=options.jobs, jobs_per_device=options.jobs_per_device, devices=options.devices)
    check_devices(plan.unique(), asked)
    on = None if options.on is None else device(options.on)
    text = as_json(plan, store) if options.format == "json" else as_text(plan, store, asked, every=options.every, on=on)
    print(text)  # noqa: T201
    return 0
