"""`card`: from data to a finished run with three commands."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def one_pair_of_arrays(*, name: str = "{}") -> None:
    Path("data").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 16), np.uint8)
    labels = np.array(["cat", "dog"])[np.arange(30) % 2]
    arrays: dict[str, Any] = {name.format("x"): images, name.format("y"): labels}
    np.savez("data/birds.npz", **arrays)


def one_pair_of_files() -> None:
    Path("data/birds").mkdir(parents=True)
    np.save("data/birds/images.npy", np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), np.uint8))
    np.save("data/birds/labels.npy", np.arange(30) % 2)


def arrays_to_choose_on() -> None:
    Path("data").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 16), np.uint8)
    labels = np.arange(30) % 2
    np.savez("data/birds.npz", x_train=images[:20], y_train=labels[:20], x_valid=images[20:], y_valid=labels[20:])


def table_in_a_folder() -> None:
    listed()
    Path("data/birds/lists").mkdir()
    Path("data/birds/labels.csv").rename("data/birds/lists/labels.csv")


def folders_of_classes_beside_others() -> None:
    one_folder()
    write(Path(), "data/birds/parts/where.dat", "")


def written_table(text: str, *, encoding: str = "utf-8") -> None:
    """A table of 30 images, a line for each, its number, class and other class in place of N, C and O."""
    head, line = text.split("\n")
    rows = [head] if head else []
    for number in range(30):
        name = ("cat", "dog")[number % 2]
        picture(f"data/birds/{number:02}.png", name)
        words = {
            "N": f"{number:02}.png",
            "C": name,
            "O": f"x{number % 3}",
            "I": str(number % 2),
            "J": str(1 - number % 2),
        }
        words["S"] = ("train", "train", "val" if "S" in line else "", "extra")[number // 8]
        rows.append("".join(words.get(letter, letter) for letter in line))
    Path("data/birds/labels.csv").write_bytes("\r\n".join(rows).encode(encoding))


def table_in_each_folder() -> None:
    """As the library `datasets` has images in folders, the same names in both."""
    for split, count in (("train", 20), ("test", 10)):
        rows = ["file_name,label"]
        for number in range(count):
            picture(f"data/birds/{split}/{number:02}.png", ("cat", "dog")[number % 2])
            rows.append(f"{number:02}.png,{('cat', 'dog')[number % 2]}")
        write(Path(), f"data/birds/{split}/metadata.csv", "\n".join(rows))


def folders_of_images_and_tables() -> None:
    table_in_each_folder()
    for split in ("train", "test"):
        Path(f"data/birds/{split}/metadata.csv").rename(f"data/birds/{split}.csv")


def classes_for_training_alone() -> None:
    """Test images without labels, as Kaggle has them."""
    split_folders()
    shutil.rmtree("data/birds/val")
    picture("data/birds/test/0.png", "cat")


def split_in_a_part_of_a_name() -> None:
    """Folders of splits in folders of the same name, as some archives are unpacked."""
    split_folders()
    for old, new in (("training", "seg_train"), ("val", "seg_test")):
        Path("data/birds", new).mkdir()
        Path("data/birds", old).rename(f"data/birds/{new}/{new}")


def sixteen_bits() -> None:
    for number in range(30):
        Path("data/birds", ("cat", "dog")[number % 2]).mkdir(parents=True, exist_ok=True)
        grey = np.random.default_rng(number).integers(0, 65536, (16, 16), np.uint16)
        Image.fromarray(grey).save(f"data/birds/{('cat', 'dog')[number % 2]}/{number}.png")


def rare_class() -> None:
    listed()
    rows = Path("data/birds/labels.csv").read_text().splitlines()
    write(Path(), "data/birds/labels.csv", "\n".join([*rows[:1], "img/00.png,owl/barn,train", *rows[2:]]))


def arrays_of_other_names(form: str) -> None:
    Path("data").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), np.uint8)
    labels = np.arange(30) % 2 * 3
    if form == "pair":
        np.savez("data/birds.npz", pictures=images, kinds=labels)
    else:
        arrays: dict[str, Any] = {}
        for split, rows in (("train", slice(20)), ("test", slice(20, 30))):
            arrays |= {f"{split}_set_a": images[rows], f"{split}_set_b": labels[rows]}
        np.savez("data/birds.npz", **arrays)


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
        (
            table_in_a_folder,
            "data/birds",
            "20 train, 10 test",
            "{type: csv, path: birds/lists/labels.csv, images: birds}",
        ),
        (
            folders_of_classes_beside_others,
            "data/birds",
            "24 train, 6 test",
            "path: birds/birds-main, split: {test: 0.2, seed: 0}}",
        ),
        (table_in_each_folder, "data/birds", "20 train, 10 test", '{type: csv, path: "birds/{split}/metadata.csv"}'),
        (
            folders_of_images_and_tables,
            "data/birds",
            "20 train, 10 test",
            '{type: csv, path: "birds/{split}.csv", images: "birds/{split}"}',
        ),
        (
            classes_for_training_alone,
            "data/birds",
            "16 train, 4 test",
            "path: birds/training, split: {test: 0.2, seed: 0}}",
        ),
        (
            split_in_a_part_of_a_name,
            "data/birds",
            "20 train, 10 test",
            "folders: {train: seg_train/seg_train, test: seg_test/seg_test}}",
        ),
        (sixteen_bits, "data/birds", "24 train, 6 test", "split: {test: 0.2, seed: 0}, bits: 16}"),
        (rare_class, "data/birds/labels.csv", "20 train, 10 test", "absent_in_test: [owl_barn]"),
        (lambda: written_table("path\tlabel\nN\tC", encoding="utf-16"), "data/birds", "24 train, 6 test", "[cat, dog]"),
        (lambda: written_table("sep=;\nN;C"), "data/birds", "24 train, 6 test", "[cat, dog]"),
        (lambda: written_table("Image Path,n,Class Label\nN,I,C"), "data/birds", "24 train, 6 test", "[cat, dog]"),
        (
            lambda: written_table("image,cat,dog\nN,J.0,I.0"),
            "data/birds",
            "24 train, 6 test",
            "classes: [cat, dog]\nnorm",
        ),
        (
            lambda: written_table("image,labels\nN,\"['C', 'O']\""),
            "data/birds",
            "24 train, 6 test",
            "classes: [cat, dog, x0, x1, x2]\nmulti_label: true",
        ),
        (
            lambda: written_table("image,label,split\nN,C,S"),
            "data/birds",
            "16 train, 8 test",
            "{type: csv, path: birds/labels.csv, values: {train: train, test: val}}",
        ),
        (
            lambda: written_table("image,label,fold\nN,C,O"),
            "data/birds",
            "24 train, 6 test",
            "split: {test: 0.2, seed: 0}}",
        ),
        (
            lambda: arrays_of_other_names("pair"),
            "data/birds.npz",
            "24 train, 6 test",
            "images: pictures, labels: kinds, split: {test: 0.2, seed: 0}}",
        ),
        (
            lambda: arrays_of_other_names("splits"),
            "data/birds.npz",
            "20 train, 10 test",
            'images: "{split}_set_a", labels: "{split}_set_b"}',
        ),
        (
            one_pair_of_arrays,
            "data/birds.npz",
            "24 train, 6 test",
            "{type: npz, path: birds.npz, split: {test: 0.2, seed: 0}}",
        ),
        (
            lambda: one_pair_of_arrays(name="{}_train"),
            "data/birds.npz",
            "24 train, 6 test",
            "{type: npz, path: birds.npz, images: x_train, labels: y_train, split: {test: 0.2, seed: 0}}",
        ),
        (
            one_pair_of_files,
            "data/birds",
            "24 train, 6 test",
            "{type: npy, path: birds, images: images.npy, labels: labels.npy, split: {test: 0.2, seed: 0}}",
        ),
        (
            arrays_to_choose_on,
            "data/birds.npz",
            "20 train, 10 test",
            "{type: npz, path: birds.npz, values: {test: valid}}",
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


@pytest.mark.parametrize("make", [one_pair_of_arrays, one_pair_of_files, table_in_each_folder])
def test_runs_of_what_is_drawn_or_has_a_table_each(
    here: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], None]
) -> None:
    make()
    assert main(["card", "data/birds.npz" if make is one_pair_of_arrays else "data/birds"]) == 0
    few = ["--set", "pretrain.epochs=0", "--set", "grid.embeddings={none: {}}", "--memory", "0.000001"]
    assert main(["run", "birds.yaml", *few]) == 0
    assert "\nsimclr  none " in capsys.readouterr().out


def test_arrays_beside_folders_of_classes(here: Path) -> None:
    one_folder()
    np.save("data/birds/birds-main/embedded.npy", np.array([{}, "pickled"], object))
    assert main(["card", "data/birds"]) == 0
    assert "{type: folder, path: birds/birds-main," in Path("datasets/birds.yaml").read_text()


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
    write(here, "elsewhere.csv", "path,label\n/home/ours/two/0.PNG,a\n/home/ours/two/1.PNG,b\n")
    write(here, "head.csv", "path,label\n")
    write(here, "alone.csv", "path,label\ntwo/0.png,a\n")
    write(here, "empty.csv", "path,label\ntwo/0.png,\n")
    Path("latin.csv").write_bytes("path,label\ntwo/0.png,Möwe\n".encode("latin-1"))
    Path("zeros.csv").write_bytes("path,label\n".encode("utf-16-le"))
    write(here, "sheet.xlsx", "PK")
    np.savez("some.npz", a=np.zeros(3), b=np.zeros(3))
    for path, said in (
        ("absent", "absent: no such file or folder"),
        ("empty", "empty: no image in it; endings looked for"),
        ("x.bin", "x.bin: no folder, table (.csv, .tsv), list (.txt), arrays (.npz) or archive"),
        ("cifar", "cifar/cifar-10-batches-py: the card cifar10 reads it below DATA/cifar10"),
        ("two", "two: 2 tables name images, two/a.csv, two/b.csv: choose, as `card two/a.csv`"),
        ("list.csv", "list.csv: it names 'none.png', which is neither beside it nor in a folder there"),
        (
            "elsewhere.csv",
            "elsewhere.csv: it names '/home/ours/two/0.PNG', which is neither beside it nor in a folder there; two/0.p",
        ),
        ("head.csv", "head.csv: no line below that of the names"),
        ("alone.csv", "alone.csv: all images are of one class, 'a': nothing to tell apart"),
        ("empty.csv", "empty.csv:2: no label"),
        ("latin.csv", "latin.csv: no text in UTF-8: save it as such"),
        ("zeros.csv", "zeros.csv: no text in UTF-8, there are zeros in it"),
        ("sheet.xlsx", "sheet.xlsx: no folder, table (.csv, .tsv)"),
        (
            "some.npz",
            "some.npz: no arrays of the usual names, such as train_images, x_train, images (a, b); `images` and",
        ),
    ):
        assert main(["card", path]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and lines[0].startswith(said)
    assert not Path("datasets/empty.yaml").exists()
