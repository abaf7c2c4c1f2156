"""The same seed gives the same numbers, whatever else a suite asks for and in which order.

That restarts, workers, several runs, Ray and Slurm give them, too, is held by test_kills.py, runs/test_drivers.py,
runs/test_ray.py and test_slurm.py; docs/reliability.md says what threads and devices change.
"""

from pathlib import Path

import pytest

from sem_bench.cli import main
from tests.helpers.results import numbers
from tests.helpers.toy import SUITE, overlap, write

GRID = SUITE.replace("[simclr]", "[simclr, simsiam]").replace("epochs: 2", "epochs: 1").replace("[1.0, 0.1]", "[0.05]")


def test_the_order_of_a_grid_changes_no_number(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does what ran before in the same process, or what else is asked for."""
    overlap(folder, "toy")
    write(folder, "suite.yaml", GRID)
    other = GRID.replace("[simclr, simsiam]", "[simsiam, simclr]").replace("seeds: [0]", "seeds: [1, 0]")
    write(folder, "other.yaml", other.replace("{none: {}, sem: {L: 4, V: 3}}", "{sem: {L: 4, V: 3}, none: {}}"))
    assert main(["run", "suite.yaml", "--jobs", "1"]) == 0
    assert main(["run", "other.yaml", "--jobs", "1", "--results", "other"]) == 0
    capsys.readouterr()
    expected, found = numbers(folder / "results"), numbers(folder / "other")
    assert len(expected) == 12 and len(found) == 24
    assert {name: found[name] for name in expected} == expected
