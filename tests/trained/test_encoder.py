"""Encoders and features of a results folder, for use elsewhere."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sem_bench
from sem_bench.errors import UserError
from tests.helpers.datasets import dataset
from tests.helpers.places import REPOSITORY
from tests.helpers.toy import replace_text


def images(count: int = 80) -> torch.Tensor:
    """The test images of toy, float in [0, 1]."""
    from sem_bench.data.loading import load

    found = dataset(Path.cwd(), "toy")
    (chunk,) = load(found.labelled(), "test", found.place).prepared()
    return chunk[:count] / 255


def the_job(name: str = "simclr-sem4x3-t1-*-s3-*") -> Path:
    (folder,) = Path("results/pretrain").glob(name)
    return folder


def test_an_encoder_holds_its_normalisation(finished: Path) -> None:
    """Images elsewhere become the very features that the suite's evaluations read."""
    encoder = sem_bench.load_encoder("results", arm="simclr/sem", seed=4)
    assert not encoder.training and not any(weight.requires_grad for weight in encoder.parameters())
    h, labels = sem_bench.features("results", arm="simclr/sem", seed=4)
    assert h.shape == (80, encoder.out_dim) == (80, 128) and h.dtype == np.float32
    assert labels.tolist() == [i % 4 for i in range(80)]
    np.testing.assert_allclose(encoder(images()).numpy(), h, rtol=0, atol=1e-6 * np.abs(h).max())
    other = sem_bench.load_encoder("results", arm="simclr/sem")  # the first seed
    assert not torch.allclose(other(images()), encoder(images()), atol=1e-3)


def test_the_output_of_the_embedding(finished: Path) -> None:
    """L * V probabilities; a lower temperature makes them harder."""
    options: dict[str, Any] = {"arm": "simclr/sem", "seed": 3}
    soft = sem_bench.load_encoder("results", output="embedding", **options)
    hard = sem_bench.load_encoder("results", output="embedding", tau=0.01, **options)
    found = soft(images()), hard(images())
    assert soft.out_dim == 12 and all(torch.allclose(one.sum(1), torch.tensor(4.0)) for one in found)
    assert found[1].square().sum() > found[0].square().sum()
    assert torch.equal(soft(images()), sem_bench.load_encoder(the_job(), output="embedding")(images()))


def test_only_floats(finished: Path) -> None:
    with pytest.raises(TypeError, match=r"float images in \[0, 1\] are asked for, found torch.uint8"):
        sem_bench.load_encoder(the_job())(images().mul(255).byte())


def test_features_come_from_the_cache(finished: Path) -> None:
    """What the evaluation kept is read, and nothing is computed anew."""
    kept = sorted(Path("results/cache/features").glob("*.npy"))
    before = {path: path.stat().st_mtime_ns for path in kept}
    train = sem_bench.features("results", arm="simclr/none", split="train", seed=3)
    assert train.h.shape == (200, 128) and len(train.labels) == 200
    assert {path: path.stat().st_mtime_ns for path in Path("results/cache/features").glob("*.npy")} == before
    assert any(np.array_equal(np.load(path), train.h) for path in kept)


def test_features_are_computed_without_a_cache(finished: Path, tmp_path: Path) -> None:
    shutil.copytree("results", tmp_path / "moved", ignore=shutil.ignore_patterns("cache"))
    here, there = (sem_bench.features(folder, arm="simclr/none") for folder in ("results", tmp_path / "moved"))
    assert np.array_equal(here.h, there.h) and (tmp_path / "moved/cache/features").is_dir()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"arm": "simclr/smm"},
            "results: no arm 'simclr/smm'; did you mean 'simclr/sem'?; there are simclr/none, simclr/sem",
        ),
        ({}, "results: which arm? There are simclr/none, simclr/sem"),
        ({"arm": "simclr/sem", "seed": 0}, "results: simclr/sem has no seed 0; there are 3, 4"),
        ({"arm": "simclr/sem", "suite": "tinny"}, "--suite tinny: not in results; did you mean 'tiny'?"),
        ({"arm": "simclr/sem", "device": "gpu"}, "device 'gpu'; did you mean 'cpu'?"),
    ],
)
def test_mistakes(finished: Path, options: dict[str, Any], said: str) -> None:
    for function in (sem_bench.load_encoder, sem_bench.features):
        with pytest.raises(UserError) as error:
            function("results", **options)
        assert str(error.value) == said


def test_mistakes_of_one_function(finished: Path) -> None:
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"output": "z"}, "output 'z'"),
        ({"tau": 0.1}, "tau: only the output of an embedding with a temperature has one"),
    ]
    for options, said in mistakes:
        with pytest.raises(UserError, match=said):
            sem_bench.load_encoder("results", arm="simclr/sem", **options)
    with pytest.raises(UserError, match="the folder of one job"):
        sem_bench.load_encoder(the_job(), arm="simclr/sem")
    (knn,) = Path("results/knn").glob("simclr-none-*-s3-*")
    with pytest.raises(UserError, match="a job of knn; encoders lie in the folders of pretrain/"):
        sem_bench.load_encoder(knn)
    with pytest.raises(UserError, match="split 'valid'"):
        sem_bench.features("results", arm="simclr/sem", split="valid")  # type: ignore[arg-type]


def test_a_record_keeps_no_encoder() -> None:
    with pytest.raises(UserError, match=r"byol/sem, seed 0: no checkpoint.pt in .*; a record keeps none"):
        sem_bench.load_encoder(REPOSITORY / "docs/records/byol_photographs", arm="byol/sem")


def test_a_damaged_checkpoint_is_refused(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(the_job(), tmp_path / "pretrain" / the_job().name)
    content = bytearray((folder / "checkpoint.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "checkpoint.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"checkpoint.pt: not what was written \(SHA-256\); `verify --repair`"):
        sem_bench.load_encoder(folder)


def test_other_cards(finished: Path, tmp_path: Path) -> None:
    """Features need the data set's card: elsewhere `cards` names its folder, and it must still be the same."""
    results = finished / "results"
    with pytest.raises(UserError, match=r"'toy' is not in .*; `cards` names the folder of the suite"):
        sem_bench.features(results, arm="simclr/sem", cards=tmp_path)
    found = sem_bench.features(results, arm="simclr/sem", cards=finished)
    assert np.array_equal(found.h, sem_bench.features("results", arm="simclr/sem").h)


OWN = """
from torch import nn

from sem_bench.backbone import Backbone


def own(*, image_size, zero_init_residual):
    return Backbone(nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, 8)), 8)
"""


def test_an_own_backbone(folder: Path) -> None:
    """It is found beside the suite, and its code has to be that of the pretraining."""
    from sem_bench.cli import main
    from tests.helpers.toy import write

    write(folder, "backbones/own.py", OWN)
    write(folder, "backbones/own.yaml", "build: own\nsummary: one product\n")
    replace_text(folder / "suite.yaml", "[resnet10w16s2]", "[own]")
    assert main(["run", "suite.yaml", "--only", "pretrain/simclr-none"]) == 0
    assert sem_bench.load_encoder("results", arm="simclr/none").out_dim == 8
    with pytest.raises(UserError, match="simclr/sem, seed 0: the pretraining is missing"):
        sem_bench.load_encoder("results", arm="simclr/sem")
    with pytest.raises(UserError, match="none on own: 'own' is not in data; `cards` names the folder of the suite"):
        sem_bench.load_encoder("results", arm="simclr/none", cards="data")
    replace_text(folder / "backbones/own.py", "8)), 8)", "8)), 8) if image_size else None")
    with pytest.raises(UserError, match=r"none on own: the code in \. is not that of the pretraining"):
        sem_bench.load_encoder("results", arm="simclr/none")
