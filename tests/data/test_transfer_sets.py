"""The small transfer sets: digits of scikit-learn, and drawn textures."""

from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.datasets import load_digits

from sem_bench.config.cards import load_code
from sem_bench.errors import UserError
from tests.helpers.places import REPOSITORY

DATASETS = REPOSITORY / "datasets"
digits = load_code(DATASETS / "digits.py")
textures = load_code(DATASETS / "textures.py")


def card(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DATASETS / f"{name}.yaml").read_text())
    return content


@pytest.mark.parametrize(("name", "module"), [("digits", digits), ("textures", textures)])
def test_cards_say_what_the_code_gives(name: str, module: Any) -> None:
    content = card(name)
    arguments = content["source"].get("arguments", {})
    for split, count in content["splits"].items():
        images, labels = module.load(split, count=count, image_size=content["image_size"], **arguments)
        assert images.shape == (count, 32, 32, 3) and images.dtype == np.uint8
        assert labels.dtype == np.int64 and set(labels) == set(range(len(content["classes"])))
        if split == "train":
            assert (images / 255).mean((0, 1, 2)) == pytest.approx(content["normalise"]["mean"], abs=2e-4)
            assert (images / 255).std((0, 1, 2)) == pytest.approx(content["normalise"]["std"], abs=2e-4)


@pytest.mark.parametrize("module", [digits, textures])
@pytest.mark.parametrize("split", ["train", "test"])
def test_fewer_images_are_a_prefix_of_more(module: Any, split: str) -> None:
    few, many = module.load(split, count=7, image_size=16), module.load(split, count=40, image_size=16)
    for a, b in zip(few, many, strict=True):
        np.testing.assert_array_equal(a, b[:7])


@pytest.mark.parametrize("module", [digits, textures])
def test_an_unknown_split_is_a_clear_mistake(module: Any) -> None:
    with pytest.raises(UserError, match=r"has no split 'val'; it has train, test"):
        module.load("val", count=1)


def test_digits_are_all_there_once() -> None:
    train, test = digits.load("train", count=1201, image_size=8), digits.load("test", count=596, image_size=8)
    parts = np.concatenate([train[0], test[0]])[..., 0]
    originals = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    assert sorted(map(bytes, parts)) == sorted(map(bytes, originals))  # at 8 px nothing is enlarged
    with pytest.raises(UserError, match="digits has 596 test images, not 597"):
        digits.load("test", count=597)


def test_digits_are_split_class_by_class() -> None:
    # Classes 0, 1, 2, ... have 178, 182, 177, ... images; every third one is for testing.
    counts = np.bincount(load_digits().target)
    assert counts[:3].tolist() == [178, 182, 177]
    assert np.bincount(digits.load("test", count=596)[1]).tolist() == (counts // 3).tolist()


def test_digits_are_grey_and_enlarged_smoothly() -> None:
    images, _ = digits.load("test", count=20)
    assert (images == images[..., :1]).all()
    small, _ = digits.load("test", count=20, image_size=8)
    blocks = images.reshape(20, 8, 4, 8, 4, 3).mean((2, 4))
    assert np.corrcoef(blocks.ravel(), small.ravel())[0, 1] > 0.97
    assert len(np.unique(images)) > 100  # 17 levels at 8 px


def test_textures_have_their_classes_in_turn() -> None:
    assert card("textures")["classes"] == textures.CLASSES and len(textures.CLASSES) == 10
    assert textures.load("test", count=20)[1].tolist() == list(range(10)) * 2


def test_texture_splits_and_seeds_share_no_image() -> None:
    sets = [textures.load(split, count=50, seed=seed)[0] for split in ("train", "test") for seed in (0, 1)]
    assert len({image.tobytes() for images in sets for image in images}) == 200


def test_colour_does_not_give_a_texture_away() -> None:
    images, labels = textures.load("train", count=1000)
    of_class = [images[labels == k].mean((1, 2)) for k in range(10)]
    overall = images.mean((1, 2)).std(0)
    for means in of_class:
        assert (np.abs(means.mean(0) - images.mean((0, 1, 2))) < 0.5 * overall).all()
    spread = np.array([images[labels == k].std((1, 2)).mean() for k in range(10)])
    assert spread.max() / spread.min() < 1.15


def test_texture_patterns_by_hand() -> None:
    """On a grid of quarter periods, offset by an eighth."""
    x, y = np.meshgrid(*[np.arange(8) / 4 + 0.125] * 2)
    rng = np.random.default_rng(0)
    ink = {name: pattern(x, y, rng) for name, pattern in textures._PATTERNS.items()}
    np.testing.assert_array_equal(ink["stripes"], np.tile([1, 1, 0, 0], (8, 2)))
    checks = np.kron([[0, 1], [1, 0]], np.ones((2, 2)))
    np.testing.assert_array_equal(ink["checks"], np.tile(checks, (2, 2)))
    np.testing.assert_array_equal(ink["crosshatch"][:4, :4], [[1, 1, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]])
    dot = np.zeros((4, 4))
    dot[1:3, 1:3] = 1
    np.testing.assert_array_equal(ink["dots"], np.tile(dot, (2, 2)))
    np.testing.assert_array_equal(ink["bricks"][0], [1] * 8)
    assert ink["bricks"][1].sum() == ink["bricks"][5].sum() == 1  # one upright joint each, half a brick apart
    assert abs(int(ink["bricks"][1].argmax()) - int(ink["bricks"][5].argmax())) == 4


@pytest.mark.parametrize("name", ["waves", "rings", "weave", "speckle", "blobs"])
def test_patterns_without_a_background_ink_about_half(name: str) -> None:
    x, y = np.meshgrid(*[np.arange(120) / 20] * 2)
    assert 0.4 < textures._PATTERNS[name](x, y, np.random.default_rng(0)).mean() < 0.6


def test_textures_are_those_that_were_calibrated() -> None:
    images, _ = textures.load("train", count=400)
    assert images.mean() == pytest.approx(129.0, abs=1.0)
    assert images.std() == pytest.approx(40.1, abs=1.0)
