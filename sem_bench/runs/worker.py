"""Executors: run a plan's jobs. One for now, in this process; a cluster would be another function beside it.

The store decides what is done; a job that fails is recorded and the others go on.
"""

import os
import traceback
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from sem_bench.base import interrupts
from sem_bench.base.files import write_json
from sem_bench.base.limits import Limits
from sem_bench.config.fields import SplitName
from sem_bench.data import loading
from sem_bench.report.files import SCHEMA
from sem_bench.runs.job import Job, data_of
from sem_bench.runs.progress import Reporter
from sem_bench.runs.provenance import Meter
from sem_bench.runs.store import Store
from sem_bench.workspace import Monitor, PrunedError, Workspace


def refresh_fingerprints(jobs: Sequence[Job], store: Store, limits: Limits) -> None:
    """Look at data whose content is not known here yet, so that results made from other data are not reused."""
    for job in jobs:
        if store.fingerprints(job) is None and not job.absent():
            described = data_of(job)
            loaded = loading.load_all(described, job.place, memory=limits.memory, workers=limits.workers)
            store.write_fingerprints(job, {name: split.fingerprint for name, split in loaded.items()})


def busy() -> str:
    """A word of warning where other programs keep the cores busy, for then threads spend their time waiting."""
    cores, load = torch.get_num_threads(), os.getloadavg()[0]
    if cores == 1 or load < cores / 2:
        return ""
    return (
        f"other programs use the cores (load {load:.1f}): if this is slow, OMP_NUM_THREADS=1 can be many times faster"
    )


def _progress(reporter: Reporter, digest: str, at: int, total: int, note: str) -> None:
    interrupts.check()
    reporter.job_progress(digest, at, total, note=note)


def _do(
    job: Job,
    inputs: dict[str, Path],
    store: Store,
    device: torch.device,
    limits: Limits,
    reporter: Reporter,
    *,
    afresh: bool,
    monitor: Monitor | None,
) -> tuple[str, str]:
    """One job, under its lock: its status and a word about it. Another process may have done it meanwhile."""
    if not afresh and store.usable(job):
        return "reused", "done by another process"
    with store.workplace(job, afresh=afresh) as folder:
        workspace = Workspace(
            folder=folder,
            inputs=inputs,
            method_code=job.method_code,
            place=job.place,
            weights=job.weights,
            cache=store.root / "cache",
            device=device,
            memory=limits.memory,
            workers=limits.workers,
            afresh=afresh,
            progress=partial(_progress, reporter, job.digest),
            monitor=monitor,
        )
        settings = job.config.model_dump(mode="json")
        write_json(folder / "config.json", settings)
        store.write_state(folder, "running")
        meter = Meter(device)
        try:
            metrics = job.stage.run(job.config, workspace)
        except PrunedError:
            store.write_state(folder, "pruned")
            return "pruned", "worse than others at this epoch; its checkpoint stays"
        except (Exception, SystemExit) as error:  # a method's code may call sys.exit
            store.write_failure(folder, "".join(traceback.format_exception(error)))
            store.write_state(folder, "failed")
            reason = " ".join(str(error).split())
            return "failed", f"{type(error).__name__}: {reason} (see {folder / 'error.txt'})"
        except BaseException:
            store.write_state(folder, "interrupted")
            raise
        store.write_state(folder, "done")
        if _other_data(job, store, workspace.data):
            reporter.message(f"the data of {data_of(job).name!r} are not what they were: older results are void")
        result = {
            "schema": SCHEMA,
            "kind": job.kind,
            "digest": job.digest,
            "config": settings,
            "inputs": job.inputs,
            "metrics": metrics,
            "provenance": meter.provenance(job, workspace),
        }
        write_json(folder / "result.json", result)  # last: its existence means done
    return "done", ""


def _other_data(job: Job, store: Store, used: Mapping[SplitName, str]) -> bool:
    """Whether a stage read other data than the store knows; the store learns it."""
    known = store.fingerprints(job) or {}
    changed = any(known.get(split, value) != value for split, value in used.items())
    if changed or not known:
        store.write_fingerprints(job, {**known, **used})
    return changed
