"""What a machine has for a run, where containers and batch systems give it a part."""

from pathlib import Path

import pytest

from sem_bench.base import machine

MIB = 2**20


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the system's cgroups."""
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(64)), raising=False)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_limits_of_a_batch_job_lie_far_below_the_root(groups: Path) -> None:
    write(groups, membership="0::/system.slice/job_7/step_0\n")
    write(groups / "system.slice", memory__max="max", memory__current="0", memory__stat="", cpu__max="max 100000")
    job = groups / "system.slice/job_7"
    stat = f"inactive_file {MIB}\nanon 5\n"
    write(job, memory__max=str(2 * MIB), memory__current=str(MIB + 1000), memory__stat=stat, cpu__max="300000 100000")
    write(job / "step_0", memory__max="max", cpu__max="max 100000")
    assert machine.memory() == 2 * MIB
    assert machine.free_memory() == 2 * MIB - 1000
    assert machine.cores() == 3


def test_version_1_with_the_root_mounted_elsewhere(groups: Path) -> None:
    """Docker shows its own group as the root, and the path that it has outside."""
    write(groups, membership="4:memory:/docker/0a\n1:cpu,cpuacct:/docker/0a\n0::/\n")
    write(groups / "cpu", cpu__cfs_quota_us="200000", cpu__cfs_period_us="100000")
    numbers = {"memory__limit_in_bytes": str(MIB), "memory__usage_in_bytes": str(MIB // 2)}
    write(groups / "memory", **numbers, memory__stat="total_inactive_file 0\n")
    assert (machine.memory(), machine.free_memory(), machine.cores()) == (MIB, MIB // 2, 2)


def test_without_limits_it_is_the_machine(groups: Path) -> None:
    write(groups, membership="4:memory:/\n0::/\n")
    write(groups / "memory", memory__limit_in_bytes=str(2**63 - 4096), memory__usage_in_bytes="0", memory__stat="")
    assert machine.memory() < 2**50 and 0 < machine.free_memory() <= machine.memory()
    assert machine.cores() == 64
