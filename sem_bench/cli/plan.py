"""`plan`: the jobs that a suite means, their state, and the time that they take."""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tabulate import tabulate

from sem_bench.base import machine
from sem_bench.errors import printable
from sem_bench.report.row import BASELINE
from sem_bench.report.sight import sight, spreads_in
from sem_bench.runs.crew import Asked, check_devices, foreseen
from sem_bench.runs.estimate import decoded, estimated, memory, streamed, taken, trains
from sem_bench.runs.job import Job
from sem_bench.runs.pending import lacking, states, void
from sem_bench.runs.plan import Plan, read_plan
from sem_bench.runs.progress import human_seconds
from sem_bench.runs.store import Store
from sem_bench.sweep.subjects import Subjects, of_suite
from sem_bench.sweep.summary import progress

EACH = 40  # jobs up to which each has its line
ARMS = 25  # lines of arms on a page
STATES = ("done", "void", "failed", "partial", "missing", "no data")


class Look(NamedTuple):
    """What is known of a job."""

    job: Job
    state: str
    left: float  # seconds
    memory: float  # bytes that it will take


def look_at(jobs: Sequence[Job], store: Store) -> list[Look]:
    """What is known of each job; nothing is left of those that are done."""
    results = {job.digest: result for job in jobs if (result := store.result(job))}
    seconds = estimated(jobs, results)
    others = states([job for job in jobs if job.digest not in results], store)
    return [
        Look(job, others[job.digest], seconds[job.digest], memory(job))
        if job.digest in others
        else Look(job, "done", 0.0, 0.0)
        for job in jobs
    ]


def as_text(plan: Plan, store: Store, asked: Asked, *, every: bool = False) -> str:
    """What there is to do, how many jobs there are of each state, and the time they will take.

    One line a job; of a suite of many jobs a page by kind and by arm instead, unless `every` job is asked for.
    """
    looks = look_at(plan.unique(), store)
    page = len(looks) > EACH and not every
    text = f"{_page(looks) if page else _lines(looks)}\n\n{_totals(plan.suite.name, looks, asked, page=page)}"
    if seen := _sight(plan, store):
        text += f"\n{seen}"
    for sweep in of_suite(plan):
        text += f"\n{_sweep(sweep, store)}"
    lacks = lacking([look.job for look in looks if look.state == "no data"])
    absent = dict.fromkeys(line for lines in lacks.values() for line in lines)
    said = [text, *(printable(f"no data: {line}") for line in absent)]
    said += [printable(f"void: {line}") for line in void([look.job for look in looks if look.state != "done"], store)]
    return "\n".join(said + ["--all prints every job"] * page)


def _sight(plan: Plan, store: Store) -> str:
    """Which gains its seeds can see; nothing where it compares none."""
    compares = any(one.table.headline and plan.suite.asked(name) for name, one in plan.evaluations.items())
    if not compares or all(arm.asked.type == BASELINE for arm in plan.arms):
        return ""
    return sight(len(plan.suite.seeds), spreads_in(store.root, store.folders, plan.suite.name, plan.evaluations))


def _lines(looks: Sequence[Look]) -> str:
    """A line a job."""
    rows = [
        [look.state, look.job.kind, look.job.slug, look.job.digest[:12], _time(look.left), _memory(look.memory)]
        for look in looks
    ]
    return _table(["state", "kind", "job", "digest", "time", "memory"], rows, numbers=0)


def _page(looks: Sequence[Look]) -> str:
    """A table by kind and one by arm, over all seeds; the arms that take longest stand first."""
    kinds = _grouped(looks, lambda job: (job.kind,))
    arms = _grouped(looks, _arm)
    longest = sorted(arms, key=lambda arm: -sum(look.left for look in arms[arm]))  # others stay in their order
    occurring = [state for state in STATES if state == "done" or any(look.state == state for look in looks)]
    headers = ["jobs", *occurring, "time left"]
    by_kind = [
        [*kind, *_counts(found, occurring), _memory(max(look.memory for look in found))]
        for kind, found in kinds.items()
    ]
    by_arm = [[*arm, *_counts(arms[arm], occurring)] for arm in longest[:ARMS]]
    text = _table(["kind", *headers, "memory"], by_kind, numbers=len(headers) + 1)
    text += "\n\n" + _table(["method", "embedding", "backbone", "data", "epochs", *headers], by_arm, len(headers) + 1)
    return text + (f"\nand {len(arms) - ARMS} more arms" if len(arms) > ARMS else "")


def _arm(job: Job) -> tuple[str, ...]:
    """The arm of a job, as tables say it."""
    cell = job.cell
    method = cell.method + (" + IP" if cell.ip is not None else "")
    return method, cell.embedding, cell.backbone, cell.dataset, str(cell.epochs)


def _grouped(looks: Sequence[Look], key: Callable[[Job], tuple[str, ...]]) -> dict[tuple[str, ...], list[Look]]:
    groups: dict[tuple[str, ...], list[Look]] = {}
    for look in looks:
        groups.setdefault(key(look.job), []).append(look)
    return groups


def _counts(looks: Sequence[Look], occurring: Sequence[str]) -> list[str]:
    """How many jobs, how many of each state, and the time left."""
    counted = Counter(look.state for look in looks)
    numbers = [len(looks), *(counted[state] for state in occurring)]
    return [*map(str, numbers), _time(sum(look.left for look in looks))]


def _totals(name: str, looks: Sequence[Look], asked: Asked, *, page: bool) -> str:
    """How many jobs there are of each state, and the time they will take as `run` does them on this machine."""
    states = Counter(look.state for look in looks)
    counted = ", ".join(f"{count} {state}" for state, count in states.most_common())
    text = f"{name}: {len(looks)} jobs: {counted}"
    if left := {look.job.digest: look.left for look in looks if look.left}:
        slots, seconds = foreseen(
            [look.job for look in looks],
            left,
            asked,
            gpus=machine.gpus_in_sight(),
            cores=machine.cores(),
            memory=machine.memory(),
        )
        largest = "of the largest job left, " if page else ""
        text += f"; about {human_seconds(seconds)} left"
        at_a_time = "jobs at a time" if asked.devices == 1 else "devices"
        text += f" with {slots} {at_a_time} ({human_seconds(sum(left.values()))} one after the other)" * (slots > 1)
        text += "\ntime: as finished jobs of a kind took, else on two CPU cores"
        text += f"; memory: {largest}without the images"
        text += _decoding(looks, max(1, machine.cores() // slots))
    return text


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


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> str:
    """A table whose last columns are `numbers`."""
    align = ["left"] * (len(headers) - numbers) + ["right"] * numbers
    return tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True, colalign=align)


def _time(seconds: float) -> str:
    return f"~{human_seconds(seconds)}" if seconds else ""


def _memory(size: float) -> str:
    return f"~{size / 2**30:.1f} GiB" if size else ""


def _sweep(sweep: Subjects, store: Store) -> str:
    """One line: what it is, how far it is, and how long the rest takes."""
    finished, seconds = progress(sweep, store)
    methods = ", ".join(subject.arm.method.name for subject in sweep.each)
    text = f"sweep {sweep.card.name} of {methods}: {finished} of {sweep.trials * len(sweep.each)} trials finished"
    return text + (f"; about {human_seconds(seconds)} left" if seconds else "")


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
    text = as_json(plan, store) if options.format == "json" else as_text(plan, store, asked, every=options.every)
    print(text)  # noqa: T201
    return 0
