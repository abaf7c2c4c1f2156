"""Generic corruptions: deterministic image by image, stronger with severity, and by hand what they do."""

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sem_bench.config.cards import load_code
from sem_bench.data.corruptions import SEVERITIES, corrupt
from sem_bench.data.sources.corrupted import CORRUPTIONS
from sem_bench.errors import UserError
from tests.helpers.places import REPOSITORY

DATASETS = REPOSITORY / "datasets"
Images = npt.NDArray[np.uint8]

shapes = load_code(DATASETS / "shapes.py")
textures = load_code(DATASETS / "textures.py")


def flat(value: int, side: int = 8) -> Images:
    return np.full((1, side, side, 3), value, np.uint8)


def damage(images: Images, name: str, severity: int) -> float:
    found = corrupt(images, name=name, severity=severity)
    return float(np.square(found.astype(float) - images).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_damage_grows_with_severity(name: str) -> None:
    for images in (
        shapes.load("test", count=60)[0],
        textures.load("test", count=60, image_size=8)[0],
        textures.load("test", count=3, image_size=96)[0],
    ):
        found = [damage(images, name, severity) for severity in SEVERITIES]
        assert found[0] > 0 and (np.diff(found) > 0).all(), found


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("side", [8, 13])
def test_types_and_the_input_is_left_alone(name: str, side: int) -> None:
    images = textures.load("test", count=2, image_size=side)[0]
    before = images.copy()
    for severity in SEVERITIES:
        found = corrupt(images, name=name, severity=severity)
        assert found.dtype == np.uint8 and found.shape == images.shape
    np.testing.assert_array_equal(images, before)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(CORRUPTIONS)), st.sampled_from(SEVERITIES), st.integers(0, 6), st.integers(0, 1000))
def test_batches_do_not_matter(name: str, severity: int, cut: int, first: int) -> None:
    images = textures.load("test", count=6, image_size=12)[0]
    whole = corrupt(images, name=name, severity=severity, first=first, seed=2)
    parts = [
        corrupt(images[:cut], name=name, severity=severity, first=first, seed=2),
        corrupt(images[cut:], name=name, severity=severity, first=first + cut, seed=2),
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if "noise" in name or name in ("fog", "motion_blur")])
def test_images_seeds_and_severities_have_their_own_noise(name: str) -> None:
    image = textures.load("test", count=1)[0]
    found = [
        corrupt(image, name=name, severity=severity, first=first, seed=seed)
        for severity, first, seed in ((1, 0, 0), (1, 1, 0), (1, 0, 1), (2, 0, 0))
    ]
    assert len({one.tobytes() for one in found}) == 4


def test_brightness_by_hand() -> None:
    # Severity 3 adds 0.18 of white, 45.9 levels, and white is the end.
    assert (corrupt(flat(100), name="brightness", severity=3) == 146).all()
    assert (corrupt(flat(230), name="brightness", severity=3) == 255).all()


def test_contrast_by_hand() -> None:
    image = flat(100)
    image[0, :4] = 200  # the mean is 150; severity 3 halves the distance from it
    found = corrupt(image, name="contrast", severity=3)
    assert (found[0, :4] == 175).all() and (found[0, 4:] == 125).all()


def test_pixelate_by_hand() -> None:
    # Severity 3 halves the side: blocks of 2 x 2 pixels get their mean.
    image = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1).repeat(3, axis=3) * 2
    found = corrupt(image, name="pixelate", severity=3)
    means = image.reshape(4, 2, 4, 2, 3).mean((1, 3))
    np.testing.assert_array_equal(found[0], means.repeat(2, axis=0).repeat(2, axis=1))


def test_defocus_by_hand() -> None:
    # Severity 3, 25 px: a radius of 1 pixel spreads a point over itself, its 4 neighbours and 0.586 of its 4 diagonals.
    image = flat(0, side=25)
    image[0, 12, 12] = 255
    found = corrupt(image, name="defocus_blur", severity=3)[0, ..., 0]
    total = 1 + 4 + 4 * (2 - 2**0.5)
    across, diagonal = round(255 / total), round(255 * (2 - 2**0.5) / total)
    np.testing.assert_array_equal(
        found[11:14, 11:14], [[diagonal, across, diagonal], [across] * 3, [diagonal, across, diagonal]]
    )
    assert found.sum() == 5 * across + 4 * diagonal


@pytest.mark.parametrize("name", ["defocus_blur", "motion_blur", "zoom_blur", "elastic_transform", "pixelate"])
def test_an_even_image_stays_even(name: str) -> None:
    for severity in SEVERITIES:
        np.testing.assert_array_equal(corrupt(flat(93, 20), name=name, severity=severity), flat(93, 20))


def test_noise_has_the_stated_size() -> None:
    grey = flat(128, 200)
    gaussian = corrupt(grey, name="gaussian_noise", severity=1).astype(float)
    assert gaussian.std() == pytest.approx(0.04 * 255, rel=0.02) and gaussian.mean() == pytest.approx(128, abs=0.2)
    # 300 photons at white are 150.6 at level 128, with a standard deviation of their root.
    shot = corrupt(grey, name="shot_noise", severity=1).astype(float)
    assert shot.std() == pytest.approx(255 / 300 * 150.6**0.5, rel=0.02)
    impulse = corrupt(grey, name="impulse_noise", severity=4)
    assert (impulse == 0).mean() == pytest.approx(0.04, abs=0.004)
    assert (impulse == 255).mean() == pytest.approx(0.04, abs=0.004)
    assert set(np.unique(impulse)) == {0, 128, 255}


def test_fog_only_lightens_what_is_dark() -> None:
    image = textures.load("test", count=4)[0].clip(0, 200)
    found = corrupt(image, name="fog", severity=4)
    assert (found >= image).all() and found.mean() > image.mean() + 20


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="no corruption 'snow'; there are gaussian_noise, "):
        corrupt(flat(0), name="snow", severity=1)
    for severity in (0, 6):
        with pytest.raises(UserError, match=f"no severity {severity}; there are 1, 2, 3, 4, 5"):
            corrupt(flat(0), name="fog", severity=severity)


def test_the_card_names_all_of_them() -> None:
    source = yaml.safe_load((DATASETS / "shapes_c.yaml").read_text())["source"]
    assert source == {
        "type": "corrupted", "of": "shapes", "corruptions": list(CORRUPTIONS), "severities": list(SEVERITIES),
    }  # fmt: skip
