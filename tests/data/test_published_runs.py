"""Runs on small trees of published sets: robustness over ImageNet's family, lists of labelled images, doctor."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sem_bench.cli import main
from sem_bench.config.cards import Library
from sem_bench.data import loading
from sem_bench.data.card import dataset_card
from sem_bench.data.dataset import DataSet
from sem_bench.data.labelled_lists import rows_named
from sem_bench.errors import UserError
from sem_bench.runs.plan import read_plan
from tests.helpers.published_trees import imagenet_family, with_shifts, write_card, write_tree
from tests.helpers.toy import SUITE, write

FAMILY = (
    SUITE.replace("[toy]", "[imagenet]")
    .replace("none: {}, sem: {L: 4, V: 3}", "none: {}")
    .replace("batch_size: 50", "batch_size: 8")
    .replace("fractions: [1.0, 0.1]", "fractions: [1.0]")
    .replace("knn: {k: 5}", "robustness: {shifts: [v2, r, a, c]}\n  transfer: {datasets: [dtd]}")
)


def results(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"results/{kind}/*/result.json"))]


def test_robustness_over_the_family_of_imagenet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imagenet_family(folder, train=6, test=3)
    write_tree(folder, "dtd", train=4)
    write(folder, "suite.yaml", FAMILY)
    assert main(["run", "suite.yaml"]) == 0
    capsys.readouterr()
    assert main(["table", "results", "--format", "github"]) == 0
    printed = capsys.readouterr().out
    for column in ("v2", "r, all classes", "a, all classes", "c, mCE", "dtd"):
        assert column in printed
    rows = {
        (row["column"], row["metric"]): row
        for found in results(folder, "robustness")
        for row in found["metrics"]["rows"]
    }
    searched = {
        ("v2", "top1"), ("r", "top1"), ("r", "top1_all"), ("a", "top1"), ("a", "top1_all"), ("c", "top1"), ("c", "mce"),
    }  # fmt: skip
    assert set(rows) == {(column, metric + end) for column, metric in searched for end in ("", "_fixed_tau")}
    for column in ("v2", "r", "a", "c"):  # the colour gives the class away, where classes are those of the base set
        assert rows[column, "top1"]["value"] > 90
    matrix = rows["c", "top1"]["matrix"]
    values = np.array(matrix["values"])
    assert values.shape == (15, 5) and len(matrix["corruptions"]) == 15 and matrix["severities"] == [1, 2, 3, 4, 5]
    assert rows["c", "top1"]["value"] == pytest.approx(values.mean())
    errors = yaml.safe_load((folder / "datasets/imagenet_c.yaml").read_text())["reference_errors"]
    by_corruption = zip(matrix["corruptions"], values, strict=True)
    assert rows["c", "mce"]["value"] == pytest.approx(np.mean([(100 - v.mean()) / errors[n] for n, v in by_corruption]))
    assert {row["column"] for found in results(folder, "transfer") for row in found["metrics"]["rows"]} == {"dtd"}
    (folder / "data/imagenet-c/fog/3").rename(folder / "fog3")  # a job of it is no longer what is on disk
    loading._LOADED.clear()
    assert main(["run", "suite.yaml"]) == 2
    assert "data/imagenet-c/fog/3: no such folder" in capsys.readouterr().err


# --- doctor ----------------------------------------------------------------------------------------------------------


def test_doctor_looks_at_every_set_that_the_suite_touches(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imagenet_family(folder)
    write_tree(folder, "dtd")
    write(folder, "suite.yaml", FAMILY.replace("[dtd]", "[dtd, pets, cars]"))
    (folder / "data/imagenet-r").rename(folder / "elsewhere")
    next((folder / "data/imagenet-a").rglob("*.jpg")).unlink()
    assert main(["doctor", "suite.yaml"]) == 2
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("data ")]
    assert [line.removeprefix("data").strip() for line in lines[:5]] == [
        "imagenet: 12 train, 8 test, 16 px",
        "imagenet/v2: 8 test, 16 px",
        f"imagenet/r: NOT FOUND: data/imagenet-r; {get(folder, 'imagenet_r')}",
        "imagenet/a: FAULTY: data/imagenet-a: 3 images, but datasets/imagenet_a.yaml says test: 4; "
        + get(folder, "imagenet_a"),
        "imagenet/c: 8 test x 15 corruptions x 5 severities, 16 px",
    ]
    assert lines[5].endswith(" dtd: 9 train, 6 test, 16 px")
    assert "pets: not here yet: data/pets; torchvision downloads it in a run (0.8 GB)." in lines[6]
    assert "cars: NOT FOUND: data/cars; the official place is gone" in lines[7]
    assert len(lines) == 8


def test_what_a_run_downloads_is_no_fault(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = (folder / "suite.yaml").read_text().replace("[toy]", "[pets]")
    write(folder, "suite.yaml", suite)
    assert main(["doctor", "suite.yaml"]) == 0
    assert "pets: not here yet: data/pets; torchvision downloads it" in capsys.readouterr().out


def get(folder: Path, name: str) -> str:
    return dataset_card(Library(folder), name).content.get


def test_doctor_leaves_alone_what_the_suite_does_not_touch(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = write_tree(folder, "imagenet").classes
    write_tree(folder, "imagenet_r", classes=names)
    with_shifts(folder, "imagenet", {"r": "imagenet_r"})
    (folder / "data/imagenet-r").rename(folder / "elsewhere")
    write(folder, "suite.yaml", FAMILY.split("evaluate")[0] + "evaluate:\n  knn: {k: 2}\n")
    assert main(["doctor", "suite.yaml"]) == 0
    assert "imagenet/r" not in capsys.readouterr().out


# --- lists of labelled images ----------------------------------------------------------------------------------------

LISTED = FAMILY.split("evaluate")[0] + "evaluate:\n  probe: {fractions: [1.0, 0.5], tau: [1.0], l2: [1e-4, 1e-2]}\n"


@pytest.fixture
def listed(folder: Path) -> Path:
    """ImageNet with a list of half of its training images; the list."""
    write_tree(folder, "imagenet", train=8, test=4)
    write(folder, "suite.yaml", LISTED)
    path = folder / "data/50percent.txt"
    names = sorted(file.name for file in (folder / "data/imagenet/train").rglob("*.JPEG"))
    path.write_text("\n".join(names[::2]) + "\n")
    return path


def name_list(folder: Path, text: str = "50percent.txt") -> None:
    card = yaml.safe_load((folder / "datasets/imagenet.yaml").read_text())
    write_card(folder, "imagenet", card | {"subsets": {"50%": text}})


def test_the_probe_reads_the_labels_that_a_list_names(folder: Path, listed: Path) -> None:
    before = {f"{job.kind}/{job.slug}": job.digest for job in read_plan(Path("suite.yaml")).jobs}
    name_list(folder)
    after = {f"{job.kind}/{job.slug}": job.digest for job in read_plan(Path("suite.yaml")).jobs}
    (changed,) = [name for name in before if before[name] != after[name]]
    assert changed.startswith("probe/") and changed.endswith("-50pc")
    assert main(["run", "suite.yaml"]) == 0
    found = next(one for one in results(folder, "probe") if one["config"]["fraction"] == 0.5)
    assert found["metrics"]["labels"] == 12 and {row["draw"] for row in found["metrics"]["rows"]} == {0}
    listed.write_text("\n".join(listed.read_text().splitlines()[:-1]) + "\n")
    assert next(job.digest for job in read_plan(Path("suite.yaml")).jobs if job.slug.endswith("50pc")) != after[changed]
    listed.unlink()
    assert main(["run", "suite.yaml"]) == 2
    blocked = [absent for job in read_plan(Path("suite.yaml")).jobs if (absent := job.absent())]
    assert blocked == [[listed.relative_to(folder)]]


def test_a_part_of_the_training_images_is_drawn_from_as_ever(folder: Path, listed: Path) -> None:
    few = ["grid.images.train=12"]
    before = [job.digest for job in read_plan(Path("suite.yaml"), few).jobs]
    name_list(folder)
    assert [job.digest for job in read_plan(Path("suite.yaml"), few).jobs] == before


def test_doctor_counts_the_list(folder: Path, listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name_list(folder)
    assert main(["doctor", "suite.yaml"]) == 0
    assert "imagenet: 24 train, 12 test, 12 in the list of 50%, 16 px" in capsys.readouterr().out
    listed.write_text(listed.read_text() + "n01440764_77.JPEG\n")
    assert main(["doctor", "suite.yaml"]) == 2
    assert "data/50percent.txt:13: n01440764_77.JPEG: no training image of this name" in capsys.readouterr().out


@pytest.mark.parametrize("subsets", ["{100%: a.txt}", "{0.5: a.txt}", "{half: a.txt}", "{50%: ''}"])
def test_fractions_that_are_none(folder: Path, capsys: pytest.CaptureFixture[str], subsets: str) -> None:
    write_tree(folder, "imagenet")
    write(folder, "suite.yaml", LISTED)
    path = folder / "datasets/imagenet.yaml"
    path.write_text(path.read_text() + f"subsets: {subsets}\n")
    assert main(["plan", "suite.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("datasets/imagenet.yaml:")


def test_names_of_a_list(tmp_path: Path) -> None:
    names = ["a/x.png", "a/y.png", "b/x.png", "b/z.png"]
    labels = np.array([0, 0, 1, 1])

    def rows(text: str) -> list[int]:
        path = tmp_path / "list.txt"
        path.write_text(text)
        found: list[int] = rows_named(path, names, labels).tolist()
        return found

    assert rows("z.png\n\n a/x.png \n") == [0, 3]
    for text, expected in (
        ("x.png\n", "list.txt:1: x.png: 2 training images have this name; write CLASS/FILE"),
        ("y.png\nq.png\n", "list.txt:2: q.png: no training image of this name"),
        ("y.png\nz.png\na/y.png\n", "list.txt:3: a/y.png: stands in line 1 already"),
        ("y.png\n", "list.txt: no image of the class of b/x.png"),
    ):
        with pytest.raises(UserError) as raised:
            rows(text)
        assert str(raised.value).endswith(expected)
    with pytest.raises(UserError, match=r"no list of images \("):
        rows_named(tmp_path, names, labels)


def test_a_list_is_found_beside_the_data(folder: Path, listed: Path) -> None:
    name_list(folder)
    library = Library(folder)
    found = DataSet(dataset_card(library, "imagenet"), library, folder / "data")
    assert found.subset(0.5) and found.subset(0.01) is None
    assert found.place.subsets == (("50%", listed),)
