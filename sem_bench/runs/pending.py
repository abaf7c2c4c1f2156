"""What a run has to do: a plan held against what the store has."""

from collections.abc import Sequence
from typing import Literal

from sem_bench.base.limits import Limits
from sem_bench.errors import UserError
from sem_bench.runs.job import Job, named
from sem_bench.runs.store import Store

Rerun = Literal["missing", "failed", "all"]
LINES = 20


def selection(
    jobs: Sequence[Job], store: Store, rerun: Rerun, only: Sequence[str] = (), since: int | None = None
) -> list[Job]:
    """The jobs to do. `all` does again what `only` names, or everything; inputs only where they lack.

    What was written later than `since` (ns) has been done again already.
    """
    lacking = {job.digest for job in jobs if store.status(job) != "done"}
    if rerun == "all":
        asked = [job for job in jobs if not only or named(job, only)]
        again = {job.digest for job in asked if since is None or not store.done_since(job, since)}
        return with_inputs(jobs, store, lacking | again)
    if rerun == "failed":
        failed: set[str] = set()  # and what waits for them
        for job in jobs:
            if store.status(job) == "failed" or failed & set(job.inputs.values()):
                failed.add(job.digest)
        return with_inputs(jobs, store, lacking & failed)
    return [job for job in jobs if job.digest in _with_dependants(jobs, lacking)]


def _with_dependants(jobs: Sequence[Job], digests: set[str]) -> set[str]:
    """And what stands on those jobs. It is done again where they turn out otherwise, else there is nothing to do."""
    found = set(digests)
    for job in jobs:  # a job stands after its inputs
        if not found.isdisjoint(job.inputs.values()):
            found.add(job.digest)
    return found


def with_inputs(jobs: Sequence[Job], store: Store, wanted: set[str]) -> list[Job]:
    """The wanted jobs, and those of their inputs on which nothing can be built."""
    found: list[Job] = []
    inputs: set[str] = set()
    for job in reversed(jobs):  # a job stands after its inputs
        if job.digest in wanted or (job.digest in inputs and not store.usable(job)):
            found.append(job)
            inputs |= set(job.inputs.values())
    return found[::-1]


def void(jobs: Sequence[Job], store: Store) -> list[str]:
    """A line for each result that is there and cannot be believed, up to so many."""
    found = [(job, look.why) for job in jobs if (look := store.look(job)).void]
    lines = [f"{job.kind}/{job.slug}: {why}" for job, why in found[:LINES]]
    return lines + [f"and {len(found) - LINES} more"] * (len(found) > LINES)


def look_at_data(jobs: Sequence[Job], store: Store, limits: Limits) -> None:
    """Let the store know the content of the jobs' data. Imports torch only where it does not yet."""
    if any(store.fingerprints(job) is None for job in jobs):
        from sem_bench.runs.worker import refresh_fingerprints

        refresh_fingerprints(jobs, store, limits)


def due(
    jobs: Sequence[Job],
    store: Store,
    limits: Limits,
    rerun: Rerun = "missing",
    only: Sequence[str] = (),
    *,
    since: int | None = None,
) -> list[Job]:
    """The jobs to do, inputs first, after a look at data that the store does not know yet."""
    look_at_data(jobs, store, limits)
    return selection(jobs, store, rerun, only, since)


def states(jobs: Sequence[Job], store: Store) -> dict[str, str]:
    """done, void, failed, partial, missing, or "no data", by digest."""
    found: dict[str, str] = {job.digest: store.status(job) for job in jobs}
    lacks = lacking([job for job in jobs if found[job.digest] != "done"])
    return found | {digest: "no data" for digest, lines in lacks.items() if lines}


def lacking(jobs: Sequence[Job]) -> dict[str, list[str]]:
    """What jobs read that is not on disk, and where it comes from if a run fetches it, by digest.

    Many read the same, which is looked at once.
    """
    looks: dict[tuple[object, ...], list[str]] = {}
    found = {}
    for job in jobs:
        read = (id(job.place), *job.needs)
        if read not in looks:
            fetched = [f"{path} (torchvision downloads it in a run)" for path in job.place.unfetched]
            looks[read] = [*map(str, job.absent()), *fetched]
        found[job.digest] = looks[read]
    return found


def with_data(jobs: Sequence[Job], store: Store, *, allow_missing: bool | None) -> list[Job]:
    """The jobs that can be done. Raises UserError where data are absent, unless that is allowed; None: it cannot be."""
    absent = {job.digest: job.absent() for job in jobs if store.status(job) != "done"}
    lines = {
        f"no checkpoint for {job.cell.method!r}: {file} is no file"
        if file == job.weights
        else f"no data for {job.cell.dataset!r}: {file} is absent"
        for job in jobs
        for file in absent.get(job.digest, [])
    }
    if lines and not allow_missing:
        advice = ["--allow-missing goes on without the cells concerned"] if allow_missing is not None else []
        raise UserError([*sorted(lines), *advice])
    return [job for job in jobs if not absent.get(job.digest)]
