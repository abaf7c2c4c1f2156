"""`export`: an encoder that others read, and that comes back as the same one."""

import json
import re
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from torch import nn

import sem_bench
from sem_bench.cli import main
from tests.helpers.toy import SUITE, TOY_YAML, write


def test_it_comes_back_through_external(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the lines that its own model card shows."""
    assert main(["export", "results", "--arm", "simclr/sem", "--seed", "4", "out/mine"]) == 0
    files = ["encoder.safetensors", "config.json", "README.md"]
    assert capsys.readouterr().out.splitlines() == [f"out/mine/{name}" for name in files]
    card = Path("out/mine/README.md").read_text()
    (grid,) = re.findall(r"```yaml\n(.*?)```", card, re.DOTALL)
    write(
        finished,
        "external.yaml",
        f"name: back\nseeds: [0]\n{grid}pretrain: {{recipe: quick}}\nevaluate: {{knn: {{k: 5}}}}\n",
    )
    assert main(["run", "external.yaml", "--data", "out", "--results", "other"]) == 0
    splits: list[Literal["train", "test"]] = ["train", "test"]
    for split in splits:
        ours = sem_bench.features("results", arm="simclr/sem", seed=4, split=split)
        theirs = sem_bench.features("other", split=split)
        assert np.array_equal(ours.h, theirs.h) and np.array_equal(ours.labels, theirs.labels)
    images = torch.rand(3, 3, 16, 16)
    before = sem_bench.load_encoder("results", arm="simclr/sem", seed=4, output="embedding")
    after = sem_bench.load_encoder("other", output="embedding")
    assert torch.equal(before(images), after(images))


def test_the_model_card(finished: Path) -> None:
    """What it is, what it was trained on, what was measured of this seed, and how it was made."""
    assert main(["export", "results", "--arm", "simclr/none", "out/none"]) == 0
    card = Path("out/none/README.md").read_text()
    for said in (
        "# simclr / none, resnet10w16s2, toy\n",
        "- pretrained on: toy, 200 images of 16 px, without labels\n",
        "- licence of the data: none needed\n",
        "- recipe: quick: batch 50, name sgd, lr ",
        "- epochs: 1\n- seed: 3\n",
        "mean [0.5, 0.5, 0.5], std [0.25, 0.25, 0.25]",
        "    python -m sem_bench export results --suite tiny --arm simclr/none --seed 3 out/none\n",
    ):
        assert said in card
    (row,) = [row for row in sem_bench.load("results") if row.method == "simclr" and row.embedding == "none"]
    (line,) = [line for line in card.splitlines() if line.startswith("| kNN ")]
    assert [cell.strip() for cell in line.split("|")[5:8]] == [f"{row.by_seed[0][1]:.1f}", f"{row.mean:.1f}", "2"]
    settings = json.loads(Path("out/none/config.json").read_text())
    assert (settings["features"], settings["output"], settings["image_size"]) == (128, 128, 16)


def test_models_of_libraries_have_their_names(folder: Path) -> None:
    """Weights go into torchvision's and timm's own models, and these give the same features."""
    write(folder, "datasets/toy.yaml", TOY_YAML.replace("image_size: 16", "image_size: 80"))
    backbones = "[resnet18, timm/test_resnet]"
    write(folder, "suite.yaml", SUITE.replace("[resnet10w16s2]", backbones).replace("epochs: 2", "epochs: 0"))
    assert main(["run", "suite.yaml", "--only", "pretrain/simclr-none"]) == 0
    torchvisions = torchvision.models.resnet18()
    torchvisions.fc = nn.Identity()
    for arm, network in (
        ("simclr/none/resnet18", torchvisions),
        ("simclr/none/timm/test_resnet", timm.create_model("test_resnet", num_classes=0)),
    ):
        name = arm.rpartition("/")[2]
        assert main(["export", "results", "--arm", arm, name]) == 0
        network.load_state_dict(load_file(f"{name}/backbone.safetensors"))
        images = torch.rand(2, 3, 80, 80)
        assert torch.equal(network.eval()(2 * (2 * images - 1)), sem_bench.load_encoder("results", arm=arm)(images))
        assert json.loads(Path(name, "config.json").read_text())["library_model"]["name"] == name
        assert f"'s {name}\n" in Path(name, "README.md").read_text()


def test_without_safetensors(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)  # as where the package is absent
    assert main(["export", "results", "--arm", "simclr/none", "out/torch"]) == 0
    assert not list(Path("out/torch").glob("*.safetensors"))
    weights = torch.load("out/torch/encoder.pt", weights_only=True)
    encoder = sem_bench.load_encoder("results", arm="simclr/none").encoder
    assert weights.keys() == encoder.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in encoder.state_dict().items())
    assert "(`torch.load`)" in Path("out/torch/README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["results", "--arm", "byol/sem", "out/x"], "no arm 'byol/sem'"),
        (
            ["results", "--arm", "simclr/sem", "suite.yaml"],
            "suite.yaml: this is a file, not a folder",
        ),
        (["nowhere", "out/x"], "nowhere: no such folder"),
    ],
)
def test_mistakes(finished: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    capsys.readouterr()
    assert main(["export", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and not Path("out/x").exists()
