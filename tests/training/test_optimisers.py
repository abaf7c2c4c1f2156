"""Optimisers: LARS against lightly and by hand, groups, several batches to a step, and what a recipe says of it."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightly.utils import lars as lightly_lars
from torch import Tensor, nn
from torch.nn import functional as F

from sem_bench.cli import main
from sem_bench.method import Method
from sem_bench.training import learning_rates, parameter_groups
from sem_bench.training.card import Optimizer, Training
from sem_bench.training.card import method_card as cards_of
from sem_bench.training.checkpoint import TrainingState
from sem_bench.training.dry_run import noise
from sem_bench.training.lars import LARS
from sem_bench.training.optimisers import OPTIMISERS
from sem_bench.training.pretrained import initial_encoder
from sem_bench.training.step import Step
from sem_bench.training.views import ViewPlan, Views
from tests.helpers.methods import LIBRARY, build, pretrain_job
from tests.helpers.toy import SUITE, method_card, write

CPU = torch.device("cpu")


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def steps(module: nn.Module, optimizer: torch.optim.Optimizer, count: int = 5) -> None:
    for step in range(count):
        images = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        F.cross_entropy(module(images), torch.arange(8) % 3).backward()
        optimizer.step()


def training(**settings: Any) -> Training:
    rule = Optimizer.model_validate({"lr": 0.5, "lr_per_256": False} | settings)
    return pretrain_job().training.model_copy(update={"optimizer": rule})


@pytest.mark.parametrize("decay", [1e-2, 1e-6])
def test_lars_is_lightlys(decay: float) -> None:
    ours, theirs = network(), network()
    settings = training(name="lars", weight_decay=decay, trust_coefficient=0.02)
    steps(ours, parameter_groups.build(ours, settings))
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in theirs.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    steps(theirs, lightly_lars.LARS(groups, lr=0.5, momentum=0.9, trust_coefficient=0.02))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("limit", "length"), [(False, 10.0), (True, 10.0), (True, 0.01), (False, 0.0)])
def test_a_step_of_lars_by_hand(limit: bool, length: float) -> None:
    """Two steps of one weight of that length, gradients 0.1 and 0.3: the rate is adapted before the momentum."""
    weight = nn.Parameter(torch.tensor([[length, 0.0]]))
    groups: list[dict[str, Any]] = [{"params": [weight], "decay": 0.1, "weight_decay": 0.0, "adapt": True}]
    optimizer = LARS(groups, lr=0.5, momentum=0.9, trust_coefficient=0.02, limit=limit)
    x, momentum = [length, 0.0], [0.0, 0.0]
    for slope in (0.1, 0.3):
        weight.grad = torch.tensor([[0.0, slope]])
        optimizer.step()
        norm = math.hypot(*x)
        rate = 0.02 * norm / (slope + 0.1 * norm + 1e-8) if norm else 1.0
        if limit and norm:
            rate = min(rate / 0.5, 1)
        change = [rate * (0.1 * x[0]), rate * (0.1 * x[1] + slope)]
        momentum = [0.9 * m + c for m, c in zip(momentum, change, strict=True)]
        x = [a - 0.5 * m for a, m in zip(x, momentum, strict=True)]
        assert weight.detach()[0].tolist() == pytest.approx(x, rel=1e-5)


def test_a_weight_without_gradient_rests() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    groups: list[dict[str, Any]] = [{"params": [weight], "decay": 0.1, "weight_decay": 0.0, "adapt": True}]
    optimizer = LARS(groups, lr=0.5, momentum=0.9, trust_coefficient=0.02, limit=False)
    weight.grad = torch.zeros(2, 2)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(2, 2))


@pytest.mark.parametrize("name", ["sgd", "lars", "adam", "adamw"])
def test_all_alike(name: str) -> None:
    """Biases and normalisation layers decay as weights do."""
    for alike in (False, True):
        module = network()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.fill_(1.0)
                parameter.grad = torch.full_like(parameter, 1e-12)
        settings = training(name=name, weight_decay=0.5, all_alike=alike, lr=0.01)
        parameter_groups.build(module, settings).step()
        if name != "adam":  # there any gradient gives a full step
            assert all((p < 1 - 1e-6).all() for p in module.parameters() if p.ndim > 1)
            assert all(bool((p < 1 - 1e-6).all()) is alike for p in module.parameters() if p.ndim == 1)


def test_parts_with_a_constant_rate() -> None:
    method = build("simsiam", hidden=8, out=8, predictor=4)
    settings = training(name="sgd", lr=0.4, constant=["predictor"])
    optimizer = parameter_groups.build(method, settings)
    learning_rates.set_lr(optimizer, settings, step=15, steps_per_epoch=4)
    falling = learning_rates.lr_at(settings, step=15, steps_per_epoch=4)
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert falling < 0.05
    for name, parameter in method.named_parameters():
        assert rate[id(parameter)] == (0.4 if name.startswith("predictor.") else falling), name
    with pytest.raises(ValueError, match="the method has no part 'predictr' that is trained"):
        parameter_groups.build(method, training(name="sgd", constant=["predictr"]))


def test_gradients_are_cut_to_the_recipes_norm() -> None:
    module = network()
    steps(module, torch.optim.SGD(module.parameters(), lr=0.0), 1)
    before = [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]
    norm = float(torch.cat([g.flatten() for g in before]).norm())
    parameter_groups.limit_gradient(module, training(name="sgd", gradient_norm=norm / 2))
    for parameter, old in zip(module.parameters(), before, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, old / 2, rtol=1e-4, atol=1e-8)
    parameter_groups.limit_gradient(module, training(name="sgd"))  # no limit


def started(accumulate: int) -> tuple[TrainingState, Step, Method]:
    job = pretrain_job()
    settings = job.training.model_copy(update={"batch_size": 6, "accumulate": accumulate, "epochs": 2})
    job = job.model_copy(update={"training": settings})
    method = build("simclr").train()
    state = TrainingState(method, parameter_groups.build(method, settings), "noise")
    split = noise(32)
    return state, Step(job, state, Views(ViewPlan.of(job), split, CPU, last=10), CPU), method


def test_a_step_of_several_batches_has_their_mean_gradient() -> None:
    """36 images in batches of 6, three to a step: two steps an epoch, each of which sees three batches in order."""
    _, step, method = started(3)
    assert (step.views.steps_per_epoch, step.views.batches_per_epoch) == (2, 6)
    reference = started(1)[2]
    step.bf16 = False
    loss = float(step().mean())
    reference.zero_grad()
    losses: list[Tensor] = []
    for number in range(3):
        losses.append(reference.loss(*reference(step.views.batch(number))))
        (losses[-1] / 3).backward()
    assert loss == pytest.approx(float(torch.stack(losses).mean().detach()), rel=1e-6)
    lr = learning_rates.peak_lr(step.job.training)
    assert lr == pytest.approx(0.4 * 18 / 256)
    first = learning_rates.lr_at(step.job.training, step=0, steps_per_epoch=2)
    for (name, moved), still in zip(method.named_parameters(), reference.parameters(), strict=True):
        if still.grad is not None:
            torch.testing.assert_close(moved.detach(), still.detach() - first * still.grad, msg=name)
    seen = torch.cat([step.views.rows(number) for number in range(6)])
    assert seen.sort().values.tolist() == list(range(36))


def test_several_batches_to_a_step_through_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["--set", "pretrain.accumulate=2", "--set", "pretrain.batch_size=30", "--only", "pretrain"]
    assert main(["run", "suite.yaml", *changes]) == 0
    for result in Path("results/pretrain").glob("*/result.json"):
        assert json.loads(result.read_text())["metrics"]["steps"] == 2 * (200 // 60)
        rows = list(csv.DictReader((result.parent / "log.csv").read_text().splitlines()))
        assert [row["epoch"] for row in rows] == ["1", "2"]
    capsys.readouterr()
    assert main(["plan", "suite.yaml", "--set", "pretrain.accumulate=5"]) == 2
    line = "--set pretrain.accumulate=5: simclr's 250 images a step are more than the 200 training images of 'toy'"
    assert capsys.readouterr().err.splitlines() == [line]


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        ("{name: sgd, lr: 0.1, trust_limit: true}", "trust_limit belongs to lars, not to sgd"),
        ("{name: adam, lr: 0.1, trust_coefficient: 0.1}", "trust_coefficient belongs to lars, not to adam"),
        ("{name: lars, lr: 0.1, gradient_norm: 0}", "gradient_norm: should be greater than 0"),
        ("{name: sgd, lr: 0.1, constant: [a, a]}", "'a' stands there twice"),
        ("{name: larz, lr: 0.1}", "'larz'"),
    ],
)
def test_bad_recipes(folder: Path, capsys: pytest.CaptureFixture[str], optimizer: str, said: str) -> None:
    card = method_card("Mine").replace("{name: sgd, lr: 0.1}", optimizer)
    write(folder, "methods/mine.yaml", card)
    write(folder, "methods/mine.py", "class Mine:\n    def __init__(self, encoder):\n        pass\n")
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[mine]"))
    assert main(["plan", "suite.yaml"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if said in line]
    assert line.startswith("methods/mine.yaml:9: ")


def test_an_unknown_constant_part_fails_its_job_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = cards_of(LIBRARY, "simclr").path
    text = card.read_text().replace("weight_decay: 1e-4}", "weight_decay: 1e-4, constant: [projectr]}", 1)
    write(folder, "methods/mine.yaml", text)
    write(folder, "methods/mine.py", card.with_suffix(".py").read_text())
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[mine]"))
    assert main(["run", "suite.yaml", "--only", "pretrain/mine-none"]) == 1
    assert "the method has no part 'projectr' that is trained" in capsys.readouterr().err
    assert main(["doctor", "suite.yaml"]) != 0  # and doctor knew it before


def test_zero_init_residual_reaches_the_backbone(folder: Path) -> None:

    job = pretrain_job()
    for wanted in (False, True):
        settings = job.training.model_copy(update={"zero_init_residual": wanted})
        weights = initial_encoder(job.model_copy(update={"training": settings})).backbone.state_dict()
        last = [value for name, value in weights.items() if name.endswith("bn2.weight")]
        assert len(last) == 4 and all(bool((value == 0).all()) is wanted for value in last)


def test_a_rate_never_exceeds_its_peak() -> None:
    settings = training(name="sgd", lr=1e-4).model_copy(update={"min_lr": 1e-3})
    rates = [learning_rates.lr_at(settings, step=step, steps_per_epoch=4) for step in range(16)]
    assert max(rates) == 1e-4
    constant = training(name="sgd", lr=0.1).model_copy(update={"schedule": "constant"})
    rates = [learning_rates.lr_at(constant, step=step, steps_per_epoch=4) for step in range(16)]
    assert rates[0] < 0.1 and rates[4:] == [0.1] * 12  # after the warm-up


def test_every_optimiser_is_built_and_moves_weights() -> None:
    for name, kind in OPTIMISERS.items():
        module = network()
        weight = next(module.parameters())
        before = weight.detach().clone()
        optimizer = parameter_groups.build(module, training(name=name, lr=0.01))
        steps(module, optimizer)
        assert not torch.equal(weight.detach(), before)
        kept = optimizer.state[weight].values()
        moments = sum(isinstance(value, Tensor) and value.ndim > 0 for value in kept)
        assert moments == kind.moments, name
        assert kind.summary and set(kind.own) <= Optimizer.model_fields.keys()


def test_an_unknown_optimiser_never_trains_as_another() -> None:
    settings = training(name="sgd")
    rule = settings.optimizer.model_copy(update={"name": "adamm"})
    with pytest.raises(ValueError, match=r"unknown optimiser 'adamm'; did you mean 'adamw?'\?"):
        parameter_groups.build(network(), settings.model_copy(update={"optimizer": rule}))


@pytest.mark.parametrize(
    ("name", "said"),
    [("larz", "; did you mean 'lars'?"), ("sophia", "; there is sgd, lars, adam, adamw"), ("[sgd]", "; did you mean")],
)
def test_a_misspelt_optimiser_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    write(folder, "methods/mine.yaml", method_card("Mine").replace("{name: sgd", f"{{name: {name}"))
    write(folder, "methods/mine.py", "class Mine:\n    def __init__(self, encoder):\n        pass\n")
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[mine]"))
    assert main(["plan", "suite.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("methods/mine.yaml:9: recipes.") and ".optimizer.name: unknown name " in line
    assert said in line
