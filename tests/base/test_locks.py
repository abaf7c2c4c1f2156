"""Locks that live as long as their process."""

import errno
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sem_bench.base import locks
from sem_bench.base.files import write_atomic
from sem_bench.base.locks import LEASE, Lock, LostError

HOLDER = """
import sys, time
from pathlib import Path
from sem_bench.base.locks import Lock

with Lock(Path(sys.argv[1]), lease=float(sys.argv[3])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(path: Path, *, seconds: float, lease: float = LEASE) -> subprocess.Popen[str]:
    """A process that has the lock."""
    call = [sys.executable, "-c", HOLDER, str(path), str(seconds), str(lease)]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def of_another_host(path: Path, *, lease: float) -> None:
    """The file of a lock whose holder runs elsewhere."""
    path.write_text(f"filelock/2\npid=7\nhost=elsewhere\nmode=lease\ntoken=abc\nduration={lease!r}\n")


def test_a_second_process_waits_and_knows_for_whom(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(path)
    assert lock.holder == ""
    with holder(path, seconds=0.5) as other:
        began = time.monotonic()
        assert not lock.take()
        assert lock.holder.startswith(f"host {socket.gethostname()}, process {other.pid}, last sign of life ")
        with lock:
            assert time.monotonic() - began > 0.3 and path.exists()
            assert f"process {os.getpid()}," in Lock(path).holder
        other.wait(10)
    assert list(tmp_path.iterdir()) == []  # nothing remains


def test_a_killed_process_lets_go_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path, seconds=60) as other:
        assert not Lock(path).take()
        other.kill()
        other.wait(10)
    assert path.exists()
    lock = Lock(path)
    began = time.monotonic()
    assert lock.take() and time.monotonic() - began < 5
    lock.release()
    lock.release()  # once is enough
    assert not path.exists()


def test_a_silent_holder_on_another_host_is_taken_for_dead_after_the_lease(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    of_another_host(path, lease=0.6)
    old = time.time() - 3600
    os.utime(path, (old, old))  # the other's clock, or a file of long ago: only the own clock counts
    lock = Lock(path, lease=0.6)
    began = time.monotonic()
    assert not lock.take()
    assert "host elsewhere, process 7, last sign of life 3600 s ago" in lock.holder
    while not lock.take():
        time.sleep(0.05)
    assert 0.5 < time.monotonic() - began < 5
    lock.release()


def test_a_dead_holder_on_a_file_system_that_cannot_exchange_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS: rename with that flag fails, and the library takes nothing over."""
    from filelock._filesystem import _exchange

    monkeypatch.setattr(_exchange, "_rename_call", lambda: (lambda *paths: errno.EINVAL, 2))
    path = tmp_path / "lock"
    with holder(path, seconds=60, lease=0.6) as other:
        lock = Lock(path, lease=0.6)
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            assert not lock.take()  # it lives
            time.sleep(0.1)
        other.kill()
        other.wait(10)
    began = time.monotonic()
    while not lock.take():
        assert time.monotonic() - began < 10
        time.sleep(0.05)
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]
    assert f"process {os.getpid()}," in lock.holder
    lock.release()


def test_a_living_holder_on_another_host_keeps_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    of_another_host(path, lease=0.6)
    lock = Lock(path, lease=0.6)
    for _ in range(8):
        assert not lock.take()
        time.sleep(0.15)
        os.utime(path)
    of_another_host(path, lease=LEASE * 2)  # of a version with another lease: never taken for dead by time
    assert not Lock(path).take() and not Lock(path).take()


def test_what_was_taken_over_writes_nothing_any_more(tmp_path: Path) -> None:
    """As after a process stood still for longer than the lease."""
    path = tmp_path / "lock"
    lock = Lock(path, fence=True, lease=1.2)
    assert lock.take()
    write_atomic(tmp_path / "result", "first")
    path.unlink()
    of_another_host(path, lease=1.2)
    time.sleep(0.3)  # longer than a heartbeat: the next look is at the file
    with pytest.raises(LostError, match="taken over by host elsewhere, process 7"):
        locks.check()
    with pytest.raises(LostError):
        write_atomic(tmp_path / "result", "second")
    assert (tmp_path / "result").read_text() == "first"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lock", "result"]
    lock.release()
    locks.check()  # nothing is held: nothing is lost
    write_atomic(tmp_path / "result", "third")
    assert path.exists() and (tmp_path / "result").read_text() == "third"
