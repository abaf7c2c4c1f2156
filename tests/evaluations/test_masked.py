"""Masked probes: which features are kept, by hand, and what their probes come to, through the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sem_bench.cli import main
from sem_bench.evaluations.masked import largest
from tests.helpers.toy import overlap, write

SUITE = """
name: toy
seeds: [0]
grid: {methods: [simclr], embeddings: {none: {}, sem: {L: 4, V: 3}}, backbones: [resnet10w16s2], datasets: [toy]}
pretrain: {recipe: quick, epochs: 1, batch_size: 40}
evaluate:
  probe: {fractions: [FRACTION], l2: [1e-5, 1e-3]}
  masked: {top_k: [2, 1, 1000]}
"""


def test_the_largest_weights_of_each_class_by_hand() -> None:
    weight = torch.tensor([[0.1, -9.0, 3.0, 2.0], [5.0, -9.0, 4.0, 0.0]])
    assert largest(weight, 1).tolist() == [0, 2]
    assert largest(weight, 2).tolist() == [0, 2, 3]
    assert largest(weight, 100).tolist() == [0, 1, 2, 3]


def rows(kind: str, arm: str) -> list[dict[str, Any]]:
    (path,) = Path("results", kind).glob(f"*-{arm}*/result.json")
    found: list[dict[str, Any]] = json.loads(path.read_text())["metrics"]["rows"]
    return found


def test_few_features_have_a_probe_of_their_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With all features it is the probe itself."""
    overlap(folder, "toy")
    write(folder, "suite.yaml", SUITE.replace("FRACTION", "1.0"))
    assert main(["run", "suite.yaml"]) == 0
    for arm, names in (("none", {"h"}), ("sem", {"h", "sem"})):
        masked = rows("masked", arm)
        assert {row["representation"] for row in masked} == names
        whole = {row["representation"]: row for row in rows("probe", arm) if row["metric"] == "top1_fixed_tau"}
        for name in names:
            own = {row["column"]: row for row in masked if row["representation"] == name}
            assert list(own) == ["1", "2", "1000"]
            classes = 2 <= own["1"]["features"] <= own["2"]["features"] < own["1000"]["features"]
            assert classes and own["1000"]["features"] == {"h": 128, "sem": 12}[name]
            assert own["1000"]["value"] == whole[name]["value"] and own["1000"]["l2"] == whole[name]["l2"]
            assert own["1000"]["tau_d"] == whole[name]["tau_d"]
    capsys.readouterr()
    assert main(["table", "results", "--table", "masked", "--format", "github"]) == 0
    text = capsys.readouterr().out
    assert "K = 1000" in text and "(12)" in text and "(128)" in text


def test_it_needs_the_heads_at_all_labels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overlap(folder, "toy")
    write(folder, "suite.yaml", SUITE.replace("FRACTION", "0.5"))
    assert main(["plan", "suite.yaml"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("suite.yaml:") and "add 1.0 to the probe's fractions" in line
