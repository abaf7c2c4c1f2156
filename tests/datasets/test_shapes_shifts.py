"""The shifted test sets of `shapes`: what changes, what stays, and how it looks (`contact_sheet`)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from PIL import Image

from sem_bench.config.cards import load_code
from sem_bench.errors import UserError
from tests.helpers.places import REPOSITORY
from tests.helpers.shifted_shapes import contact_sheet

DATASETS = REPOSITORY / "datasets"
shifts = load_code(DATASETS / "shapes_shifts.py")
shapes = shifts.shapes

SQUARE = ((1, np.array([(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)])),)

Images = npt.NDArray[np.uint8]


def card(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DATASETS / f"{name}.yaml").read_text())
    return content


def mask(style: str, figure: object = SQUARE, seed: int = 0, image_size: int = 32) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = getattr(shifts, style)(np.random.default_rng(seed), figure, image_size)
    assert found.shape == (image_size, image_size, 1)
    return found[..., 0]


@pytest.mark.parametrize("shift", shifts.SHIFTS)
def test_cards_say_what_the_code_draws(shift: str) -> None:
    here, base = card(f"shapes_{shift}"), card("shapes")
    assert here["classes"] == shifts.SHIFTS[shift].classes
    assert here["classes"] == [name for name in base["classes"] if name in here["classes"]]  # the same order
    assert here["source"]["arguments"]["shift"] == shift
    assert here["source"]["code"] == "shapes_shifts.py" and here["source"]["uses"] == ["shapes.py"]
    assert (here["normalise"], here["image_size"]) == (base["normalise"], base["image_size"])
    assert list(here["splits"]) == ["test"] and here["splits"]["test"] % len(here["classes"]) == 0


def test_the_shifts_have_classes_of_every_family() -> None:
    counts = {
        name: [len(set(shift.classes) & set(family)) for family in shapes.SUPERCLASSES.values()]
        for name, shift in shifts.SHIFTS.items()
    }
    assert counts == {"v2": [4] * 5, "r": [3, 3, 2, 2, 2], "a": [2] * 5}


@pytest.mark.parametrize("shift", shifts.SHIFTS)
def test_types_balance_and_prefix(shift: str) -> None:
    classes = len(shifts.SHIFTS[shift].classes)
    images, labels = shifts.load("test", count=2 * classes, shift=shift, image_size=24, seed=3)
    assert images.shape == (2 * classes, 24, 24, 3) and images.dtype == np.uint8
    assert labels.dtype == np.int64 and np.bincount(labels).tolist() == [2] * classes
    few = shifts.load("test", count=7, shift=shift, image_size=24, seed=3)
    np.testing.assert_array_equal(few[0], images[:7])
    np.testing.assert_array_equal(few[1], labels[:7])


def test_shifts_and_seeds_have_streams_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn by shapes' own recipe, no image would be one of shapes' or of another shift's."""
    sets = [shapes.load(split, count=40)[0] for split in shapes.SPLITS]
    for name, shift in shifts.SHIFTS.items():
        plain = replace(shift, classes=shapes.CLASSES, nuisances=shapes.STANDARD, renders=(shifts.filled,))
        monkeypatch.setitem(shifts.SHIFTS, name, plain)
        sets += [shifts.load("test", count=40, shift=name, seed=seed)[0] for seed in (0, 1)]
    assert len({image.tobytes() for images in sets for image in images}) == 40 * len(sets)


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="no split 'train'; it has test"):
        shifts.load("train", count=1, shift="r")
    with pytest.raises(UserError, match="no shift 'x'; it has v2, r, a"):
        shifts.load("test", count=1, shift="x")


def test_an_outline_is_dark_at_the_edge_and_pale_inside() -> None:
    found = mask("outline", image_size=128)
    assert found[64, 64] == pytest.approx(shifts.PALE) and found[0, 0] == pytest.approx(0.0)
    assert found[64, 31:33].min() > 0.9  # the square's left side is at x = 32
    assert (found[64] > 0.5).sum() == pytest.approx(64 + 2 * 2.5, abs=2)  # the line is about 5 pixels wide
    assert found.max() <= 1.0


def test_an_outline_follows_the_union_of_the_polygons() -> None:
    halves = ((1, SQUARE[0][1] * (0.5, 1) + (0.125, 0)), (1, SQUARE[0][1] * (0.5, 1) + (0.375, 0)))
    np.testing.assert_allclose(mask("outline", halves), mask("outline"), atol=0.01)


def test_a_sketch_is_hatched_and_loose() -> None:
    found = mask("sketch")
    inside = found[12:20, 12:20]
    assert inside.min() < 0.45 and inside.max() > 0.75
    assert (found >= 0).all() and (found <= 1).all() and found[0, 0] < 0.01
    assert not np.allclose(found, mask("sketch", seed=1), atol=0.2)


def test_a_stencil_leaves_the_figure_free_and_fades() -> None:
    found = mask("stencil")
    assert found[16, 16] == 0.0
    # Pixel (16, 2): its middle lies 13.5 pixels left of the figure's and half a pixel below it; the radius is 8.
    assert found[16, 2] == pytest.approx(np.exp(-0.5 * (13.5**2 + 0.5**2) / (shifts.SPRAY * 8) ** 2))
    assert found[16, 2] > found[16, 0] > found[0, 0] > 0


def test_an_occluder_hides_a_part_under_an_even_grey() -> None:
    whole = mask("filled")
    hidden = []
    for seed in range(40):
        found = mask("occluded", seed=seed)
        inside = found[10:22, 10:22]
        hidden.append((inside < 0.99).mean())
        grey = inside.min()
        assert 0.0 <= grey <= 0.5 or hidden[-1] < 0.1
        corner = found[whole == 0]
        assert corner.max() <= 0.5 + 1e-9
    assert 0.2 < np.mean(hidden) < 0.6 and max(hidden) < 0.9


def test_every_rendition_occurs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three that ink nothing, a half and all: the image's level shows which one it was."""
    inks = [lambda rng, figure, size, ink=ink: np.full((size, size, 1), ink) for ink in (0.0, 0.5, 1.0)]
    still = shapes.Nuisances(
        background=(0.5, 0.5), contrast=(0.4, 0.4), inverted=0, tint=0, clutter=(0, 0), noise=(0, 0)
    )
    monkeypatch.setitem(shifts.SHIFTS, "r", replace(shifts.SHIFTS["r"], renders=tuple(inks), nuisances=still))
    levels = shifts.load("test", count=120, shift="r")[0].max((1, 2, 3))
    counts = [(abs(levels.astype(float) - 255 * level) < 1).sum() for level in (0.5, 0.7, 0.9)]
    assert min(counts) > 20 and sum(counts) == 120


@pytest.mark.parametrize(
    ("shift", "deviation", "within"),
    [("v2", 30.7, 24.5), ("r", 41.1, 23.7), ("a", 22.7, 18.3)],
)
def test_the_data_are_those_that_were_calibrated(shift: str, deviation: float, within: float) -> None:
    """A loose fingerprint. That of shapes: 31.5 and 26.0."""
    images, _ = shifts.load("test", count=400, shift=shift)
    assert images.mean() == pytest.approx(128, abs=2.5)
    assert images.std() == pytest.approx(deviation, abs=0.8)
    assert images.std((1, 2, 3)).mean() == pytest.approx(within, abs=0.6)


def test_contact_sheet(tmp_path: Path) -> None:
    contact_sheet(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size < 150_000
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (12 * 34, 10 * 34)
        second: Images = np.asarray(sheet.convert("RGB"))[35:67, 1:33]
    original = shifts.load("test", count=1, shift="r")[0][0]
    assert np.abs(second.astype(int) - original).mean() < 8  # 256 colours keep the file small
