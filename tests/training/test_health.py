"""Health: the numbers by hand, and that a collapsed run says so in the table."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from sem_bench.backbone import Backbone
from sem_bench.cli import main
from sem_bench.encoder import Encoder
from sem_bench.nets.embeddings import linear, none, sem
from sem_bench.training import health
from tests.helpers.toy import method_card, write


def encoder(embedding: none.NoEmbedding | linear.LinearEmbedding | None = None) -> Encoder:
    """An encoder whose h is the image itself, 12 numbers."""
    return Encoder(Backbone(nn.Flatten(), 12), embedding or none.NoEmbedding(12))


def images(h: torch.Tensor) -> torch.Tensor:
    return h.reshape(-1, 3, 2, 2)


def test_the_effective_rank_of_what_is_known() -> None:
    assert health.effective_rank(torch.eye(12, dtype=torch.float64)) == pytest.approx(12)
    assert health.effective_rank(torch.ones(40, 12, dtype=torch.float64)) == pytest.approx(1)
    two = torch.zeros(10, 12, dtype=torch.float64)
    two[0, 0], two[1, 1] = 3.0, 1.0  # shares 3/4 and 1/4
    assert health.effective_rank(two) == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


def test_the_feature_std_of_what_is_known() -> None:
    assert health.feature_std(torch.full((8, 12), 3.0)) == pytest.approx(0, abs=1e-9)
    both = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])  # std sqrt(2) and 0, mean sqrt(2)/2, times sqrt(2)
    assert health.feature_std(5 * both) == pytest.approx(1)
    spread = health.feature_std(torch.randn(4000, 12, generator=torch.Generator().manual_seed(0)))
    assert spread == pytest.approx(1, abs=0.02)


def test_entropy_of_uniform_and_of_one_hot_simplices() -> None:
    embedding = sem.SimplicialEmbedding(12, L=4, V=3, tau=1.0)
    h = torch.randn(16, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        embedding.eval().linear.weight.zero_()
    assert health.simplex_entropy(embedding, h) == pytest.approx(1, abs=1e-6)
    with torch.no_grad():
        embedding.linear.weight.copy_(1e6 * torch.eye(12))
    assert health.simplex_entropy(embedding, h) == pytest.approx(0, abs=1e-3)  # underflows, and is no NaN
    with torch.no_grad():
        embedding.linear.weight.copy_(torch.eye(12))
        z = sem.to_group_major(embedding.raw(h), L=4, V=3).double()
    p = sem.simplicial_embedding(z, L=4, V=3, tau=1.0).reshape(16, 4, 3)
    assert health.simplex_entropy(embedding, h) == pytest.approx(
        float(-(p * p.log()).sum(2).mean()) / math.log(3), abs=1e-6
    )


def test_measuring_leaves_the_encoder_as_it_was() -> None:
    one = encoder(sem.SimplicialEmbedding(12, L=4, V=3, tau=1.0)).train()
    before = {name: value.clone() for name, value in one.state_dict().items()}
    found = health.measure(one, images(torch.randn(20, 12)))
    assert one.training and one.embedding.training
    assert all(torch.equal(before[name], value) for name, value in one.state_dict().items())
    assert found.simplex_entropy is not None and 0 < found.simplex_entropy < 1
    assert health.measure(encoder(), images(torch.randn(20, 12))).simplex_entropy is None


def test_features_that_are_not_finite_stop_the_run() -> None:
    with pytest.raises(FloatingPointError, match="features are not finite"):
        health.measure(encoder(), images(torch.full((4, 12), math.nan)))


@pytest.mark.parametrize(
    ("std", "rank", "collapsed"),
    [
        (0.17, 12, True),  # SimSiam without its stop-gradient, five epochs on shapes
        (0.14, 7, True),  # the same with SEM
        (0.11, 3.5, True),  # DINO at too high a learning rate
        (0.32, 19.7, False),  # a DINO run that learned
        (0.43, 14.0, False),  # Barlow Twins
        (0.32, 48.0, False),  # nothing happened
    ],
)
def test_what_counts_as_a_collapse(std: float, rank: float, collapsed: bool) -> None:
    start = health.Health(0.32, 48.0, None)  # resnet10w16s2 on shapes
    assert bool(health.Health(std, rank, None).notes(start)) == collapsed


COLLAPSING = '''
import torch

from sem_bench.method import Method


class Collapsing(Method):
    """Its features lose their differences."""

    def forward(self, batch):
        return tuple(self.encoder(view) for view in batch.views)

    def loss(self, first, second):
        return ((first - second) ** 2).mean()

    def after_step(self, step, total):
        with torch.no_grad():
            for module in self.encoder.backbone.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.weight.zero_()
                    module.bias.fill_(1.0)
'''
CARD = method_card("Collapsing")


def test_a_collapsed_run_is_marked_in_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "methods/collapsing.py", COLLAPSING)
    write(folder, "methods/collapsing.yaml", CARD)
    assert main(["run", "suite.yaml", "--set", "grid.methods=[collapsing, simclr]", "--only", "knn/"]) == 0
    assert "collapsed: h has less spread" in " ".join(capsys.readouterr().out.split())
    assert main(["table", "results", "--format", "github"]) == 0
    table = capsys.readouterr().out
    assert "collapsed: h has less spread" in table
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| ") and "none" in line}
    assert "¹" in rows["collapsing"].split("|")[-2] or "²" in rows["collapsing"]
    log = next((folder / "results/pretrain").glob("simclr-sem*/log.csv")).read_text().splitlines()
    health_of = dict(zip(log[0].split(","), log[-1].split(","), strict=True))
    assert float(health_of["feature_std"]) > 0.05 and float(health_of["effective_rank"]) > 1
    assert 0 < float(health_of["simplex_entropy"]) < 1
