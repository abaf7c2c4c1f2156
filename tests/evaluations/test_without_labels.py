"""What is measured on images without labels: entropy of the simplices, rank and spread of h."""

import csv
import json
from pathlib import Path

import pytest

import sem_bench
from sem_bench.cli import main
from sem_bench.errors import UserError
from sem_bench.runs.plan import read_plan
from tests.helpers.datasets import write_unlabelled
from tests.helpers.toy import SUITE, replace_text, write

WITHOUT = SUITE[: SUITE.index("evaluate:")] + "evaluate: {entropy: {bins: 5}, rank: {}}\n"


@pytest.fixture
def unlabelled(folder: Path) -> Path:
    """A suite on images without labels."""
    write_unlabelled(folder)
    write(folder, "suite.yaml", WITHOUT.replace("[toy]", "[snaps]").replace("size: 50", "size: 20"))
    return folder


def test_a_run_without_labels_ends_in_tables(unlabelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "suite.yaml"]) == 0
    assert main(["run", "suite.yaml"]) == 0
    assert "effective rank" in capsys.readouterr().out
    for name, said in (
        ("rank", "h on at most 512 images of pretraining"),
        ("entropy", "entropy of the simplices in nats"),
    ):
        assert main(["table", "results", "--table", name]) == 0
        assert said in capsys.readouterr().out
    rows = sem_bench.load("results")
    (entropy,) = [row for row in rows if row.metric == "entropy_share"]
    assert entropy.embedding == "sem" and entropy.mean is not None and 0 < entropy.mean < 1
    assert sum(entropy.extra["histogram"]) == 40 * 4  # images x simplices
    assert main(["run", "suite.yaml"]) == 0
    assert "0 done" in capsys.readouterr().err


def test_the_rank_is_that_of_the_last_epoch(unlabelled: Path) -> None:
    assert main(["run", "suite.yaml"]) == 0
    ranks = {row.embedding: row for row in sem_bench.load("results") if row.metric == "effective_rank"}
    assert ranks.keys() == {"none", "sem"}
    for log in Path("results/pretrain").glob("*/log.csv"):
        (*_, last) = csv.DictReader(log.read_text().splitlines())
        row = ranks["sem" if "-sem" in log.parent.name else "none"]
        assert row.representation == "h" and row.mean == pytest.approx(float(last["effective_rank"]), rel=1e-4)
        assert row.mean is not None and 1 <= row.mean <= 40


def test_its_page_shows_training_images(unlabelled: Path) -> None:
    assert main(["run", "suite.yaml"]) == 0
    assert main(["report", "results", "--out", "page.html"]) == 0
    page = Path("page.html").read_text()
    assert "8 training images of snaps" in page and "No pictures" not in page


def test_its_features_are_those_of_training_images(unlabelled: Path) -> None:
    assert main(["run", "suite.yaml"]) == 0
    found = sem_bench.features("results", arm="simclr/none", split="train")
    assert found.h.shape[0] == 40 and set(found.labels.tolist()) == {-1}
    with pytest.raises(UserError, match=r"^snaps: no test images with labels"):
        sem_bench.features("results", arm="simclr/none", split="test")


def test_labelled_data_keep_their_digests(folder: Path) -> None:
    """What reads no labels still names test images where there are some, as it always has."""
    write(folder, "suite.yaml", WITHOUT)
    jobs = {job.kind: job for job in read_plan(Path("suite.yaml")).jobs}
    assert json.loads(jobs["entropy"].config.model_dump_json())["data"]["test"] == 80
    assert "test" not in json.loads(jobs["rank"].config.model_dump_json())["data"]


def test_classes_without_test_images_are_no_hindrance(unlabelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What reads labels is refused all the same."""
    replace_text(unlabelled / "datasets/toy.yaml", ", test: 80", "")
    replace_text(unlabelled / "suite.yaml", "[snaps]", "[toy]")
    assert main(["plan", "suite.yaml"]) == 0
    replace_text(unlabelled / "suite.yaml", "rank: {}", "rank: {}, knn: {k: 5}")
    capsys.readouterr()
    assert main(["plan", "suite.yaml"]) == 2
    assert "'toy' has no labelled train and test images, which knn needs" in capsys.readouterr().err
