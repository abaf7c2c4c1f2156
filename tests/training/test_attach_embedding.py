"""The control `untrained`: SEM on a finished baseline."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sem_bench.cli import main
from sem_bench.embedding import Embedding
from sem_bench.nets.embeddings.sem import SimplicialEmbedding
from sem_bench.runs.plan import read_plan
from sem_bench.training.attach_embedding import settle
from sem_bench.training.job import PretrainJob
from sem_bench.training.pretrained import initial_encoder, load_encoder
from tests.helpers.commands import BROKEN_LOSS, FRAGILE, problems
from tests.helpers.toy import SUITE, write

ARMS = "{none: {}, untrained: {L: 4, V: 3}, sem: {L: 4, V: 3}}"
CPU = torch.device("cpu")


@pytest.fixture
def suite(folder: Path) -> Path:
    """The tiny suite with the control."""
    return write(folder, "suite.yaml", SUITE.replace("{none: {}, sem: {L: 4, V: 3}}", ARMS))


def results(folder: Path, kind: str, text: str) -> list[dict[str, Any]]:
    paths = sorted((folder / "results" / kind).glob(f"*{text}*/result.json"))
    return [json.loads(path.read_text()) for path in paths]


@pytest.mark.parametrize("parts", [1, 3])
def test_batch_norm_knows_the_images(parts: int) -> None:
    """As a BatchNorm that has seen all of them at once, whose last update counts alone."""
    torch.manual_seed(0)
    mine, plain = (SimplicialEmbedding(6, L=4, V=3, tau=1.0) for _ in range(2))
    plain.load_state_dict(mine.state_dict())
    h = 5 + torch.randn(90, 6) * torch.arange(1, 7)
    settle(mine, h.chunk(parts))
    plain.norm.momentum = 1.0
    plain.train()(h)
    for name in ("running_mean", "running_var"):
        assert torch.allclose(getattr(mine.norm, name), getattr(plain.norm, name), rtol=1e-4, atol=1e-5)
    z = mine.eval().raw(h)
    assert torch.allclose(z.mean(0), torch.zeros(12), atol=1e-4) and torch.allclose(z.std(0), torch.ones(12), atol=1e-4)


class Other(Embedding):
    """An embedding with a BatchNorm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.out_dim = 4
        self.layers = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4))

    def forward(self, h: Tensor, temperature: float | None = None) -> Tensor:
        """h (B, 6) -> (B, 4)."""
        z: Tensor = self.layers(h)
        return z


def test_the_batch_norm_of_any_embedding_knows_the_images() -> None:
    torch.manual_seed(0)
    embedding, h = Other().eval(), 5 + torch.randn(91, 6)
    settle(embedding, [*h[:90].chunk(3), h[90:]])  # a part of one image has no variance
    linear, norm = embedding.layers
    assert isinstance(norm, torch.nn.BatchNorm1d) and norm.running_mean is not None and norm.running_var is not None
    z = [linear(part) for part in h[:90].chunk(3)]
    assert torch.allclose(norm.running_mean, torch.cat(z).mean(0), atol=1e-5)
    assert torch.allclose(norm.running_var, torch.stack([part.var(0) for part in z]).mean(0), atol=1e-5)
    assert norm.momentum == 0.1 and not any(module.training for module in embedding.modules())


def test_it_reads_the_baseline_and_trains_nothing(
    folder: Path, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "suite.yaml"]) == 0
    table = capsys.readouterr().out
    assert "untrained, sem: L=4, V=3" in table or "sem, untrained: L=4, V=3" in table
    ((baseline,), (control,)) = (results(folder, "pretrain", name) for name in ("-none-", "-untrained"))
    assert control["inputs"] == {"pretrain": baseline["digest"]}
    none, untrained, sem = (
        load_encoder(next((folder / "results/pretrain").glob(f"*-{name}-*")), CPU)
        for name in ("none", "untrained4x3-t1", "sem4x3-t1")
    )
    for mine, its in zip(untrained.backbone.parameters(), none.backbone.parameters(), strict=True):
        assert torch.equal(mine, its)
    assert isinstance(untrained.embedding, SimplicialEmbedding) and isinstance(sem.embedding, SimplicialEmbedding)
    described = next(job.config for job in read_plan(suite).jobs if "sem4x3" in job.slug)
    assert isinstance(described, PretrainJob)
    start = initial_encoder(described).embedding
    assert isinstance(start, SimplicialEmbedding)
    assert torch.equal(untrained.embedding.linear.weight, start.linear.weight)
    assert not torch.equal(untrained.embedding.linear.weight, sem.embedding.linear.weight)
    rows = {
        name: [row for found in results(folder, "probe", name) for row in found["metrics"]["rows"]]
        for name in ("-none-", "-untrained")
    }
    h = {name: [row["value"] for row in own if row["representation"] == "h"] for name, own in rows.items()}
    assert h["-none-"] == h["-untrained"]
    assert {row["representation"] for row in rows["-untrained"]} == {"h", "sem"}


def test_it_brings_its_baseline_with_it(folder: Path, suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml", "--only", "knn/simclr-untrained"]) == 0
    assert "3 done, 0 reused" in capsys.readouterr().err
    (checkpoint,) = (folder / "results/pretrain").glob("*-none-*/checkpoint.pt")
    checkpoint.unlink()  # nothing can be built on it now: it is made again
    (votes,) = (folder / "results/knn").glob("*-untrained*/result.json")
    votes.unlink()
    assert main(["run", "suite.yaml", "--only", "knn/simclr-untrained"]) == 0
    assert "2 done, 1 reused" in capsys.readouterr().err  # the same bits, so the control stays
    next((folder / "results/pretrain").glob("*-untrained*/checkpoint.pt")).unlink()
    votes.unlink()
    assert main(["run", "suite.yaml", "--only", "knn/simclr-untrained"]) == 0
    assert "2 done, 1 reused" in capsys.readouterr().err


def test_what_waits_for_a_failed_baseline_is_done_with_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", SUITE.replace("none: {}, sem: {", "untrained: {").replace("simclr", "fragile"))
    write(folder, "methods/fragile.py", BROKEN_LOSS)
    write(folder, "methods/fragile.yaml", FRAGILE)
    (folder / "break").touch()
    assert main(["run", "suite.yaml"]) == 1
    assert "5 of 5 jobs failed" in capsys.readouterr().err
    (folder / "break").unlink()
    assert main(["run", "suite.yaml", "--rerun", "failed"]) == 0
    assert "5 done" in capsys.readouterr().err


def test_mistakes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", SUITE.replace("{L: 4, V: 3}", "{type: untrained, L: 4, V: 3, tau_target: 1}"))
    assert "untrained takes no tau_target" in problems(capsys, "suite.yaml")[0]


def rows_of(capsys: pytest.CaptureFixture[str], label: str) -> list[dict[str, Any]]:
    """The rows of an arm in the last suite's comparison at all labels."""
    capsys.readouterr()
    assert main(["table", "results", "--table", "comparison", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    return [row for row in rows if row["embedding"] == label and row["metric"] == "top1" and row["column"] == "100%"]


def test_its_gain_is_over_the_baseline_that_it_stands_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = "  - {methods: [simclr], embeddings: %s, backbones: [resnet10w16s2], datasets: [toy]%s}\n"
    head, tail = SUITE[: SUITE.index("  methods")], SUITE[SUITE.index("pretrain:") :]
    for change, paired in (("", True), (", pretrain: {lr: 0.05}", False)):
        grids = one % ("{none: {}}", "") + one % ("{control: {type: untrained, L: 4, V: 3}}", change)
        write(folder, "suite.yaml", head + grids + tail)
        assert main(["run", "suite.yaml"]) == 0
        found = rows_of(capsys, "control")
        assert found and all((row["gain"] is not None) == paired for row in found)
        assert all(("stands on another pretraining than none: no gain" in row["notes"]) != paired for row in found)


def test_it_has_a_gain_over_an_external_encoder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml", "--only", "pretrain/simclr-none"]) == 0
    (trained,) = (folder / "results/pretrain").glob("simclr-none*/checkpoint.pt")
    trained.rename("weights.pt")
    suite = SUITE.replace("methods: [simclr]", "methods: [external]\n  checkpoint: weights.pt").replace("[0]", "[0, 1]")
    write(folder, "suite.yaml", suite.replace("sem: {L", "untrained: {L"))
    assert main(["run", "suite.yaml", "--data", "."]) == 0
    found = rows_of(capsys, "untrained")
    assert {row["representation"] for row in found} == {"h", "sem"}
    for row in found:
        assert row["gain"] == pytest.approx(0) if row["representation"] == "h" else row["gain"] is not None
        assert "one encoder: the seeds vary the probe alone" not in row["notes"]  # they vary the layer, too
