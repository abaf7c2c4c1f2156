"""A tiny suite of its own data, so that whole runs take a second or two."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.helpers.commands import end_what_was_left
from tests.helpers.forked import CONTEXT, PRELOADED
from tests.helpers.toy import write_toy

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # a second thread gains nothing here, and two processes with two each crawl

os.environ.pop("COLUMNS", None)  # of pytest's workers: texts would be wrapped

settings.register_profile("busy machines", deadline=None)
settings.load_profile("busy machines")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests are for the night; each has a smaller one beside it."""
    for item in items:
        if item.get_closest_marker("slow") and not os.environ.get("SEM_BENCH_SLOW"):
            item.add_marker(pytest.mark.skip(reason="SEM_BENCH_SLOW=1 runs it"))


@pytest.fixture(autouse=True, scope="session")
def quick_start() -> Iterator[None]:
    """Workers and companions of this process need not import torch; those of commands in processes are spawned as ever.

    No file of a test must outlive the machine, and a busy disk takes long.
    """
    CONTEXT.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        for place in ("base.companions", "runs.executors.processes", "runs.worker"):
            patch.setattr(f"sem_bench.{place}.SPAWN", CONTEXT)
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """A test that fails leaves no process behind."""
    yield
    end_what_was_left()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with suite.yaml and the data set toy; the current folder during the test."""
    write_toy(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder; the current one during the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
