"""Backbones of timm and with solo-learn's stem: shapes, seeds, and what is refused."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from sem_bench.backbone import Backbone
from sem_bench.base.randomness import initialisation
from sem_bench.cli import main
from sem_bench.config.cards import Library
from sem_bench.nets.backbones import timm_names
from sem_bench.training.card import method_card
from tests.helpers.nets import build_backbone
from tests.helpers.places import REPOSITORY

TIMM = [("timm/resnet10t", 64, 512), ("timm/vit_tiny_patch16_224", 32, 192), ("timm/test_efficientnet", 48, 256)]


def sides(backbone: Backbone, image_size: int) -> list[int]:
    """Of the maps that the convolutions of a ResNet give."""
    found: list[int] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.append(output.shape[-1])

    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(look)
    backbone.eval()(torch.zeros(1, 3, image_size, image_size))
    return found


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_stem_of_solo_learn(name: str) -> None:
    expected = torchvision.models.get_model(name, weights=None)
    expected.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=2, bias=False)
    expected.maxpool = nn.Identity()
    expected.fc = nn.Identity()
    ours = build_backbone(f"{name}p2", image_size=32).eval()
    expected.eval().load_state_dict(ours.network.state_dict())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(images), expected(images), rtol=0, atol=0)
    assert ours.out_dim == ours(images).shape[1]
    assert sides(ours, 32)[:2] == [34, 34] and sides(build_backbone(name, image_size=32), 32)[:2] == [32, 32]


def test_above_64_px_the_stem_is_that_of_imagenet() -> None:
    padded, plain = (build_backbone(name, image_size=65) for name in ["resnet18p2", "resnet18"])
    assert str(padded) == str(plain)
    assert sides(padded, 65)[:2] == [33, 17]


@pytest.mark.parametrize("name", ["resnet10w16", "resnet18", "resnet50p2"])
def test_blocks_that_start_as_their_shortcut(name: str) -> None:
    def built(zero: bool) -> dict[str, Tensor]:
        with initialisation(0, "backbone"):
            return build_backbone(name, image_size=32, zero_init_residual=zero).network.state_dict()

    plain, zero = built(False), built(True)
    last = "bn3.weight" if "50" in name else "bn2.weight"
    changed = [key for key in plain if not torch.equal(plain[key], zero[key])]
    assert changed == [key for key in plain if key.endswith(last)]
    assert len(changed) == {"resnet10w16": 4, "resnet18": 8, "resnet50p2": 16}[name]
    assert not any(zero[key].any() for key in changed)


@pytest.mark.parametrize(("name", "image_size", "out_dim"), TIMM)
def test_models_of_timm(name: str, image_size: int, out_dim: int) -> None:
    pytest.importorskip("timm")

    def built(seed: int) -> Backbone:
        with initialisation(seed, "backbone"):
            return build_backbone(name, image_size=image_size)

    backbone, again, other = built(0), built(0), built(1)
    first, second, third = (b.state_dict() for b in (backbone, again, other))
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert any(not torch.equal(value, third[key]) for key, value in first.items())
    h = backbone(torch.randn(3, 3, image_size, image_size))
    assert h.shape == (3, out_dim) and backbone.out_dim == out_dim and backbone.network.training
    (h * torch.randn(out_dim)).sum().backward()
    without = [key for key, p in backbone.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []


def test_a_vision_transformer_of_any_size() -> None:
    pytest.importorskip("timm")
    network: Any = build_backbone("timm/vit_tiny_patch16_224", image_size=48).network
    assert network.pos_embed.shape == (1, 1 + 3 * 3, 192)


@pytest.mark.parametrize(
    ("name", "image_size", "message"),
    [
        ("timm/vit_tiny_patch16_224", 8, "timm/vit_tiny_patch16_224 takes no images of 8 px: .+"),
        ("timm/inception_v3", 32, "timm/inception_v3 takes no images of 32 px: .*Kernel size can't be greater.+"),
        ("timm/resnet10tt", 32, r"timm/resnet10tt: timm has no model 'resnet10tt'; did you mean 'resnet10t'\?"),
    ],
)
def test_what_timm_cannot_build(name: str, image_size: int, message: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=f"^{message}$"):
        build_backbone(name, image_size=image_size)


def test_models_without_one_vector_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    monkeypatch.setattr(timm, "create_model", lambda name, **settings: nn.Conv2d(3, 5, 1))
    with pytest.raises(ValueError, match=r"^timm/resnet50 gives \(2, 5, 32, 32\) for 2 images, not one vector each$"):
        build_backbone("timm/resnet50", image_size=32)


def test_the_names_are_those_that_timm_lists() -> None:
    timm = pytest.importorskip("timm")
    assert set(timm_names.names()) >= {"resnet50", "vit_tiny_patch16_224"}
    assert timm_names.names() == sorted(timm.list_models())


def test_names_need_neither_timm_nor_torch() -> None:
    pytest.importorskip("timm")
    code = (
        "import sys; from sem_bench.nets.backbones import timm_names as t; t.names(); "
        "print({'timm', 'torch'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
    timm_names.names.cache_clear()
    began = time.process_time()
    timm_names.names()
    assert time.process_time() - began < 0.3


def test_problems_with_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    assert timm_names.problem("resnet50") == timm_names.problem("timm/resnet50") == ""
    assert timm_names.problem("resnet5").startswith("timm has no model 'resnet5'; did you mean 'resnet")
    assert timm_names.problem("qqqqq") == "timm has no model 'qqqqq'"  # without all that there are
    assert timm_names.problem("resnet50.a1_in1k") == (
        "write timm/resnet50: the tag 'a1_in1k' stands for weights, and those are given by `method: external`"
    )
    monkeypatch.setattr(timm_names, "find_spec", lambda name: None)
    timm_names.names.cache_clear()
    assert timm_names.names() == [] and not timm_names.installed()
    assert timm_names.problem("resnet50") == "needs timm: pip install 'sem-bench[timm]'"
    timm_names.names.cache_clear()


def test_the_small_vision_transformer() -> None:
    """Patches of 4 pixels up to 64 px; otherwise timm's own, number for number."""
    timm = pytest.importorskip("timm")
    ours = build_backbone("vit_tiny", image_size=32).eval()
    network: Any = ours.network
    assert network.pos_embed.shape == (1, 1 + 8 * 8, 192) and len(network.blocks) == 12
    theirs = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=4, num_classes=0).eval()
    theirs.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 32, 32)
    features = theirs.forward_features(images)[:, 0]  # the class token
    torch.testing.assert_close(ours(images), features)
    assert ours.out_dim == 192 and ours(images).shape == (2, 192)
    large: Any = build_backbone("vit_tiny", image_size=96).network
    assert large.pos_embed.shape == (1, 1 + 6 * 6, 192)
    with pytest.raises(ValueError, match=r"^vit_tiny cuts images into patches of 4 px: 30 px is no multiple of it$"):
        build_backbone("vit_tiny", image_size=30)


def test_the_small_vision_transformer_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its recipe and hard codes, two steps."""
    pytest.importorskip("timm")
    few = ["grid.images={train: 100, test: 40}", "grid.embeddings={argmax: {L: 8, V: 4}}", "evaluate={knn: {k: 5}}"]
    vit = ["grid.backbones=[vit_tiny]", "pretrain.recipe=small_vit", "pretrain.epochs=1"]
    sets = [word for one in [*few, *vit] for word in ("--set", one)]
    assert main(["run", "suite.yaml", *sets]) == 0
    assert "argmax: L=8, V=4" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["simclr", "moco", "byol", "dino"])
def test_the_recipe_of_the_small_vision_transformer(name: str) -> None:
    recipes = method_card(Library(REPOSITORY), name).content.recipes
    small, vit = recipes["small"], recipes["small_vit"]
    assert (vit.optimizer.name, vit.optimizer.gradient_norm) == ("adamw", 3.0)
    assert (vit.views, vit.parameters, vit.sem) == (small.views, small.parameters, small.sem)
