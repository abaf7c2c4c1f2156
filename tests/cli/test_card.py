"""`card`: from data to a finished run with three commands."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sem_bench.cli import main
from tests.helpers.toy import write

pytestmark = pytest.mark.cases
COLOURS = {"cat": (200, 60, 60), "dog": (60, 60, 200)}


def picture(path: str, name: str, size: tuple[int, int] = (16, 16)) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path)).normal(COLOURS[name], 20, (*size, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noise).save(path)


def listed() -> None:
    rows = ["image,species,set"]
    for number in range(30):
        name = ("cat", "dog")[number % 2]
        picture(f"data/birds/img/{number:02}.png", name)
        rows.append(f"img/{number:02}.png,{name},{'train' if number < 20 else 'test'}")
    write(Path(), "data/birds/labels.csv", "\n".join(rows))


def split_folders() -> None:
    for number in range(30):
        name, split = ("cat", "dog")[number % 2], "training" if number < 20 else "val"
        picture(f"data/birds/{split}/{name}/{number:02}.png", name)
    write(Path(), "data/birds/README.md", "read me")


def three_folders() -> None:
    for number in range(40):
        name, split = ("cat", "dog")[number % 2], ("train", "train", "valid", "test")[number // 10]
        picture(f"data/birds/{split}/{name}/{number:02}.png", name)


def listed_with_val() -> None:
    three_folders()
    rows = ["image,species,set"]
    for path in sorted(Path("data/birds").rglob("*.png")):
        split, name, file = path.parts[-3:]
        rows.append(f"{split}/{name}/{file},{name},{split}")
    write(Path(), "data/birds/labels.csv", "\n".join(rows))


def one_folder() -> None:
    for number in range(30):
        name = ("cat", "dog")[number % 2]
        picture(f"data/birds/birds-main/{name}/{number:02}.png", name, (20 + number, 33))


def capital_folders() -> None:
    three_folders()
    for name in ("train", "valid", "test"):
        Path("data/birds", name).rename(Path("data/birds", name.title()))


def names_without_endings() -> None:
    """As Kaggle has them: ids, labels for train alone, and a table for what is handed in."""
    rows = ["id,breed"]
    for number in range(30):
        name = ("cat", "dog")[number % 2]
        picture(f"data/birds/train/{number:04x}.jpg", name)
        picture(f"data/birds/test/{number:04x}.jpg", name)
        rows.append(f"{number:04x},{name}")
    write(Path(), "data/birds/labels.csv", "\n".join(rows))
    write(Path(), "data/birds/sample_submission.csv", "id,cat,dog\n00ff,0.5,0.5\n")


def lists_of_splits(ending: str) -> None:
    for split, count in (("train", 20), ("val", 10)):
        rows = []
        for number in range(count):
            picture(f"data/birds/{split}/{number}.png", ("cat", "dog")[number % 2])
            rows.append(f"{split}/{number}.png{' ' if ending == 'txt' else ','}{number % 2}")
        write(Path(), f"data/birds/{split}.{ending}", "\n".join(rows))


def table_in_an_archive() -> None:
    listed()
    shutil.make_archive("data/birds", "zip", "data", "birds")
    shutil.rmtree("data/birds")


def files_of_arrays() -> None:
    Path("data/birds").mkdir(parents=True)
    for split, count in (("train", 20), ("test", 10)):
        np.save(f"data/birds/X_{split}.npy", np.random.default_rng(0).random((count, 16, 16, 3), np.float32))
        np.save(f"data/birds/y_{split}.npy", np.eye(2)[np.arange(count) % 2])


def arrays() -> None:
    Path("data").mkdir()
    labels = np.arange(30) % 2 + 1
    images = np.random.default_rng(0).random((30, 3, 16, 16), np.float32)
    np.savez("data/birds.npz", x_train=images[:20], y_train=labels[:20], x_test=images[20:], y_test=labels[20:])


@pytest.mark.parametrize(
    ("make", "path", "counts", "words"),
    [
        (listed, "data/birds/labels.csv", "20 train, 10 test", "{type: csv, path: birds/labels.csv}"),
        (listed, "data/birds", "20 train, 10 test", "{type: csv, path: birds/labels.csv}"),
        (split_folders, "data/birds", "20 train, 10 test", "folders: {train: training, test: val}}"),
        (three_folders, "data/birds", "20 train, 10 val, 10 test", "folders: {train: train, val: valid, test: test}}"),
        (listed_with_val, "data/birds/labels.csv", "20 train, 10 val, 10 test", "{type: csv, path: birds/labels.csv}"),
        (one_folder, "data/birds", "24 train, 6 test", "path: birds/birds-main, split: {test: 0.2, seed: 0}}"),
        (capital_folders, "data/birds", "20 train, 10 val, 10 test", "{train: Train, val: Valid, test: Test}}"),
        (
            names_without_endings,
            "data/birds",
            "24 train, 6 test",
            "{type: csv, path: birds/labels.csv, images: birds/train, ending: .jpg, split: {test: 0.2, seed: 0}}",
        ),
        (
            lambda: lists_of_splits("txt"),
            "data/birds",
            "20 train, 10 test",
            '{type: csv, path: "birds/{split}.txt", values: {test: val}}',
        ),
        (
            lambda: lists_of_splits("csv"),
            "data/birds",
            "20 train, 10 test",
            '{type: csv, path: "birds/{split}.csv", values: {test: val}}',
        ),
        (table_in_an_archive, "data/birds.zip", "20 train, 10 test", "{type: csv, path: birds/labels.csv}"),
        (
            files_of_arrays,
            "data/birds",
            "20 train, 10 test",
            '{type: npy, path: birds, images: "X_{split}.npy", labels: "y_{split}.npy", scale: 1}',
        ),
        (arrays, "data/birds.npz", "20 train, 10 test", "path: birds.npz, first_label: 1, scale: 1}"),
    ],
)
def test_a_card_that_doctor_finds_well(
    here: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], None], path: str, counts: str, words: str
) -> None:
    make()
    name = "labels" if path.endswith("csv") else "birds"
    assert main(["card", path]) == 0
    said = capsys.readouterr().out
    assert counts in said and "yours to say in it: summary and licence" in said
    assert words in Path(f"datasets/{name}.yaml").read_text()
    assert main(["doctor", f"{name}.yaml"]) == 0
    assert f"data         {name}: {counts}" in capsys.readouterr().out
    assert main(["card", path]) == 2
    assert f"datasets/{name}.yaml: exists already" in capsys.readouterr().err


def test_from_a_table_to_a_finished_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed()
    assert main(["card", "data/birds/labels.csv", "--name", "birds"]) == 0
    assert main(["doctor", "birds.yaml"]) == 0
    assert main(["run", "birds.yaml", "--set", "pretrain.epochs=1", "--set", "grid.embeddings={none: {}}"]) == 0
    assert "\nsimclr  none " in capsys.readouterr().out


def test_what_lies_beside_the_images_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        picture(f"data/coco/train2017/{number}.jpg", "cat")
    write(here, "data/coco/annotations/instances_train2017.json", "{}")
    assert main(["card", "data/coco"]) == 0
    assert "annotations in JSON are not read: a table of paths and labels is" in capsys.readouterr().out
    three_folders()
    write(here, "data/birds/labels.csv", "path,label\n")
    assert main(["card", "data/birds"]) == 0
    assert "not read: labels.csv" in capsys.readouterr().out


def test_images_without_classes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        picture(f"data/snaps/{number}.png", "cat")
    assert main(["card", "data/snaps", "--size", "12"]) == 0
    assert "so no labels" in capsys.readouterr().out
    text = Path("datasets/snaps.yaml").read_text()
    assert "splits: {train: 5}" in text and "image_size: 12" in text
    assert main(["run", "snaps.yaml", "--set", "pretrain.epochs=1"]) == 0
    assert "effective rank" in capsys.readouterr().out


def test_names_that_yaml_would_read_otherwise(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("no", "1", "a: b", "null", "Ünder", "1e3", "plain name"):
        for number in range(5):
            Path("data/x", name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number, 0, 0)).save(f"data/x/{name}/{number}.png")
    assert main(["card", "data/x"]) == 0
    assert "7 classes" in capsys.readouterr().out
    assert main(["doctor", "x.yaml"]) == 0


def test_what_is_no_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    write(here, "x.bin", "no data")
    write(here, "cifar/cifar-10-batches-py/data_batch_1", "")
    picture("two/0.png", "cat")
    for name in "ab":
        write(here, f"two/{name}.csv", "path,label\n0.png,cat\n")
    write(here, "list.csv", "path,label\nnone.png,a\nnone2.png,b\n")
    for path, said in (
        ("absent", "absent: no such file or folder"),
        ("empty", "empty: no image in it; endings looked for"),
        ("x.bin", "x.bin: no folder, table (.csv, .tsv), list (.txt), arrays (.npz) or archive"),
        ("cifar", "cifar/cifar-10-batches-py: the card cifar10 reads it below DATA/cifar10"),
        ("two", "two: 2 tables name images, two/a.csv, two/b.csv: choose, as `card two/a.csv`"),
        ("list.csv", "list.csv: it names 'none.png', which is neither beside it nor in a folder there"),
    ):
        assert main(["card", path]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and lines[0].startswith(said)
    assert not Path("datasets/empty.yaml").exists()
