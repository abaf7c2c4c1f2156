"""Executors: run a plan's jobs. One for now, in this process; a cluster would be another function beside it.

The store decides what is done; a job that fails is recorded and the others go on.
"""

import importlib
import os
import platform
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sem_bench import data, interrupts, timm_models
from sem_bench.config import SplitName
from sem_bench.files import write_json
from sem_bench.jobs import Job
from sem_bench.progress import GOOD, Reporter
from sem_bench.records import SCHEMA
from sem_bench.store import Store, data_of, now
from sem_bench.workspace import Monitor, PrunedError, Workspace, choose_device, precision

OUTPUTS = {  # what other jobs or readers look into; of the others config.json
    "pretrain": ("config.json", "checkpoint.pt"),
    "probe": ("config.json", "head.pt", "predictions.bin"),
    "transfer": ("config.json", "head.pt", "predictions.bin"),
}
LIBRARIES = ("torch", "torchvision", "lightly", "numpy", "pillow")


@dataclass(frozen=True)
class Limits:
    """What a process may take."""

    memory: int = data.MEMORY  # bytes of images of a split
    workers: int = 1  # threads that read images


def refresh_fingerprints(jobs: Sequence[Job], store: Store, limits: Limits) -> None:
    """Look at data whose content is not known here yet, so that results made from other data are not reused."""
    for job in jobs:
        if store.fingerprints(job) is None and not job.absent():
            described = data_of(job)
            loaded = data.load_all(described, job.place, memory=limits.memory, workers=limits.workers)
            store.write_fingerprints(job, {name: split.fingerprint for name, split in loaded.items()})


def busy() -> str:
    """A word of warning where other programs keep the cores busy, for then threads spend their time waiting."""
    cores, load = torch.get_num_threads(), os.getloadavg()[0]
    if cores == 1 or load < cores / 2:
        return ""
    return (
        f"other programs use the cores (load {load:.1f}): if this is slow, OMP_NUM_THREADS=1 can be many times faster"
    )


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


def _progress(reporter: Reporter, digest: str, at: int, total: int, note: str) -> None:
    interrupts.check()
    reporter.job_progress(digest, at, total, note=note)


def _failed(outcome: dict[str, str], digest: str) -> bool:
    return outcome.get(digest, "done") not in GOOD


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
        meter = _Meter(device)
        try:
            metrics = importlib.import_module(f"sem_bench.stages.{job.kind}").run(job.config, workspace)
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


def _versions(job: Job) -> dict[str, str]:
    """Of what the numbers of a job may depend on."""
    timm = ("timm",) if job.cell.backbone.startswith(timm_models.PREFIX) else ()
    return {"python": platform.python_version()} | {name: version(name) for name in (*LIBRARIES, *timm)}


class _Meter:
    """What a job cost, and on what it ran."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.began = time.perf_counter()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def provenance(self, job: Job, workspace: Workspace) -> dict[str, Any]:
        """Seconds, peak memory in MiB (of the whole process on a CPU), device, precision, versions, commit, time."""
        if self.device.type == "cuda":
            peak, name = torch.cuda.max_memory_allocated(self.device) / 2**20, torch.cuda.get_device_name(self.device)
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
            name = torch.cpu.get_capabilities().get("cpu_name") or platform.machine()
        return {
            "when": now(),
            "seconds": round(time.perf_counter() - self.began + workspace.earlier.get("seconds", 0.0), 3),
            "peak_memory_mib": round(peak, 1),
            "device": self.device.type,
            "device_name": name,
            "threads": torch.get_num_threads(),
            "precision": precision(self.device) if job.kind == "pretrain" else "fp32",
            "versions": _versions(job),
            "commit": _commit(),
            "data": workspace.data,
            "images": workspace.images,
            **({"speed": workspace.speed} if workspace.speed else {}),
            "files": {
                name: (workspace.folder / name).stat().st_size for name in OUTPUTS.get(job.kind, ("config.json",))
            },
        }


@cache
def _commit() -> str | None:
    """The git commit of this code, with "+" where files differ from it; None outside a checkout of sem_bench."""
    here = Path(__file__).parent.parent
    if not (here / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(here)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        status = [*git, "status", "--porcelain", "--untracked-files=no"]
        changed = subprocess.run(status, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")
