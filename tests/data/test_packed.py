"""Data packed into a few large files: Parquet, Hugging Face, WebDataset, HDF5, LMDB; three commands for each."""

import importlib.util
import io
import json
import pickle
import re
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sem_bench.cli import main
from sem_bench.config.fields import SplitName
from sem_bench.data import loading
from sem_bench.data.patterns import expanded
from sem_bench.data.split import Split
from tests.helpers.datasets import dataset
from tests.helpers.toy import replace_text, write

pytestmark = pytest.mark.cases
COLOURS = {"cat": (200, 60, 60), "dog": (60, 60, 200)}
NAMES = list(COLOURS)
SPLITS: dict[SplitName, range] = {"train": range(20), "test": range(20, 30)}


def coded(number: int, form: str = "PNG") -> bytes:
    """An image file of 16 px, red or blue."""
    noise = np.random.default_rng(number).normal(COLOURS[NAMES[number % 2]], 20, (16, 16, 3)).clip(0, 255)
    out = io.BytesIO()
    Image.fromarray(noise.astype(np.uint8)).save(out, form)
    return out.getvalue()


def split_of(number: int) -> str:
    return "train" if number in SPLITS["train"] else "test"


def commands(path: str, capsys: pytest.CaptureFixture[str], *, counts: str = "20 train, 10 test") -> str:
    """What the card says, after `card` and `doctor`."""
    assert main(["card", path, "--name", "birds"]) == 0, capsys.readouterr().err
    assert counts in capsys.readouterr().out
    assert main(["doctor", "birds.yaml"]) == 0, capsys.readouterr().out
    assert f"data         birds: {counts}" in capsys.readouterr().out
    return Path("datasets/birds.yaml").read_text()


def run(capsys: pytest.CaptureFixture[str]) -> None:
    """The suite that `card` wrote, to its end, each image read when it is needed."""
    few = ["--set", "pretrain.epochs=1", "--set", "grid.embeddings={none: {}}", "--memory", "0.000001"]
    assert main(["run", "birds.yaml", *few]) == 0
    assert re.search(r"\nsimclr\S* +none\S* ", capsys.readouterr().out)


def card(source: str, *, counts: Sequence[int] = (20, 10)) -> None:
    text = f"""
summary: a case
source: {source}
splits: {{train: {counts[0]}, test: {counts[1]}}}
image_size: 16
classes: [cat, dog]
normalise: {{mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
licence: ours
"""
    write(Path(), "datasets/birds.yaml", text)
    suite = "name: birds\nseeds: [0]\ngrid: {methods: [simclr], embeddings: {none: {}}, backbones: [resnet10w16s2], "
    write(
        Path(),
        "birds.yaml",
        suite + "datasets: [birds]}\npretrain: {recipe: quick, epochs: 1, batch_size: 10}\nevaluate: {knn: {k: 3}}\n",
    )


def read(split: SplitName) -> Split:
    found = dataset(Path(), "birds")
    return loading.load(found.labelled(), split, found.place)


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that `run` ends with, before anything is computed."""
    capsys.readouterr()
    assert main(["run", "birds.yaml"]) == 2
    found = capsys.readouterr().err.strip().splitlines()
    assert len(found) == 1, found
    return found[0]


def faulty(capsys: pytest.CaptureFixture[str]) -> str:
    """What `doctor` says of the images."""
    capsys.readouterr()
    assert main(["doctor", "birds.yaml"]) == 2
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("data ")]
    assert len(lines) == 1 and lines[0].startswith("data         birds: FAULTY: ")
    return lines[0]


# --- Parquet ---


def parquet(path: str, columns: dict[str, Any], *, hf: dict[str, Any] | None = None, rows: int = 8) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if hf is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": hf}})})
    pq.write_table(table, path, row_group_size=rows)


def files() -> list[str]:
    """data/img/N.png, thirty of them."""
    Path("data/img").mkdir(parents=True)
    for number in range(30):
        Path(f"data/img/{number}.png").write_bytes(coded(number))
    return [f"img/{number}.png" for number in range(30)]


def listed() -> str:
    """A table of files, labels and splits."""
    names = [NAMES[number % 2] for number in range(30)]
    parquet("data/list.parquet", {"file": files(), "species": names, "split": [split_of(n) for n in range(30)]})
    return "data/list.parquet"


def numbered() -> str:
    """The same without splits, labels as numbers."""
    parquet("data/list.parquet", {"image": files(), "label": [number % 2 for number in range(30)]})
    return "data/list.parquet"


def as_the_hub(words: Sequence[str] = ("train", "test")) -> str:
    """As Hugging Face's hub has data sets: images as bytes, names of classes in a note."""
    for word, rows in zip(words, SPLITS.values(), strict=True):
        images = [{"bytes": coded(number, "JPEG"), "path": f"{number}.jpg"} for number in rows]
        names = {"names": NAMES, "_type": "ClassLabel"}
        columns = {"img": images, "label": [number % 2 for number in rows], "note": [str(number) for number in rows]}
        parquet(f"data/birds/data/{word}-00000-of-00001.parquet", columns, hf={"label": names})
    return "data/birds"


def with_validation() -> str:
    return as_the_hub(("train", "validation"))


@pytest.mark.parametrize(
    ("make", "words", "counts"),
    [
        (listed, "{type: parquet, path: list.parquet}", "20 train, 10 test"),
        (numbered, "{type: parquet, path: list.parquet, split: {test: 0.2, seed: 0}}", "24 train, 6 test"),
        (as_the_hub, "{type: parquet, path: birds}", "20 train, 10 test"),
        (with_validation, "path: birds, values: {train: train, test: validation}}", "20 train, 10 test"),
    ],
)
def test_parquet(
    here: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], str], words: str, counts: str
) -> None:
    text = commands(make(), capsys, counts=counts)
    assert words in text and ("[cat, dog]" in text or make is numbered)
    if make is as_the_hub:
        run(capsys)


def rows(**changed: Any) -> dict[str, Any]:
    """The columns of a good table with some of them changed; None drops one."""
    columns = {
        "image": [coded(number) for number in range(30)],
        "label": [NAMES[number % 2] for number in range(30)],
        "split": [split_of(number) for number in range(30)],
    }
    return {name: column for name, column in (columns | changed).items() if column is not None}


LABELS = [NAMES[number % 2] for number in range(30)]


@pytest.mark.parametrize(
    ("columns", "source", "said"),
    [
        (rows(), ", columns: {label: lable}", "data/t.parquet: no column 'lable'; did you mean 'label'?"),
        (rows(image=None), "", "data/t.parquet: which column holds the images? `columns: {image: NAME}` says it; the"),
        (rows(image=list(range(30))), ", columns: {image: image}", "column 'image' is int64: neither paths nor bytes"),
        (rows(label=None, a=LABELS, b=LABELS), "", "which column is the label? `columns: {label: NAME}` says it; the"),
        (rows(label=[*LABELS[:-1], "bird"]), "", "data/t.parquet, row 29: no class 'bird'"),
        (rows(label=[*LABELS[:-1], None]), "", "data/t.parquet, row 29: no label"),
        (rows(label=[n % 2 + 1 for n in range(30)]), "", "`first_label: 1` below `source` where they count from 1"),
        (rows(split=["train"] * 29 + ["valid"]), "", "`values: {train: [train, valid]}` below `source` counts them"),
        (rows(split=None), "", "data/t.parquet: no column says the split: name it in `columns: {split: NAME}`, or"),
        (rows(image=[f"{n}.png" for n in range(30)]), "", "data/0.png: no such image"),
        (rows(image=["a.png"] * 30), "", "data/t.parquet, row 1: a.png is named a second time"),
        (rows(split=["train"] * 30), "", "data/t.parquet: train: 30 images, but datasets/birds.yaml says train: 20"),
    ],
)
def test_mistakes_in_parquet(
    here: Path, capsys: pytest.CaptureFixture[str], columns: dict[str, Any], source: str, said: str
) -> None:
    parquet("data/t.parquet", columns)
    card(f"{{type: parquet, path: t.parquet{source}}}")
    assert said in refused(capsys)


def test_parquet_that_is_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet("data/t.parquet", rows())
    content = Path("data/t.parquet").read_bytes()
    card("{type: parquet, path: t.parquet}")
    for broken, said in (
        (content[: len(content) // 2], "data/t.parquet: damaged, or no Parquet ("),
        (b"version https://git-lfs.github.com/spec/v1\n", "data/t.parquet: a pointer of Git LFS"),
        (b"", "data/t.parquet: an empty file"),
    ):
        Path("data/t.parquet").write_bytes(broken)
        assert said in refused(capsys)
    for image, said in ((None, "no image"), (b"nothing", "not an image"), (coded(3)[:99], "damaged image")):
        parquet("data/t.parquet", rows(image=[*rows()["image"][:-1], image]))
        assert f"data/t.parquet, row 5 of group 3: {said}" in faulty(capsys)


def test_parquet_files_without_a_test_split(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    as_the_hub(("train", "validation"))
    card("{type: parquet, path: birds}")
    assert "data/birds: no file with test or testing in its name for the test images (train-0000" in refused(capsys)
    card("{type: parquet, path: birds, values: {test: validation}}")
    assert main(["doctor", "birds.yaml"]) == 0


# --- Hugging Face ---


def hugging_face(words: Sequence[str] = ("train", "test"), names: Sequence[str] = NAMES, **more: Any) -> Any:
    """A DatasetDict of thirty images."""
    datasets = pytest.importorskip("datasets")
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))}
    found = {}
    for word, rows in zip(words, SPLITS.values(), strict=True):
        columns: dict[str, Any] = {
            "image": [{"bytes": coded(number), "path": None} for number in rows],
            "label": [number % 2 for number in rows],
        }
        for name, make in more.items():
            columns[name] = [make(number) for number in rows]
        own = {name: datasets.Value("int64" if isinstance(make(0), int) else "string") for name, make in more.items()}
        found[word] = datasets.Dataset.from_dict(columns, features=datasets.Features(features | own))
    return datasets.DatasetDict(found)


def saved() -> str:
    hugging_face(note=str).save_to_disk("data/birds_hf")
    return "data/birds_hf"


def saved_with_validation() -> str:
    hugging_face(("train", "validation")).save_to_disk("data/birds_hf")
    return "data/birds_hf"


def saved_alone() -> str:
    hugging_face(("train", "test"))["train"].save_to_disk("data/birds_hf")
    return "data/birds_hf"


@pytest.mark.parametrize(
    ("make", "words", "counts"),
    [
        (saved, "{type: huggingface, path: birds_hf}", "20 train, 10 test"),
        (saved_with_validation, "values: {train: train, test: validation}}", "20 train, 10 test"),
        (saved_alone, "{type: huggingface, path: birds_hf, split: {test: 0.2, seed: 0}}", "16 train, 4 test"),
    ],
)
def test_hugging_face_on_disk(
    here: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], str], words: str, counts: str
) -> None:
    text = commands(make(), capsys, counts=counts)
    assert words in text and "[cat, dog]" in text
    if make is saved:
        run(capsys)


def cached() -> None:
    """cache/ours___birds, as `load_dataset("ours/Birds")` leaves it."""
    datasets = pytest.importorskip("datasets")
    as_the_hub()
    found = {word: f"data/birds/data/{word}-00000-of-00001.parquet" for word in SPLITS}
    datasets.load_dataset("parquet", data_files=found, cache_dir="made")
    info = next(Path("made").glob("parquet/*/*/*/dataset_info.json"))
    for config in ("default", "large"):
        target = Path(f"cache/ours___my_birds/{config}/0.0.0/{info.parent.name}")
        target.mkdir(parents=True)
        for file in info.parent.glob("*.arrow"):
            shutil.copy(file, target / file.name.replace("parquet", "my_birds"))
        said = json.loads(info.read_text()) | {"config_name": config, "dataset_name": "my_birds"}
        (target / info.name).write_text(json.dumps(said))


def test_hugging_face_by_name(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cached()
    source = "{type: huggingface, name: ours/MyBirds"
    card(f"{source}, config: default, cache: {here / 'cache'}}}")
    assert main(["doctor", "birds.yaml"]) == 0
    assert "data         birds: 20 train, 10 test" in capsys.readouterr().out
    assert main(["run", "birds.yaml"]) == 0
    card(f"{source}, config: tiny, cache: {here / 'cache'}}}")
    assert "Available configs in the cache: ['default', 'large']; nothing is downloaded here" in refused(capsys)
    card(f"{source}, config: default}}")
    monkeypatch.setenv("HF_HOME", str(here / "empty"))
    assert main(["run", "birds.yaml", "--results", "others"]) == 2
    assert "empty/datasets/ours___my_birds is absent" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "names", "source", "said"),
    [
        (
            ("train", "valid"),
            NAMES,
            "",
            "no split test or testing; there is train, valid: `values: {test: valid}` below",
        ),
        (("train", "test"), ["cat", "bird"], "", "data/birds, row 1: no class 'bird'"),
        (("train", "test"), NAMES, ", columns: {label: lable}", "data/birds: no column 'lable'; did you mean 'label'?"),
        (
            ("train", "test"),
            NAMES,
            ", name: ours/birds",
            "`path` is a folder, `name` a data set in the cache: choose one",
        ),
    ],
)
def test_mistakes_in_hugging_face(
    here: Path, capsys: pytest.CaptureFixture[str], words: Sequence[str], names: Sequence[str], source: str, said: str
) -> None:
    hugging_face(words, names).save_to_disk("data/birds")
    card(f"{{type: huggingface, path: birds{source}}}")
    assert said in refused(capsys)


def test_classes_in_the_order_of_the_card(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hugging_face(names=["dog", "cat"]).save_to_disk("data/birds")
    card("{type: huggingface, path: birds}")
    assert read("train").labels.tolist() == [1, 0] * 10
    hugging_face(names=["n01", "n02"]).save_to_disk("data/other")
    card("{type: huggingface, path: other}")
    assert read("train").labels.tolist() == [0, 1] * 10  # other names for all: by number


def test_hugging_face_damaged(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved()
    card("{type: huggingface, path: birds_hf}")
    arrow = next(Path("data/birds_hf/test").glob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes()[:500])
    assert "data/birds_hf: " in faulty(capsys)


# --- WebDataset ---

Members = list[tuple[str, bytes]]


def shard(path: str, members: Members) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def shards(
    beside: Callable[[int], Members] = lambda number: [("cls", str(number % 2).encode())],
    *,
    words: Sequence[str] = ("train", "test"),
    ending: str = "png",
) -> str:
    """data/birds/birds-SPLIT-NNNN.tar with ten images each."""
    for word, rows in zip(words, SPLITS.values(), strict=True):
        for first in rows[::10]:
            members = [
                (f"./{number:04}.{end}", content)
                for number in range(first, first + 10)
                for end, content in [(ending, coded(number, "JPEG" if ending == "JPG" else "PNG")), *beside(number)]
            ]
            shard(f"data/birds/birds-{word}-{first:04}.tar", [("._junk", b""), *members])
    return "data/birds"


def described() -> str:
    """Labels in a JSON, with a text beside it that is no label."""
    return shards(
        lambda number: [("json", json.dumps({"species": NAMES[number % 2], "n": number}).encode()), ("txt", b"a bird")],
        words=("training", "val"),
        ending="JPG",
    )


def one_shard() -> str:
    members = [
        (f"{n}.{end}", text) for n in range(30) for end, text in (("png", coded(n)), ("cls", b"01"[n % 2 :][:1]))
    ]
    shard("data/birds.tar", members)
    return "data/birds.tar"


@pytest.mark.parametrize(
    ("make", "words", "counts"),
    [
        (shards, "{type: webdataset, path: birds}", "20 train, 10 test"),
        (described, "path: birds, values: {train: training, test: val}}", "20 train, 10 test"),
        (one_shard, "{type: webdataset, path: birds.tar, split: {test: 0.2, seed: 0}}", "24 train, 6 test"),
    ],
)
def test_webdataset(
    here: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], str], words: str, counts: str
) -> None:
    text = commands(make(), capsys, counts=counts)
    assert words in text and ("[cat, dog]" if make is described else '["0", "1"]') in text
    for split in ("train", "test"):
        assert all(is_red(read(split), row) == (label == 0) for row, label in enumerate(read(split).labels.tolist()))
    if make is shards:
        run(capsys)


def is_red(split: Split, row: int) -> bool:
    red, _, blue = np.asarray(split.read(row)).mean((0, 1))
    return bool(red > blue)


@pytest.mark.parametrize(
    ("beside", "source", "said"),
    [
        (lambda n: [("cls", b"bird")], "", "data/birds/birds-train-0000.tar: 0000.png: no class 'bird'"),
        (
            lambda n: [("txt", b"a bird")],
            "",
            "data/birds/birds-train-0000.tar: 0000: no label: the sample has png, txt",
        ),
        (lambda n: [("json", b'{"n": 1, "id": "x"}')], "", "no label: the sample has png, json with the keys n, id;"),
        (lambda n: [("json", b"{")], "", "data/birds/birds-train-0000.tar: 0000.json: no JSON"),
        (lambda n: [("cls", b"0")], ", columns: {label: kind}", "0000: no label 'kind': the sample has png, cls"),
        (lambda n: [("seg.png", coded(n)), ("cls", b"0")], "", "several images: png, seg.png: `columns: {image: png}`"),
        (lambda n: [("cls", b"2")], "", "`first_label: 1` below `source` where they count from 1"),
        (lambda n: [("cls", b"0"), ("cls", b"0")], "", "data/birds/birds-train-0000.tar: 0000.cls: is there twice"),
        (
            lambda n: [("cls", b"0")],
            ", columns: {image: jpg}",
            "train: 0 images, but datasets/birds.yaml says train: 20",
        ),
        (
            lambda n: [("cls", str(n % 2).encode())],
            ", values: {test: val}",
            "data/birds: no file with val in its name for the test im",
        ),
    ],
)
def test_mistakes_in_webdataset(
    here: Path, capsys: pytest.CaptureFixture[str], beside: Callable[[int], Members], source: str, said: str
) -> None:
    shards(beside)
    card(f"{{type: webdataset, path: birds{source}}}")
    assert said in refused(capsys)


def test_shards_that_cannot_be_read(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards()
    card("{type: webdataset, path: birds}")
    last = Path("data/birds/birds-test-0020.tar")
    whole = last.read_bytes()
    for broken, said in (
        (whole[:2000], "damaged, or no tar (unexpected end of data)"),
        (whole[: whole.index(b"0029.png") + 600], "./0029.png: the shard is cut short"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (b"x" * 5000, "damaged, or no tar ("),
        (b"", "an empty file"),
        (whole.replace(coded(20)[:60], b"x" * 60), ""),
    ):
        last.write_bytes(broken)
        assert f"data/birds/birds-test-0020.tar: {said}" in (refused(capsys) if said else faulty(capsys))
    shutil.rmtree("data/birds")
    Path("data/birds").mkdir()
    Path("data/birds/train-0.tar.gz").write_bytes(b"x")
    assert "train-0.tar.gz: a compressed shard cannot be read in any order: unpack it to a plain .tar" in refused(
        capsys
    )


# --- HDF5 ---


def hdf5(arrays: dict[str, Any]) -> str:
    h5py = pytest.importorskip("h5py")
    Path("data").mkdir(exist_ok=True)
    with h5py.File("data/birds.h5", "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return "data/birds.h5"


def pixels(rows: range) -> Any:
    return np.stack([np.asarray(Image.open(io.BytesIO(coded(number)))) for number in rows])


def grouped(**changed: Any) -> str:
    """train/images and so on, uint8 and numbers."""
    arrays: dict[str, Any] = {}
    for split, rows in SPLITS.items():
        arrays[f"{split}/images"], arrays[f"{split}/labels"] = pixels(rows), np.array(rows) % 2
    changed = {name.replace("_", "/"): array for name, array in changed.items()}
    return hdf5({name: array for name, array in (arrays | changed).items() if array is not None})


def other_forms() -> str:
    """Channels first, floats, names as labels."""
    arrays: dict[str, Any] = {}
    for split, rows in SPLITS.items():
        arrays[f"x_{split}"] = (pixels(rows) / 255).astype(np.float32).transpose(0, 3, 1, 2)
        arrays[f"y_{split}"] = [NAMES[number % 2] for number in rows]
    return hdf5(arrays)


def image_files() -> str:
    """The bytes of image files, of any length."""
    h5py = pytest.importorskip("h5py")
    arrays: dict[str, Any] = {}
    for split, rows in SPLITS.items():
        items = np.empty(len(rows), h5py.vlen_dtype(np.uint8))
        items[:] = [np.frombuffer(coded(number), np.uint8) for number in rows]
        arrays[f"{split}/images"], arrays[f"{split}/labels"] = items, np.array(rows) % 2 + 1
    return hdf5(arrays)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (grouped, "{type: hdf5, path: birds.h5}"),
        (other_forms, "{type: hdf5, path: birds.h5, scale: 1}"),
        (image_files, "{type: hdf5, path: birds.h5, first_label: 1}"),
    ],
)
def test_hdf5(here: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], str], words: str) -> None:
    text = commands(make(), capsys)
    assert words in text and ("[cat, dog]" if make is other_forms else '["0", "1"]') in text
    for split in ("train", "test"):
        assert all(is_red(read(split), row) == (label == 0) for row, label in enumerate(read(split).labels.tolist()))
    if make is image_files:
        run(capsys)


@pytest.mark.parametrize(
    ("changed", "source", "said"),
    [
        ({"test_images": None}, "", "data/birds.h5: no array 'test/images'"),
        ({}, ", images: '{split}/imgs'", "data/birds.h5: no array 'train/imgs'; did you mean 'train/images'?"),
        ({}, ", labels: y", "source.labels: without '{split}' in it, train and test would be the same"),
        ({"train_labels": np.arange(20) % 2 + 1}, "", "train/labels: labels from 1 to 2: write `first_label: 1` below"),
        (
            {"train_labels": np.zeros((20, 3), int)},
            "",
            "train/labels: labels are int64 (20, 3); expected (20,), one an",
        ),
        (
            {"train_images": pixels(range(20))[:, :8]},
            "",
            "images are uint8 (20, 8, 16, 3); expected uint8 (20, 16, 16, 3)",
        ),
        ({"train_images": pixels(range(20)) / 255}, "", "write `scale: 1` below `source` in the card"),
        ({"train_images": pixels(range(19)), "train_labels": np.arange(19) % 2}, "", "says train: 20"),
    ],
)
def test_mistakes_in_hdf5(
    here: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, Any], source: str, said: str
) -> None:
    grouped(**changed)
    card(f"{{type: hdf5, path: birds.h5{source}}}")
    assert said in refused(capsys)


def test_hdf5_that_is_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = Path(grouped()).read_bytes()
    card("{type: hdf5, path: birds.h5}")
    for broken, said in (
        (whole[: len(whole) // 2], "damaged, or no HDF5 ("),
        (b"<!doctype html><html>", "a web page"),
        (b"", "an empty file"),
    ):
        Path("data/birds.h5").write_bytes(broken)
        assert f"data/birds.h5: {said}" in refused(capsys)


def one_pair(images: str = "images", labels: str = "labels") -> str:
    return hdf5({images: pixels(range(30)), labels: np.arange(30) % 2})


def a_file_for_each_split() -> str:
    for split, rows in SPLITS.items():
        Path(one_pair_of(rows)).rename(f"data/birds_{split}.h5")
    Path("data/birds").mkdir()
    for split in SPLITS:
        Path(f"data/birds_{split}.h5").rename(f"data/birds/birds_{split}.h5")
    return "data/birds"


def one_pair_of(rows: range) -> str:
    return hdf5({"x": pixels(rows), "y": np.array(rows) % 2})


@pytest.mark.parametrize(
    ("make", "words", "counts"),
    [
        (one_pair, "path: birds.h5, split: {test: 0.2, seed: 0}}", "24 train, 6 test"),
        (a_file_for_each_split, 'path: "birds/birds_{split}.h5"}', "20 train, 10 test"),
    ],
)
def test_hdf5_without_a_group_for_each_split(
    here: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], str], words: str, counts: str
) -> None:
    assert words in commands(make(), capsys, counts=counts)
    train, test = read("train"), read("test")
    for split in (train, test):
        assert all(is_red(split, row) == (label == 0) for row, label in enumerate(split.labels.tolist()))
    if make is one_pair:
        assert np.bincount(test.labels).tolist() == [3, 3]
        images = [{split.read(row).tobytes() for row in range(len(split))} for split in (train, test)]
        assert len(images[0] | images[1]) == 30  # no image in both
    run(capsys)


def test_mistakes_in_hdf5_without_groups(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one_pair("a", "b")
    drawn = "split: {test: 0.2, seed: 0}"
    card(f"{{type: hdf5, path: birds.h5, {drawn}}}", counts=(24, 6))
    assert "data/birds.h5: no array 'images'; there is a, b" in refused(capsys)
    card(f"{{type: hdf5, path: birds.h5, images: a, labels: b, {drawn}}}", counts=(24, 6))
    assert main(["doctor", "birds.yaml"]) == 0
    card(f"{{type: hdf5, path: birds.h5, images: '{{split}}/a', labels: b, {drawn}}}", counts=(24, 6))
    assert "`split` draws train and test, and {split} in a name says them: choose one" in refused(capsys)
    card("{type: hdf5, path: 'birds_{split}.h5'}")
    assert main(["run", "birds.yaml"]) == 2
    assert "data/birds_train.h5" in capsys.readouterr().err


# --- patterns, subsets and corruptions ---


@pytest.mark.parametrize(
    ("make", "kind", "path"),
    [
        (shards, "webdataset", "birds/birds-{train-{0000..0010},test-{0020..0020}}.tar"),
        (as_the_hub, "parquet", "birds/data/{train,test}-{00000..00000}-of-00001.parquet"),
    ],
)
def test_paths_with_braces(
    here: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], str], kind: str, path: str
) -> None:
    make()
    if kind == "webdataset":  # one name without a file between
        Path("data/birds/birds-train-0010.tar").rename("data/birds/birds-train-0001.tar")
        path = path.replace("0010", "0001")
    text = commands(f"data/{path}", capsys)
    assert f'type: {kind}, path: "{path}"}}' in text
    run(capsys)
    broken = path.replace("0001}", "0002}") if kind == "webdataset" else path.replace("00000}", "00001}")
    write(here, "datasets/birds.yaml", text.replace(path, broken))
    assert main(["run", "birds.yaml", "--results", "others"]) == 2
    assert "is absent" in capsys.readouterr().err


def test_patterns_as_a_shell_has_them() -> None:
    assert expanded("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert sorted(expanded("{a-{1..2},b}/{split}.h5")) == ["a-1/{split}.h5", "a-2/{split}.h5", "b/{split}.h5"]
    with pytest.raises(ValueError, match="more than 100,000 files"):
        expanded("{0..100000}")
    with pytest.raises(ValueError, match="more than 100,000 files"):
        expanded("{0..9999}" * 9)


def test_a_pattern_of_too_many_files_is_a_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", "x-{0..99999999}.tar"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# --- LMDB ---


def database(path: str, items: dict[str, bytes], *, folder: bool = True) -> None:
    lmdb = pytest.importorskip("lmdb")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with lmdb.open(path, map_size=2**24, subdir=folder) as found, found.begin(write=True) as transaction:
        for key, value in items.items():
            transaction.put(key.encode(), value)


def paired() -> str:
    """image-N and label-N, as text recognition has it, in a folder for each split."""
    for split, rows in SPLITS.items():
        images = {f"image-{number:09}": coded(number) for number in rows}
        labels = {f"label-{number:09}": NAMES[number % 2].encode() for number in rows}
        database(f"data/birds/{split}", images | labels | {"num-samples": str(len(rows)).encode()})
    return "data/birds"


def samples_in_files() -> str:
    """N.png and N.cls, in a file for each split."""
    for split, rows in SPLITS.items():
        images = {f"{number}.png": coded(number) for number in rows}
        database(f"data/birds/{split}.lmdb", images | {f"{n}.cls": str(n % 2).encode() for n in rows}, folder=False)
    return "data/birds"


def by_folder() -> str:
    """CLASS/N.png, all splits in one."""
    database("data/birds", {f"{NAMES[number % 2]}/{number}.png": coded(number) for number in range(30)})
    return "data/birds"


@pytest.mark.parametrize(
    ("make", "words", "counts"),
    [
        (paired, "{type: lmdb, path: birds}", "20 train, 10 test"),
        (samples_in_files, "{type: lmdb, path: birds}", "20 train, 10 test"),
        (by_folder, "{type: lmdb, path: birds, split: {test: 0.2, seed: 0}}", "24 train, 6 test"),
    ],
)
def test_lmdb(here: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], str], words: str, counts: str) -> None:
    text = commands(make(), capsys, counts=counts)
    assert words in text and ('["0", "1"]' if make is samples_in_files else "[cat, dog]") in text
    for split in ("train", "test"):
        assert all(is_red(read(split), row) == (label == 0) for row, label in enumerate(read(split).labels.tolist()))
    if make is paired:
        run(capsys)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (
            {"1": b"x"},
            "data/birds/train: no image in it; keys looked for: NAME.jpg (or another ending of images), image-",
        ),
        ({"1.png": b"x"}, "data/birds/train: 1: no label: the sample has png;"),
        ({"image-1": b"x"}, "data/birds/train: image-1: no label-1 beside it"),
        ({"1.png": b"x", "1.cls": b"bird"}, "data/birds/train: 1.png: no class 'bird'"),
    ],
)
def test_mistakes_in_lmdb(here: Path, capsys: pytest.CaptureFixture[str], items: dict[str, bytes], said: str) -> None:
    database("data/birds/train", items)
    database("data/birds/test", items)
    card("{type: lmdb, path: birds}")
    assert said in refused(capsys)


def test_lmdb_that_is_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paired()
    card("{type: lmdb, path: birds}")
    pickled = {"image-1": pickle.dumps({"image": 1}), "label-1": b"cat", "image-2": coded(1), "label-2": b"dog"}
    database("data/birds/val", pickled)
    card("{type: lmdb, path: birds, values: {test: val}}", counts=(20, 2))
    assert "data/birds/val: image-1: a pickled object, which is not loaded" in faulty(capsys)
    Path("data/birds/val/data.mdb").write_bytes(b"no database" * 1000)
    assert "data/birds/val: damaged, or no database of LMDB (" in refused(capsys)
    shutil.rmtree("data/birds")
    Path("data/birds").mkdir()
    assert "data/birds: no database of LMDB (a folder with data.mdb, or .lmdb)" in refused(capsys)


PACKAGES = {"parquet": "pyarrow", "huggingface": "datasets", "hdf5": "h5py", "lmdb": "lmdb"}
MAKERS: dict[str, Callable[[], str]] = {"parquet": as_the_hub, "huggingface": saved, "hdf5": grouped, "lmdb": paired}
EXTRAS = {"parquet": "parquet", "huggingface": "hf", "hdf5": "hdf5", "lmdb": "lmdb"}


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_package_that_is_not_installed(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    package, find = PACKAGES[kind], importlib.util.find_spec
    path = MAKERS[kind]()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    card(f"{{type: {kind}, path: birds}}")
    capsys.readouterr()
    for command in (["plan", "birds.yaml"], ["doctor", "birds.yaml"], ["run", "birds.yaml"]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert said == f"datasets/birds.yaml:2: {package} is not installed: pip install 'sem-bench[{EXTRAS[kind]}]'\n"
    assert main(["card", path, "--name", "other"]) == 2
    assert capsys.readouterr().err == f"{package} is not installed: pip install 'sem-bench[{EXTRAS[kind]}]'\n"


def test_an_archive_or_a_table_beside_folders_is_not_what_a_card_is_of(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, rows in SPLITS.items():
        for number in rows:
            path = Path("data/birds", split, NAMES[number % 2], f"{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(coded(number))
    shard("data/birds/all.tar", [("train/cat/0.png", coded(0))])
    parquet("data/birds/notes.parquet", {"path": ["a"], "note": ["b"]})
    assert "{type: folder, path: birds}" in commands("data/birds", capsys)


ALL: dict[str, Callable[[], str]] = {**MAKERS, "webdataset": shards, "hdf5 of files": image_files}


@pytest.mark.parametrize("kind", ALL)
def test_streamed_is_the_same_as_in_memory(here: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    assert main(["card", ALL[kind](), "--name", "birds"]) == 0
    found = dataset(Path(), "birds")
    for split in ("train", "test"):
        whole = loading.load(found.labelled(), split, found.place)
        streamed = loading.load(found.labelled(), split, found.place, memory=1, workers=4)
        assert whole.images is not None and streamed.images is None
        assert whole.fingerprint == streamed.fingerprint
        assert torch.equal(torch.cat(list(whole.prepared())), torch.cat(list(streamed.prepared())))
    apart = loading.fingerprints(found.labelled(), found.place)
    assert apart == {split: read(split).fingerprint for split in SPLITS}


@pytest.mark.parametrize(
    ("make", "pattern"),
    [(shards, "data/birds/birds-{}-*.tar"), (as_the_hub, "data/birds/data/{}-*.parquet"), (saved, "data/birds_hf/{}")],
)
def test_train_and_test_that_are_copies(
    here: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], str], pattern: str
) -> None:
    assert main(["card", make(), "--name", "birds"]) == 0
    for old in Path().glob(pattern.format("test")):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for one in list(Path().glob(pattern.format("train"))):
        copy = shutil.copytree if one.is_dir() else shutil.copy
        copy(one, str(one).replace("train", "test"))
    card_text = Path("datasets/birds.yaml").read_text().replace("test: 10", "test: 20")
    Path("datasets/birds.yaml").write_text(card_text)
    assert "datasets/birds.yaml: train and test are the same images" in faulty(capsys)


@pytest.mark.parametrize("kind", ALL)
def test_a_part_of_the_images_and_corruptions(here: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    assert main(["card", ALL[kind](), "--name", "birds"]) == 0
    found = dataset(Path(), "birds")
    data = found.labelled(limit=7, test_limit=4)
    for memory in (2**30, 1):
        part = loading.load(data, "train", found.place, memory=memory)
        assert len(part) == 7 and part.labels.sum() in (3, 4) and (part.images is None) == (memory == 1)
    source = "{type: corrupted, of: birds, corruptions: [contrast], severities: [1, 5]}"
    write(here, "datasets/birds_c.yaml", f"summary: changed\nsource: {source}\nlicence: ours")
    with open("datasets/birds.yaml", "a") as file:
        file.write("shifts: {c: birds_c}\n")
    shifted, place = dataset(Path(), "birds").shift("c")
    splits = [list(loading.all_corrupted(shifted, place, memory=memory)) for memory in (2**30, 1)]
    for whole, streamed in zip(*splits, strict=True):
        assert whole.fingerprint == streamed.fingerprint
        assert torch.equal(torch.cat(list(whole.prepared())), torch.cat(list(streamed.prepared())))
    assert not torch.equal(splits[0][0].sample(4), splits[0][1].sample(4))


def test_hdf5_in_two_files(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As PatchCamelyon: images and labels of each split in files of their own, labels (N, 1, 1, 1)."""
    for split, rows in (("train", range(20)), ("valid", range(30, 40)), ("test", range(20, 30))):
        for name, array in (("x", pixels(rows)), ("y", np.array(rows).reshape(-1, 1, 1, 1) % 2)):
            Path("data/birds").mkdir(parents=True, exist_ok=True)
            Path(hdf5({name: array})).rename(f"data/birds/camelyonpatch_level_2_split_{split}_{name}.h5")
    text = commands("data/birds", capsys, counts="20 train, 10 val, 10 test")
    path = "birds/camelyonpatch_level_2_split_{split}"
    assert f'path: "{path}_x.h5", labels_path: "{path}_y.h5", values: {{val: valid}}}}' in text
    for split in SPLITS:
        assert all(is_red(read(split), row) == (label == 0) for row, label in enumerate(read(split).labels.tolist()))
    run(capsys)
    Path(f"data/{path.replace('{split}', 'test')}_y.h5").unlink()
    assert main(["run", "birds.yaml"]) == 2
    assert "data/birds/camelyonpatch_level_2_split_test_y.h5 is absent" in capsys.readouterr().err


def test_hdf5_in_two_files_without_splits(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/birds").mkdir(parents=True)
    Path(hdf5({"pictures": pixels(range(30))})).rename("data/birds/images.hdf5")
    Path(hdf5({"kinds": [NAMES[number % 2] for number in range(30)]})).rename("data/birds/labels.hdf5")
    text = commands("data/birds", capsys, counts="24 train, 6 test")
    assert "path: birds/images.hdf5, labels_path: birds/labels.hdf5" in text and "[cat, dog]" in text
    for split in ("train", "test"):
        assert all(is_red(read(split), row) == (label == 0) for row, label in enumerate(read(split).labels.tolist()))
    replace_text(Path("datasets/birds.yaml"), ", labels_path: birds/labels.hdf5", "")
    assert "data/birds/images.hdf5: no array 'kinds'; there is pictures" in refused(capsys)
