"""The stages of the default suite on a GPU: the numbers of a CPU, up to rounding. Skipped where there is none."""

import json
from pathlib import Path

import pytest
import torch

from sem_bench.cli import main
from tests.helpers.places import REPOSITORY

SMALL = [
    "grid.methods=[simclr, byol]",
    "grid.images={train: 300, test: 100}",
    "pretrain={recipe: quick, epochs: 1}",
    "evaluate.robustness={shifts: [v2, c], images: 25}",
    "evaluate.expressivity={methods: [byol], tau: [0.1, 1]}",
]
POINTS = 6.0  # of a hundred test images some change sides


def numbers(folder: Path, device: str) -> dict[str, dict[str, float]]:
    words = [word for assignment in SMALL for word in ("--set", assignment)]
    command = ["run", str(REPOSITORY / "suite.yaml"), "--results", str(folder), "--precision", "fp32"]
    assert main([*command, "--device", device, *words]) == 0
    found = {}
    for path in folder.glob("*/*/result.json"):
        metrics = json.loads(path.read_text())["metrics"]
        rows = metrics.get("rows") or [{"column": "", "metric": "loss", "representation": "", "value": metrics["loss"]}]
        values = {f"{row['column']} {row['metric']} {row['representation']}": row["value"] for row in rows}
        found[f"{path.parent.parent.name}/{path.parent.name}"] = {
            name: value for name, value in values.items() if value is not None
        }
    return found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.filterwarnings("default")
def test_every_stage_gives_the_numbers_of_a_cpu(tmp_path: Path) -> None:
    here, there = (numbers(tmp_path / device, device) for device in ("cpu", "cuda"))
    assert set(here) == set(there) and here
    assert {name.split("/")[0] for name in here} >= {"pretrain", "probe", "knn", "robustness", "transfer", "relevance"}
    for job, rows in here.items():
        assert set(there[job]) == set(rows)
        for name, value in rows.items():
            assert there[job][name] == pytest.approx(value, rel=0.05, abs=POINTS), (job, name)
