"""Backbones, encoder, randomness, optimisers: shapes, seeds and schedules."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sem_bench.base.randomness import derived_seed, generator, initialisation
from sem_bench.training import learning_rates, parameter_groups
from sem_bench.training.card import Optimizer
from sem_bench.training.pretrained import initial_encoder
from tests.helpers.methods import pretrain_job
from tests.helpers.nets import build_backbone

EMBEDDINGS: list[dict[str, Any]] = [
    {},
    {"type": "sem", "L": 4, "V": 3, "tau": 1.0},
    {"type": "linear", "L": 8, "V": 2},
]


@pytest.mark.parametrize(
    ("name", "out_dim", "last_map", "parameters"),
    # last_map: side of the last feature map for 32 px; parameters: counted by hand from the layers' shapes
    [
        ("resnet10w16s2", 128, 2, 307_536),
        ("resnet10w16", 128, 4, 307_536),
        ("resnet18", 512, 4, 11_168_832),
        ("resnet50", 2048, 4, 23_500_352),
    ],
)
def test_backbones(name: str, out_dim: int, last_map: int, parameters: int) -> None:
    backbone = build_backbone(name, image_size=32).eval()
    maps = []
    last = [m for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)][-1]
    last.register_forward_hook(lambda module, inputs, output: maps.append(output.shape[-1]))
    assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, out_dim) and backbone.out_dim == out_dim
    assert sum(p.numel() for p in backbone.parameters()) == parameters
    assert maps == [last_map]


def test_large_images_keep_the_imagenet_stem() -> None:
    network: Any = build_backbone("resnet18", image_size=224).network
    assert network.conv1.kernel_size == (7, 7) and isinstance(network.maxpool, torch.nn.MaxPool2d)


def test_the_backbone_starts_alike_in_all_arms() -> None:
    states = [initial_encoder(pretrain_job(**embedding)).backbone.state_dict() for embedding in EMBEDDINGS]
    for state in states[1:]:
        assert all(torch.equal(state[key], states[0][key]) for key in states[0])
    other = initial_encoder(pretrain_job(seed=1)).backbone.state_dict()
    assert not torch.equal(other["network.0.weight"], states[0]["network.0.weight"])


def test_the_encoder_uses_tau_target_in_its_target_branch() -> None:
    encoder = initial_encoder(pretrain_job(type="sem", L=4, V=3, tau=0.5, tau_target=5.0)).eval()
    images = torch.randn(2, 3, 32, 32)
    online, target = encoder(images), encoder.target(images)
    assert online.shape == (2, 12) == (2, encoder.out_dim)
    assert target.max() < online.max()  # a higher temperature is flatter
    plain = initial_encoder(pretrain_job()).eval()
    assert torch.equal(plain(images), plain.target(images))


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**6), st.integers(0, 10**6))
def test_randomness_is_a_function_of_its_place(seed: int, step: int, other: int) -> None:
    first, again = (torch.rand(3, generator=generator(seed, "augment", step)) for _ in range(2))
    assert torch.equal(first, again)
    assert (derived_seed(seed, "augment", step) == derived_seed(seed, "augment", other)) == (step == other)
    assert derived_seed(seed, "augment", step) != derived_seed(seed, "order", step)


def test_initialisation_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with initialisation(0, "backbone"):
        torch.rand(100)
    assert torch.equal(torch.rand(1), expected)


def test_learning_rate_schedule() -> None:
    training = pretrain_job().training  # peak 0.4 * 128 / 256 = 0.2; 4 epochs of 4 steps, 1 of warm-up
    lrs = [learning_rates.lr_at(training, step=step, steps_per_epoch=4) for step in range(16)]
    assert lrs[:5] == pytest.approx([0.04, 0.08, 0.12, 0.16, 0.2])
    assert lrs[10] == pytest.approx(0.01 + 0.19 * (1 + math.cos(math.pi / 2)) / 2)  # half of the way down
    assert lrs[15] == pytest.approx(0.01 + 0.19 * (1 + math.cos(math.pi * 11 / 12)) / 2)
    as_it_stands = training.model_copy(update={"optimizer": Optimizer(name="sgd", lr=0.4, lr_per_256=False)})
    assert learning_rates.peak_lr(as_it_stands) == 0.4


@pytest.mark.parametrize("name", ["sgd", "lars", "adamw"])
def test_biases_and_norms_do_not_decay(name: str) -> None:
    module: Any = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    settings = Optimizer.model_validate({"name": name, "lr": 0.1, "weight_decay": 0.5})
    training = pretrain_job().training.model_copy(update={"optimizer": settings})
    optimizer = parameter_groups.build(module, training)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    module[0].weight.grad.fill_(1e-12)  # lightly's LARS leaves a weight without gradient alone
    optimizer.step()
    assert (module[0].weight < 1).all()
    assert (module[0].bias == 1).all() and (module[1].weight == 1).all() and (module[1].bias == 1).all()
