"""The embedded data set `shapes`: what it promises to the engine and to the eye."""

import importlib.util
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from sem_bench.errors import UserError
from tests.helpers.places import REPOSITORY


def _load_module() -> ModuleType:
    path = REPOSITORY / "datasets" / "shapes.py"
    spec = importlib.util.spec_from_file_location("shapes_under_test", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


shapes = _load_module()
STILL = shapes.Nuisances(
    diameter=(0.8, 0.8), rotation=0, stretch=0, background=(0.5, 0.5), contrast=(0.4, 0.4), inverted=0, tint=0,
    clutter=(0, 0), noise=(0, 0),
)  # fmt: skip


def _still(name: str, **changes: object) -> np.ndarray:
    # One generator for all: the same position, whatever the class.
    return np.asarray(shapes.draw(name, np.random.default_rng(0), nuisances=replace(STILL, **changes)))


def _figure(image: np.ndarray) -> np.ndarray:
    return image[..., 0] > 180


def test_families_partition_the_classes() -> None:
    assert len(shapes.CLASSES) == len(set(shapes.CLASSES)) == 20
    assert [len(members) for members in shapes.SUPERCLASSES.values()] == [4] * 5
    assert [name for members in shapes.SUPERCLASSES.values() for name in members] == shapes.CLASSES


@pytest.mark.parametrize("image_size", [32, 48])
def test_types_shapes_and_balance(image_size: int) -> None:
    images, labels = shapes.load("train", count=60, image_size=image_size)
    assert images.shape == (60, image_size, image_size, 3) and images.dtype == np.uint8
    assert labels.dtype == np.int64 and np.bincount(labels).tolist() == [3] * 20


def test_fewer_images_are_a_prefix_of_more() -> None:
    few, many = shapes.load("test", count=7, seed=3), shapes.load("test", count=40, seed=3)
    for a, b in zip(few, many, strict=True):
        np.testing.assert_array_equal(a, b[:7])


def test_splits_and_seeds_share_no_image() -> None:
    sets = [shapes.load(split, count=100, seed=seed)[0] for split in ("train", "test") for seed in (0, 1)]
    assert len({image.tobytes() for images in sets for image in images}) == 400


def test_the_data_are_those_that_were_calibrated() -> None:
    """A loose fingerprint: statistics that a change of the drawing moves, and that rounding does not."""
    images, labels = shapes.load("train", count=400)
    assert images.mean() == pytest.approx(127.6, abs=0.5)
    assert images.std() == pytest.approx(31.5, abs=0.5)
    darker = images.mean((1, 2, 3)) < 127.5
    assert 0.35 < darker.mean() < 0.65  # brightness must not give the class away
    assert all(0 < darker[labels == k].mean() < 1 for k in range(20))


def test_an_unknown_split_is_a_clear_mistake() -> None:
    with pytest.raises(UserError, match=r"no split 'val'.*train, test"):
        shapes.load("val", count=1)


def test_a_square_has_its_area_and_its_grey_levels() -> None:
    image = _still("square")
    # Half a side is 0.75 of the radius 0.4: the square is 0.6 of the image's side.
    assert _figure(image).mean() == pytest.approx(0.36, abs=0.04)
    assert image.min() == 128 and image.max() == round(255 * 0.9)


def test_the_hole_of_a_ring_shows_the_background() -> None:
    ring, target = _figure(_still("ring")), _figure(_still("target"))
    rows, columns = np.nonzero(ring)
    middle = (rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2
    assert not ring[middle] and target[middle]


def test_every_two_classes_differ_by_much_more_than_a_few_pixels() -> None:
    figures = np.stack([_figure(_still(name)) for name in shapes.CLASSES])
    differing = (figures[:, None] != figures[None]).sum((2, 3))
    assert differing[~np.eye(20, dtype=bool)].min() >= 20


@pytest.mark.parametrize(
    "change",
    [
        {"diameter": (0.5, 0.5)}, {"rotation": 45}, {"stretch": 0.5}, {"background": (0.3, 0.3)}, {"tint": 0.05},
        {"contrast": (0.2, 0.2)}, {"inverted": 1}, {"clutter": (3, 3)}, {"noise": (0.05, 0.05)},
    ],
)  # fmt: skip
def test_every_nuisance_changes_the_image(change: dict[str, object]) -> None:
    assert (_still("tee", **change) != _still("tee")).any()


@pytest.mark.parametrize("name", shapes.CLASSES)
def test_figures_stay_inside_the_image(name: str) -> None:
    wide = replace(STILL, diameter=shapes.STANDARD.diameter, rotation=45)
    for i in range(5):
        figure = _figure(shapes.draw(name, np.random.default_rng(i), nuisances=wide))
        assert figure.any()
        assert figure[[0, -1]].mean() < 0.15 and figure[:, [0, -1]].mean() < 0.15


def test_palette_is_near_grey() -> None:
    images, _ = shapes.load("train", count=200)
    spread = np.ptp(images.astype(int), axis=3)  # noise is grey, so a pixel's spread is its tint
    assert 0 < spread.mean() < 0.05 * 255


def test_drawing_is_fast() -> None:
    shapes.load("train", count=20)
    start = time.process_time()
    shapes.load("train", count=500)
    assert time.process_time() - start < 2.0  # measured: 0.1 s; the bound only catches a change of order


def test_contact_sheet_has_a_row_for_each_class(tmp_path: Path) -> None:
    shapes.contact_sheet(tmp_path / "sheet.png", columns=3, zoom=2)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * 34 * 2, 20 * 34 * 2)
        corner = np.asarray(sheet)[2:66:2, 2:66:2]
        second = np.asarray(sheet)[70:134:2, 2:66:2]
    images, _ = shapes.load("train", count=2)
    np.testing.assert_array_equal(corner, images[0])
    np.testing.assert_array_equal(second, images[1])
