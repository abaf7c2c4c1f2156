"""The pictures of an arm on the page of a suite: images, views, and what simplices answer to."""

import base64
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import sem_bench
from sem_bench.cli import main
from sem_bench.config.cards import Library
from sem_bench.data.card import dataset_card
from sem_bench.data.dataset import DataSet
from sem_bench.data.loading import load
from tests.helpers.pages import Element, read

Pixels = npt.NDArray[np.int64]


def arms(*options: str) -> list[Element]:
    """Those of the page of the results here."""
    assert main(["report", "results", "--out", "page.html", *options]) == 0
    page = read(Path("page.html").read_text())
    return [one for one in page.all("details") if one.attributes.get("class") == "arm"]


def strips(arm: Element) -> dict[str, Pixels]:
    """What each caption stands below: (tiles, H, W, 3)."""
    found = {}
    for image in arm.all("img"):
        start, _, data = str(image.attributes["src"]).partition(",")
        assert start == "data:image/jpeg;base64"
        sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
        side = sheet.shape[0]
        assert (sheet.shape[1] + 2) % (side + 2) == 0
        tiles = [sheet[:, at : at + side] for at in range(0, sheet.shape[1], side + 2)]
        found[str(image.attributes["alt"])] = np.stack(tiles)
    return found


@pytest.fixture
def results(folder: Path) -> Path:
    """Pretrainings of one epoch, with and without SEM."""
    assert main(["run", "suite.yaml", "--only", "pretrain/", "knn/"]) == 0
    return folder


def test_each_arm_has_its_images_views_and_simplices(results: Path) -> None:
    plain, sem = map(strips, arms())
    common = ["Images of the first batch", "View 1 of each, in the first step", "View 2 of each, in the first step"]
    assert list(plain) == [*common, "8 test images of toy"]
    assert list(sem)[:4] == list(plain) and len(sem) == 4 + 4  # four simplices
    for name in common:
        assert plain[name].shape == sem[name].shape and np.array_equal(plain[name], sem[name])  # the same for both
    first, second = (plain[name] for name in common[1:])
    assert np.abs(first - second).mean() > 3  # two views

    card = dataset_card(Library(results), "toy")
    toy = DataSet(card, Library(results), results)
    images = load(toy.labelled(), "test", toy.place).images
    assert images is not None
    p = sem_bench.load_encoder("results", arm="simclr/sem", output="embedding")(images / 255)
    for caption, tiles in list(sem.items())[4:]:
        simplex, entry = (int(word.strip(",:")) - 1 for word in (caption.split()[1], caption.split()[3]))
        own = p.unflatten(1, (3, 4))[:, entry, simplex]
        assert f"p = {own.max():.2f} to" in caption and f"{own.mean():.2f} in the mean of 80 test images" in caption
        for row, tile in zip(own.topk(8).indices.tolist(), tiles, strict=True):
            assert np.abs(images[row].permute(1, 2, 0).numpy().astype(int) - tile).mean() < 8  # a JPEG


def test_what_is_absent_is_said_and_the_page_is_written(results: Path) -> None:
    toy = Path("datasets/toy.py")
    toy.write_text(toy.read_text() + "\n\ndef load(**_):\n    raise RuntimeError('away')\n")
    for arm in arms():
        assert not arm.all("img") and "No pictures: " in arm.text
    for path in Path("results/pretrain").glob("*/checkpoint.pt"):
        path.unlink()
    assert all("No pictures: no encoders lie here; a record keeps none" in arm.text for arm in arms())
