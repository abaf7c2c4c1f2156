"""The corruptions of ImageNet-C for other data, by the package imagecorruptions (the extra `corrupt`)."""

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from sem_bench.cli import main
from sem_bench.config.cards import Library
from sem_bench.config.fields import resolved
from sem_bench.data import loading
from sem_bench.data.card import dataset_card
from sem_bench.data.corruptions import published
from sem_bench.data.dataset import DataSet
from sem_bench.data.sources.corrupted import PUBLISHED_CORRUPTIONS
from tests.helpers.toy import SUITE, replace_text, write

Images = npt.NDArray[np.uint8]
CARD = """
summary: the test photographs, as ImageNet-C would have them
source: {type: corrupted, of: photos, using: imagecorruptions, corruptions: [shot_noise, glass_blur, frost],
         severities: [2]}
licence: ours
"""
PHOTOS = """
summary: smooth noise
source: {type: python}
splits: {train: 40, test: 8}
image_size: 32
classes: [one, two]
shifts: {c: photos_c}
normalise: {mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
licence: ours
"""
PHOTOS_PY = """
import numpy as np


def load(split, *, count, image_size):
    rng = np.random.default_rng(len(split))
    coarse = rng.integers(0, 255, (count, 8, 8, 3), np.uint8)
    return coarse.repeat(image_size // 8, 1).repeat(image_size // 8, 2), np.arange(count) % 2
"""


@cache
def clean(size: int) -> Images:
    """Four smooth images."""
    coarse = np.random.default_rng(0).integers(0, 255, (4, 10, 10, 3), np.uint8)
    shape = (size, size)
    return np.stack([np.asarray(Image.fromarray(one).resize(shape, Image.Resampling.BICUBIC)) for one in coarse])


@pytest.mark.parametrize("name", PUBLISHED_CORRUPTIONS)
def test_an_image_is_corrupted_alike_alone_and_among_others(name: str) -> None:
    images = clean(32)
    np.random.seed(7)
    whole = published(images, name=name, severity=3, first=10)
    assert whole.shape == images.shape and whole.dtype == np.uint8
    assert all((a != b).any() for a, b in zip(whole, images, strict=True))
    for row in (2, 0):
        assert np.array_equal(published(images[row : row + 1], name=name, severity=3, first=10 + row)[0], whole[row])
    np.random.seed(7)
    first = np.random.random()
    np.random.seed(7)
    published(images[:1], name=name, severity=1)
    assert np.random.random() == first  # numpy's generator is as it was


@pytest.mark.parametrize(
    "name", ["gaussian_noise", "impulse_noise", "motion_blur", "snow", "frost", "elastic_transform"]
)
def test_chance_differs_from_image_to_image(name: str) -> None:
    same = np.repeat(clean(32)[:1], 2, axis=0)
    a, b = published(same, name=name, severity=4)
    assert (a != b).any()


@pytest.mark.parametrize("name", ["gaussian_noise", "glass_blur", "fog", "contrast", "pixelate"])
def test_photographs_of_224_px(name: str) -> None:
    images = clean(224)[:2]
    errors = [np.abs(published(images, name=name, severity=s).astype(float) - images).mean() for s in (1, 5)]
    assert 0 < errors[0] < errors[1]


def test_threads_give_what_one_gives() -> None:
    images, names = clean(32), ["shot_noise", "impulse_noise", "glass_blur", "frost"]
    expected = [published(images, name=name, severity=2) for name in names]
    work = [(k, row) for k in range(len(names)) for row in range(len(images))] * 3
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda at: published(images[at[1]][None], name=names[at[0]], severity=2, first=at[1])[0], work)
        assert all(np.array_equal(one, expected[k][row]) for one, (k, row) in zip(found, work, strict=True))


@pytest.fixture
def photos(folder: Path) -> Path:
    write(folder, "datasets/photos.yaml", PHOTOS)
    write(folder, "datasets/photos.py", PHOTOS_PY)
    write(folder, "datasets/photos_c.yaml", CARD)
    robustness = "robustness: {shifts: [c]}"
    suite = SUITE.replace("[toy]", "[photos]").replace("batch_size: 50", "batch_size: 20")
    write(folder, "suite.yaml", suite.replace("knn: {k: 5}", robustness).replace("[1.0, 0.1]", "[1.0]"))
    return folder


def test_a_card_chooses_the_package(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml", "--only", "robustness/simclr-none"]) == 0
    assert main(["run", "suite.yaml", "--only", "robustness/simclr-none", "--rerun", "all", "--workers", "3"]) == 0
    library = Library(photos)
    found = DataSet(dataset_card(library, "photos"), library, photos / "data")
    wanted, place = found.shift("c")
    test = loading.load(found.labelled(), "test", found.place)
    assert test.images is not None
    for workers in (1, 3):
        loading._CORRUPTED.clear()
        for kind, split in zip(wanted.source.kinds, loading.all_corrupted(wanted, place, workers=workers), strict=True):
            expected = published(test.images.permute(0, 2, 3, 1).numpy(), name=kind[0], severity=kind[1])
            assert torch.equal(torch.cat(list(split.prepared())).permute(0, 2, 3, 1), torch.from_numpy(expected))
    generic = wanted.model_copy(update={"source": wanted.source.model_copy(update={"using": "sem_bench"})})
    prints = [loading.corrupted(d, place, name="shot_noise", severity=2).fingerprint for d in (wanted, generic)]
    assert prints[0] != prints[1]
    assert "using" in resolved(wanted.source) and "using" not in resolved(generic.source)


def test_the_package_may_be_absent(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "imagecorruptions" else find(name))
    assert main(["plan", "suite.yaml"]) == 2
    assert capsys.readouterr().err == (
        "datasets/photos_c.yaml:2: imagecorruptions is not installed: pip install 'sem-bench[corrupt]'\n"
    )


@pytest.mark.parametrize(
    ("file", "right", "wrong", "expected"),
    [
        ("photos_c", "frost]", "forst]", "unknown corruption 'forst'; did you mean 'frost'?"),
        ("photos_c", "using: imagecorruptions", "using: sem_bench", "unknown corruption 'glass_blur'"),
        ("photos_c", "using: imagecorruptions", "using: imagecorruption", "did you mean 'imagecorruptions'?"),
        ("photos", "image_size: 32", "image_size: 16", "'photos' has images of 16 px; imagecorruptions needs 32"),
    ],
)
def test_mistakes(
    photos: Path, capsys: pytest.CaptureFixture[str], file: str, right: str, wrong: str, expected: str
) -> None:
    replace_text(photos / f"datasets/{file}.yaml", right, wrong)
    assert main(["plan", "suite.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
