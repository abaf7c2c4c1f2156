"""Backbones that torch compiles: only those of long trainings, and with the same weights up to rounding."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from sem_bench.cli import main
from sem_bench.training import compiled
from tests.helpers.toy import write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(folder: Path, *options: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    results = "-".join(["results", *options])
    only = ["--only", "pretrain/byol-none", "--set", "grid.methods=[byol]", "--precision", "fp32"]
    assert main(["run", "suite.yaml", "--results", results, *only, *options]) == 0
    (path,) = (folder / results).glob("pretrain/byol-none*/result.json")
    return json.loads(path.read_text()), torch.load(path.with_name("checkpoint.pt"))["encoder"]


def test_short_trainings_never_pay_for_it(folder: Path) -> None:
    result, _ = trained(folder, "--compile")
    assert "compiled" not in result["provenance"]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++")
def test_long_trainings_have_the_same_weights_by_the_same_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eager, weights = trained(folder)
    monkeypatch.setattr(compiled, "LONG", 1)
    result, found = trained(folder, "--compile")
    assert result["provenance"]["compiled"] is True and "compiled" not in eager["provenance"]
    assert list(found) == list(weights)
    for name, value in weights.items():
        torch.testing.assert_close(found[name], value, rtol=1e-2, atol=1e-3)
