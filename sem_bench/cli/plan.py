"""`plan`: the jobs that a suite means, their state, and the time that they take."""

import argparse
import json
from collections import Counter

from tabulate import tabulate

from sem_bench.runs.estimate import estimate, memory
from sem_bench.runs.pending import lacking, state
from sem_bench.runs.plan import Plan, read_plan
from sem_bench.runs.progress import human_seconds
from sem_bench.runs.store import Store
from sem_bench.sweep.subjects import Subjects, of_suite
from sem_bench.sweep.summary import progress


def as_text(plan: Plan, store: Store) -> str:
    """One line a job, then how many there are of each state and the time they will take."""
    jobs = plan.unique()
    seconds = estimate(jobs, store)
    states = {job.digest: state(job, store) for job in jobs}
    rows = [
        [
            states[job.digest],
            job.kind,
            job.slug,
            job.digest[:12],
            *(
                ("", "")
                if states[job.digest] == "done"
                else ("~" + human_seconds(seconds[job.digest]), f"~{memory(job) / 2**30:.1f} GiB")
            ),
        ]
        for job in jobs
    ]
    counted = ", ".join(f"{count} {state}" for state, count in Counter(states.values()).most_common())
    left = sum(seconds[job.digest] for job in jobs if states[job.digest] != "done")
    table = tabulate(
        rows, headers=["state", "kind", "job", "digest", "time", "memory"], tablefmt="simple", disable_numparse=True
    )
    text = f"{table}\n\n{plan.suite.name}: {len(jobs)} jobs: {counted}"
    if left:
        text += f"; about {human_seconds(left)} left"
        text += "\ntime: as finished jobs of a kind took, else on two CPU cores; memory: without the images"
    for sweep in of_suite(plan):
        text += f"\n{_sweep(sweep, store)}"
    absent = dict.fromkeys(line for job in jobs if states[job.digest] == "no data" for line in lacking(job))
    return "\n".join([text, *(f"no data: {line}" for line in absent)])


def _sweep(sweep: Subjects, store: Store) -> str:
    """One line: what it is, how far it is, and how long the rest takes."""
    finished, seconds = progress(sweep, store)
    methods = ", ".join(subject.arm.method.name for subject in sweep.each)
    text = f"sweep {sweep.card.name} of {methods}: {finished} of {sweep.trials * len(sweep.each)} trials finished"
    return text + (f"; about {human_seconds(seconds)} left" if seconds else "")


def as_json(plan: Plan, store: Store) -> str:
    """A list of {kind, slug, digest, status, method, embedding, ip, backbone, dataset, seed}."""
    fields = ("method", "embedding", "ip", "backbone", "dataset", "seed")
    entries = [
        {"kind": job.kind, "slug": job.slug, "digest": job.digest, "status": state(job, store)}
        | {name: getattr(job.cell, name) for name in fields}
        for job in plan.jobs
    ]
    return json.dumps(entries, indent=1)


def command(options: argparse.Namespace) -> int:
    """Print it."""
    plan = read_plan(options.suite, options.assignments, data=options.data)
    show = as_json if options.format == "json" else as_text
    print(show(plan, Store(options.results)))  # noqa: T201
    return 0
