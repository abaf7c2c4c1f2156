"""The probe's protocol, on a whole run: parity with scikit-learn, equal search, and no label read that must not be."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sem_bench.cli import main
from sem_bench.config.cards import Library
from sem_bench.data import loading
from sem_bench.data.card import dataset_card
from sem_bench.data.dataset import DataSet
from sem_bench.data.described import LabelledData
from sem_bench.evaluations.measures import features, logistic, probing, selection
from sem_bench.evaluations.measures.features import Features
from sem_bench.evaluations.probe import ProbeJob
from sem_bench.runs.job import Job
from sem_bench.runs.plan import read_plan
from sem_bench.runs.store import Store
from sem_bench.workspace import Workspace
from tests.helpers.places import REPOSITORY
from tests.helpers.toy import SUITE, overlap, replace_text, write

BUILTIN = Library(REPOSITORY)
REPORT = probing.ProbeReport("100%")


def result(folder: Path, pattern: str) -> dict[str, Any]:
    (found,) = (folder / "results").glob(f"probe/{pattern}/result.json")
    content: dict[str, Any] = json.loads(found.read_text())
    return content | {"folder": found.parent}


def test_parity_with_scikit_learn(folder: Path) -> None:
    l2 = 1e-4
    changes = ["pretrain.epochs=0", "pretrain.batch_size=128", "grid.datasets=[shapes]", "grid.embeddings={none: {}}"]
    changes += [f"evaluate={{probe: {{fractions: [1.0], tau: [1.0], l2: [{l2}]}}}}"]
    assert main(["run", "suite.yaml", *(word for change in changes for word in ("--set", change))]) == 0
    found = result(folder, "*100pc*")
    fixed, row = found["metrics"]["rows"]
    assert row["l2"] == l2 and fixed == row | {"metric": "top1_fixed_tau"}  # a single candidate

    shapes = DataSet(dataset_card(BUILTIN, "shapes"), BUILTIN, Path("data"))
    described = shapes.labelled()
    assert described.test >= 2000
    labels, h = {}, {}
    for split in described.counts:
        labels[split] = loading.load(described, split, shapes.place).labels.numpy()
        h[split] = np.load(next((folder / "results/cache/features").glob(f"*-{split}-*.npy"))).astype(np.float64)
    scale = 1 / np.sqrt(h["train"].var(0).sum())
    reference = LogisticRegression(C=1 / (len(h["train"]) * l2), tol=1e-8, max_iter=5000)
    reference.fit(scale * h["train"], labels["train"])
    accuracy = 100 * reference.score(scale * h["test"], labels["test"])
    assert row["value"] == pytest.approx(accuracy, abs=0.5)

    _, head = torch.load(found["folder"] / "head.pt", weights_only=True)
    assert head["scale"] == pytest.approx(scale, rel=1e-6)
    mine = (torch.from_numpy(h["test"]).float() * head["scale"]) @ head["weight"].T + head["bias"]
    right = mine.argmax(1).numpy() == labels["test"]
    assert 100 * right.mean() == row["value"]
    bits = np.frombuffer((found["folder"] / "predictions.bin").read_bytes(), dtype=np.uint8)
    assert np.array_equal(np.unpackbits(bits)[: len(right)].astype(bool), right)


@pytest.fixture
def done(folder: Path) -> Callable[[str], tuple[Job, Features]]:
    """A finished run of the tiny suite: gives the job whose slug ends so, and the features that it read.

    The colours overlap: candidates differ in accuracy, so a choice by labels that must not be read would be another.
    """
    overlap(folder, "toy")
    write(folder, "suite.yaml", SUITE.replace("0.05", "0.1"))
    assert main(["run", "suite.yaml"]) == 0

    def find(end: str) -> tuple[Job, Features]:
        job = next(job for job in read_plan(Path("suite.yaml")).jobs if job.slug.endswith(end))
        store = Store(Path("results"))
        source = store.by_digest("pretrain", job.inputs["pretrain"])
        assert source is not None
        cpu, cache = torch.device("cpu"), folder / "cache"
        workspace = Workspace(folder, {"pretrain": source}, job.method_code, job.place, job.parts, cache, cpu)
        return job, features.load(job.config.data, workspace)  # type: ignore[attr-defined]

    return find


def chosen(job: ProbeJob, found: Features, rows: np.ndarray[Any, Any]) -> list[tuple[Any, ...]]:
    """What the probe decides with these labelled rows: temperature, penalty, validation accuracy and head."""
    decisions, prober = [], probing.prober_of(job, found, rows, 0)
    for contest in probing.contests(job, found):
        row, head, _ = probing.probe(job, prober, contest, REPORT)
        decisions.append((row["tau_d"], row["l2"], row["validation"], head["weight"].tolist(), head["bias"].tolist()))
    return decisions


@pytest.mark.parametrize("end", ["sem4x3-t1-resnet10w16s2-toy-e2-s0-10pc", "none-resnet10w16s2-toy-e2-s0-10pc"])
def test_labels_outside_the_subset_are_never_read(done: Callable[[str], tuple[Job, Features]], end: str) -> None:
    job, found = done(end)
    assert isinstance(job.config, ProbeJob)
    rows = probing.labelled_rows(found, job.config, 0)
    assert len(rows) == 20
    inside = torch.zeros(len(found.train.labels), dtype=torch.bool)
    inside[torch.from_numpy(rows)] = True
    outside = replace(found, train=replace(found.train, labels=torch.where(inside, found.train.labels, 0)))
    assert chosen(job.config, outside, rows) == chosen(job.config, found, rows)
    # and the test can fail: a label inside matters
    within = found.train.labels.clone()
    within[inside] = (within[inside] + torch.arange(20)) % 4
    assert chosen(job.config, replace(found, train=replace(found.train, labels=within)), rows) != chosen(
        job.config, found, rows
    )


@pytest.mark.parametrize("end", ["sem4x3-t1-resnet10w16s2-toy-e2-s0-100pc", "sem4x3-t1-resnet10w16s2-toy-e2-s0-10pc"])
def test_test_labels_change_no_selection(done: Callable[[str], tuple[Job, Features]], end: str) -> None:
    job, found = done(end)
    assert isinstance(job.config, ProbeJob)
    rows = probing.labelled_rows(found, job.config, 0)
    corrupted = replace(found, test=replace(found.test, labels=(found.test.labels + 1) % 4))
    assert chosen(job.config, corrupted, rows) == chosen(job.config, found, rows)
    for contest in probing.contests(job.config, found):
        before, after = (
            probing.probe(job.config, probing.prober_of(job.config, one, rows, 0), contest, REPORT)[0]["value"]
            for one in (found, corrupted)
        )
        assert 0 < before < 100 and before != after  # only the reported number


def test_every_arm_has_the_same_budget(folder: Path) -> None:
    embeddings = "grid.embeddings={none: {}, linear: {L: 4, V: 3}, sem: {L: 4, V: 3}}"
    assert main(["run", "suite.yaml", "--set", embeddings, "--set", "evaluate.probe.fractions=[1.0]"]) == 0
    representations = {}
    for name, pattern in (("none", "*none*"), ("linear", "*linear*"), ("sem", "*sem4x3*")):
        rows = result(folder, pattern)["metrics"]["rows"]
        for row in rows:
            start = 2 if row["metric"] == "top1_fixed_tau" else 4
            assert start <= row["candidates"] <= 3 * start
            if "l2 on the edge of its grid" in row["notes"]:
                assert row["candidates"] > start
        representations[name] = [(row["metric"], row["representation"]) for row in rows]
    h = [("top1_fixed_tau", "h"), ("top1", "h")]
    assert representations == {
        "none": h,
        "linear": [*h, ("top1_fixed_tau", "z"), ("top1", "z")],
        "sem": [*h, ("top1_fixed_tau", "sem"), ("top1", "sem")],
    }


def test_the_search_begins_around_the_temperature_of_pretraining(folder: Path) -> None:
    replace_text(folder / "suite.yaml", "tau: [0.3, 1.0], l2: [1e-4, 1e-2]", "sketch: 0")
    changes = ["--set", "grid.embeddings.sem.tau=0.2", "--set", "evaluate.probe.fractions=[1.0]"]
    jobs = [job.config for job in read_plan(Path("suite.yaml"), changes[1::2]).jobs if job.kind == "probe"]
    assert all(isinstance(job, ProbeJob) for job in jobs)
    assert [job.tau for job in jobs] == [[], [0.06, 0.2, 0.6]]  # type: ignore[attr-defined]
    assert [(len(job.l2), job.between) for job in jobs] == [(7, 3)] * 2  # type: ignore[attr-defined]
    assert main(["run", "suite.yaml", *changes]) == 0
    rows = {row["metric"]: row for row in result(folder, "*sem4x3*")["metrics"]["rows"] if row["tau_d"] is not None}
    searched = {one["tau_d"]: one for one in rows["top1"]["search"]}
    assert {0.06, 0.2, 0.6} <= searched.keys() and rows["top1_fixed_tau"]["tau_d"] == 0.2
    assert [searched[0.2]] == rows["top1_fixed_tau"]["search"]
    assert rows["top1"]["validation"] >= rows["top1_fixed_tau"]["validation"]


def test_superclass_accuracy_by_hand() -> None:
    data = LabelledData.model_construct(
        classes=["red", "blue", "green"], superclasses={"cold": ["blue", "green"], "warm": ["red"]}
    )
    predicted, labels = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 2, 2, 1])
    assert probing.superclass_accuracy(predicted, labels, data) == 75  # blue for green counts, red for blue does not
    assert probing.superclass_accuracy(predicted, labels, data.model_copy(update={"superclasses": {}})) is None


def with_val(folder: Path, count: int = 40) -> None:
    """The toy with images to choose on."""
    replace_text(folder / "datasets/toy.yaml", "{train: 200, test: 80}", f"{{train: 200, val: {count}, test: 80}}")
    replace_text(folder / "datasets/toy.py", '["train", "test"]', '["train", "test", "val"]')


def test_a_val_split_judges_and_nothing_else(folder: Path, done: Callable[[str], tuple[Job, Features]]) -> None:
    end = "sem4x3-t1-resnet10w16s2-toy-e2-s0-100pc"
    job, _ = done(end)
    with_val(folder)
    assert main(["run", "suite.yaml", "--only", "100pc"]) == 0
    own, found = done(end)
    assert isinstance(own.config, ProbeJob) and own.config.data.val == 40 and own.digest != job.digest
    assert found.val is not None and found.h_val is not None and len(found.h_val) == 40
    rows = probing.labelled_rows(found, own.config, 0)
    for contest in probing.contests(own.config, found):
        prober = probing.prober_of(own.config, found, rows, 0)
        row, head, _ = probing.probe(own.config, prober, contest, REPORT)
        one = found.h if row["representation"] == "h" else found.output(row["tau_d"])
        scale = one.scale(found.h_train)
        # Judged as a fit on all of train does on val, and that fit is the head.
        fitted = logistic.fit(one.of(found.h_train) * scale, found.train.labels, classes=4, l2=[row["l2"]]).heads[0]
        held = one.of(found.h_val) * scale
        right = (fitted.predict(held).argmax(1) == found.val.labels).double().mean()
        assert row["validation"] == pytest.approx(100 * float(right), abs=2.6)  # candidates are fitted less sharply
        assert torch.allclose(head["weight"], fitted.weight, atol=1e-3)
    # What is chosen hangs on the labels of val; the test labels change nothing of it.
    turned = replace(found, val=replace(found.val, labels=(found.val.labels + 1) % 4))
    assert chosen(own.config, turned, rows) != chosen(own.config, found, rows)
    other = replace(found, test=replace(found.test, labels=(found.test.labels + 1) % 4))
    assert chosen(own.config, other, rows) == chosen(own.config, found, rows)


def test_only_a_choice_on_all_labels_depends_on_val(folder: Path) -> None:
    before = {job.slug: job.digest for job in read_plan(Path("suite.yaml")).jobs}
    with_val(folder)
    replace_text(folder / "datasets/toy.py", '["train", "test", "val"]', '["train", "test"]')  # code is in digests
    after = {job.slug: job.digest for job in read_plan(Path("suite.yaml")).jobs}
    changed = {slug for slug, digest in after.items() if before[slug] != digest}
    assert changed == {slug for slug in after if slug.endswith("100pc")}
    seen = {job.slug: job.config for job in read_plan(Path("suite.yaml")).jobs}
    assert {slug for slug, job in seen.items() if isinstance(job, ProbeJob) and job.data.val} == changed


def test_rows_that_judge_are_not_fitted_on() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(3, size=400)
    x = torch.from_numpy(random.normal(size=(400, 12)) + 0.7 * labels[:, None]).float()
    labels[300:] = (labels[300:] + 1) % 3  # of those that judge, so that a fit on them would show

    def read(rows: selection.Rows) -> torch.Tensor:
        return x[torch.from_numpy(rows)]

    one = selection.Selection(
        lambda rows: labels[rows], np.arange(300), classes=3, validation="holdout", seed=0, judges=np.arange(300, 400)
    )
    choice = one.choose([(None, read)], [1e-3, 1e-1])
    alone = logistic.fit(x[:300], torch.from_numpy(labels[:300]), classes=3, l2=[choice.l2]).heads[0]
    assert torch.allclose(choice.head.weight, alone.weight, atol=1e-4)
    right = (alone.predict(x[300:]).argmax(1).numpy() == labels[300:]).mean()
    assert choice.accuracy == pytest.approx(right, abs=0.02)


def test_a_rule_of_the_suite_is_another_probe_of_the_same_networks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its rows say so; pretrainings are shared, and without it nothing changes."""
    overlap(folder, "toy")
    assert main(["run", "suite.yaml"]) == 0
    capsys.readouterr()
    rule = ["--set", "evaluate.probe.rule=one_se"]
    assert main(["plan", "suite.yaml", *rule, "--format", "json"]) == 0
    status = {(job["kind"], job["status"]) for job in json.loads(capsys.readouterr().out)}
    assert status == {("pretrain", "done"), ("knn", "done"), ("probe", "missing")}
    assert main(["run", "suite.yaml", "--set", "name=other", *rule]) == 0
    found = [json.loads(path.read_text()) for path in Path("results/probe").glob("*-100pc*/result.json")]
    said = {
        one["config"].get("rule"): {note for row in one["metrics"]["rows"] for note in row["notes"]} for one in found
    }
    assert said.keys() == {None, "one_se"} and "candidates by the rule one_se" in said["one_se"] - said[None]
    assert main(["plan", "suite.yaml", "--set", "evaluate.probe.rule=one_sd"]) == 2
    assert "one_se" in capsys.readouterr().err


def test_centred_neighbours_have_a_column_of_their_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the others, which stay what they are; without it the job is the one of before."""
    assert main(["run", "suite.yaml"]) == 0
    assert "kNN centred" not in capsys.readouterr().out
    plain = {
        path.parent.name.rsplit("-", 1)[0]: json.loads(path.read_text())
        for path in Path("results").glob("knn/*/result.json")
    }
    assert main(["run", "suite.yaml", "--set", "name=centred", "--set", "evaluate.knn.centre=true"]) == 0
    assert "kNN centred" in capsys.readouterr().out
    found = [json.loads(path.read_text()) for path in Path("results").glob("knn/*/result.json")]
    for one in (one for one in found if one["config"].get("centre")):
        rows = one["metrics"]["rows"]
        same = [other for other in plain.values() if other["metrics"]["rows"] == rows[: len(rows) // 2]]
        assert len(same) >= 1 and "centre" not in same[0]["config"]
        assert {row["metric"] for row in rows[len(rows) // 2 :]} == {"knn_centred_top1"}
