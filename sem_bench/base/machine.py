"""What this machine has for a run: cores, memory, GPUs; as far as the process may use them."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")  # of containers and jobs, on Linux
BOOT = Path("/proc/sys/kernel/random/boot_id")
GPU_FILES = ("nvidia[0-9]*", "dxg", "kfd")  # in /dev, of CUDA, of CUDA under WSL, of ROCm


def boot() -> str:
    """Which machine this is, since which start of it; other after a power cut."""
    with suppress(OSError):
        return f"{socket.gethostname()} {BOOT.read_text().strip()}"
    return socket.gethostname()


def cores() -> int:
    """CPU cores: those of its affinity, and no more than its container may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *_cores_of_containers()]))


def memory() -> float:
    """Bytes of the machine, or of its container."""
    import psutil

    return min([float(psutil.virtual_memory().total), *(limit for limit, _ in _containers())])


def free_memory() -> float:
    """Bytes that are free, or that the system would free; no more than its container may still take."""
    import psutil

    return min([float(psutil.virtual_memory().available), *(limit - used for limit, used in _containers())])


def _cores_of_containers() -> Iterator[int]:
    """The quota of time of each cgroup, in cores."""
    for group in _groups("cpu"):
        with suppress(OSError, ValueError):  # absent, or "max"
            quota, period = (group / "cpu.max").read_text().split()
            yield round(int(quota) / int(period))
        with suppress(OSError, ValueError):
            if (quota_us := int((group / "cpu.cfs_quota_us").read_text())) > 0:
                yield round(quota_us / int((group / "cpu.cfs_period_us").read_text()))


def _containers() -> Iterator[tuple[float, float]]:
    """Of each cgroup the limit of memory, and what is in use and not merely a cache of files."""
    for group in _groups("memory"):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            with suppress(OSError, ValueError):  # absent, or "max"
                stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
                cache = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
                yield float((group / limit).read_text()), float(int((group / used).read_text()) - cache)


def _groups(controller: str) -> Iterator[Path]:
    """The cgroup of this process and those that hold it, version 2 and 1: SLURM sets its limits far below the root."""
    with suppress(OSError):
        for line in MEMBERSHIP.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            group = root = CGROUPS / controller if controllers else CGROUPS
            yield root
            for name in Path(path).relative_to("/").parts:
                group /= name
                yield group


def gpus(device: str) -> list[str]:
    """The GPUs that a run on this device uses, as CUDA_VISIBLE_DEVICES names them.

    Torch is imported only where one may be.
    """
    if device == "cpu" or not gpus_in_sight():
        return []
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named if torch.cuda.is_available() and named else [str(i) for i in range(torch.cuda.device_count())]


def gpus_in_sight() -> int:
    """How many there may be, without a question to their drivers."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = max(len(list(Path("/dev").glob(name))) for name in GPU_FILES)
    return found if named is None else min(found, len([name for name in named.split(",") if name]))
