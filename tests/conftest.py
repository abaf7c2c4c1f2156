"""A tiny suite of its own data, so that whole runs take a second or two."""

import os
from pathlib import Path

import pytest

from tests.helpers.toy import SUITE, TOY_PY, TOY_YAML, write

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # a second thread gains nothing here, and two processes with two each crawl


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with suite.yaml and the data set toy; the current folder during the test."""
    write(tmp_path, "suite.yaml", SUITE)
    write(tmp_path, "datasets/toy.yaml", TOY_YAML)
    write(tmp_path, "datasets/toy.py", TOY_PY)
    monkeypatch.chdir(tmp_path)
    return tmp_path
