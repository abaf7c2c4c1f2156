"""On what a job ran and what it cost."""

import platform
import resource
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sem_bench.base.device import precision
from sem_bench.evaluation import Evaluation
from sem_bench.report.job_folder import files_left
from sem_bench.runs.order import Order
from sem_bench.runs.store import now
from sem_bench.workspace import Workspace

LIBRARIES = ("torch", "torchvision", "lightly", "numpy", "pillow")


def _versions(order: Order) -> dict[str, str]:
    """Of what the numbers of a job may depend on."""
    more = order.parts.embedding.packages + order.parts.backbone.packages
    return {"python": platform.python_version()} | {name: version(name) for name in (*LIBRARIES, *more)}


class Meter:
    """What a job cost, and on what it ran."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.began = time.perf_counter()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def provenance(self, order: Order, workspace: Workspace) -> dict[str, Any]:
        """Seconds, peak memory in MiB (of the whole process on a CPU), device, precision, versions, commit, time."""
        seen = workspace.seen
        if self.device.type == "cuda":
            peak, name = torch.cuda.max_memory_allocated(self.device) / 2**20, torch.cuda.get_device_name(self.device)
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
            name = torch.cpu.get_capabilities().get("cpu_name") or platform.machine()
        return {
            "when": now(),
            "seconds": round(time.perf_counter() - self.began + seen.earlier, 3),
            "peak_memory_mib": round(peak, 1),
            "device": self.device.type,
            "device_name": name,
            "threads": torch.get_num_threads(),  # of each process
            **({"devices": order.need.devices} if order.need.devices > 1 else {}),
            "precision": "fp32" if isinstance(order.stage, Evaluation) else precision(self.device),
            **({"compiled": True} if seen.compiled else {}),
            "versions": _versions(order),
            "commit": _commit(),
            "data": seen.data,
            "images": seen.images,
            **({"speed": seen.speed} if seen.speed else {}),
            "files": {path.name: path.stat().st_size for path in files_left(workspace.folder)},
        }


@cache
def _commit() -> str | None:
    """The git commit of this code, with "+" where files differ from it; None outside a checkout of sem_bench."""
    here = Path(__file__).parents[2]
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
