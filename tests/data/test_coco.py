"""COCO: a JSON of images, annotations and categories, to the end of a run."""

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
from tests.helpers.datasets import dataset
from tests.helpers.toy import replace_text, write

pytestmark = pytest.mark.cases
NAMES = ["red", "green", "blue"]
THERE = (np.random.default_rng(0).random((90, 3)) < [0.5, 0.3, 0.4]).astype(np.int64)
SPLITS: dict[SplitName, range] = {"train": range(60), "test": range(60, 90)}
CATEGORIES = [{"id": 7 * number, "name": name, "supercategory": "x"} for number, name in enumerate(NAMES)]


def annotated(folder: str, rows: range, *, prefix: str = "", there: Any = THERE) -> dict[str, Any]:
    """Images of 16 px in a folder, and what COCO says of them: two boxes of each class that is there."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    images, annotations = [], list[dict[str, Any]]()
    for row in rows:
        noise = np.random.default_rng(row).normal(100, 30, (16, 16, 3)) + 60 * THERE[row]
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(f"{folder}/{row:012}.png")
        images.append(
            {"license": 1, "file_name": f"{prefix}{row:012}.png", "height": 16, "width": 16, "id": 1000 - row}
        )
        for number in [*np.flatnonzero(there[row]), *np.flatnonzero(there[row])]:
            box = {"bbox": [1, 2, 3, 4], "segmentation": [[1.5, 2.5, 3.5]], "iscrowd": 0, "area": 12}
            annotations.append({**box, "image_id": 1000 - row, "category_id": 7 * int(number), "id": len(annotations)})
    info = {"description": "ours", "name": "ours"}
    return {"info": info, "licenses": [], "images": images, "annotations": annotations, "categories": CATEGORIES}


def written(path: str, content: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(content))


def official() -> str:
    for word, rows in (("train2017", SPLITS["train"]), ("val2017", SPLITS["test"])):
        found = annotated(f"data/own/{word}", rows)
        written(f"data/own/annotations/instances_{word}.json", found)
        written(f"data/own/annotations/person_keypoints_{word}.json", {**found, "categories": CATEGORIES[:1]})
        captions = [{"image_id": 1, "id": 1, "caption": "a dog"}]
        written(f"data/own/annotations/captions_{word}.json", {"info": {}, "images": [], "annotations": captions})
    return "data/own"


def roboflow() -> str:
    """A JSON beside the images of each split, and a category above the others."""
    for word, rows in (("train", SPLITS["train"]), ("valid", SPLITS["test"])):
        found = annotated(f"data/own/{word}", rows)
        above = {"id": 1, "name": "colours", "supercategory": "none"}
        written(f"data/own/{word}/_annotations.coco.json", {**found, "categories": [above, *CATEGORIES]})
    return "data/own"


def names_with_folders() -> str:
    for split, rows in SPLITS.items():
        written(f"data/own/{split}.json", annotated(f"data/own/images/{split}", rows, prefix=f"images/{split}/"))
    return "data/own"


def one_file() -> str:
    written("data/own/annotations.json", annotated("data/own/images", range(90)))
    return "data/own"


def one_file_by_name() -> str:
    one_file()
    return "data/own/annotations.json"


def labels(split: SplitName) -> Any:
    found = dataset(Path(), "own")
    return loading.load(found.labelled(), split, found.place, memory=1).labels.numpy()


@pytest.mark.parametrize(
    ("make", "source"),
    [
        (
            official,
            '{type: coco, path: "own/annotations/instances_{split}.json", values: {train: train2017, test: val2017}, '
            'images: "own/{split}"}',
        ),
        (
            roboflow,
            '{type: coco, path: "own/{split}/_annotations.coco.json", values: {test: valid}, images: "own/{split}"}',
        ),
        (names_with_folders, '{type: coco, path: "own/{split}.json"}'),
        (one_file, "{type: coco, path: own/annotations.json, split: {test: 0.2, seed: 0}, images: own/images}"),
        (one_file_by_name, "{type: coco, path: own/annotations.json, split: {test: 0.2, seed: 0}, images: own/images}"),
    ],
)
def test_three_commands_to_a_finished_run(
    here: Path, capsys: pytest.CaptureFixture[str], make: Callable[[], str], source: str
) -> None:
    assert main(["card", make(), "--name", "own"]) == 0, capsys.readouterr().err
    text = Path("datasets/own.yaml").read_text()
    assert f"source: {source}\n" in text and "classes: [red, green, blue]\nmulti_label: true" in text
    assert main(["doctor", "own.yaml"]) == 0, capsys.readouterr().out
    if "split: {test" in source:
        both = np.concatenate([labels("train"), labels("test")])
        assert len(labels("test")) == 18 and (both.sum(0) == THERE.sum(0)).all()
    else:
        for split, rows in SPLITS.items():
            assert labels(split).tolist() == THERE[rows.start : rows.stop].tolist()
    few = ["--set", "pretrain.epochs=0", "--set", "grid.embeddings={none: {}}", "--memory", "0.000001"]
    assert main(["run", "own.yaml", *few]) == 0
    assert "100% mAP" in capsys.readouterr().out


def test_one_category_an_image_is_its_class(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = np.eye(3, dtype=np.int64)[np.arange(90) % 3]
    for split, rows in SPLITS.items():
        written(f"data/own/{split}.json", annotated("data/own", rows, there=alone))
    assert main(["card", "data/own"]) == 0
    assert "multi_label" not in Path("datasets/own.yaml").read_text()
    assert main(["doctor", "own.yaml"]) == 0
    assert labels("test").tolist() == [row % 3 for row in range(60, 90)]
    written("data/own/train.json", annotated("data/own", SPLITS["train"]))
    with pytest.raises(
        UserError, match=r"train.json: 0+\d+.png has [023] classes; `multi_label: true` in the card takes"
    ):
        labels("train")


def test_categories_that_are_no_classes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a split lacks is left out of a first card, and what a card does not name is said."""
    rare = THERE.copy()
    rare[:60, 2] = 0
    for split, rows in SPLITS.items():
        written(f"data/own/{split}.json", annotated("data/own", rows, there=rare))
    assert main(["card", "data/own"]) == 0
    assert "1 categories without images in each split are left out: blue" in capsys.readouterr().out
    assert main(["doctor", "own.yaml"]) == 0
    assert "test: 1 categories are no class of the card: blue" in capsys.readouterr().out
    assert labels("test").tolist() == THERE[60:, :2].tolist()
    replace_text(here / "datasets/own.yaml", "[red, green]", "[red, gren]")
    with pytest.raises(UserError, match="no image of class 'gren'"):
        labels("test")


def test_a_category_of_one_image_beside_another(here: Path) -> None:
    there = np.eye(3, dtype=np.int64)[np.arange(90) % 2]
    there[0, 2] = 1
    written("data/own/all.json", annotated("data/own", range(90), there=there))
    assert main(["card", "data/own"]) == 0
    assert "classes: [red, green]\nmulti_label: true" in Path("datasets/own.yaml").read_text()
    assert main(["doctor", "own.yaml"]) == 0


def test_two_categories_of_one_name_are_one(here: Path) -> None:
    content = annotated("data/own", range(90), there=np.eye(3, dtype=np.int64)[np.arange(90) % 3])
    twice = [{"id": 0, "name": "red"}, {"id": 7, "name": "green"}, {"id": 14, "name": "green"}]
    written("data/own/all.json", content | {"categories": twice})
    assert main(["card", "data/own"]) == 0
    assert dataset(here, "own").card.classes == ["red", "green"]
    assert main(["doctor", "own.yaml"]) == 0
    assert sorted(np.bincount(labels("train")).tolist()) == [24, 48]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"images": None}, "own/train.json: no list of images, as COCO has it"),
        ({"categories": [{"id": 0}]}, "own/train.json: number 0 of categories has no name"),
        ({"images": [{"id": 0, "coco_url": "x"}]}, "own/train.json: number 0 of images has no file_name"),
        ({"annotations": [{"image_id": 0, "category_id": 0}]}, "an annotation has image_id 0, which is not there"),
        ({"annotations": [{"image_id": 5, "category_id": 0}]}, "an annotation has image_id 5, which is not there"),
        (
            {"annotations": [{"image_id": 1000, "category_id": 5}]},
            "an annotation has category_id 5, which is not there",
        ),
        ({"images": [{"id": 1, "file_name": "a.png"}] * 2}, "own/train.json: images: id 1 is there twice"),
        (
            {"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "a.png"}], "annotations": []},
            "own/train.json: a.png is named a second time",
        ),
        (
            {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "category_id": 0}]},
            "own/train.json: data/own/a.png: no such image",
        ),
        (
            {"images": [{"id": 1, "file_name": f"{60:012}.png"}], "annotations": []},
            "own/train.json: 000000000060.png is an image of data/own/test.json, too",
        ),
    ],
)
def test_mistakes(here: Path, changed: dict[str, Any], said: str) -> None:
    content = {split: annotated("data/own", rows) for split, rows in SPLITS.items()}
    for split, one in content.items():
        written(f"data/own/{split}.json", one)
    assert main(["card", "data/own"]) == 0
    written("data/own/train.json", content["train"] | changed)
    with pytest.raises(UserError) as caught:
        labels("train")
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", '{"images": [', "[1, 2]", '{"images": NaN}', "\xff", "[" * 100_000])
def test_what_is_no_coco(here: Path, text: str) -> None:
    for split, rows in SPLITS.items():
        written(f"data/own/{split}.json", annotated("data/own", rows))
    assert main(["card", "data/own"]) == 0
    (here / "data/own/train.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"own/train\.json(:1)?: no "):
        labels("train")


def test_other_json_beside_images(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotated("data/own", range(6))
    written("data/own/captions.json", {"images": [], "annotations": [{"image_id": 1, "caption": "a dog"}]})
    written("data/own/area.json", {"info": 1})
    assert main(["card", "data/own"]) == 0
    assert "annotations in JSON are not read" in capsys.readouterr().out


def test_a_choice_is_asked_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        written(f"data/own/{name}.json", annotated("data/own", range(90)))
    assert main(["card", "data/own"]) == 2
    assert "2 files of COCO, a.json, b.json: choose, as `card data/own/a.json`" in capsys.readouterr().err
    assert main(["card", "data/own/a.json", "--name", "own"]) == 0
    write(here, "other.json", '{"some": "thing"}')
    assert main(["card", "other.json"]) == 2
    assert "other.json: no folder, table (.csv, .tsv)" in capsys.readouterr().err
    source = "source: {type: coco, path: own/a.json}"
    text = Path("datasets/own.yaml").read_text().splitlines()
    write(here, "datasets/own.yaml", "\n".join(source if "source:" in line else line for line in text))
    assert main(["plan", "own.yaml"]) == 2
    assert "train and test would be the same; `split: {test: 0.2, seed: 0}` draws them" in capsys.readouterr().err
