"""A probe that several devices share, with processes on the CPU: the optimum of one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from sem_bench.base import world
from sem_bench.base.companions import together
from sem_bench.cli import main
from sem_bench.evaluations.measures.logistic import Fit, fit_chunks, fit_many
from sem_bench.evaluations.probe import Probe
from tests.helpers.toy import overlap, replace_text

ROWS, WIDTH, CLASSES = 9000, 150, 10  # more than are solved as a whole


def fits() -> list[Fit]:
    """Of features in memory, and of features that come in chunks."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, WIDTH, generator=random)
    y = (x[:, :CLASSES] + torch.randn(ROWS, CLASSES, generator=random)).argmax(1)
    own = world.share(ROWS)
    wanted: dict[str, Any] = {"classes": CLASSES, "l2": [1e-3, 1e-2]}
    chunks = fit_chunks(lambda: zip(x[own].split(1000), y[own].split(1000), strict=True), **wanted)
    return [*fit_many([(x, y)], **wanted), chunks]


def test_the_optimum_is_that_of_one_device() -> None:
    alone = fits()
    with together(2, fits):
        shared = fits()
    for one, two in zip(alone, shared, strict=True):
        assert all(one.converged) and one.converged == two.converged
        assert one.objective == pytest.approx(two.objective, rel=1e-6)
        for head, other in zip(one.heads, two.heads, strict=True):
            torch.testing.assert_close(head.weight, other.weight, rtol=1e-3, atol=1e-4)


def test_a_probe_on_two_devices(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Features in three chunks, to the bit; SEM of 520 numbers is more than is solved as a whole."""
    overlap(folder, "toy")
    replace_text(folder / "datasets/toy.yaml", "train: 200, test: 80", "train: 2600, test: 1100")
    replace_text(folder / "suite.yaml", "L: 4, V: 3", "L: 40, V: 13")
    replace_text(folder / "suite.yaml", "[1.0, 0.1]", "[1.0]")
    replace_text(folder / "suite.yaml", "l2: [1e-4, 1e-2]", "l2: [1e-2, 3e-2]")  # weaker ones leave the head open
    arguments = ["run", "suite.yaml", "--only", "probe/simclr-sem", "--set", "pretrain.epochs=1"]
    assert main([*arguments, "--jobs", "1", "--results", "one"]) == 0
    shutil.copytree(folder / "one/pretrain", folder / "two/pretrain")
    monkeypatch.setattr(Probe, "shared_from", 0.0)
    assert main([*arguments, "--devices", "2", "--results", "two"]) == 0
    assert "1 done" in capsys.readouterr().err

    features = {path.name: path.read_bytes() for path in folder.glob("one/cache/features/*.npy")}
    assert len(features) == 2
    assert {path.name: path.read_bytes() for path in folder.glob("two/cache/features/*.npy")} == features
    (one,), (two,) = (list(folder.glob(f"{results}/probe/simclr*")) for results in ("one", "two"))
    metrics, shared = (json.loads((path / "result.json").read_text()) for path in (one, two))
    assert shared["provenance"]["devices"] == 2 and "devices" not in metrics["provenance"]
    assert shared["digest"] == metrics["digest"]
    for row, other in zip(metrics["metrics"]["rows"], shared["metrics"]["rows"], strict=True):
        assert all(row[key] == other[key] for key in ("representation", "tau_d", "l2"))
        assert row["value"] == pytest.approx(other["value"], abs=100 / 1100 + 1e-9)  # one image
        assert 30 < row["value"] < 100
    heads, others = (torch.load(path / "head.pt", weights_only=True) for path in (one, two))
    for head, other in zip(heads, others, strict=True):
        torch.testing.assert_close(head["weight"], other["weight"], rtol=1e-2, atol=1e-3)
