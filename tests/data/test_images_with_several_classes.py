"""Several classes an image from arrays and packed files: three commands for each, to the end of a run."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sem_bench.cli import main
from sem_bench.config.fields import SplitName
from sem_bench.data import loading
from sem_bench.errors import UserError
from tests.data.test_packed import hdf5, parquet, shard
from tests.helpers.datasets import dataset
from tests.helpers.toy import replace_text, write

pytestmark = pytest.mark.cases
NAMES = ["red", "green", "blue"]
THERE = (np.random.default_rng(0).random((90, 3)) < [0.5, 0.3, 0.4]).astype(np.int64)
SPLITS: dict[SplitName, slice] = {"train": slice(60), "test": slice(60, 90)}


def pixels() -> Any:
    """90 images of 16 px: a channel is bright where its class is there."""
    noise = np.random.default_rng(1).normal(100, 40, (90, 16, 16, 3))
    return (noise + 60 * THERE[:, None, None]).clip(0, 255).astype(np.uint8)


def coded() -> list[bytes]:
    """The same as image files."""
    files = []
    for image in pixels():
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG")
        files.append(out.getvalue())
    return files


def names_of(row: int) -> list[str]:
    return [name for name, one in zip(NAMES, THERE[row], strict=True) if one]


def npz() -> str:
    Path("data").mkdir()
    arrays: dict[str, Any] = {f"{name}_images": pixels()[rows] for name, rows in SPLITS.items()}
    arrays |= {f"{name}_labels": THERE[rows] for name, rows in SPLITS.items()}
    np.savez("data/own.npz", **arrays)
    return "data/own.npz"


def in_hdf5() -> str:
    arrays: dict[str, Any] = {f"{name}/images": pixels()[rows] for name, rows in SPLITS.items()}
    path = hdf5(arrays | {f"{name}/labels": 2 * THERE[rows] - 1 for name, rows in SPLITS.items()})
    return str(Path(path).rename("data/own.h5"))


def one_pair_in_hdf5() -> str:
    path = hdf5({"images": pixels(), "labels": THERE.astype(bool)})
    return str(Path(path).rename("data/own.h5"))


def words() -> list[str]:
    return ["train"] * 60 + ["test"] * 30


def lists_of_names() -> str:
    parquet("data/own.parquet", {"image": coded(), "labels": [names_of(row) for row in range(90)], "split": words()})
    return "data/own.parquet"


def lists_of_numbers() -> str:
    numbers = [np.flatnonzero(row).tolist() for row in THERE]
    note = {"labels": {"_type": "List", "feature": {"_type": "ClassLabel", "names": NAMES}}}
    parquet("data/own.parquet", {"image": coded(), "labels": numbers, "split": words()}, hf=note)
    return "data/own.parquet"


def lists_of_truths() -> str:
    parquet("data/own.parquet", {"image": coded(), "labels": THERE.tolist(), "split": words()})
    return "data/own.parquet"


def names_in_one_text() -> str:
    labels = ["|".join(names_of(row)) for row in range(90)]
    parquet("data/own.parquet", {"image": coded(), "labels": labels, "split": words()})
    return "data/own.parquet"


def columns_of_truths() -> str:
    own = {name: THERE[:, label].astype(bool) for label, name in enumerate(NAMES)}
    parquet("data/own.parquet", {"image": coded(), "weight": np.arange(90) / 7, **own, "split": words()})
    return "data/own.parquet"


def columns_of_signs() -> str:
    own = {name: 2 * THERE[:, label] - 1 for label, name in enumerate(NAMES)}
    parquet("data/own.parquet", {"image": coded(), **own, "split": words()})
    return "data/own.parquet"


def hugging_face(*, columns: bool = False) -> str:
    datasets = pytest.importorskip("datasets")
    kind = datasets.Sequence(datasets.ClassLabel(names=NAMES))
    kinds = dict.fromkeys(NAMES, datasets.Value("bool")) if columns else {"labels": kind}
    found = {}
    for split, rows in SPLITS.items():
        own: dict[str, Any] = {"image": [{"bytes": one, "path": None} for one in coded()[rows]]}
        if columns:
            own |= {name: THERE[rows, label].astype(bool) for label, name in enumerate(NAMES)}
        else:
            own["labels"] = [np.flatnonzero(row).tolist() for row in THERE[rows]]
        found[split] = datasets.Dataset.from_dict(own, features=datasets.Features({"image": datasets.Image(), **kinds}))
    datasets.DatasetDict(found).save_to_disk("data/own")
    return "data/own"


def columns_of_hugging_face() -> str:
    return hugging_face(columns=True)


def shards() -> str:
    images = coded()
    for split, rows in SPLITS.items():
        members = []
        for row in range(90)[rows]:
            members += [
                (f"{row:02}.png", images[row]),
                (f"{row:02}.json", json.dumps({"tags": names_of(row)}).encode()),
            ]
        shard(f"data/own/own-{split}-0000.tar", members)
    return "data/own"


def texts_in_shards() -> str:
    images = coded()
    for split, rows in SPLITS.items():
        members = [(f"{row:02}.png", images[row]) for row in range(90)[rows]]
        members += [(f"{row:02}.cls", ";".join(names_of(row)).encode()) for row in range(90)[rows]]
        shard(f"data/own/own-{split}-0000.tar", sorted(members))
    return "data/own"


def files(folder: str) -> list[str]:
    """Files of 90 images, by name."""
    Path(folder).mkdir(parents=True)
    for row, content in enumerate(coded()):
        Path(f"{folder}/{row:06}.png").write_bytes(content)
    return [f"{row:06}.png" for row in range(90)]


def celeba(*, partition: bool = True) -> str:
    """Two texts as CelebA has them, with images to choose on, and its other ones beside them."""
    names = files("data/own/img_align_celeba")
    rows = [f"{name} {' '.join(f'{2 * one - 1:2}' for one in THERE[row])}" for row, name in enumerate(names)]
    write(Path(), "data/own/list_attr_celeba.txt", "\n".join(["90", " ".join(NAMES) + " ", *rows]))
    boxes = [f"{name} 1 1 9 9" for name in names]
    write(Path(), "data/own/list_bbox_celeba.txt", "\n".join(["90", "image_id x_1 y_1 width height", *boxes]))
    write(Path(), "data/own/identity_CelebA.txt", "\n".join(f"{name} {row}" for row, name in enumerate(names)))
    if partition:
        lines = [f"{name} {0 if row < 60 else 2}" for row, name in enumerate(names)]
        write(Path(), "data/own/list_eval_partition.txt", "\n".join(lines))
    return "data/own"


def celeba_in_its_folders() -> str:
    """Officially the texts lie in folders of their own."""
    celeba()
    for folder, names in (
        ("Anno", ["list_attr_celeba.txt", "list_bbox_celeba.txt", "identity_CelebA.txt"]),
        ("Eval", ["list_eval_partition.txt"]),
        ("Img", ["img_align_celeba"]),
    ):
        Path("data/own", folder).mkdir()
        for name in names:
            Path("data/own", name).rename(Path("data/own", folder, name))
    return "data/own"


def celeba_in_its_folders_by_name() -> str:
    return f"{celeba_in_its_folders()}/Anno/list_attr_celeba.txt"


def celeba_as_csv() -> str:
    """The same as Kaggle has it."""
    names = files("data/own/img_align_celeba/img_align_celeba")
    rows = [f"{name},{','.join(str(2 * one - 1) for one in THERE[row])}" for row, name in enumerate(names)]
    write(Path(), "data/own/list_attr_celeba.csv", "\n".join([f"image_id,{','.join(NAMES)}", *rows]))
    lines = [f"{name},{0 if row < 60 else 2}" for row, name in enumerate(names)]
    write(Path(), "data/own/list_eval_partition.csv", "\n".join(["image_id,partition", *lines]))
    return "data/own/list_attr_celeba.csv"


def names_in_a_column() -> str:
    names = files("data/own/img")
    rows = [f"{name},{'|'.join(names_of(row)) or 'none'},{words()[row]}" for row, name in enumerate(names)]
    write(Path(), "data/own/list.csv", "\n".join(["image,finding,split", *rows]))
    return "data/own"


def columns_of_a_table() -> str:
    names = files("data/own/img")
    rows = [f"{name},{row},{','.join(map(str, THERE[row]))},{words()[row]}" for row, name in enumerate(names)]
    write(Path(), "data/own/list.csv", "\n".join([f"image,number,{','.join(NAMES)},split", *rows]))
    return "data/own/list.csv"


MAKERS: list[tuple[Callable[[], str], list[str]]] = [
    (npz, ["0", "1", "2"]),
    (in_hdf5, ["0", "1", "2"]),
    (lists_of_names, ["blue", "green", "red"]),
    (lists_of_numbers, NAMES),
    (names_in_one_text, ["blue", "green", "red"]),
    (texts_in_shards, ["blue", "green", "red"]),
    (columns_of_truths, NAMES),
    (columns_of_signs, NAMES),
    (hugging_face, NAMES),
    (columns_of_hugging_face, NAMES),
    (shards, ["blue", "green", "red"]),
    (celeba, NAMES),
    (celeba_in_its_folders, NAMES),
    (celeba_in_its_folders_by_name, NAMES),
    (celeba_as_csv, NAMES),
    (columns_of_a_table, NAMES),
]


def labels(split: SplitName, *, memory: int = 2**30) -> Any:
    found = dataset(Path(), "own")
    return loading.load(found.labelled(), split, found.place, memory=memory).labels.numpy()


@pytest.mark.parametrize(("make", "classes"), MAKERS)
def test_a_card_that_doctor_finds_well(
    here: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], str], classes: list[str]
) -> None:
    assert main(["card", make(), "--name", "own"]) == 0, capsys.readouterr().err
    assert "60 train, 30 test, 3 classes" in capsys.readouterr().out
    text = Path("datasets/own.yaml").read_text()
    assert "\nmulti_label: true" in text and dataset(here, "own").card.classes == classes
    assert main(["doctor", "own.yaml"]) == 0, capsys.readouterr().out
    order = [NAMES.index(name) if name in NAMES else int(name) for name in classes]
    for split, rows in SPLITS.items():
        assert labels(split).tolist() == labels(split, memory=1).tolist() == THERE[rows][:, order].tolist()


@pytest.mark.parametrize("make", [npz, in_hdf5, lists_of_names, columns_of_hugging_face, shards, celeba])
def test_three_commands_to_a_finished_run(
    here: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], str]
) -> None:
    assert main(["card", make(), "--name", "own"]) == 0
    few = ["--set", "pretrain.epochs=0", "--set", "grid.embeddings={none: {}}", "--memory", "0.000001"]
    assert main(["run", "own.yaml", *few]) == 0
    assert "100% mAP" in capsys.readouterr().out
    (file,) = Path("results").glob("probe/*100pc*/result.json")
    assert json.loads(file.read_text())["metrics"]["rows"][-1]["value"] > 60


def test_names_in_a_column_of_a_table(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", names_in_a_column(), "--name", "own"]) == 0
    text = Path("datasets/own.yaml").read_text()
    assert 'images: own/img, separator: "|"}' in text and "classes: [blue, green, none, red]" in text
    assert main(["doctor", "own.yaml"]) == 0
    assert labels("test")[:, [3, 1, 0]].tolist() == THERE[60:].tolist()


def test_celeba_in_words_of_its_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    celeba(partition=False)
    assert main(["card", "data/own/list_attr_celeba.txt", "--name", "own"]) == 0
    assert "images: own/img_align_celeba, split: {test: 0.2, seed: 0}}" in Path("datasets/own.yaml").read_text()
    assert main(["doctor", "own.yaml"]) == 0
    whole = "{type: csv, path: own/list_attr_celeba.txt, images: own/img_align_celeba, partition: own/parts.txt}"
    text = Path("datasets/own.yaml").read_text().splitlines()
    write(here, "datasets/own.yaml", "\n".join(f"source: {whole}" if "source:" in line else line for line in text))
    write(here, "data/own/parts.txt", "000000.png train\n000001.png train\n000001.png test")
    for content, said in (
        ("000000.png train\n000001.png test", "own/list_attr_celeba.txt:5: 000002.png has no line in parts.txt"),
        ("000000.png 0\n000001.png 2", "list_attr_celeba.txt:3: split '0'; known are"),
        ("000000.png train\n000000.png test", "own/parts.txt:2: 000000.png is named a second time"),
        ("000000.png train\n000001.png", "own/parts.txt:2: 1 columns; expected at least 2"),
        ("000000.png train 1\n000001.png", "own/parts.txt: expected a column of files and one of splits; the first"),
    ):
        write(here, "data/own/parts.txt", content)
        with pytest.raises(UserError) as caught:
            labels("train")
        assert said in str(caught.value)


def test_lists_with_blanks_between(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = files("data/own")
    write(Path(), "data/own/list.txt", "\n".join(f"{name} {row % 2}" for row, name in enumerate(names)))
    assert main(["card", "data/own/list.txt", "--name", "own"]) == 0
    assert "72 train, 18 test, 2 classes" in capsys.readouterr().out
    assert main(["doctor", "own.yaml"]) == 0


def test_npy_files_and_code_beside_the_card(here: Path) -> None:
    npz()
    card = """
summary: bright channels
source: {type: npy}
splits: {train: 60, test: 30}
image_size: 16
classes: [red, green, blue]
multi_label: true
normalise: {mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
licence: ours
"""
    write(here, "datasets/own.yaml", card.replace("{type: npy}", "{type: npy, path: own}"))
    Path("data/own").mkdir()
    for split, rows in SPLITS.items():
        np.save(f"data/own/{split}_images.npy", pixels()[rows])
        np.save(f"data/own/{split}_labels.npy", THERE[rows].astype(np.float32))
        assert labels(split).tolist() == THERE[rows].tolist()
    write(here, "datasets/own.yaml", card.replace("{type: npy}", "{type: python}"))
    code = """
import numpy as np


def load(split, *, count, image_size):
    file = np.load("data/own.npz")
    return file[f"{split}_images"], file[f"{split}_labels"]
"""
    write(here, "datasets/own.py", code)
    assert labels("train").tolist() == THERE[:60].tolist()


@pytest.mark.parametrize(
    ("make", "old", "new", "said"),
    [
        (npz, "multi_label: true", "", "are not one-hot: a row has not exactly one 1; `multi_label: true` in the card"),
        (npz, '["0", "1", "2"]', "[a, b]", "expected images uint8 (60, 16, 16, 3), labels 0 and 1 (60, 2), a column"),
        (
            in_hdf5,
            '["0", "1", "2"]',
            "[a, b]",
            "train/labels: labels are int64 (60, 3); expected 0 and 1 (60, 2), a co",
        ),
        (lists_of_names, "multi_label: true", "", "for each image; `multi_label: true` in the card where it may have"),
        (lists_of_names, "[blue, green, red]", "[blue, green, rad]", "no class 'red'; did you mean 'rad'?"),
        (columns_of_truths, "[red,", "[rad,", "'rad' has none; did you mean 'red'?"),
        (shards, "[blue, green, red]", "[blue, green, rad]", "own-train-0000.tar: 01.png: no class 'red'"),
        (shards, "multi_label: true", "", "a list of labels: `multi_label: true` in the card takes several"),
    ],
)
def test_mistakes(here: Path, make: Callable[[], str], old: str, new: str, said: str) -> None:
    assert main(["card", make(), "--name", "own"]) == 0
    replace_text(here / "datasets/own.yaml", old, new)
    with pytest.raises(UserError) as caught:
        labels("train")
    assert said in str(caught.value)


def test_values_that_say_nothing(here: Path) -> None:
    npz()
    assert main(["card", "data/own.npz"]) == 0
    given = dict(np.load("data/own.npz"))
    given["train_labels"][7, 1] = 2
    np.savez("data/own.npz", **given)
    with pytest.raises(UserError, match="labels of image 7: 2 of class 1; a class is there, 1, or not, 0 or -1"):
        labels("train")


def test_a_list_of_truths_in_a_card_written_by_hand(here: Path) -> None:
    lists_of_names()
    assert main(["card", "data/own.parquet"]) == 0
    lists_of_truths()
    assert labels("train").tolist() == THERE[:60].tolist()


def test_drawn_splits_keep_the_proportion_of_the_rarest_class(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", one_pair_in_hdf5()]) == 0
    assert "path: own.h5, split: {test: 0.2, seed: 0}}" in Path("datasets/own.yaml").read_text()
    assert main(["doctor", "own.yaml"]) == 0
    train, test = labels("train"), labels("test")
    assert len(train) + len(test) == 90 and (train.sum(0) + test.sum(0)).tolist() == THERE.sum(0).tolist()
    assert abs(test.mean(0) - THERE.mean(0)).max() < 0.1
