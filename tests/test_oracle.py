"""Every figure of the stages once more: from checkpoint.pt, head.pt and the images, as docs/protocol.md defines it.

One small run whose accuracies are far from 0 and from 100 %, so that a wrong line of a stage shows in some figure.
Nothing of a stage is used here: the network is written out, and the rest is numpy. Each test says what would be wrong.
"""

import contextlib
import inspect
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

import sem_bench
from sem_bench.base.randomness import derived_seed
from sem_bench.cli import main
from sem_bench.data.corruptions import corrupt
from sem_bench.data.loading import chosen
from sem_bench.data.readers.opened import Opened
from sem_bench.evaluations.measures.selection import stratified_subset
from tests.helpers.toy import write

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

SUITE = """
name: oracle
seeds: [0]
grid:
  methods: [simclr]
  embeddings: {none: {}, linear: {L: 5, V: 4}, sem: {L: 5, V: 4, tau: 0.7}}
  backbones: [resnet10w16s2]
  datasets: [base]
pretrain: {recipe: quick, epochs: 1, batch_size: 20, lr: 0.01}
evaluate:
  probe: {fractions: [1.0, 0.09], tau: [0.3, 2.0], l2: [3e-2, 4e-2]}
  robustness: {shifts: [v2, r, c], images: 40}
  transfer: {datasets: [other]}
  relevance: {top_k: [2, 4, 200], permutations: 200}
  entropy: {bins: 5}
  expressivity: {tau: [0.2, 1.0], fractions: [0.4]}
"""
SET = """
summary: {name}
source: {{type: python, code: colours.py, arguments: {{names: "{names}", number: {number}}}}}
splits: {splits}
image_size: 16
classes: [{classes}]
normalise: {{mean: [{mean}, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
licence: none needed
"""
CODE = '''
"""Colours."""

from __future__ import annotations

import numpy as np


'''
CORRUPTED = """
summary: base corrupted
source: {type: corrupted, of: base, corruptions: [gaussian_noise, brightness, contrast], severities: [1, 5]}
reference_errors: {gaussian_noise: 0.5, brightness: 0.5, contrast: 0.25}
licence: none needed
"""
LIMIT = 40  # `images` of the suite
L, V = 5, 4
COUNTS = {
    "base": {"train": 240, "test": 90},
    "v2": {"test": 66},
    "r": {"test": 60},
    "other": {"train": 200, "test": 80},
}
CLASSES = {
    "base": "red green blue grey olive teal",
    "v2": "teal grey blue red olive green",
    "r": "olive blue red",
    "other": "green red teal",
}
SUPERCLASSES = {"some": ["olive", "red"], "more": ["blue", "teal", "grey"], "one": ["green"]}
GROUP = [next(i for i, group in enumerate(SUPERCLASSES.values()) if name in group) for name in CLASSES["base"].split()]


def load(split: str, *, count: int, image_size: int, names: str, number: int) -> tuple[Pixels, Labels]:
    """Images of one colour and noise; the colours of a class overlap with those of others. Classes are unequal."""
    rng = np.random.default_rng([number, len(split)])
    colours = {
        "red": (160, 80, 80),
        "green": (80, 160, 80),
        "blue": (80, 80, 160),
        "grey": (128, 128, 128),
        "olive": (160, 160, 80),
        "teal": (80, 160, 160),
    }
    kinds = names.split()
    labels = np.arange(count) % 7 % len(kinds)
    colour = np.array([colours[kinds[label]] for label in labels]) + rng.normal(0, 30, (count, 3))
    pixels = colour[:, None, None] + rng.normal(0, 30, (count, image_size, image_size, 3))
    return pixels.clip(0, 255).astype(np.uint8), labels


NUMBER = {name: number for number, name in enumerate(CLASSES)}


@dataclass(frozen=True, eq=False)
class Arm:
    """A pretrained encoder, as checkpoint.pt has it."""

    label: str  # none, linear or sem
    digest: str
    folder: Path
    state: dict[str, torch.Tensor]

    @cache  # noqa: B019 - a few arms live as long as the module
    def h(self, name: str, split: str = "test") -> Floats:
        """The backbone's feature of a data set, normalised with the constants of `base`."""
        return self.backbone(images(name, split)[0])

    def backbone(self, pixels: Pixels) -> Floats:
        """Stem, four residual blocks, mean over the map; BatchNorm by its running statistics."""

        def weight(name: str) -> torch.Tensor:
            return self.state[f"backbone.network.{name}"]

        def conv(x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
            kernel = weight(f"{name}.weight")
            return F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

        def norm(x: torch.Tensor, name: str) -> torch.Tensor:
            parts = ("running_mean", "running_var", "weight", "bias")
            mean, variance, factor, shift = (weight(f"{name}.{part}") for part in parts)
            return F.batch_norm(x, mean, variance, factor, shift)

        x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
        x = norm(conv(x.contiguous(memory_format=torch.channels_last), "0", 2), "1").relu()
        for block, stride in (("3", 1), ("4", 2), ("5", 2), ("6", 2)):
            y = norm(conv(x, f"{block}.conv1", stride), f"{block}.bn1").relu()
            y = norm(conv(y, f"{block}.conv2", 1), f"{block}.bn2")
            x = (y + (x if stride == 1 else norm(conv(x, f"{block}.downsample.0", 2), f"{block}.downsample.1"))).relu()
        found: Floats = x.mean((2, 3)).double().numpy()
        return found

    def z(self, h: Floats) -> Floats:
        """Linear and BatchNorm: number v of group l stands at v * L + l."""
        linear, mean, variance, factor, shift = (
            self.state[f"embedding.{name}"].double().numpy()
            for name in ("linear.weight", "norm.running_mean", "norm.running_var", "norm.weight", "norm.bias")
        )
        found: Floats = (h @ linear.T - mean) / np.sqrt(variance + 1e-5) * factor + shift
        return found

    def simplices(self, h: Floats, tau: float) -> Floats:
        """(n, V, L): each group of V numbers of z / tau through a softmax."""
        z = self.z(h).reshape(len(h), V, L) / tau
        powers = np.exp(z - z.max(1, keepdims=True))
        found: Floats = powers / powers.sum(1, keepdims=True)
        return found

    def represent(self, h: Floats, name: str, tau: float | None) -> Floats:
        """h, z, or SEM at a temperature."""
        return h if name == "h" else self.z(h) if tau is None else self.simplices(h, tau).reshape(len(h), -1)


@dataclass(frozen=True)
class Head:
    """One entry of head.pt, with the penalty that stands in result.json."""

    metric: str
    representation: str
    tau_d: float | None
    draw: int
    scale: float
    weight: Floats
    bias: Floats
    l2: float

    def scores(self, arm: Arm, h: Floats) -> Floats:
        """Of each class (n, C)."""
        found: Floats = arm.represent(h, self.representation, self.tau_d) * self.scale @ self.weight.T + self.bias
        return found


@dataclass(frozen=True)
class Run:
    """What the command line left."""

    results: Path
    rows: list[sem_bench.Row]
    arms: list[Arm]

    def row(self, table: str, **wanted: object) -> sem_bench.Row:
        """The only row that is so."""
        (found,) = (
            row for row in self.rows if row.table == table and all(getattr(row, key) == wanted[key] for key in wanted)
        )
        return found

    def result(self, kind: str, arm: Arm, **wanted: object) -> tuple[dict[str, Any], Path]:
        """The only job of an arm whose configuration is so, and its folder."""
        (found,) = (
            (content, path.parent)
            for path in self.results.glob(f"{kind}/*/result.json")
            if (content := json.loads(path.read_text()))["inputs"]["pretrain"] == arm.digest
            and all(content["config"][key] == wanted[key] for key in wanted)
        )
        return found

    def heads(self, kind: str, arm: Arm, **wanted: object) -> dict[tuple[str, str], list[Head]]:
        """By metric and representation the heads of all draws."""
        content, folder = self.result(kind, arm, **wanted)
        found: dict[tuple[str, str], list[Head]] = {}
        heads, rows = torch.load(folder / "head.pt", weights_only=True), content["metrics"]["rows"]
        for head, row in zip(heads, rows, strict=True):
            numbers = {name: head.pop(name).double().numpy() for name in ("weight", "bias")}
            one = Head(**head, **numbers, l2=row["l2"])
            found.setdefault((one.metric, one.representation), []).append(one)
        return found


@cache
def images(name: str, split: str) -> tuple[Pixels, Labels]:
    """As the card's code gives them."""
    return load(split, count=COUNTS[name][split], image_size=16, names=CLASSES[name], number=NUMBER[name])


def margins(scores: Floats, truth: Labels) -> Floats:
    """By how much the true class is ahead of the best other one: above 0 where an image is right."""
    at = np.arange(len(scores)), truth
    others = scores.copy()
    others[at] = -np.inf
    found: Floats = scores[at] - others.max(1)
    return found


def agrees(
    percent: float | None,
    margin: Floats,
    *,
    weights: Floats | None = None,
    slack: float = 1e-4,
    saturated: bool = False,
) -> None:
    """The figure is the share of margins above 0, where those within the slack may count or not.

    Neither 0 nor 100, which anything reaches, but where it is `saturated`.
    """
    low, high = (100 * np.average(margin > at, weights=weights) for at in (slack, -slack))
    assert percent is not None and low - 1e-9 <= percent <= high + 1e-9, (low, percent, high)
    assert (0 < percent < 100) != saturated and high - low < 10


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The whole suite, once."""
    folder = tmp_path_factory.mktemp("oracle")
    write(folder, "suite.yaml", SUITE)
    write(folder, "datasets/colours.py", CODE + inspect.getsource(load))
    for name, classes in CLASSES.items():
        mean = 0.1 if name == "other" else 0.5
        card = SET.format(name=name, names=classes, number=NUMBER[name], splits=json.dumps(COUNTS[name]), mean=mean,
                          classes=", ".join(classes.split()))  # fmt: skip
        card += {"base": f"superclasses: {json.dumps(SUPERCLASSES)}\nshifts: {{v2: v2, r: r, c: c}}\n"}.get(name, "")
        write(folder, f"datasets/{name}.yaml", card + "metric: mean_per_class\n" * (name == "other"))
    write(folder, "datasets/c.yaml", CORRUPTED)
    with contextlib.chdir(folder):
        assert main(["run", "suite.yaml"]) == 0
    results, arms = folder / "results", []
    for path in results.glob("pretrain/*/result.json"):
        content = json.loads(path.read_text())
        state = torch.load(path.parent / "checkpoint.pt", weights_only=True)["encoder"]
        arms.append(Arm(content["config"]["embedding"]["type"], content["digest"], path.parent, state))
    yield Run(results, sem_bench.load(results), arms)


# --- the probe -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fraction", "column", "draws"), [(1.0, "100%", 1), (0.09, "9%", 5)])
def test_probe(run: Run, fraction: float, column: str, draws: int) -> None:
    """Wrong: scale or temperature of the head not those of the fit, the mean over draws, tau_d of `top1_fixed_tau`."""
    truth = images("base", "test")[1]
    for arm in run.arms:
        for (metric, name), heads in run.heads("probe", arm, fraction=fraction).items():
            row = run.row("comparison", column=column, metric=metric, representation=name, embedding=arm.label)
            agrees(row.mean, np.concatenate([margins(head.scores(arm, arm.h("base")), truth) for head in heads]))
            assert len(heads) == draws
            if name == "sem":
                fixed = {0.7} == {head.tau_d for head in heads}
                assert fixed == (metric == "top1_fixed_tau")


@pytest.mark.parametrize("fraction", [1.0, 0.09])
def test_heads_are_the_optimum_on_their_labels(run: Run, fraction: float) -> None:
    """The gradient of mean cross-entropy + l2/2 |W|^2 is 0: wrong labels, scale or penalty, or no refit on all."""
    labels = images("base", "train")[1]
    for arm in run.arms:
        h = arm.h("base", "train")
        for heads in run.heads("probe", arm, fraction=fraction).values():
            for head in heads:
                x = arm.represent(h, head.representation, head.tau_d)
                assert head.scale == pytest.approx(1 / np.sqrt(x.var(0).sum()), rel=1e-5)
                rows = labelled(labels, fraction, head.draw)
                error = softmax(head.scores(arm, h[rows])) - np.eye(6)[labels[rows]]
                gradient = error.T @ (x[rows] * head.scale) / len(rows) + head.l2 * head.weight
                assert np.abs(gradient).max() < 1e-3 and np.abs(error.mean(0)).max() < 1e-3


def labelled(labels: Labels, fraction: float, draw: int) -> Labels:
    """The rows whose labels may be read."""
    return stratified_subset(labels, fraction, seed=derived_seed(0, "split", "subset", draw))


def softmax(scores: Floats) -> Floats:
    """Of each row."""
    powers = np.exp(scores - scores.max(1, keepdims=True))
    found: Floats = powers / powers.sum(1, keepdims=True)
    return found


def test_superclasses_of_the_probe(run: Run) -> None:
    """Wrong: superclasses of classes in another order. The best class of the true superclass is ahead of all others."""
    truth = np.array(GROUP)[images("base", "test")[1]]
    for arm in run.arms:
        content, _ = run.result("probe", arm, fraction=1.0)
        for row, heads in zip(content["metrics"]["rows"], run.heads("probe", arm, fraction=1.0).values(), strict=True):
            scores = heads[0].scores(arm, arm.h("base"))
            best = np.stack([scores[:, np.array(GROUP) == group].max(1) for group in range(3)], axis=1)
            agrees(row["superclass"], margins(best, truth))


def test_bootstrap(run: Run) -> None:
    """Wrong: the predictions of another head of the arm. A draw of several has no images of its own."""
    (base,) = (arm for arm in run.arms if arm.label == "none")
    truth, found = images("base", "test")[1], 0
    references = run.heads("probe", base, fraction=1.0)
    for arm in run.arms:
        for (metric, name), (head,) in run.heads("probe", arm, fraction=1.0).items():
            row = run.row("comparison", column="100%", metric=metric, representation=name, embedding=arm.label)
            if arm is base:
                assert row.bootstrap == []
                continue
            (reference,) = references[metric, "h"]  # fixed against fixed, search against search
            theirs = margins(reference.scores(base, base.h("base")), truth) > 0
            difference = 100.0 * ((margins(head.scores(arm, arm.h("base")), truth) > 0) * 1 - theirs)
            spread = 1.96 * difference.std() / np.sqrt(len(difference))
            ((seed, gain, low, high),) = row.bootstrap
            assert seed == 0 and gain == pytest.approx(difference.mean()) == pytest.approx(row.gain)
            assert (low, high) == pytest.approx((gain - spread, gain + spread), abs=0.25 * spread)
            found += gain != 0
    assert found >= 3
    assert not any(row.bootstrap for row in run.rows if row.table == "comparison" and row.column == "9%")


# --- robustness ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [1.0, 0.09])
@pytest.mark.parametrize("shift", ["v2", "r"])
def test_robustness(run: Run, shift: str, fraction: float) -> None:
    """Wrong: classes by position, no mask or a mask for `_all`, a temperature that is not the head's, one draw."""
    labels = images(shift, "test")[1]
    own = np.array([CLASSES["base"].split().index(name) for name in CLASSES[shift].split()])
    partial = len(own) < 6
    for arm in run.arms:
        for (metric, name), heads in run.heads("probe", arm, fraction=fraction).items():
            scores = [head.scores(arm, arm.h(shift)) for head in heads]
            for suffix, margin in (
                ("", [margins(one[:, own], labels) for one in scores]),
                ("_all", [margins(one, own[labels]) for one in scores]),
            )[: 1 + partial]:
                place = {"column": shift, "fraction": fraction, "metric": metric.replace("top1", f"top1{suffix}")}
                row = run.row("robustness", **place, representation=name, embedding=arm.label)
                agrees(row.mean, np.concatenate(margin))
            assert partial or not [row for row in run.rows if row.column == shift and "_all" in row.metric]


@pytest.mark.parametrize("fraction", [1.0, 0.09])
def test_corruptions(run: Run, fraction: float) -> None:
    """Wrong: the matrix by severity, all images and not `images` of them, mCE by the mean of the errors."""
    pixels, labels = images("base", "test")
    rows = chosen(Opened("", len(labels), labels, lambda row: Image.fromarray(pixels[row])), LIMIT)
    assert len(rows) == LIMIT < len(labels)
    cells = [
        (corruption, severity, corrupt(pixels[rows], name=corruption, severity=severity))
        for corruption in ("gaussian_noise", "brightness", "contrast")
        for severity in (1, 5)
    ]
    for arm in run.arms:
        features = [arm.backbone(corrupted) for *_, corrupted in cells]
        for (metric, name), heads in run.heads("probe", arm, fraction=fraction).items():
            at = {"column": "c", "fraction": fraction, "representation": name, "embedding": arm.label}
            row = run.row("robustness", metric=metric, **at)
            found = row.extra["matrix"]
            assert (found["corruptions"], found["severities"]) == (["gaussian_noise", "brightness", "contrast"], [1, 5])
            values = np.array(found["values"])
            assert values.shape == (3, 2) and found["images"] == LIMIT
            for value, h in zip(values.flat, features, strict=True):
                agrees(value, np.concatenate([margins(head.scores(arm, h), labels[rows]) for head in heads]))
            assert row.mean == pytest.approx(values.mean())
            mce = run.row("robustness", metric=metric.replace("top1", "mce"), **at)
            assert mce.mean == pytest.approx(np.mean((100 - values.mean(1)) / [0.5, 0.5, 0.25]))


def test_the_table_of_robustness_has_the_test_set_at_the_same_fraction(run: Run) -> None:
    """Wrong: a column "test" of another fraction."""
    seen = 0
    for part in (run.results / "tables/oracle/robustness.md").read_text().split("###")[1:]:
        column = re.findall(r"probe at (\S+) %", part)[0] + "%"
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("|")]
        at = lines[0].index("test")
        for line in lines[2:5]:
            label = line[1].split()[0]
            name = {"none": "h", "linear": "z", "sem": "sem"}[label]
            row = run.row("comparison", column=column, metric="top1_fixed_tau", representation=name, embedding=label)
            assert line[at].split()[0] == f"{row.mean:.1f}"
            seen += 1
    assert seen == 6


# --- relevance -------------------------------------------------------------------------------------------------------


def test_relevance(run: Run) -> None:
    """Wrong: the smallest weights, features in the modules' order, superclasses in another order, the null."""
    told = 0
    deals = set(permutations(GROUP))
    for arm in run.arms:
        content, _ = run.result("relevance", arm)
        graphs = iter(content["metrics"]["graphs"])
        for (metric, name), (head,) in run.heads("probe", arm, fraction=1.0).items():
            weight = head.weight
            if name != "h":  # number v of group l stands at l * V + v
                weight = weight.reshape(6, V, L).transpose(0, 2, 1).reshape(6, -1)
            for k in (2, 4, 200):
                kept = [np.lexsort((np.arange(len(row)), -row))[:k].tolist() for row in weight]
                near = [[j for j in range(6) if j != i and {*kept[i]} & {*kept[j]}] for i in range(6)]
                graph = next(graphs)
                assert (graph["features"], graph["neighbours"]) == (kept, near)

                at = {"column": str(k), "representation": name, "embedding": arm.label}
                row = run.row("relevance", metric=metric.replace("top1", "relevance_per_class"), **at)
                whole = run.row("relevance", metric=metric.replace("top1", "relevance"), **at)
                assert row.mean == pytest.approx(relevance(near, GROUP))
                assert whole.mean == pytest.approx(6 * relevance(near, GROUP))
                assert row.extra["base_rate"] == pytest.approx(relevance([[*range(6)]] * 6, GROUP))
                assert row.extra["neighbours"] == pytest.approx(np.mean([len(others) for others in near]))
                assert row.extra["isolated"] == pytest.approx(np.mean([not others for others in near]))
                assert row.extra["features"] == len({feature for one in kept for feature in one})

                # Of all deals of the classes to the superclasses, which are equally likely, 200 were drawn.
                every = np.array([relevance(near, deal) for deal in deals])
                assert row.extra["null"] == pytest.approx(every.mean(), abs=4 * every.std() / np.sqrt(200) + 1e-9)
                for end, lowest, highest in (("null_low", 0.002, 0.1), ("null_high", 0.9, 0.998)):
                    first, last = np.quantile(every, [lowest, highest], method="inverted_cdf")
                    assert first - 1e-9 <= row.extra[end] <= last + 1e-9
                told += 0 < relevance(near, GROUP) < 1 and every.std() > 0

            # At equal numbers of neighbours: the smallest K that gives a class two, and no class without any counts.
            for k in range(1, weight.shape[1] + 1):
                kept = [np.lexsort((np.arange(len(row)), -row))[:k].tolist() for row in weight]
                near = [[j for j in range(6) if j != i and {*kept[i]} & {*kept[j]}] for i in range(6)]
                if np.mean([len(others) for others in near]) >= 2:
                    break
            graph = next(graphs)
            assert (graph["features"], graph["neighbours"]) == (kept, near)
            at = {"column": "2 neighbours", "representation": name, "embedding": arm.label}
            row = run.row("relevance", metric=metric.replace("top1", "relevance_matched"), **at)
            linked = np.mean([bool(others) for others in near])
            assert row.extra["top_k"] == k
            assert row.mean == pytest.approx(relevance(near, GROUP) / linked)
            every = np.array([relevance(near, deal) for deal in deals]) / linked
            assert row.extra["null"] == pytest.approx(every.mean(), abs=4 * every.std() / np.sqrt(200) + 1e-9)
        assert next(graphs, None) is None
    assert told >= 4


def relevance(near: Sequence[Sequence[int]], group: Sequence[int]) -> float:
    """The mean over the classes of the share of neighbours in their superclass; 0 without neighbours."""
    shares = [[group[j] == group[i] for j in others if j != i] for i, others in enumerate(near)]
    return float(np.mean([np.mean(share) if share else 0 for share in shares]))


# --- entropy ---------------------------------------------------------------------------------------------------------


def test_entropy(run: Run) -> None:
    """Wrong: another temperature than pretraining's, images other than train's, a course that is not the log's."""
    (arm,) = (arm for arm in run.arms if arm.label == "sem")
    p = arm.simplices(arm.h("base", "train"), 0.7)
    entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(1)
    value = {row.metric: row.mean for row in run.rows if row.table == "entropy"}
    assert value == pytest.approx(
        {
            "entropy": entropy.mean(),
            "entropy_share": entropy.mean() / np.log(V),
            "entropy_std": entropy.std(),
            "largest_probability": p.max(1).mean(),
            "dead_simplices": np.mean([len({*column}) == 1 for column in p.argmax(1).T]),
        },
        abs=1e-4,
    )
    row = run.row("entropy", metric="entropy_share")
    assert row.mean is not None and 0.05 < row.mean < 0.95
    histogram = np.cumsum(row.extra["histogram"])
    for i, below in enumerate(histogram, 1):
        assert ((entropy / np.log(V) < i / 5 - 1e-4).sum()) <= below <= (entropy / np.log(V) < i / 5 + 1e-4).sum()
    assert len(histogram) == 5 and histogram[-1] == entropy.size and np.count_nonzero(row.extra["histogram"]) >= 2

    # Pretraining watches up to 512 training images, which are all: its last epoch has the same entropy.
    log = (arm.folder / "log.csv").read_text().splitlines()
    last = dict(zip(log[0].split(","), log[-1].split(","), strict=True))
    assert row.extra["course"] == [[1, float(last["simplex_entropy"])]] == [[1, pytest.approx(row.mean, abs=1e-4)]]


# --- expressivity ----------------------------------------------------------------------------------------------------


def test_expressivity(run: Run) -> None:
    """Wrong: train accuracy on all images, other labels than the first draw's, a gap that is not the difference.

    The heads are not kept: scikit-learn fits them again, at the penalty that was chosen.
    """
    labels, truth = images("base", "train")[1], images("base", "test")[1]
    rows = labelled(labels, 0.4, 0)
    for arm in run.arms:
        content, _ = run.result("expressivity", arm)
        found = [row for row in content["metrics"]["rows"] if row["metric"] == "train"]
        assert len(found) == 2 * {"none": 1, "linear": 2, "sem": 4}[arm.label]
        for job in found:
            shown, tau = job["representation"], job["tau_d"]
            shown = shown if tau is None else shown.removesuffix(f" {tau:g}")
            name = shown.removesuffix(", l2 1e-06")
            assert (name == shown) or job["l2"] == 1e-6
            x = arm.represent(arm.h("base", "train"), name, tau)
            scale = 1 / np.sqrt(x.var(0).sum())
            head = LogisticRegression(C=1 / (len(rows) * job["l2"]), tol=1e-10, max_iter=5000)
            head.fit(scale * x[rows], labels[rows])
            test = scale * arm.represent(arm.h("base"), name, tau)
            at = {"column": "40%", "representation": shown, "tau_d": tau, "embedding": arm.label}
            row = {metric: run.row("expressivity", metric=metric, **at) for metric in ("train", "test", "gap")}
            fitted = margins(head.decision_function(scale * x[rows]), labels[rows])
            agrees(row["train"].mean, fitted, slack=0.01, saturated=name != shown and row["train"].mean == 100)
            agrees(row["test"].mean, margins(head.decision_function(test), truth), slack=0.01)
            assert row["train"].mean is not None and row["test"].mean is not None
            assert row["gap"].mean == pytest.approx(row["train"].mean - row["test"].mean)
            assert row["gap"].extra["labels"] == len(rows)


# --- transfer --------------------------------------------------------------------------------------------------------


def test_transfer(run: Run) -> None:
    """Wrong: plain accuracy, or the constants of the other set's card. Each class weighs as much as any other."""
    truth = images("other", "test")[1]
    weights = 1 / np.bincount(truth)[truth]
    assert len({*weights}) > 1
    for arm in run.arms:
        for (metric, name), (head,) in run.heads("transfer", arm).items():
            row = run.row("transfer", column="other", metric=metric, representation=name, embedding=arm.label)
            agrees(row.mean, margins(head.scores(arm, arm.h("other")), truth), weights=weights)
            assert metric.startswith("mean_per_class")
