"""Real data: every kind of source through the command line, damaged ones, subsets, and data larger than memory."""

import gzip
import json
import os
import re
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from sem_bench.base.files import file_digest
from sem_bench.cli import main
from sem_bench.config.cards import Library
from sem_bench.config.fields import SplitName
from sem_bench.data import corruptions, loading
from sem_bench.data.card import dataset_card
from sem_bench.data.dataset import DataSet
from sem_bench.data.described import Data, LabelledData
from sem_bench.data.images import central
from sem_bench.data.loading import chosen
from sem_bench.data.readers.opened import Opened
from sem_bench.data.sources.corrupted import CorruptedSource
from sem_bench.data.split import Split
from sem_bench.data.threads import AHEAD
from sem_bench.evaluations.measures import features
from sem_bench.runs.plan import read_plan
from sem_bench.training.job import PretrainJob
from sem_bench.training.views import ViewPlan, Views
from tests.helpers.datasets import write_unlabelled
from tests.helpers.places import REPOSITORY
from tests.helpers.toy import SUITE, write

PHOTOS = """
summary: squares of colour
source: {type: folder, path: photos}
splits: {train: 60, test: 30}
image_size: 16
classes: [red, green, blue]
normalise: {mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
licence: none needed
"""
COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}
SMALL = SUITE.replace("[toy]", "[photos]").replace("batch_size: 50", "batch_size: 20")
RUN = ["run", "suite.yaml", "--only", "simclr-sem"]


def photos(folder: Path, *, ending: str = "png", size: tuple[int, int] = (16, 16), mixed: bool = False) -> Path:
    """data/photos: noise around the colour of the class, 20 training and 10 test images of each."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 10)):
        for name, colour in COLOURS.items():
            place = folder / "data/photos" / split / name
            place.mkdir(parents=True)
            for i in range(count):
                width, height = (size[0] + i % 5, size[1] + i % 3) if mixed else size
                pixels = rng.normal(colour, 40, (height, width, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{i:02}.{ending}")
    return folder / "data/photos"


@pytest.fixture
def here(folder: Path) -> Path:
    """A user's folder with a suite on data/photos."""
    write(folder, "suite.yaml", SMALL)
    write(folder, "datasets/photos.yaml", PHOTOS)
    return folder


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The only line that a refused run says."""
    capsys.readouterr()
    assert main(RUN) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def failure(capsys: pytest.CaptureFixture[str]) -> str:
    """What the first job says that reads a damaged image: `run` looks at the names and sizes of files beforehand."""
    capsys.readouterr()
    assert main(RUN) == 1
    found = re.search(r"failed in .* s, UserError: (.*) \(see ", capsys.readouterr().err)
    assert found is not None
    return found[1]


def result(folder: Path, kind: str) -> dict[str, Any]:
    (path,) = folder.glob(f"results/{kind}/*/result.json")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def opened(folder: Path, name: str = "photos", **limits: int) -> tuple[LabelledData, DataSet]:
    """A data set of the user's folder."""
    library = Library(folder)
    found = DataSet(dataset_card(library, name), library, folder / "data")
    return found.labelled(**limits), found


# --- sources ---------------------------------------------------------------------------------------------------------


def test_an_image_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos(here)
    (here / "data/photos/train/red/.DS_Store").write_text("no image")
    (here / "data/photos/train/red/notes.txt").write_text("no image")
    assert main(RUN) == 0
    assert "sem: L=4, V=3" in capsys.readouterr().out
    split = loading.load(*_load_arguments(here, "train"))
    assert split.images is not None and split.images.shape == (60, 3, 16, 16)
    for label, name in enumerate(["red", "green", "blue"]):  # the card's order, which is not the alphabet's
        mean = split.images[split.labels == label].double().mean((0, 2, 3))
        assert np.allclose(mean, COLOURS[name], atol=4)
    assert main(RUN) == 0
    assert "0 done, 4 reused" in capsys.readouterr().err
    photos_moved = here / "elsewhere"
    (here / "data").rename(photos_moved)
    assert main([*RUN, "--data", str(photos_moved)]) == 0  # where data lie is not what they are
    assert "0 done, 4 reused" in capsys.readouterr().err


def _load_arguments(here: Path, split: SplitName) -> tuple[Data, SplitName, Any]:
    described, found = opened(here)
    return described, split, found.place


def test_files_that_changed_void_the_results(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    top = photos(here)
    assert main(RUN) == 0
    Image.new("RGB", (16, 16)).save(top / "train/red/00.png")
    assert main(RUN) == 0
    assert "4 done, 0 reused" in capsys.readouterr().err


def test_pretraining_without_labels_and_evaluating_elsewhere(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_unlabelled(folder)
    write(folder, "suite.yaml", SUITE.replace("[toy]", "[snaps]").replace("size: 50", "size: 20"))
    assert main(["plan", "suite.yaml"]) == 2
    assert capsys.readouterr().err == (
        "suite.yaml:7: 'snaps' has no labelled train and test images, which probe needs; "
        "`evaluate_on` names the data set to evaluate on, and entropy and rank need none\n"
    )
    both = ["--set", "grid.evaluate_on=toy"]
    assert main([*RUN, *both]) == 0
    assert "tiny: snaps > toy, resnet10w16s2" in capsys.readouterr().out
    pretrain, knn = result(folder, "pretrain"), result(folder, "knn")
    assert pretrain["config"]["data"]["name"] == "snaps" and knn["config"]["data"]["name"] == "toy"
    assert pretrain["provenance"]["data"].keys() == {"train"}
    assert knn["config"]["data"]["normalise"] == pretrain["config"]["data"]["normalise"]
    assert main(["plan", "suite.yaml", *both, "--set", "grid.methods=[supervised]"]) == 2
    assert "supervised reads labels, which 'snaps' does not have" in capsys.readouterr().err
    assert main(["plan", "suite.yaml", "--set", "grid.evaluate_on=tyo"]) == 2
    assert "unknown dataset 'tyo'; did you mean 'toy'?" in capsys.readouterr().err


def arrays(folder: Path, **changes: Any) -> None:
    """data/photos.npz as MedMNIST writes it: labels in a column."""
    rng = np.random.default_rng(0)
    content: dict[str, Any] = {}
    for split, count in (("train", 60), ("test", 30)):
        content[f"{split}_images"] = rng.integers(0, 255, (count, 16, 16, 3), np.uint8)
        content[f"{split}_labels"] = np.arange(count)[:, None] % 3
    content |= changes
    (folder / "data").mkdir(exist_ok=True)
    np.savez(folder / "data/photos.npz", **{k: v for k, v in content.items() if v is not None})


NPZ = PHOTOS.replace("{type: folder, path: photos}", "{type: npz, path: photos.npz}")


def test_arrays(here: Path) -> None:
    write(here, "datasets/photos.yaml", NPZ)
    grey = np.random.default_rng(1).integers(0, 255, (60, 16, 16), np.uint8)
    arrays(here, train_images=grey)
    assert main(RUN) == 0
    split = loading.load(*_load_arguments(here, "train"))
    assert split.images is not None
    assert torch.equal(split.images, torch.from_numpy(grey)[:, None].expand(-1, 3, -1, -1))
    assert split.labels.tolist() == [i % 3 for i in range(60)]


TORCHVISION = PHOTOS.replace("{type: folder, path: photos}", "{type: torchvision, class: MNIST, path: tv}").replace(
    "[red, green, blue]",
    "[0_zero, 1_one, 2_two, 3_three, 4_four, 5_five, 6_six, 7_seven, 8_eight, 9_nine]",
)


def mnist(folder: Path) -> None:
    """data/tv/MNIST/raw in the published format, with 60 and 30 images of 16 px."""
    raw = folder / "data/tv/MNIST/raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 60), ("t10k", 30)):
        pixels = rng.integers(0, 255, (count, 16, 16), np.uint8)
        head = b"".join(number.to_bytes(4, "big") for number in (0x803, count, 16, 16))
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = b"".join(number.to_bytes(4, "big") for number in (0x801, count))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(head + (np.arange(count, dtype=np.uint8) % 10).tobytes())


def test_a_class_of_torchvision(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, "datasets/photos.yaml", TORCHVISION)
    assert main(RUN) == 2
    assert capsys.readouterr().err.splitlines()[0] == "no data for 'photos': data/tv is absent"
    mnist(here)
    assert main(RUN) == 0
    split = loading.load(*_load_arguments(here, "test"))
    assert split.images is not None and split.images.shape == (30, 3, 16, 16)
    assert split.labels.tolist() == [i % 10 for i in range(30)]


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("class: MNIST", "class: MNITS", "datasets/photos.yaml:2: torchvision has no data set 'MNITS'; did you mean"),
        ("1_one", "one", "datasets/photos.yaml: torchvision's MNIST, train: class 1 is '1 - one', but the card says"),
        (
            "path: tv",
            "path: empty",
            "datasets/photos.yaml: torchvision's MNIST, train: RuntimeError: Dataset not found",
        ),
        ("train: 60", "train: 61", "torchvision's MNIST, train: 60 images, but datasets/photos.yaml says train: 61"),
        ("path: tv", "path: tv, arguments: {train: {big: true}}", "TypeError"),
    ],
)
def test_a_class_of_torchvision_that_does_not_fit(
    here: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, expected: str
) -> None:
    mnist(here)
    (here / "data/empty").mkdir()
    assert right in TORCHVISION
    write(here, "datasets/photos.yaml", TORCHVISION.replace(right, wrong))
    assert expected in one_line(capsys)


def test_an_archive_is_unpacked_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    top = photos(here)
    with zipfile.ZipFile(here / "data/photos.zip", "w") as file:
        for path in sorted(top.rglob("*.png")):
            file.write(path, f"some-top-folder/{path.relative_to(top)}")
    top.rename(here / "before")
    packed = f"path: photos, archive: photos.zip, sha256: '{'0' * 64}'"
    write(here, "datasets/photos.yaml", PHOTOS.replace("path: photos", packed))
    assert "data/photos.zip: not the archive of the card, whose SHA-256 is 000" in one_line(capsys)
    right = packed.replace("0" * 64, file_digest(here / "data/photos.zip"))
    write(here, "datasets/photos.yaml", PHOTOS.replace("path: photos", right))
    assert main(["plan", "suite.yaml"]) == 0
    assert "no data" not in capsys.readouterr().out
    assert main(RUN) == 0
    assert sorted(p.name for p in top.rglob("*.png")) == sorted(p.name for p in (here / "before").rglob("*.png"))
    (here / "data/photos.zip").unlink()
    assert main(RUN) == 0
    assert "0 done, 4 reused" in capsys.readouterr().err


# --- damaged input ---------------------------------------------------------------------------------------------------


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _empty(path: Path) -> None:
    for file in path.iterdir():
        file.unlink()


def _links(path: Path) -> None:
    for number in (1, 2):  # with two each level has twice as many folders as the one above
        (path / f"loop{number}").symlink_to("..")


FOLDER_DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (
        lambda top: _cut(top / "test/blue/03.jpg"),
        "data/photos/test/blue/03.jpg: damaged image (image file",
    ),
    "no image": (
        lambda top: (top / "train/red/05.jpg").write_text("<html>"),
        "data/photos/train/red/05.jpg: not an im",
    ),
    "empty file": (
        lambda top: (top / "train/red/05.jpg").write_bytes(b""),
        "data/photos/train/red/05.jpg: not an image",
    ),
    "empty class": (lambda top: _empty(top / "train/green"), "data/photos/train/green: no image in the folder of this"),
    "class missing in test": (
        lambda top: (top / "test/blue").rename(top / "blue"),
        "data/photos/test: no folder for class 'blue'",
    ),
    "misspelt class": (
        lambda top: (top / "train/green").rename(top / "train/gren"),
        "data/photos/train/gren: no class of the card; did you mean 'green'?",
    ),
    "stray image": (
        lambda top: (top / "train/red/00.jpg").rename(top / "train/00.jpg"),
        "data/photos/train/00.jpg: an image outside the folders of the classes",
    ),
    "one image less": (
        lambda top: (top / "train/red/00.jpg").unlink(),
        "data/photos/train: 59 images, but datasets/photos.yaml says train: 60",
    ),
    "no test folder": (
        lambda top: (top / "test").rename(top / "tset"),
        "data/photos/test: no such folder; datasets/pho",
    ),
    "a huge image": (
        lambda top: Image.new("1", (14_000, 13_000)).save(top / "train/red/05.jpg", "PNG"),
        "data/photos/train/red/05.jpg: 182 megapixels, above the limit of 179; tile or shrink it, or "
        "write `max_pixels: 182000000`",
    ),
    "links that lead round": (
        lambda top: _links(top / "train/red"),
        "data/photos/train/red/loop",
    ),
    "a pipe": (
        lambda top: os.mkfifo(top / "train/red/x.jpg"),
        "data/photos/train/red/x.jpg: no file, but a pipe or device",
    ),
    "a link to nothing": (
        lambda top: (top / "train/red/zz.jpg").symlink_to("nowhere.jpg"),
        "data/photos/train/red/zz.jpg: a link to nothing",
    ),
}


@pytest.mark.parametrize("name", FOLDER_DAMAGE)
def test_a_damaged_folder(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, expected = FOLDER_DAMAGE[name]
    damage(photos(here, ending="jpg"))
    line = failure if name in ("truncated", "no image", "empty file", "a huge image") else one_line
    assert line(capsys).startswith(expected)
    assert main(["doctor", "suite.yaml"]) == 2
    assert expected in capsys.readouterr().out


def test_a_damaged_image_that_only_a_stream_meets(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    top = photos(here, ending="jpg", mixed=True)
    _cut(top / "train/blue/19.jpg")
    assert main(["doctor", "suite.yaml"]) == 2
    assert "photos: FAULTY: data/photos/train/blue/19.jpg: damaged image" in capsys.readouterr().out
    assert main(RUN) == 1  # the images were not looked at before training; the job says which one it was
    assert "data/photos/train/blue/19.jpg: damaged image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train_images": np.zeros((60, 16, 16, 3))}, "data/photos.npz: train: images are float64 (60, 16, 16, 3)"),
        (
            {"train_images": np.zeros((60, 16, 17, 3), np.uint8)},
            "images are uint8 (60, 16, 17, 3); expected images uint8",
        ),
        (
            {"train_images": np.zeros((60, 2, 16, 16), np.uint8)},
            "images are uint8 (60, 2, 16, 16); expected images uint8",
        ),
        ({"train_images": np.zeros((59, 16, 16, 3), np.uint8)}, "images are uint8 (59, 16, 16, 3)"),
        ({"train_labels": np.zeros(60)}, "labels are float64 (60,); expected"),
        ({"train_labels": np.zeros((60, 2), int)}, "labels are int64 (60, 2); expected"),
        ({"train_labels": np.arange(60) % 4}, "data/photos.npz: train: label 3, but the card names 3 classes, 0 to 2"),
        ({"test_labels": np.arange(30) % 2}, "data/photos.npz: test: no image of class 'blue'"),
        ({"test_labels": None, "test_label": np.arange(30)}, "no array 'test_labels'; did you mean 'test_label'?"),
        ({"train_labels": np.array([{}] * 60)}, "data/photos.npz: damaged, or no .npz (Object arrays cannot be loaded"),
    ],
)
def test_arrays_that_do_not_fit(
    here: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], expected: str
) -> None:
    write(here, "datasets/photos.yaml", NPZ)
    arrays(here, **changes)
    assert expected in one_line(capsys)


@pytest.mark.parametrize("content", [b"", b"no zip", gzip.compress(b"x", mtime=0), "cut", "npy"])
def test_files_that_are_no_npz(here: Path, capsys: pytest.CaptureFixture[str], content: bytes | str) -> None:
    write(here, "datasets/photos.yaml", NPZ)
    arrays(here)
    path = here / "data/photos.npz"
    if content == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        path.write_bytes(path.read_bytes()[:5000] if isinstance(content, str) else content)
    assert one_line(capsys).startswith("data/photos.npz: damaged, or no .npz (")


@pytest.mark.parametrize("kind", ["traversal", "symlink"])
def test_a_malicious_archive(here: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    write(here, "datasets/photos.yaml", PHOTOS.replace("path: photos", "path: photos, archive: photos.tar"))
    (here / "data").mkdir()
    with tarfile.open(here / "data/photos.tar", "w") as file:
        member = tarfile.TarInfo("../../evil.png" if kind == "traversal" else "train/red/link.png")
        if kind == "symlink":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(member)
    line = one_line(capsys)
    assert line.startswith("data/photos.tar: ") and member.name in line
    assert [path.name for path in (here / "data").iterdir()] == ["photos.tar"]


# --- subsets ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.data())
def test_a_subset_is_proportionate_and_holds_every_smaller_one(labels: list[int], draw: st.DataObject) -> None:
    here = Opened("", len(labels), np.array(labels), lambda row: Image.new("RGB", (1, 1)))
    large = draw.draw(st.integers(1, len(labels)))
    small = draw.draw(st.integers(1, large))
    rows = chosen(here, large)
    assert len(rows) == large and sorted(set(rows.tolist())) == rows.tolist()
    assert set(chosen(here, small).tolist()) <= set(rows.tolist())
    for label in set(labels):
        exact = large * labels.count(label) / len(labels)
        assert abs(sum(labels[row] == label for row in rows) - exact) <= len(set(labels))


def test_a_suite_may_use_fewer_images(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos(here)
    few = ["--set", "grid.images={train: 30, test: 12}"]
    assert main([*RUN, *few]) == 0
    assert "tiny: photos (30 train, 12 test), resnet10w16s2" in capsys.readouterr().out
    assert result(here, "pretrain")["config"]["data"]["limit"] == 30
    (probe,) = here.glob("results/probe/*100pc*/predictions.bin")
    assert json.loads(probe.with_name("result.json").read_text())["metrics"]["predictions"].startswith("4 rows of 12 b")
    whole = {job.digest for job in read_plan(Path("suite.yaml")).jobs}
    assert whole == {job.digest for job in read_plan(Path("suite.yaml"), ["grid.images.train=60"]).jobs}
    assert not whole & {job.digest for job in read_plan(Path("suite.yaml"), ["grid.images.train=30"]).jobs}
    described, found = opened(here, limit=30)
    split = loading.load(described, "train", found.place)
    assert torch.bincount(split.labels).tolist() == [10, 10, 10]
    for setting, expected in (
        ("train: 61", "suite.yaml:4: grid.images.train: 61, but 'photos' has 60 training images"),
        ("test: 2", "grid.images.test: 2 images for 3 classes"),
        ("train: 15", "simclr's 20 images a step are more than the 15 training images of 'photos'"),
        ("tests: 9", "unknown key 'tests' in grid.images; did you mean 'test'?"),
    ):
        assert main(["plan", "suite.yaml", "--set", f"grid.images={{{setting}}}"]) == 2
        assert expected.removeprefix("suite.yaml:4: ") in capsys.readouterr().err


# --- in memory and not -----------------------------------------------------------------------------------------------


def views(here: Path, memory: int, *, first: int = 0, workers: int = 2) -> Views:
    """The views that the suite's first pretraining sees."""
    (job, *_) = read_plan(Path("suite.yaml")).jobs
    assert isinstance(job.config, PretrainJob)
    split = loading.load(job.config.data, "train", job.place, memory=memory, workers=workers)
    assert (split.images is None) == (memory == 1)
    return Views(ViewPlan.of(job.config), split, torch.device("cpu"), first=first, last=6)


def test_a_stream_gives_the_views_of_memory(here: Path) -> None:
    photos(here, size=(24, 20))
    with views(here, 2**30) as resident, views(here, 1) as streamed:
        for step in range(6):
            mine, theirs = resident.batch(step), streamed.batch(step)
            assert torch.equal(mine.indices, theirs.indices)
            for a, b in zip(mine.views, theirs.views, strict=True):
                assert a.shape == b.shape == (20, 3, 16, 16)
                # Pillow rounds crops to 8 bits, 1/255 and, by the card's std, 4/255; the jitter can double that.
                assert (a - b).abs().mean() < 4 / 255 and (a - b).abs().max() < 16 / 255


def test_a_stream_goes_on_anywhere(here: Path) -> None:
    photos(here, mixed=True)
    with views(here, 1) as whole, views(here, 1, first=4, workers=1) as rest:
        batches = [whole.batch(step) for step in range(6)]
        for step in (4, 5):
            assert all(torch.equal(a, b) for a, b in zip(batches[step].views, rest.batch(step).views, strict=True))


def test_a_stream_reads_only_a_little_ahead(here: Path) -> None:
    photos(here, mixed=True)
    (job, *_) = read_plan(Path("suite.yaml")).jobs
    assert isinstance(job.config, PretrainJob)
    split = loading.load(job.config.data, "train", job.place)
    reads: list[int] = []

    def counted(row: int) -> Image.Image:
        reads.append(row)
        return split.read(row)

    counting = Split(split.labels, "", 16, 16, None, counted, workers=2)
    with Views(ViewPlan.of(job.config), counting, torch.device("cpu"), first=0, last=600) as stream:
        stream.batch(0)
        stream.batch(1)
        time.sleep(0.5)  # the workers would go on if nothing held them
    assert 40 <= len(reads) <= 40 + (AHEAD * 2 + 2) * 16


@pytest.mark.parametrize("memory", ["0.000001", "1"])
def test_a_whole_run_on_images_of_many_sizes(here: Path, memory: str) -> None:
    photos(here, mixed=True, ending="jpg")
    write(here, "datasets/photos.yaml", PHOTOS.replace("image_size: 16", "image_size: 16\nresize: 18"))
    assert main([*RUN, "--memory", memory, "--workers", "2"]) == 0
    split = loading.load(*_load_arguments(here, "test"))
    assert split.images is None
    reference = Compose([Resize(18), CenterCrop(16)])
    with Image.open(here / "data/photos/test/blue/03.jpg") as image:
        expected = np.asarray(reference(image))
    assert np.array_equal(next(split.prepared())[3].permute(1, 2, 0).numpy(), expected)


@given(st.integers(8, 40), st.integers(8, 40), st.integers(8, 24), st.integers(0, 8))
def test_evaluation_sees_what_torchvision_would_show(width: int, height: int, size: int, more: int) -> None:
    pixels = np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)
    image = Image.fromarray(pixels)
    reference = Compose([Resize(size + more), CenterCrop(size)])
    assert np.array_equal(np.asarray(central(image, resize=size + more, size=size)), np.asarray(reference(image)))


def test_reduced_images_stay_in_memory(here: Path) -> None:
    photos(here, size=(40, 30), mixed=True)
    write(here, "datasets/photos.yaml", PHOTOS.replace("image_size: 16", "image_size: 16\nreduce: 20"))
    split = loading.load(*_load_arguments(here, "train"))
    assert split.images is not None and split.images.shape == (60, 3, 20, 20)
    assert main(RUN) == 0


def test_the_same_features_from_memory_and_from_a_stream(here: Path) -> None:
    photos(here)
    assert main([*RUN, "--set", "pretrain.epochs=0", "--results", "a/results"]) == 0
    assert main([*RUN, "--set", "pretrain.epochs=0", "--results", "b/results", "--memory", "0.000001"]) == 0
    for kind in ("knn", "probe"):
        mine, theirs = (
            {path.parent.name: json.loads(path.read_text())["metrics"] for path in (here / part).rglob("result.json")}
            for part in (f"a/results/{kind}", f"b/results/{kind}")
        )
        assert mine and mine == theirs
    used = [json.loads(next((here / part).glob("results/knn/*/result.json")).read_text()) for part in ("a", "b")]
    assert [result["provenance"]["images"]["test"] for result in used] == ["in memory", "streamed"]
    assert used[0]["provenance"]["data"] == used[1]["provenance"]["data"]


@pytest.mark.parametrize(
    ("option", "value"), [("--memory", "0"), ("--memory", "-1"), ("--memory", "much"), ("--workers", "0")]
)
def test_limits_that_are_none(here: Path, capsys: pytest.CaptureFixture[str], option: str, value: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*RUN, option, value])
    assert stopped.value.code == 2
    said = f"argument {option}: must be a {'whole ' * (option == '--workers')}number above 0, found '{value}'"
    assert said in capsys.readouterr().err


# --- profiles --------------------------------------------------------------------------------------------------------

PROFILES = (
    SUITE
    + """
profile: short
profiles:
  short: {pretrain: {epochs: 1}}
  long: {name: tiny_long, seeds: [3], pretrain: {epochs: 7}}
"""
)


def test_a_suite_with_profiles(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", PROFILES)
    for settings, name, epochs, seed in (
        ([], "tiny", 1, 0),
        (["profile=long"], "tiny_long", 7, 3),
        (["pretrain.epochs=2", "profile=long", "seeds=[4]"], "tiny_long", 2, 4),
    ):
        plan = read_plan(Path("suite.yaml"), settings)
        job = plan.jobs[0]
        assert (plan.suite.name, job.cell.epochs, job.cell.seed) == (name, epochs, seed)
        assert plan.suite.profile == ("long" if settings else "short")
    assert {j.digest for j in read_plan(Path("suite.yaml"), ["pretrain.epochs=2", "profile=short"]).jobs} == {
        j.digest for j in read_plan(write(folder, "plain.yaml", SUITE)).jobs
    }


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("profile: short", "profile: shrot", "suite.yaml:13: unknown profile 'shrot'; did you mean 'short'?"),
        ("profile: short", "", "suite.yaml:14: `profile` names none of them"),
        ("epochs: 1}}", "epoch: 1}}", "suite.yaml:15: unknown key 'epoch' in pretrain; did you mean 'epochs'?"),
        ("epochs: 7}}", "epochs: many}}", "suite.yaml:16: pretrain.epochs: should be a valid integer, found 'many'"),
        (
            "short: {pretrain: {epochs: 1}}",
            "short: 3",
            "suite.yaml:14: profiles: expected names, and below each the va",
        ),
    ],
)
def test_mistakes_in_profiles(
    folder: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, expected: str
) -> None:
    assert right in PROFILES
    write(folder, "suite.yaml", PROFILES.replace(right, wrong))
    assert main(["plan", "suite.yaml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith(expected)
    assert main(["plan", "suite.yaml", "--set", "profile=lon"]) == 2
    assert len(capsys.readouterr().err.splitlines()) <= 2


# --- shifted sets ----------------------------------------------------------------------------------------------------


def shapes() -> DataSet:
    library = Library(REPOSITORY)
    return DataSet(dataset_card(library, "shapes"), library, REPOSITORY / "data")


@pytest.mark.parametrize(("name", "count", "classes"), [("v2", 2000, 20), ("r", 1800, 12), ("a", 1500, 10)])
def test_the_shifts_of_shapes(name: str, count: int, classes: int) -> None:
    described, place = shapes().shift(name)
    base = shapes().labelled()
    assert len(described.classes) == classes and set(described.classes) <= set(base.classes)
    assert described.normalise == base.normalise and described.counts == {"test": count}
    split = loading.load(described, "test", place)
    assert len(split) == count and set(split.labels.tolist()) == set(range(classes))
    assert split.fingerprint != loading.load(base, "test", shapes().place).fingerprint


def test_the_corrupted_shapes_are_the_test_images_corrupted() -> None:
    described, place = shapes().shift("c")
    assert isinstance(described.source, CorruptedSource)
    clean = loading.load(shapes().labelled(), "test", shapes().place)
    noisy = loading.corrupted(described, place, name="gaussian_noise", severity=5)
    assert torch.equal(noisy.labels, clean.labels) and noisy.fingerprint != clean.fingerprint
    assert clean.images is not None
    pixels = clean.images.permute(0, 2, 3, 1).numpy()
    expected = corruptions.corrupt(pixels, name="gaussian_noise", severity=5)  # all at once
    assert np.array_equal(torch.cat(list(noisy.prepared())).permute(0, 2, 3, 1).numpy(), expected)
    other = DataSet(dataset_card(Library(REPOSITORY), "shapes"), Library(REPOSITORY), REPOSITORY)
    other.card = other.card.model_copy(update={"splits": {"train": 5000, "test": 1999}})
    assert other.shift("c")[0].code != described.code  # another base, other corrupted images


SHIFT = """
summary: some of the classes
source: {type: folder, path: hard}
splits: {test: 10}
image_size: 16
classes: [green, blue]
licence: none needed
"""
CORRUPTED = """
summary: noise
source: {type: corrupted, of: photos, corruptions: [gaussian_noise], severities: [1, 5]}
licence: none needed
"""


@pytest.mark.parametrize(
    ("file", "right", "wrong", "expected"),
    [
        (
            "hard",
            "[green, blue]",
            "[green, bleu]",
            "photos.yaml:8: 'hard' has a class 'bleu' that 'photos' lacks; did you",
        ),
        ("hard", "image_size: 16", "image_size: 32", "photos.yaml:8: 'hard' needs a test split and images of 16 px"),
        ("hard", "splits: {test: 10}", "", "hard.yaml:1: missing key 'splits'"),
        ("hard", "splits: {test: 10}", "splits: {train: 10}", "hard.yaml:1: missing key 'normalise'"),
        (
            "noisy",
            "gaussian_noise",
            "gausian_noise",
            "unknown corruption 'gausian_noise'; did you mean 'gaussian_noise'?",
        ),
        ("noisy", "of: photos", "of: toy", "photos.yaml:9: 'noisy' is made of 'toy'"),
        ("noisy", "[1, 5]", "[1, 6]", "noisy.yaml:2: source.severities[1]: should be less than or equal to 5, found 6"),
        (
            "noisy",
            "licence",
            "image_size: 16\nlicence",
            "noisy.yaml:1: image_size comes from 'photos', which the corrupted",
        ),
        ("photos", "v2: hard", "v2: hrad", "photos.yaml:8: unknown dataset 'hrad'; did you mean 'hard'?"),
        ("photos", "path: photos", "pth: photos", "photos.yaml:2: unknown key 'pth' in source; did you mean 'path'?"),
        ("photos", "path: photos", "archive: photos.zip", "photos.yaml:2: missing key 'path' in source"),
        (
            "photos",
            "type: folder",
            "type: foldr",
            "photos.yaml:2: source.type: unknown type 'foldr'; did you mean 'folder'?",
        ),
        ("photos", "type: folder, ", "", "photos.yaml:2: missing key 'type' in source"),
        ("photos", "image_size: 16", "image_size: 16\nresize: 12", "photos.yaml:1: resize: 12 is below image_size, 16"),
        ("photos", "image_size: 16", "image_size: 16\nreduce: 12", "photos.yaml:1: reduce: 12 is below image_size, 16"),
        (
            "photos",
            "classes: [red, green, blue]\n",
            "",
            "photos.yaml:1: splits: a data set without classes has only train",
        ),
        ("photos", ", test: 30", "", "photos.yaml:1: shifts belong to a data set with train and test"),
    ],
)
def test_mistakes_in_cards(
    here: Path, capsys: pytest.CaptureFixture[str], file: str, right: str, wrong: str, expected: str
) -> None:
    cards = {"photos": PHOTOS + "shifts: {v2: hard,\n  c: noisy}\n", "hard": SHIFT, "noisy": CORRUPTED}
    for name, text in cards.items():
        write(here, f"datasets/{name}.yaml", text)
    assert main(["plan", "suite.yaml"]) == 0
    assert right in cards[file]
    write(here, f"datasets/{file}.yaml", cards[file].replace(right, wrong, 1))
    assert expected in one_line(capsys)


def test_a_shifted_set_is_nothing_to_train_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, "datasets/photos.yaml", PHOTOS)
    write(here, "datasets/hard.yaml", SHIFT)
    assert main(["plan", "suite.yaml", "--set", "grid.datasets=[hard]"]) == 2
    assert "'hard' is a shifted test set: it has no train split" in capsys.readouterr().err


def test_code_that_a_card_uses_counts(folder: Path) -> None:
    toy = (folder / "datasets/toy.py").read_text()
    write(folder, "datasets/shared.py", toy)
    write(
        folder,
        "datasets/toy.py",
        """
        from pathlib import Path

        from sem_bench.cards import load_code


        def load(split, *, count, image_size):
            shared = load_code(Path(__file__).with_name("shared.py"))
            return shared.load(split, count=count, image_size=image_size)
        """,
    )
    card = (folder / "datasets/toy.yaml").read_text().replace("{type: python}", "{type: python, uses: [shared.py]}")
    write(folder, "datasets/toy.yaml", card)
    assert main(RUN) == 0
    before = {job.digest for job in read_plan(Path("suite.yaml")).jobs}
    write(folder, "datasets/shared.py", toy.replace("noise=40", "noise=41"))
    assert not before & {job.digest for job in read_plan(Path("suite.yaml")).jobs}


# --- what a review found ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", ["0.000001", "1"])
def test_arrays_are_known_by_their_content_in_memory_or_not(
    here: Path, capsys: pytest.CaptureFixture[str], memory: str
) -> None:
    write(here, "datasets/photos.yaml", NPZ)
    arrays(here)
    command = ["run", "suite.yaml", "--only", "knn/simclr-sem"]
    assert main([*command, "--memory", memory]) == 0
    assert main(command) == 0  # with other limits
    assert "0 done, 2 reused" in capsys.readouterr().err
    arrays(here, train_images=np.random.default_rng(9).integers(0, 255, (60, 16, 16, 3), np.uint8))
    assert main([*command, "--memory", memory]) == 0
    assert "2 done, 0 reused" in capsys.readouterr().err


def test_train_and_test_must_differ(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos(here)
    same = PHOTOS.replace("test: 30", "test: 60")
    for source, expected in (
        ("{type: torchvision, class: ImageFolder, path: photos/train}", "nothing tells train and test apart"),
        ("{type: npz, path: photos.npz, images: images}", "source.images: without '{split}' in it, train and test"),
        ("{type: folder, path: photos}", "datasets/photos.yaml: train and test are the same images"),
    ):
        write(here, "datasets/photos.yaml", same.replace("{type: folder, path: photos}", source))
        if "folder" in source:
            for path in (here / "data/photos/test").rglob("*.png"):
                path.unlink()
            for path in (here / "data/photos/train").rglob("*.png"):
                (here / "data/photos/test" / path.parent.name / path.name).symlink_to(path)
        assert expected in one_line(capsys)


@pytest.mark.parametrize("mode", ["I;16", "F", "I"])
def test_images_of_more_than_8_bits_are_refused(here: Path, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    top = photos(here, ending="tiff")
    Image.new(mode, (16, 16)).save(top / "train/red/03.tiff")
    assert failure(capsys).startswith("data/photos/train/red/03.tiff: more than 8 bits a channel (mode ")


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_images_of_other_modes_become_rgb(here: Path, mode: str) -> None:
    top = photos(here, ending="tiff")
    with Image.open(top / "train/red/03.tiff") as image:
        image.convert(mode).save(top / "train/red/03.tiff")
    split = loading.load(*_load_arguments(here, "train"))
    assert split.images is not None and split.images.shape == (60, 3, 16, 16)


def test_rerun_all_trusts_no_cache(here: Path) -> None:
    top = photos(here, ending="bmp")  # an edit that changes neither name nor size
    command = ["run", "suite.yaml", "--only", "knn/simclr-none"]
    assert main(command) == 0
    before = result(here, "knn")["metrics"]["rows"][0]["value"]
    rng = np.random.default_rng(0)
    for path in top.rglob("*.bmp"):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(path)
    loading._LOADED.clear()  # as in a new process
    features._MADE.clear()
    assert main([*command, "--rerun", "all"]) == 0
    assert result(here, "knn")["metrics"]["rows"][0]["value"] < before


def test_folders_as_people_have_them(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    top = photos(here)
    (top / "train/red").rename(here / "elsewhere")
    (top / "train/red").symlink_to(here / "elsewhere")
    for split in ("train", "test"):
        (top / split / "green").rename(top / split / "Grün, 2")
    (top / "train/blue/00.png").rename(os.fsdecode(os.fsencode(top / "train/blue") + b"/\xff\n.png"))
    write(here, "datasets/photos.yaml", PHOTOS.replace("green", '"Grün, 2"'))
    assert main(RUN) == 0
    assert main(["doctor", "suite.yaml"]) == 0
    damaged = os.fsencode(top / "train/blue") + b"/\xff\n.png"
    with open(damaged, "wb") as file:
        file.write(b"no image")
    loading._LOADED.clear()
    assert failure(capsys) == r"data/photos/train/blue/\udcff\n.png: not an image"


def test_what_evaluation_reads_is_not_pretrainings(here: Path) -> None:
    def digests() -> dict[str, str]:
        return {f"{job.kind}/{job.slug}": job.digest for job in read_plan(Path("suite.yaml")).jobs}

    before = digests()
    write(here, "datasets/photos.yaml", PHOTOS + "resize: 16\n")
    assert digests() == before  # the default
    write(here, "datasets/photos.yaml", PHOTOS + "resize: 20\n")
    changed = {name for name, digest in digests().items() if before[name] != digest}
    assert {name.split("/")[0] for name in changed} == {"probe", "knn"}
    write(here, "datasets/photos.yaml", PHOTOS + "reduce: 20\n")
    assert not set(digests().values()) & set(before.values())


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        (
            "mean: [0.5",
            "mean: [127.5",
            "photos.yaml:6: normalise: mean 127.5 is above 1: images count from 0 to 1 here",
        ),
        ("[red, green, blue]", "[red]", "photos.yaml:5: classes: needs at least 2"),
        (
            "type: folder, path: photos",
            "type: python, arguments: {count: 3}",
            "photos.yaml:2: source: arguments must not",
        ),
        ("licence", "shifts: {v2: photos}\nlicence", "photos.yaml:7: 'photos' is no shift of itself"),
        ("licence", "shifts: {v2: hard, a: hard}\nlicence", "photos.yaml:1: 'hard' stands there twice"),
        ("licence", "shifts: {v2: coded}\nlicence", "datasets/coded.yaml:1: the code datasets/coded.py is missing"),
    ],
)
def test_more_mistakes_in_cards(
    here: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, expected: str
) -> None:
    write(here, "datasets/hard.yaml", SHIFT)
    write(here, "datasets/coded.yaml", SHIFT.replace("{type: folder, path: hard}", "{type: python}"))
    assert right in PHOTOS
    write(here, "datasets/photos.yaml", PHOTOS.replace(right, wrong))
    assert expected in one_line(capsys)


def test_profiles_that_are_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "suite.yaml", "--set", "profile=full"]) == 2
    assert "has no profiles" in capsys.readouterr().err
    write(folder, "suite.yaml", SUITE + "profile: full\n")
    assert main(["plan", "suite.yaml"]) == 2
    assert capsys.readouterr().err.startswith("suite.yaml:12: `profile` names one of `profiles`, and there are none")
    write(folder, "suite.yaml", PROFILES.replace("seeds: [3]", "grid: {methods: [simklr]}"))
    assert main(["plan", "suite.yaml"]) == 2
    assert capsys.readouterr().err == "suite.yaml:16: unknown method 'simklr'; did you mean 'simclr'?\n"


def test_files_are_wanted_beside_an_archive(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, "data/photos.zip", "")
    card = PHOTOS.replace("path: photos", "path: photos, archive: photos.zip") + "files: [labels.csv]\n"
    write(here, "datasets/photos.yaml", card)
    assert main(RUN) == 2
    assert capsys.readouterr().err.splitlines()[0] == "no data for 'photos': data/labels.csv is absent"
