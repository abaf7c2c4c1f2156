"""Backbones that torch compiles: only those of long trainings, and with the same weights up to rounding."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from sem_bench.cli import main
from sem_bench.training import compiled

COMPILING = pytest.mark.skipif("SEM_BENCH_TEST_COMPILE" not in os.environ, reason="compiles for half a minute")


def trained(folder: Path, *options: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    results = "-".join(["results", *options])
    only = ["--only", "pretrain/byol-none", "--set", "grid.methods=[byol]", "--precision", "fp32"]
    assert main(["run", "suite.yaml", "--results", results, *only, *options]) == 0
    (path,) = (folder / results).glob("pretrain/byol-none*/result.json")
    return json.loads(path.read_text()), torch.load(path.with_name("checkpoint.pt"))["encoder"]


def test_short_trainings_never_pay_for_it(folder: Path) -> None:
    result, _ = trained(folder, "--compile")
    assert "compiled" not in result["provenance"]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=COMPILING)])
def test_long_trainings_have_the_same_weights_by_the_same_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    eager, weights = trained(folder)
    monkeypatch.setattr(compiled, "LONG", 1)
    monkeypatch.setattr(compiled, "BACKEND", backend)
    result, found = trained(folder, "--compile")
    assert result["provenance"]["compiled"] is True and "compiled" not in eager["provenance"]
    assert result["metrics"]["loss"] == pytest.approx(eager["metrics"]["loss"], rel=1e-3)
    assert list(found) == list(weights)
    for name, value in weights.items():
        if value.ndim > 1:
            assert (found[name] - value).norm() < 0.01 * value.norm(), name
