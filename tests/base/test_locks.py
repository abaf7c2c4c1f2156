"""Locks that die with their process."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from sem_bench.base.locks import Lock, held

HOLDER = """
import sys, time
from pathlib import Path
from sem_bench.base.locks import Lock

with Lock(Path(sys.argv[1]), temporary=sys.argv[2] == "True"):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""


def holder(path: Path, *, temporary: bool, seconds: float) -> subprocess.Popen[str]:
    """A process that has the lock."""
    call = [sys.executable, "-c", HOLDER, str(path), str(temporary), str(seconds)]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("temporary", [False, True])
def test_a_second_process_waits(tmp_path: Path, temporary: bool) -> None:
    path = tmp_path / "lock"
    assert not held(path) and not path.exists()
    with holder(path, temporary=temporary, seconds=0.5) as other:
        began = time.monotonic()
        assert held(path)
        with Lock(path, temporary=temporary):
            assert time.monotonic() - began > 0.3 and path.exists()
        other.wait(10)
    assert not held(path) and path.exists() is not temporary


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path, temporary=True, seconds=60) as other:
        assert held(path)
        other.kill()
        other.wait(10)
    assert not held(path) and path.exists()  # nobody removed the file, and it stands in nobody's way
    lock = Lock(path, temporary=True)
    lock.acquire()
    lock.release()
    lock.release()  # once is enough
    assert not path.exists()
