"""What a sweep maximises: the table that cards, tables and pruners go by."""

import subprocess
import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml
from torch import Tensor

from sem_bench.cli import main
from sem_bench.encoder import Encoder
from sem_bench.runs.plan import read_plan
from sem_bench.runs.sweep_card import Sweep
from sem_bench.sweep import pruner_measures
from sem_bench.sweep.objectives import OBJECTIVES
from sem_bench.training import pretrain
from sem_bench.training.health import measure
from sem_bench.training.job import PretrainJob
from sem_bench.training.pretrained import initial_encoder
from sem_bench.workspace import Monitor, PrunedError, Workspace
from tests.helpers.methods import pretrain_job
from tests.helpers.places import REPOSITORY
from tests.helpers.toy import SUITE, TOY_PY, TOY_YAML, write


def test_cards_know_just_the_objectives_that_there_are() -> None:
    assert get_args(Sweep.model_fields["objective"].annotation) == tuple(OBJECTIVES)


def test_each_has_words_of_its_own_and_a_look_that_exists() -> None:
    for name in ("metric", "legend"):
        assert len({getattr(one, name) for one in OBJECTIVES.values()}) == len(OBJECTIVES)
    for one in OBJECTIVES.values():
        module, _, function = one.measure.partition(":")
        assert callable(getattr(import_module(module), function))
        assert one.legend.startswith(f"{one.column}: ")


def test_a_table_of_a_sweep_needs_no_heavy_library() -> None:
    code = "import sem_bench.sweep.table, sys; print([m for m in ('torch', 'numpy', 'optuna') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "[]"


def looked_at() -> tuple[Encoder, Tensor, Tensor]:
    """An encoder, and images whose class is their brightness, each twice in a row."""
    encoder = initial_encoder(pretrain_job()).train()
    images = torch.linspace(-2, 2, 12).repeat_interleave(2)[:, None, None, None].expand(24, 3, 32, 32).contiguous()
    return encoder, images, torch.arange(24) // 12


def test_neighbours_vote_on_every_other_image() -> None:
    encoder, images, labels = looked_at()
    assert pruner_measures.neighbours_accuracy(encoder, images, labels, 0.0) == 100
    labels[1::2] = 1 - labels[1::2]  # of those asked, not of those that vote
    assert pruner_measures.neighbours_accuracy(encoder, images, labels, 0.0) == 0
    assert encoder.training  # as it was


def test_the_rank_is_taken_as_it_is_known() -> None:
    encoder, images, labels = looked_at()
    rank = measure(encoder, images).effective_rank
    assert pruner_measures.effective_rank_of_h(encoder, images, labels, rank) == rank


# --- a monitor that measures by name ---------------------------------------------------------------------------------


@dataclass
class Decider:
    """Ends a training after some epoch; remembers what it was told."""

    last: int
    told: list[tuple[int, float]] = field(default_factory=list)

    def __call__(self, epoch: int, figure: float) -> bool:
        self.told.append((epoch, figure))
        return epoch == self.last


@pytest.mark.parametrize("last", [1, 2, 9])
def test_what_is_measured_by_name_decides_how_far_a_training_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "suite.yaml", SUITE.replace("epochs: 2", "epochs: 3"))
    write(tmp_path, "datasets/toy.yaml", TOY_YAML)
    write(tmp_path, "datasets/toy.py", TOY_PY)
    (job, *_) = read_plan(Path("suite.yaml")).jobs
    assert isinstance(job.config, PretrainJob)
    decider = Decider(last)
    workspace = Workspace(
        tmp_path, {}, job.method_code, job.place, job.parts, tmp_path / "cache", torch.device("cpu"),
        monitor=Monitor("sem_bench.sweep.pruner_measures:effective_rank_of_h", decider),
    )  # fmt: skip
    if last < 3:
        with pytest.raises(PrunedError):
            pretrain.run(job.config, workspace)
    else:
        assert pretrain.run(job.config, workspace)["steps"] == 12
    assert [epoch for epoch, _ in decider.told] == list(range(1, min(last, 2) + 1))  # never after the last epoch
    log = (tmp_path / "log.csv").read_text().splitlines()
    column = log[0].split(",").index("effective_rank")
    for (_, figure), row in zip(decider.told, log[1:], strict=False):
        assert figure == pytest.approx(float(row.split(",")[column]), rel=1e-5)


def test_an_export_keeps_of_an_evaluations_methods_those_that_were_swept(folder: Path) -> None:
    card = "{summary: how hot, space: {tau: {values: [1.0]}}, methods: [simclr], sampler: grid, trials: 1}\n"
    write(folder, "sweeps/heat.yaml", card)
    suite = SUITE.replace("[simclr]", "[simclr, byol]").replace("epochs: 2", "epochs: 0").replace("[1.0, 0.1]", "[1.0]")
    write(folder, "suite.yaml", suite.replace("knn: {k: 5}", "expressivity: {methods: [byol, simclr]}"))
    assert main(["sweep", "heat", "--suite", "suite.yaml", "--export", "best.yaml"]) == 0
    evaluate = yaml.safe_load(Path("best.yaml").read_text())["evaluate"]
    assert list(evaluate) == ["probe", "expressivity"]
    assert evaluate["expressivity"] == {"methods": ["simclr"]}
