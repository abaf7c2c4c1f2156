"""A finished toy suite that the tests of this folder read."""

from pathlib import Path

import pytest

from sem_bench.cli import main
from tests.helpers.toy import SUITE, write, write_toy


@pytest.fixture(scope="session")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder after a run of one epoch and two seeds, kNN alone."""
    folder = tmp_path_factory.mktemp("finished")
    write_toy(folder)
    text = SUITE.replace("epochs: 2", "epochs: 1").replace("seeds: [0]", "seeds: [3, 4]")
    write(folder, "suite.yaml", text[: text.index("  probe:")] + "  knn: {k: 5}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["run", "suite.yaml"]) == 0
    return folder


@pytest.fixture
def finished(run_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, the current one during the test: a test runs other suites elsewhere."""
    monkeypatch.chdir(run_once)
    return run_once
