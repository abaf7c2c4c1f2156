"""Images with several classes: labels from a table, one-vs-rest heads, mean average precision, and who refuses them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from sem_bench.cli import main
from sem_bench.config.cards import Library
from sem_bench.data import loading
from sem_bench.data.card import dataset_card
from sem_bench.data.dataset import DataSet
from sem_bench.data.several_labels import strata
from sem_bench.errors import UserError
from sem_bench.evaluations.measures import logistic, selection
from sem_bench.evaluations.measures.ranking import score_several
from tests.helpers.toy import replace_text, write

pytestmark = pytest.mark.cases
CLASSES = ["red", "green", "blue"]
SUITE = """
name: several
seeds: [0]
grid:
  methods: [simclr]
  embeddings: {none: {}, sem: {L: 4, V: 3}}
  backbones: [resnet10w16s2]
  datasets: [mine]
pretrain: {recipe: quick, epochs: 0, batch_size: 20}
evaluate:
  probe: {fractions: [1.0, 0.5], tau: [1.0], l2: [1e-4, 1e-2]}
  transfer: {datasets: [mine]}
"""


def photographs(source: str = "", *, names: bool = False, more: str = "") -> np.ndarray[Any, Any]:
    """60 images to train on and 30 to test on: a channel is bright where its class is there. The labels (90, 3)."""
    random = np.random.default_rng(0)
    there = random.random((90, 3)) < [0.5, 0.3, 0.4]
    header = "image,labels,split" if names else "image,red,green,blue,split"
    lines = [header]
    Path("data/img").mkdir(parents=True, exist_ok=True)
    for number, own in enumerate(there):
        pixels = random.normal(100, 40, (16, 16, 3)) + 60 * own
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(f"data/img/{number:02}.png")
        said = ";".join(name for name, one in zip(CLASSES, own, strict=True) if one)
        cells = said if names else ",".join("1" if one else "-1" for one in own)
        lines.append(f"img/{number:02}.png,{cells},{'train' if number < 60 else 'test'}")
    write(Path(), "data/list.csv", "\n".join(lines))
    card = f"""
summary: bright channels
source: {{type: csv, path: list.csv{source}}}
splits: {{train: 60, test: 30}}
image_size: 16
classes: [{", ".join(CLASSES)}]
multi_label: true
normalise: {{mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
licence: ours
{more}
"""
    write(Path(), "datasets/mine.yaml", card)
    write(Path(), "suite.yaml", SUITE)
    return there


def load() -> Any:
    library = Library(Path())
    found = DataSet(dataset_card(library, "mine"), library, Path("data"))
    return loading.load_all(found.labelled(), found.place)


def result(pattern: str, kind: str = "probe") -> dict[str, Any]:
    (file,) = Path("results").glob(f"{kind}/{pattern}/result.json")
    content: dict[str, Any] = json.loads(file.read_text())
    return content


@pytest.mark.parametrize(("names", "source"), [(False, ""), (True, ', separator: ";"')])
def test_labels_from_columns_and_from_names(here: Path, names: bool, source: str) -> None:
    there = photographs(source, names=names)
    found = load()
    assert found["train"].labels.tolist() == there[:60].astype(int).tolist()
    assert found["test"].labels.tolist() == there[60:].astype(int).tolist()


def test_average_precision_by_hand() -> None:
    # Ranked: there, not, there, not: precision 1 at recall 1/2, 2/3 at recall 1. (1 + 2/3) / 2.
    logits = torch.tensor([[4.0, 0.0], [3.0, 1.0], [2.0, -1.0], [1.0, -2.0]])
    truth = torch.tensor([[1, 0], [0, 1], [1, 0], [0, 0]])
    assert score_several(logits[:, :1], truth[:, :1], "map") == pytest.approx(5 / 6)
    assert score_several(logits, truth, "map") == pytest.approx((5 / 6 + 1) / 2)
    # A class that no image has does not count; ties are one step.
    assert score_several(logits, truth * torch.tensor([1, 0]), "map") == pytest.approx(5 / 6)
    assert score_several(torch.zeros(4, 1), truth[:, :1], "map") == pytest.approx(1 / 2)
    # F1 at a logit above 0: class 0 has two of four said to be there (2 * 2 / (4 + 2)), class 1 its one (1).
    assert score_several(logits, truth, "macro_f1") == pytest.approx((2 / 3 + 1) / 2)
    random = np.random.default_rng(1)
    scores, wanted = random.normal(size=(200, 5)).round(1), random.random((200, 5)) < 0.3
    expected = average_precision_score(wanted, scores, average="macro")
    found = score_several(torch.from_numpy(scores), torch.from_numpy(wanted.astype(int)), "map")
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("rows", [80, 3000])
def test_heads_are_those_of_one_class_against_the_rest(rows: int) -> None:
    random = np.random.default_rng(2)
    x = random.normal(size=(rows, 6))
    wanted = (x @ random.normal(size=(6, 4)) + random.normal(size=(rows, 4)) > 0.5).astype(np.int64)
    wanted[:, 3] = 0  # a class that no row has
    fitted = logistic.fit(
        torch.from_numpy(x).float(), torch.from_numpy(wanted), classes=4, l2=[1e-3, 1e-1], tolerance=1e-10
    )
    for head, l2 in zip(fitted.heads, [1e-3, 1e-1], strict=True):
        for label in range(3):
            reference = LogisticRegression(C=1 / (rows * l2), tol=1e-9, max_iter=5000).fit(x, wanted[:, label])
            assert np.allclose(head.weight[label], reference.coef_[0], atol=2e-3)
            assert float(head.bias[label]) == pytest.approx(float(reference.intercept_[0]), abs=2e-3)
        assert float(head.bias[3]) == -np.inf and not head.weight[3].any()


def test_draws_keep_the_proportion_of_the_rarest_class() -> None:
    labels = np.array([[1, 0, 0]] * 60 + [[1, 1, 0]] * 20 + [[1, 1, 1]] * 10 + [[0, 0, 0]] * 10)
    assert strata(labels).tolist() == [0] * 60 + [1] * 20 + [2] * 10 + [-1] * 10
    rows = selection.stratified_subset(strata(labels), 0.1, seed=0)
    assert labels[rows].sum(0).tolist() == [9, 3, 1] and len(rows) == 10


def test_a_run_measures_mean_average_precision(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs()
    assert main(["run", "suite.yaml"]) == 0
    said = capsys.readouterr().out
    assert "by the mAP of a linear probe" in said and "100% mAP" in said
    assert "top-1" not in said and "chance" not in said
    found = result("*none*100pc*")
    assert found["config"]["data"]["multi_label"] == "map"
    assert [row["metric"] for row in found["metrics"]["rows"]] == ["map_fixed_tau", "map"]
    row = found["metrics"]["rows"][-1]
    assert row["superclass"] is None and 40 < row["value"] <= 100 and row["validation"] is not None
    # by hand, from the head and the features that are there
    h = np.load(next(Path("results/cache/features").glob("*-test-*.npy")))
    file = next(Path("results").glob("probe/*none*100pc*/head.pt"))
    head = torch.load(file, weights_only=True)[-1]
    scores = (torch.from_numpy(h).float() * head["scale"]) @ head["weight"].T + head["bias"]
    expected = 100 * average_precision_score(load()["test"].labels.numpy(), scores.numpy(), average="macro")
    assert row["value"] == pytest.approx(expected, abs=1e-3)
    moved = result("*none*", "transfer")["metrics"]["rows"][-1]
    assert (moved["metric"], moved["column"]) == ("map", "mine") and moved["value"] == pytest.approx(row["value"])
    assert main(["doctor", "suite.yaml"]) == 0
    assert main(["verify", "results"]) == 0


def test_macro_f1_where_it_is_asked_for(here: Path) -> None:
    photographs(more="metric: macro_f1")
    assert main(["run", "suite.yaml", "--only", "none"]) == 0
    rows = result("*none*100pc*")["metrics"]["rows"] + result("*none*", "transfer")["metrics"]["rows"]
    assert [row["metric"] for row in rows] == ["macro_f1_fixed_tau", "macro_f1"] * 2


@pytest.mark.parametrize("name", ["knn", "expressivity", "augmented", "decomposition"])
def test_who_reads_one_class_refuses_when_planning(here: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    photographs()
    with open("suite.yaml", "a") as suite:
        suite.write(f"  {name}: {{}}\n")
    assert main(["plan", "suite.yaml"]) == 2
    said = f"suite.yaml:12: {name} reads one class an image, and 'mine' has several: probe and transfer take it"
    assert said in capsys.readouterr().err.splitlines()


def test_a_method_that_reads_labels_refuses(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs()
    replace_text(here / "suite.yaml", "[simclr]", "[supervised]")
    assert main(["plan", "suite.yaml"]) == 2
    assert "suite.yaml:7: supervised reads one class an image, and 'mine' has several" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("1,-1", "2,-1", "list.csv:2: "),
        ("red,green", "rad,green", "no column 'red'; did you mean 'rad'?; `separator: ';'` below `source`"),
    ],
)
def test_mistakes_in_a_table(here: Path, old: str, new: str, said: str) -> None:
    photographs()
    table = here / "data/list.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    if "list.csv:2" in said:
        lines = table.read_text().splitlines()
        lines[1] = lines[1].replace(",-1,", ",2,", 1)
        table.write_text("\n".join(lines))
    with pytest.raises(UserError) as caught:
        load()
    assert said in str(caught.value)


def test_a_class_without_a_test_image(here: Path) -> None:
    """Its absence is an error, until the card allows it: then the mean is that over the others."""
    photographs()
    lines = Path("data/list.csv").read_text().splitlines()
    lines = [",".join([line.split(",")[0], "-1", *line.split(",")[2:]]) if "test" in line else line for line in lines]
    write(Path(), "data/list.csv", "\n".join(lines))
    with pytest.raises(
        UserError, match=r"no image of class 'red'; where there is none, write `absent_in_test: \[red\]`"
    ):
        load()
    replace_text(here / "datasets/mine.yaml", "multi_label: true", "multi_label: true\nabsent_in_test: [red]")
    assert load()["test"].labels.sum(0).tolist()[0] == 0 and load()["test"].aside == "without an image of red"
    assert main(["run", "suite.yaml", "--set", "grid.embeddings={none: {}}", "--set", "evaluate={probe: {}}"]) == 0
    assert result("*100pc*")["metrics"]["rows"][-1]["value"] > 60


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("multi_label: true", "metric: map", "metric: map is of images with several classes: `multi_label: true`"),
        (
            "multi_label: true",
            "multi_label: true\nmetric: top1",
            "metric: top1 is of images with one class;",
        ),
        (
            "type: csv, path: list.csv",
            "type: folder, path: img",
            "several labels an image come from a table, arrays, packed",
        ),
    ],
)
def test_what_a_card_may_not_say(here: Path, old: str, new: str, said: str) -> None:
    photographs()
    replace_text(here / "datasets/mine.yaml", old, new)
    with pytest.raises(UserError, match=r"datasets/mine\.yaml") as caught:
        load()
    assert said in str(caught.value)
