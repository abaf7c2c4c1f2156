"""Heads on augmented images: parity with torch.optim.SGD, no label read that must not be, equal search, all arms."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy

from sem_bench.base import limits
from sem_bench.base.randomness import generator
from sem_bench.cli import main
from sem_bench.errors import UserError
from sem_bench.evaluation import finer
from sem_bench.evaluations.augmented import AugmentedJob
from sem_bench.evaluations.measures import augmented_heads, features
from sem_bench.evaluations.measures.augmented_heads import (
    LabelledViews,
    Trained,
    contests,
    holdout,
    row,
    train,
    validate,
)
from sem_bench.evaluations.measures.features import Features, load
from sem_bench.evaluations.measures.sgd_heads import Heads, decay
from sem_bench.evaluations.probe import ProbeJob
from sem_bench.runs.plan import read_plan
from sem_bench.runs.store import Store
from sem_bench.training.card import Augmentation
from sem_bench.workspace import Workspace
from tests.helpers.toy import SUITE, TOY_PY, TOY_YAML, overlap, write

PLAIN = Augmentation()  # crops nothing, flips nothing
LR, TAU = [0.3, 3.0], [0.3, 1.0]


# --- the heads -------------------------------------------------------------------------------------------------------


def batches(*, steps: int, seed: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Features (16, 6), labels in 0..3, and which images are in."""
    chance = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        labels = torch.randint(4, (16,), generator=chance)
        x = torch.randn(16, 6, generator=chance) + torch.eye(4, 6)[labels]
        yield x, labels, (torch.rand(16, generator=chance) < 0.8).float()


@pytest.mark.parametrize("inside_only", [False, True])
def test_a_head_is_that_of_torch(inside_only: bool) -> None:
    epochs, steps = 10, 4
    rates = [0.02, 0.1, 0.5]
    heads = Heads(rates, width=6, classes=4)
    modules = [nn.Linear(6, 4) for _ in rates]
    for module in modules:
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)
    optimizers = [torch.optim.SGD(m.parameters(), lr=lr, momentum=0.9) for m, lr in zip(modules, rates, strict=True)]
    for number, (x, labels, inside) in enumerate(batches(steps=epochs * steps)):
        mine = inside if inside_only else torch.ones(16)
        epoch = number // steps
        heads.step(x, labels, mine[:, None].expand(-1, 3), factor=decay(epoch, epochs))
        for module, optimizer, lr in zip(modules, optimizers, rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 if epoch < 6 else 0.1 if epoch < 8 else 0.01)
            optimizer.zero_grad()
            cross_entropy(module(x[mine > 0]), labels[mine > 0]).backward()
            optimizer.step()
    for k, module in enumerate(modules):
        assert torch.allclose(heads.weight[k], module.weight, rtol=1e-5, atol=1e-6)
        assert torch.allclose(heads.bias[k], module.bias, rtol=1e-5, atol=1e-6)
        assert torch.allclose(heads.predict(x)[:, k], module(x), atol=1e-5)
        assert torch.allclose(heads.head(k).predict(x), module(x), atol=1e-5)


def test_decay_at_60_and_80_percent() -> None:
    assert [decay(epoch, 100) for epoch in (0, 59, 60, 79, 80, 99)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert [decay(epoch, 3) for epoch in range(3)] == pytest.approx([1, 1, 0.1])
    assert decay(0, 1) == 1


def test_heads_end_at_the_optimum() -> None:
    features, labels, _ = zip(*batches(steps=20), strict=True)
    x, y = torch.cat(features), torch.cat(labels)  # not separable
    heads = Heads([0.3], width=6, classes=4)
    for _ in range(500):
        heads.step(x, y, torch.ones(len(x), 1))
    reference = LogisticRegression(C=1e9, tol=1e-9, max_iter=10_000).fit(x.double().numpy(), y.numpy())
    assert np.allclose(heads.predict(x)[:, 0].softmax(1), reference.predict_proba(x.double().numpy()), atol=1e-4)


def test_heads_know_nothing_of_each_other_and_a_head_without_images_keeps_still() -> None:
    together, alone = Heads([0.5, 1e39, 0.5], width=6, classes=4), Heads([0.5], width=6, classes=4)
    for x, labels, inside in batches(steps=5):
        together.step(x, labels, torch.stack([inside, inside, torch.zeros(16)], 1))
        alone.step(x, labels, inside[:, None])
    assert together.finite() == [True, False, True]
    assert torch.allclose(together.weight[0], alone.weight[0], rtol=1e-5, atol=1e-7)
    assert not together.weight[2].any() and not together.bias[2].any()


# --- the stage -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arm:
    job: AugmentedJob
    workspace: Workspace

    @property
    def found(self) -> Features:
        return load(self.job.data, self.workspace)

    def train(self, found: Features, held: Tensor, *, view: Augmentation = PLAIN) -> dict[str, Trained]:
        """The heads, by name and temperature."""
        trained = train(self.job, found, contests(self.job, found), held, view=view)
        return {f"{name} {tau}": one for (name, tau), one in trained.items()}


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Arm]]:
    """Encoders at their first weights, on toy images: gives the job and the workspace of "none", "linear" or "sem".

    Trained for a few steps, they would depend on the hardware's precision, bfloat16 or float32.
    """
    folder = tmp_path_factory.mktemp("augmented")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        embeddings = "{none: {}, linear: {L: 4, V: 3}, sem: {L: 4, V: 3}}"
        suite = SUITE.replace("{none: {}, sem: {L: 4, V: 3}}", embeddings)
        suite = suite.replace("[1.0, 0.1]", "[1.0]").replace("  knn: {k: 5}\n", "").replace("epochs: 2", "epochs: 0")
        write(folder, "suite.yaml", suite)
        write(folder, "datasets/toy.yaml", TOY_YAML)
        write(folder, "datasets/toy.py", TOY_PY)
        overlap(folder, "toy")
        assert main(["run", "suite.yaml"]) == 0
        yield partial(_arm, folder)


def _arm(folder: Path, embedding: str, *, memory: int = limits.MEMORY, epochs: int = 5) -> Arm:
    (probe,) = (
        job for job in read_plan(Path("suite.yaml")).jobs if job.kind == "probe" and job.cell.embedding == embedding
    )
    assert isinstance(probe.config, ProbeJob)
    source = Store(Path("results")).by_digest("pretrain", probe.inputs["pretrain"])
    assert source is not None
    heated = embedding == "sem"
    job = AugmentedJob(
        data=probe.config.data,
        tau=TAU if heated else [],
        fixed_tau=1.0 if heated else None,
        lr=LR if heated else [],
        fixed_lr=finer(LR, len(TAU) * len(LR)),
        epochs=epochs,
        batch_size=32,
        seed=0,
    )
    workspace = Workspace(
        folder, {"pretrain": source}, probe.method_code, probe.place, probe.parts, folder / "cache",
        torch.device("cpu"),
        memory=memory,
    )  # fmt: skip
    return Arm(job, workspace)


def _note(seen: list[tuple[int, int, str]], *what: Any) -> None:
    seen.append(what)


def test_all_arms_run_and_search_equally_many_candidates(arm: Callable[..., Arm]) -> None:
    expected = {
        "none": [("top1", "h")],
        "linear": [("top1", "h"), ("top1", "z")],
        "sem": [("top1", "h"), ("top1", "sem"), ("top1_fixed_tau", "sem")],
    }
    for name, figures in expected.items():
        one, seen = arm(name), list[tuple[int, int, str]]()
        rows = augmented_heads.evaluate(one.job, replace(one.workspace, progress=partial(_note, seen)))["rows"]
        assert [(row["metric"], row["representation"]) for row in rows] == figures
        assert {row["candidates"] for row in rows} == {4}
        assert {(row["column"], row["fraction"], row["draw"]) for row in rows} == {("100% aug", 1.0, 0)}
        # 200 images: 6 batches of 32, the rest is dropped
        assert seen == [(step + 1, 5 * 6, f"epoch {step // 6 + 1}") for step in range(30)]
        assert rows == augmented_heads.evaluate(one.job, one.workspace)["rows"]
        for row_ in rows:
            assert 0 < row_["value"] < 100 and 0 < row_["validation"] < 100
            assert (row_["tau_d"] is None) == (row_["representation"] != "sem")
            edge = row_["lr"] in (min(LR), max(LR))
            assert ("lr on the edge of its grid" in row_["notes"]) == edge
            searched = row_["metric"] == "top1" and row_["representation"] == "sem"
            assert ("tau_d on the edge of its grid" in row_["notes"]) == searched  # both of two are edges
            assert row_["lr"] in (LR if searched else one.job.fixed_lr)


def test_heads_that_judge_never_see_the_holdout(arm: Callable[..., Arm]) -> None:
    one = arm("sem", epochs=2)
    found = one.found
    held = holdout(one.job, found)
    assert len(held) == 20 and found.train.labels[held].bincount().tolist() == [5] * 4

    def with_labels(rows: Tensor) -> Features:
        labels = found.train.labels.clone()
        labels[rows] = (labels[rows] + 1) % 4
        return replace(found, train=replace(found.train, labels=labels))

    outside = torch.ones(200, dtype=torch.bool)
    outside[held] = False
    before = one.train(found, held, view=augmented_heads.VIEW)
    after = one.train(with_labels(held), held, view=augmented_heads.VIEW)
    other = one.train(with_labels(outside.nonzero()[:5, 0]), held, view=augmented_heads.VIEW)
    assert before.keys() == {"h None", "sem 0.3", "sem 1.0"}
    for name, trained in before.items():
        count = len(trained.lr)
        assert trained.lr == (LR if name == "sem 0.3" else sorted(one.job.fixed_lr))
        judging, final = slice(count), slice(count, None)
        assert torch.equal(trained.heads.weight[judging], after[name].heads.weight[judging])
        assert torch.equal(trained.heads.bias[judging], after[name].heads.bias[judging])
        # and the test can fail: the heads of all images see these labels, and those that judge see others
        assert not torch.equal(trained.heads.weight[final], after[name].heads.weight[final])
        assert not torch.equal(trained.heads.weight[judging], other[name].heads.weight[judging])
        assert not torch.equal(trained.heads.weight[judging], trained.heads.weight[final])


def test_images_are_augmented_unless_told_otherwise(arm: Callable[..., Arm]) -> None:
    one = arm("none", epochs=1)
    found = one.found
    held, reported = holdout(one.job, found), contests(one.job, found)
    usual = train(one.job, found, reported, held)["h", None].heads.weight
    original = Augmentation(crop_scale=(0.08, 1.0), interpolation="bicubic", flip=0.5)
    assert torch.equal(usual, one.train(found, held, view=original)["h None"].heads.weight)
    assert not torch.equal(usual, one.train(found, held, view=PLAIN)["h None"].heads.weight)


def test_test_labels_change_the_reported_number_alone(arm: Callable[..., Arm], monkeypatch: pytest.MonkeyPatch) -> None:
    one = arm("sem", epochs=2)
    found = one.found
    corrupted = replace(found, test=replace(found.test, labels=(found.test.labels + 1) % 4))
    before = augmented_heads.evaluate(one.job, one.workspace)["rows"]
    monkeypatch.setattr(features, "load", lambda job, workspace: corrupted)
    after = augmented_heads.evaluate(one.job, one.workspace)["rows"]
    assert before[0]["value"] != after[0]["value"]  # of h, which is far above chance
    assert [row | {"value": 0} for row in before] == [row | {"value": 0} for row in after]


def test_the_choice_is_the_best_on_the_holdout_and_its_head_of_all_images_is_tested(arm: Callable[..., Arm]) -> None:
    one = arm("sem")
    found = one.found
    held = holdout(one.job, found)
    reported = contests(one.job, found)
    trained = train(one.job, found, reported, held)
    judged = validate(found, trained, held)
    choice = row(found, reported[1], trained, judged)
    by_hand = {}
    for tau in TAU:
        heads = trained["sem", tau]
        for lr in LR:
            k = heads.lr.index(lr)
            h = found.h_train[held]
            logits = found.output(tau).of(h) * heads.scale @ heads.heads.weight[k].T + heads.heads.bias[k]
            by_hand[tau, lr] = float((logits.argmax(1) == found.train.labels[held]).double().mean())
            assert judged["sem", tau][lr] == pytest.approx(by_hand[tau, lr])
    assert choice["validation"] == pytest.approx(100 * max(by_hand.values()))
    tau, lr = choice["tau_d"], choice["lr"]
    assert by_hand[tau, lr] == max(by_hand.values())
    heads = trained["sem", tau]
    assert 1 / heads.scale**2 == pytest.approx(
        float(found.output(tau).of(found.h_train).square().sum(1).mean()), rel=1e-5
    )
    final = heads.heads.head(len(heads.lr) + heads.lr.index(lr))
    right = final.predict(found.output(tau).of(found.h_test) * heads.scale).argmax(1) == found.test.labels
    assert choice["value"] == pytest.approx(100 * float(right.double().mean()))
    for one_ in trained.values():  # the heads that judge have judged
        one_.heads.weight[: len(one_.lr)] = 0
    assert row(found, reported[1], trained, judged) == choice
    k = len(heads.lr) + heads.lr.index(lr)
    heads.heads.weight[k] *= -1
    assert row(found, reported[1], trained, judged)["value"] != choice["value"]


def test_a_tie_goes_to_the_smallest_lr_and_a_diverged_head_is_never_chosen(arm: Callable[..., Arm]) -> None:
    one = arm("none", epochs=1)
    found = one.found
    held = holdout(one.job, found)
    (contest,) = contests(one.job, found)
    trained = train(one.job, found, [contest], held, view=PLAIN)
    values: list[float | None] = [0.5, 0.75, 0.75, 0.75]
    choice = row(found, contest, trained, {("h", None): dict(zip(contest.grid, values, strict=True))})
    assert (choice["lr"], choice["validation"], choice["notes"]) == (contest.grid[1], 75, [])

    values = [None, 0.0, 0.0, None]
    choice = row(found, contest, trained, {("h", None): dict(zip(contest.grid, values, strict=True))})
    assert (choice["lr"], choice["notes"]) == (contest.grid[1], ["2 of 4 heads diverged"])

    trained["h", None].heads.bias[4 + 2] = torch.inf  # of a pair the one of all images
    judged = validate(found, trained, held)
    assert [judged["h", None][lr] is None for lr in contest.grid] == [False, False, True, False]

    job = one.job.model_copy(update={"fixed_lr": [1e39, 1.0, 1e40]})
    (contest,) = contests(job, found)
    trained = train(job, found, [contest], held, view=PLAIN)
    judged = validate(found, trained, held)
    assert [judged["h", None][lr] is None for lr in job.fixed_lr] == [True, False, True]
    choice = row(found, contest, trained, judged)
    assert choice["lr"] == 1.0
    assert "2 of 3 heads diverged" in choice["notes"]


def test_without_augmentation_it_comes_near_the_convex_probe(arm: Callable[..., Arm]) -> None:
    one = arm("none", epochs=100)
    one = replace(one, job=one.job.model_copy(update={"batch_size": 200, "fixed_lr": [1.0, 3.0, 10.0, 30.0]}))
    found = one.found
    held = holdout(one.job, found)
    (contest,) = contests(one.job, found)
    trained = train(one.job, found, [contest], held, view=PLAIN)
    mine = row(found, contest, trained, validate(found, trained, held))
    (path,) = Path("results/probe").glob("*simclr-none*/result.json")
    theirs = json.loads(path.read_text())["metrics"]["rows"][0]
    assert theirs["value"] > 60
    assert mine["value"] == pytest.approx(theirs["value"], abs=10)  # 80 test images


def test_what_is_trained_on_which_images(arm: Callable[..., Arm]) -> None:
    """Without augmentation the heads can be trained on cached features, in the order of the job's own stream."""
    one = arm("linear")
    found = one.found
    held = holdout(one.job, found)
    trained = one.train(found, held)["z None"]
    x, labels = found.output(None).of(found.h_train), found.train.labels
    x = x * (len(x) / x.double().square().sum()) ** 0.5
    inside = torch.ones(200)
    inside[held] = 0
    lr = sorted(one.job.fixed_lr)
    heads = Heads(lr + lr, width=12, classes=4)
    for epoch in range(5):
        order = torch.randperm(200, generator=generator(0, "order", "probe", epoch))
        for rows in order[:192].split(32):
            own = torch.cat([inside[rows, None].expand(-1, 4), torch.ones(32, 4)], 1)
            heads.step(x[rows].float(), labels[rows], own, factor=[1, 1, 1, 0.1, 0.01][epoch])
    assert torch.allclose(trained.heads.weight, heads.weight, rtol=1e-3, atol=1e-3)
    assert torch.allclose(trained.heads.bias, heads.bias, rtol=1e-3, atol=1e-3)
    assert heads.weight.abs().max() > 1


@pytest.mark.parametrize("view", [PLAIN, augmented_heads.VIEW])
def test_images_larger_than_memory_give_the_same_heads(arm: Callable[..., Arm], view: Augmentation) -> None:
    trained = []
    for memory in (limits.MEMORY, 1):
        one = arm("none", memory=memory, epochs=2)
        found = one.found
        assert (found.train.images is None) == (memory == 1)
        trained.append(one.train(found, holdout(one.job, found), view=view)["h None"].heads.weight)
    resident, streamed = trained
    alike = float(cosine_similarity(resident.flatten(), streamed.flatten(), 0))
    assert alike > (1 - 1e-6 if view is PLAIN else 0.95)  # Pillow rounds to 8 bits, twice in a crop


class InOrder(LabelledViews):
    """The images in the order of the set: what is left to chance is the augmentation."""

    def _epoch_order_of(self, epoch: int) -> Tensor:
        return torch.arange(len(self.split))


@pytest.mark.parametrize("kind", [LabelledViews, InOrder])
def test_all_arms_see_the_same_views_in_streams_of_their_own(
    arm: Callable[..., Arm], kind: type[LabelledViews]
) -> None:
    def batch(embedding: str, seed: int, number: int) -> Tensor:
        one = arm(embedding)
        job = one.job.model_copy(update={"seed": seed})
        split = one.workspace.load(job.data, "train")
        with kind(job, split, torch.device("cpu"), view=augmented_heads.VIEW) as views:
            found = views.batch(number)
            assert found.labels is not None and torch.equal(found.labels, split.labels[found.indices])
            return found.views[0]

    assert torch.equal(batch("none", 0, 1), batch("sem", 0, 1))
    for seed, number in ((1, 1), (0, 2), (0, 7)):  # 7: the same place in the next epoch
        assert not torch.equal(batch("none", 0, 1), batch("none", seed, number))


def test_what_cannot_be_done_is_said(arm: Callable[..., Arm]) -> None:
    one = arm("none")
    found = one.found
    large = one.job.model_copy(update={"batch_size": 201})
    with pytest.raises(UserError, match="batch_size 201 is more than the 200 training images"):
        augmented_heads.evaluate(large, one.workspace)
    single = replace(found, train=replace(found.train, labels=torch.arange(200)))
    with pytest.raises(UserError, match="no class has two training images"):
        holdout(one.job, single)
