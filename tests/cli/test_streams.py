"""What a command prints into nothing: readers that go away, a full disk, streams that are closed, narrow encodings.

The exit code is that of the work, and what was to do is done.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.places import REPOSITORY
from tests.helpers.toy import write

HELD = {"PYTHONUNBUFFERED": None, "PYTHONPATH": str(REPOSITORY)}  # what is printed is written at the end


def called(
    *arguments: str,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    before: Callable[[], object] | None = None,
    environment: Mapping[str, str] = {},
) -> tuple[int, bytes, bytes]:
    """Exit code, output, errors."""
    known = {**os.environ, **HELD, **environment}
    begun = subprocess.run(
        [sys.executable, "-m", "sem_bench", *arguments],
        check=False,
        stdout=stdout,
        stderr=stderr,
        preexec_fn=before,
        env={name: value for name, value in known.items() if value is not None},
        timeout=300,
    )
    return begun.returncode, begun.stdout or b"", begun.stderr or b""


@pytest.fixture
def gone() -> Iterator[int]:
    """The end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.fixture
def damaged(here: Path) -> Path:
    """Results of which one file is not what was written."""
    return write(here, "results/cache/features/x.npy", "no features")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_stops_no_work(damaged: Path, gone: int, unbuffered: str) -> None:
    both = called(
        "verify", "results", "--repair", stdout=gone, stderr=gone, environment={"PYTHONUNBUFFERED": unbuffered}
    )
    assert both == (1, b"", b"") and not damaged.exists()


def test_streams_that_are_closed(damaged: Path) -> None:
    """No file of the program takes their numbers."""

    def close() -> None:
        os.closerange(0, 3)

    assert called("verify", "results", "--repair", stdout=None, stderr=None, before=close)[0] == 1
    assert not damaged.exists()
    code, output, errors = called("verify", "nowhere", before=lambda: os.close(1))
    assert (code, output, errors) == (2, b"", b"nowhere: no such folder\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_below_the_output(damaged: Path, unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        code, _, errors = called("list", "methods", stdout=full, environment={"PYTHONUNBUFFERED": unbuffered})
        assert (code, errors) == (2, b"standard output: No space left on device\n")
        assert called("verify", "results", stderr=full, environment={"PYTHONUNBUFFERED": unbuffered})[0] == 1
        assert called("verify", "nowhere", stderr=full, environment={"PYTHONUNBUFFERED": unbuffered})[0] == 2


def test_a_terminal_that_knows_ascii_alone() -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, output, errors = called("table", str(REPOSITORY / "docs/records/default.tar.xz"), environment=plain)
    assert (code, errors) == (0, b"") and b"\\xb9 no better than the random backbone" in output
