"""In this process, one job after the other."""

import time
from collections.abc import Sequence

from sem_bench.base.device import choose_device
from sem_bench.base.limits import Limits
from sem_bench.runs.job import Job
from sem_bench.runs.progress import GOOD, Reporter
from sem_bench.runs.store import Store
from sem_bench.runs.worker import _do
from sem_bench.workspace import Monitor


def run(
    jobs: Sequence[Job],
    store: Store,
    *,
    afresh: bool,
    device: str,
    limits: Limits,
    reporter: Reporter,
    monitor: Monitor | None = None,
) -> dict[str, str]:
    """Do the jobs in order; returns digest -> "done", "reused", "failed", "blocked" (an input failed) or "pruned".

    A `monitor` looks at the pretrainings, and may prune them.
    """
    outcome: dict[str, str] = {}
    chosen = choose_device(device)
    for job in jobs:
        inputs = {kind: store.by_digest(kind, digest) for kind, digest in job.inputs.items()}
        lacking = [kind for kind, folder in inputs.items() if folder is None or _failed(outcome, job.inputs[kind])]
        began = time.perf_counter()
        if lacking:
            was = outcome.get(job.inputs[lacking[0]], "failed")
            status, summary = "blocked", f"its {lacking[0]} {'was pruned' if was == 'pruned' else 'failed'}"
        else:
            reporter.job_started(job.digest, job.kind, job.slug)
            with store.lock(job):
                found = {kind: folder for kind, folder in inputs.items() if folder is not None}
                status, summary = _do(job, found, store, chosen, limits, reporter, afresh=afresh, monitor=monitor)
        outcome[job.digest] = status
        seconds = time.perf_counter() - began
        reporter.job_finished(job.digest, status, seconds=seconds, summary=summary, label=job.slug)
    return outcome


def _failed(outcome: dict[str, str], digest: str) -> bool:
    return outcome.get(digest, "done") not in GOOD
