"""Data packed into a few large files: Parquet. Card, doctor and run are three commands for each."""

import importlib.util
import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sem_bench.cli import main
from sem_bench.config.fields import SplitName
from sem_bench.data import loading
from sem_bench.data.split import Split
from tests.helpers.datasets import dataset
from tests.helpers.toy import write

pytestmark = pytest.mark.cases
COLOURS = {"cat": (200, 60, 60), "dog": (60, 60, 200)}
NAMES = list(COLOURS)
SPLITS = {"train": range(20), "test": range(20, 30)}


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
    """The suite that `card` wrote, to its end."""
    assert main(["run", "birds.yaml", "--set", "pretrain.epochs=1", "--set", "grid.embeddings={none: {}}"]) == 0
    assert "\nsimclr  none " in capsys.readouterr().out


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
        (saved, "{type: hugging_face, path: birds_hf}", "20 train, 10 test"),
        (saved_with_validation, "values: {train: train, test: validation}}", "20 train, 10 test"),
        (saved_alone, "{type: hugging_face, path: birds_hf, split: {test: 0.2, seed: 0}}", "16 train, 4 test"),
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
    source = "{type: hugging_face, name: ours/MyBirds"
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
    card(f"{{type: hugging_face, path: birds{source}}}")
    assert said in refused(capsys)


def test_classes_in_the_order_of_the_card(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hugging_face(names=["dog", "cat"]).save_to_disk("data/birds")
    card("{type: hugging_face, path: birds}")
    assert read("train").labels.tolist() == [1, 0] * 10
    hugging_face(names=["n01", "n02"]).save_to_disk("data/other")
    card("{type: hugging_face, path: other}")
    assert read("train").labels.tolist() == [0, 1] * 10  # other names for all: by number


def test_hugging_face_damaged(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved()
    card("{type: hugging_face, path: birds_hf}")
    arrow = next(Path("data/birds_hf/test").glob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes()[:500])
    assert "data/birds_hf: " in faulty(capsys)


PACKAGES = {"parquet": "pyarrow", "hugging_face": "datasets"}
EXTRAS = {"parquet": "parquet", "hugging_face": "hf"}


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_package_that_is_not_installed(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    package, find = PACKAGES[kind], importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    card(f"{{type: {kind}, path: birds}}")
    for command in (["plan", "birds.yaml"], ["doctor", "birds.yaml"], ["run", "birds.yaml"]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert said == f"datasets/birds.yaml:2: {package} is not installed: pip install 'sem-bench[{EXTRAS[kind]}]'\n"
