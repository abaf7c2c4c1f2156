"""Robustness, transfer, relevance, entropy and expressivity: by hand, and through the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sem_bench
from sem_bench.cli import main
from sem_bench.data.described import ShiftedData
from sem_bench.evaluations.measures.probing import score
from sem_bench.evaluations.measures.shifted_sets import accuracy, mean_corruption_error, own_classes
from sem_bench.evaluations.robustness import RobustnessJob
from sem_bench.report.gains import interval
from tests.helpers.places import REPOSITORY
from tests.helpers.toy import TOY_PY, TOY_YAML, overlap, write

SIX = """
name: six
seeds: [0]
grid:
  methods: [simclr]
  embeddings: {none: {}, linear: {L: 4, V: 3}, sem: {L: 4, V: 3}}
  backbones: [resnet10w16s2]
  datasets: [toy]
pretrain: {recipe: quick, epochs: 2, batch_size: 50}
evaluate:
  probe: {fractions: [1.0, 0.1], tau: [0.3, 1.0], l2: [1e-4, 1e-2]}
  robustness: {shifts: [v2, r, c], images: 20}
  transfer: {datasets: [other]}
  relevance: {top_k: [1, 2], neighbours: [1, 2], permutations: 20}
  entropy: {bins: 5}
  expressivity: {tau: [0.1, 1.0], fractions: [0.1, 1.0]}
"""
SHIFT_PY = '''
"""The test images of toy, their classes in another order."""

import numpy as np


def load(split, *, count, image_size, names):
    colours = {"red": [200, 60, 60], "green": [60, 200, 60], "blue": [60, 60, 200], "grey": [150, 150, 150]}
    names = names.split()
    labels = np.arange(count) % len(names)
    colour = np.array([colours[name] for name in names])[labels]
    pixels = colour[:, None, None] + np.random.default_rng(7).normal(0, 20, (count, image_size, image_size, 3))
    return pixels.clip(0, 255).astype(np.uint8), labels
'''
SHIFT = """
summary: {summary}
source: {{type: python, code: shift.py, arguments: {{names: "{names}"}}}}
splits: {{test: 60}}
image_size: 16
classes: [{classes}]
licence: none needed
"""
CORRUPTED = """
summary: toy corrupted
source: {type: corrupted, of: toy, corruptions: [gaussian_noise, brightness, contrast], severities: [1, 5]}
reference_errors: {gaussian_noise: 0.5, brightness: 0.5, contrast: 0.25}
licence: none needed
"""


@pytest.fixture
def six(folder: Path) -> Path:
    """A suite of all stages on toy, whose shifts have other orders of the classes."""
    write(folder, "suite.yaml", SIX)
    write(folder, "datasets/toy.yaml", TOY_YAML + "shifts: {v2: toy_v2, r: toy_r, c: toy_c}\n")
    write(folder, "datasets/shift.py", SHIFT_PY)
    for name, classes in (("toy_v2", ["grey", "blue", "red", "green"]), ("toy_r", ["blue", "red"])):
        text = SHIFT.format(summary=name, names=" ".join(classes), classes=", ".join(classes))
        write(folder, f"datasets/{name}.yaml", text)
    write(folder, "datasets/toy_c.yaml", CORRUPTED)
    write(folder, "datasets/other.yaml", TOY_YAML.replace("red, green", "green, red") + "metric: mean_per_class\n")
    write(folder, "datasets/other.py", TOY_PY.replace("noise=40", "noise=60"))
    return folder


def rows(table: str, **wanted: object) -> list[sem_bench.Row]:
    found = [row for row in sem_bench.load("results") if row.table == table]
    return [row for row in found if all(getattr(row, name) == value for name, value in wanted.items())]


def test_all_stages(six: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml"]) == 0
    printed = capsys.readouterr().out
    for title in ("robustness, probe at 100 %", "robustness, probe at 10 %", "transfer", "relevance", "entropy"):
        assert f"\n{title}: " in printed
    assert main(["table", "results", "--table", "all"]) == 0
    printed = capsys.readouterr().out
    for title in ("robustness, probe at 100 %", "robustness, probe at 10 %", "transfer", "relevance", "entropy"):
        assert f"epochs: {title}" in printed
    assert sorted(path.stem for path in Path("results/tables/six").glob("*.json")) == [
        "comparison", "entropy", "expressivity", "relevance", "robustness", "transfer"
    ]  # fmt: skip

    # The classes of a shifted set are those of the same name: a wrong mapping would be far below chance.
    clean = {row.embedding: row.mean for row in rows("comparison", column="100%", metric="top1", representation="h")}
    assert min(value for value in clean.values() if value is not None) > 80
    for column in ("v2", "r"):
        found = rows("robustness", column=column, metric="top1", fraction=1.0, representation="h")
        assert len(found) == 3 and all(row.mean is not None and row.mean > 80 for row in found)
    partial = rows("robustness", metric="top1_all")
    assert {row.column for row in partial} == {"r"}  # v2 has all classes
    for row in partial:
        (own,) = rows("robustness", metric="top1", **{
            name: getattr(row, name) for name in ("column", "fraction", "representation", "embedding")
        })  # fmt: skip
        assert row.mean is not None and own.mean is not None and row.mean <= own.mean

    # The mean of the matrix is the figure, and mCE follows from it.
    for row in rows("robustness", column="c", metric="top1"):
        matrix = row.extra["matrix"]
        assert (matrix["corruptions"], matrix["severities"]) == (["gaussian_noise", "brightness", "contrast"], [1, 5])
        assert np.array(matrix["values"]).shape == (3, 2)
        assert row.mean == pytest.approx(np.mean(matrix["values"]))
        (mce,) = rows(
            "robustness", column="c", metric="mce", embedding=row.embedding, fraction=row.fraction,
            representation=row.representation,
        )  # fmt: skip
        errors = 1 - np.array(matrix["values"]).mean(1) / 100
        assert mce.mean == pytest.approx(100 * np.mean(errors / [0.5, 0.5, 0.25]))

    assert {row.metric for row in rows("transfer", column="other")} == {
        "mean_per_class", "mean_per_class_fixed_tau"
    }  # fmt: skip
    # Two neighbours are more than half of three other classes.
    assert {row.column for row in rows("relevance")} == {"1", "2", "1 neighbours"}
    for row in rows("relevance", metric="relevance_matched"):
        assert row.mean == row.extra["connected"] and row.extra["neighbours"] >= 1
    for row in rows("relevance", metric="relevance_per_class"):
        assert row.mean is not None and 0 <= row.extra["null_low"] <= row.extra["null_high"] <= 1
        assert row.extra["base_rate"] == pytest.approx(1 / 3)
        (whole,) = rows(
            "relevance",
            metric="relevance",
            column=row.column,
            embedding=row.embedding,
            representation=row.representation,
        )
        assert whole.mean == pytest.approx(4 * row.mean)
    (entropy,) = rows("entropy", metric="entropy_share")
    assert entropy.embedding == "sem" and entropy.mean is not None and 0 < entropy.mean < 1
    assert len(entropy.extra["histogram"]) == 5 and sum(entropy.extra["histogram"]) == 200 * 4
    assert [epoch for epoch, _ in entropy.extra["course"]] == [1, 2]
    for fraction in (0.1, 1.0):
        for row in rows("expressivity", metric="gap", fraction=fraction):
            names = ("fraction", "embedding", "representation", "tau_d")
            same = {name: getattr(row, name) for name in names}
            (train,), (test,) = (
                rows("expressivity", metric="train", **same),
                rows("expressivity", metric="test", **same),
            )
            assert row.mean is not None and train.mean is not None and test.mean is not None
            assert row.mean == pytest.approx(train.mean - test.mean)
            assert row.extra["labels"] == 200 * fraction
    kinds = {(row.embedding, row.representation, row.tau_d) for row in rows("expressivity")}
    assert kinds == {
        (embedding, representation + penalty, tau)
        for penalty in ("", ", l2 1e-06")
        for embedding, representation, tau in (
            ("none", "h", None), ("linear", "h", None), ("linear", "z", None),
            ("sem", "h", None), ("sem", "z", None), ("sem", "sem", 0.1), ("sem", "sem", 1.0),
        )
    }  # fmt: skip
    assert main(["run", "suite.yaml"]) == 0
    assert ", 0 failed" in (again := capsys.readouterr().err) and "0 done" in again


def test_the_augmented_probe_stands_beside_the_other(six: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        SIX[: SIX.index("evaluate:")]
        + "evaluate: {probe: {fractions: [1.0]}, augmented: {epochs: 4, batch_size: 50}}\n"
    )
    write(six, "suite.yaml", text)
    assert main(["run", "suite.yaml"]) == 0
    assert "100% aug" in capsys.readouterr().out
    for embedding, representations in {"none": {"h"}, "linear": {"h", "z"}, "sem": {"h", "sem"}}.items():
        found = rows("comparison", column="100% aug", metric="top1", embedding=embedding)
        assert {row.representation for row in found} == representations
        for row in found:
            (probe,) = rows(
                "comparison", column="100%", metric="top1", embedding=embedding, representation=row.representation
            )
            assert row.mean is not None and probe.mean is not None and 0 <= row.mean <= 100
            assert row.representation != "h" or abs(row.mean - probe.mean) < 40


def test_no_choice_is_made_on_test_or_shifted_labels(six: Path) -> None:
    """All test and shifted labels are other ones: every temperature, penalty, head and graph stays.

    The candidates differ in accuracy on test, or a choice made there would be the same for any labels.
    """
    overlap(six, "toy", "other", "shift")
    assert main(["run", "suite.yaml", "--results", "right"]) == 0
    for name in ("toy", "other", "shift"):
        code = (six / f"datasets/{name}.py").read_text()
        wrong = "(labels + 1) % labels.max() if split == 'test' else labels"
        text = code.replace(".astype(np.uint8), labels", f".astype(np.uint8), {wrong}")
        assert text != code
        write(six, f"datasets/{name}.py", text.replace("% labels.max()", "% (labels.max() + 1)"))
    assert main(["run", "suite.yaml", "--results", "wrong"]) == 0

    def found(results: str, kind: str) -> dict[str, tuple[Any, Any]]:
        folders = sorted(Path(results, kind).glob("*/result.json"))
        return {
            path.parent.name[:-13]: (json.loads(path.read_text())["metrics"], path.parent / "head.pt")
            for path in folders
        }

    moved = 0
    for kind in ("probe", "transfer", "relevance", "expressivity", "robustness"):
        before, after = found("right", kind), found("wrong", kind)
        assert before.keys() == after.keys() and before
        for name, (metrics, heads) in before.items():
            others, other_heads = after[name]
            for row, other in zip(metrics["rows"], others["rows"], strict=True):
                for key in ("tau_d", "l2", "validation", "draw", "labels"):
                    assert row.get(key) == other.get(key), (name, key)
                moved += row["value"] != other["value"]
                if row["metric"] in ("top1", "mean_per_class", "test"):
                    assert 0 < row["value"] < 100, name
            if heads.exists():
                for head, other_head in zip(torch.load(heads), torch.load(other_heads), strict=True):
                    assert torch.equal(head["weight"], other_head["weight"]) and head["scale"] == other_head["scale"]
            if kind == "relevance":
                assert metrics["graphs"] == others["graphs"]
            if kind == "expressivity":
                train = [
                    [row["value"] for row in part["rows"] if row["metric"] == "train"] for part in (metrics, others)
                ]
                assert train[0] == train[1]
    assert moved > 20  # the figures on test are others


def test_a_failed_job_is_a_hole(six: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = (REPOSITORY / "methods/simclr.py").read_text()
    write(six, "methods/bad.py", code.replace("loss: Tensor = self", "raise RuntimeError('bad'); loss: Tensor = self"))
    write(six, "methods/bad.yaml", (REPOSITORY / "methods/simclr.yaml").read_text())
    write(six, "suite.yaml", SIX.replace("[simclr]", "[simclr, bad]").replace("linear: {L: 4, V: 3}, ", ""))
    assert main(["run", "suite.yaml"]) == 1
    printed = capsys.readouterr().out
    assert (
        printed.count("—: results are missing") == 1 and printed.count(" missing; ") + printed.count(" missing  ") >= 6
    )
    for options in (["--table", "all"], ["--table", "all", "--notes"], ["--format", "github"]):
        assert main(["table", "results", *options]) == 0
        assert capsys.readouterr().out.count("—: results are missing") == 7  # in each table; robustness has two
    for table in ("comparison", "robustness", "transfer", "relevance", "entropy", "expressivity"):
        found = rows(table)
        bad = [row for row in found if row.method == "bad"]
        assert bad and all(row.mean is None for row in bad), table
        assert {row.column for row in bad} == {row.column for row in found}, table
        assert all(row.mean is not None for row in found if row.method == "simclr"), table


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("[v2, r, c]", "[v2, q]", "suite.yaml:11: 'toy' has no shift 'q'"),
        ("[other]", "[othr]", "suite.yaml:12: unknown dataset 'othr'; did you mean 'other'?"),
        ("[other]", "[toy_v2]", "suite.yaml:12: 'toy_v2' has no labelled train and test images, which transfer needs"),
        ("transfer: {datasets: [other]}", "transfer: {}", "suite.yaml:12: missing key 'datasets' in evaluate.transfer"),
        (
            "top_k: [1, 2]",
            "top_k: [0]",
            "suite.yaml:13: evaluate.relevance.top_k[0]: should be greater than or equal to 1",
        ),
        ("fractions: [1.0, 0.1], tau", "fractions: [0.1], tau", "relevance reads the head at all labels"),
        ("bins: 5", "bins: 1", "suite.yaml:14: evaluate.entropy.bins: should be greater than or equal to 2"),
        (
            "entropy: {bins: 5}",
            "augmented: {}",
            "suite.yaml:14: augmented's batch of 256 is larger than the 200 training",
        ),
        ("expressivity: {", "expressivity: {methods: [byol], ", "suite.yaml:15: 'byol' is no method of this suite"),
        ("  probe: {fr", "  knn: {}  # {fr", "robustness reads the heads of the probe"),
    ],
)
def test_bad_input(six: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, line: str) -> None:
    assert old in SIX
    write(six, "suite.yaml", SIX.replace(old, new))
    assert main(["plan", "suite.yaml"]) == 2
    assert line in capsys.readouterr().err


def test_relevance_needs_superclasses(six: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = (
        (six / "datasets/toy.yaml").read_text().replace("superclasses: {warm: [red, green], cold: [blue, grey]}\n", "")
    )
    write(six, "datasets/toy.yaml", card)
    assert main(["plan", "suite.yaml"]) == 2
    assert capsys.readouterr().err.splitlines() == ["suite.yaml:13: 'toy' has no superclasses, which relevance needs"]


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_class_masks() -> None:
    """Three images of a shifted set with the classes d and a, of a head for a, b, c, d."""
    job = RobustnessJob.model_construct(
        classes=["a", "b", "c", "d"], data=ShiftedData.model_construct(classes=["d", "a"])
    )
    own = own_classes(job)
    assert own.tolist() == [3, 0]
    scores = torch.tensor([[0.0, 9.0, 1.0, 2.0], [3.0, 4.0, 0.0, 1.0], [5.0, 0.0, 0.0, 6.0]])
    labels = torch.tensor([0, 1, 1])  # d, a, a
    assert accuracy(scores, labels, own, among=own) == pytest.approx(200 / 3)  # d, a, d
    assert accuracy(scores, labels, own, among=torch.arange(4)) == 0  # b, b, d
    assert accuracy(scores, labels, torch.tensor([0, 3]), among=own) == pytest.approx(100 / 3)  # a wrong mapping


def test_mean_corruption_error() -> None:
    values = [[90.0, 70.0], [50.0, 30.0]]  # errors .2 and .6
    assert mean_corruption_error(values, ["fog", "jpeg_compression"], {"fog": 0.4, "jpeg_compression": 0.8}) == (
        pytest.approx(100 * (0.5 + 0.75) / 2)
    )
    assert mean_corruption_error(values, ["fog", "jpeg_compression"], {"fog": 0.4}) is None


def test_mean_per_class() -> None:
    labels, predicted = torch.tensor([0, 0, 0, 0, 1, 5]), torch.tensor([0, 0, 0, 1, 1, 0])
    assert score(predicted, labels, "mean_per_class") == pytest.approx((0.75 + 1 + 0) / 3)
    assert score(predicted, labels, "top1") == pytest.approx(4 / 6)
    # F1 of 0: 2 * 3 / (2 * 3 + 1 + 1); of 1: 2 * 1 / (2 * 1 + 1 + 0); 5 is never predicted.
    assert score(predicted, labels, "macro_f1") == pytest.approx((6 / 8 + 2 / 3 + 0) / 3)


def test_t_intervals() -> None:
    assert interval([4.0]) == (4.0, None, None)
    assert interval([1.0, 3.0]) == pytest.approx((2, 2 - 12.7062, 2 + 12.7062), abs=1e-3)
    # s = 2.6458; 4.3027 * s / sqrt(3) = 6.5724
    assert interval([1.0, 2.0, 6.0]) == pytest.approx((3, 3 - 6.5724, 3 + 6.5724), abs=1e-3)


def test_one_seed_has_the_interval_of_its_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overlap(folder, "toy")
    assert main(["run", "suite.yaml"]) == 0
    assert "{" not in capsys.readouterr().out
    assert main(["table", "results", "--notes"]) == 0
    assert "in braces: how much hangs on the test images alone" in (text := capsys.readouterr().out) and " {" in text
    (row,) = [row for row in sem_bench.load("results") if (row.column, row.embedding, row.metric, row.representation)
              == ("100%", "sem", "top1", "sem")]  # fmt: skip
    ((seed, gain, low, high),) = row.bootstrap
    assert seed == 0 and gain == pytest.approx(row.gain) and gain != 0 and low < gain < high
