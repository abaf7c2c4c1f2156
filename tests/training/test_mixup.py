"""MixUp: its loss against a reference written by hand, who mixes with whom, and whole runs with and without IP-IRM."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sem_bench.base import world
from sem_bench.base.companions import together
from sem_bench.cli import main
from sem_bench.method import Batch
from sem_bench.runs.estimate import memory, work
from sem_bench.runs.plan import read_plan
from sem_bench.training import checkpoint, device_check
from sem_bench.training.card import IpIrmSettings
from sem_bench.training.ip_irm import IpIrm
from sem_bench.training.job import PretrainJob
from sem_bench.training.mixup import MixUp
from tests.helpers.methods import batch, build
from tests.helpers.tensors import random, softmax, unit
from tests.helpers.toy import SUITE, method_card, write

MIXED = SUITE.replace("batch_size: 50}", "batch_size: 50, mixup: 1.0}")
IP = MIXED.replace("  datasets: [toy]", "  datasets: [toy]\n  ip: {every: 1, batch_size: 100, passes: 3}")
CONTRAST = """
import torch
from torch import nn
from torch.nn import functional as F

from sem_bench.method import Method


class Mine(Method):
    def __init__(self, encoder, *, temperature):
        super().__init__(encoder)
        self.temperature = temperature
        self.head = nn.Linear(encoder.out_dim, 8)

    def forward(self, batch):
        return tuple(self.head(self.encoder(view)) for view in batch.views)

    def loss(self, a, b):
        logits = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / self.temperature
        return F.cross_entropy(logits, torch.arange(len(a), device=a.device))
"""


def mixup(alpha: float = 1.0, temperature: float = 0.5, embedding: str = "none") -> MixUp:
    method = build("simclr", embedding, hidden=8, out=5, temperature=temperature)
    return MixUp(method, projector="projector", alpha=alpha, temperature=temperature)


def outputs(partners: list[int], share: list[float]) -> list[Tensor]:
    """As forward gives them, in float64; the images have the indices 10, 11, ..."""
    count = len(partners)
    chosen = torch.tensor(partners, dtype=torch.float64) + 10
    return [
        random(count, 5),
        torch.tensor(share).double(),
        chosen,
        random(count, 5, seed=1),
        torch.arange(count) + 10.0,
    ]


def by_hand(parts: list[Tensor], temperature: float) -> float:
    """share * cross-entropy of the own second view + (1 - share) * that of the partner's."""
    first, share, partners, second, _ = parts
    total = 0.0
    for i in range(len(first)):
        logits = torch.stack([unit(first[i]) @ unit(z) for z in second]) / temperature
        logs = (logits - logits.exp().sum().log()).tolist()
        total -= float(share[i]) * logs[i] + (1 - float(share[i])) * logs[int(partners[i]) - 10]
    return total / len(first)


def test_the_loss_by_hand() -> None:
    parts = outputs([2, 0, 1, 3], [0.7, 0.5, 0.9, 0.6])  # the last is mixed with itself
    assert float(mixup(temperature=0.2).loss(*parts)) == pytest.approx(by_hand(parts, 0.2), rel=1e-12)


def test_a_share_of_one_is_the_loss_of_the_first_view_unmixed() -> None:
    """One-sided InfoNCE, whoever the partner is."""
    parts = outputs([1, 2, 0], [1.0, 1.0, 1.0])
    logits = [torch.stack([unit(a) @ unit(b) for b in parts[3]]) / 0.5 for a in parts[0]]
    expected = -sum(math.log(float(softmax(row)[i])) for i, row in enumerate(logits)) / 3
    assert float(mixup().loss(*parts)) == pytest.approx(expected, rel=1e-12)


def test_views_are_mixed_as_the_outputs_say() -> None:
    """Share * image + (1 - share) * partner, the second view plain; the larger share is one's own."""
    wrapped, given = mixup().eval(), batch(8)
    given = Batch(given.views, given.indices + 20)
    torch.manual_seed(3)
    first, share, partners, second, indices = wrapped(given)
    assert share.min() >= 0.5 and share.max() < 1 and share.unique().numel() == 8
    assert sorted(partners.tolist()) == indices.tolist() == given.indices.tolist()
    weight = share[:, None, None, None]
    images = weight * given.views[0] + (1 - weight) * given.views[0][partners - 20]
    plain = wrapped.method(Batch([images, given.views[1]], given.indices))
    torch.testing.assert_close((first, second), plain)


def test_alpha_is_that_of_beta() -> None:
    """Of shares above a half, whose mean is 3/4 at alpha 1, and near 1/2 where alpha is large."""
    torch.manual_seed(0)
    for alpha, low, high in ((1.0, 0.74, 0.76), (1000.0, 0.5, 0.52), (0.01, 0.97, 1.0)):
        share, _ = mixup(alpha)._drawn(torch.zeros(10000))
        assert low < float(share.mean()) < high


def test_within_groups_partners_are_of_the_group_and_any_of_it() -> None:
    wrapped, groups = mixup(), torch.tensor([0, 1, 0, 0, 1, 2])
    seen = set()
    for seed in range(60):
        torch.manual_seed(seed)
        _, partners = wrapped._drawn(groups)
        assert sorted(partners.tolist()) == list(range(6)) and torch.equal(groups[partners], groups)
        seen |= {(row, int(partner)) for row, partner in enumerate(partners)}
    assert len(seen) == 3 * 3 + 2 * 2 + 1


def test_while_a_partition_is_sought_negatives_are_weighted_and_partners_left_out() -> None:
    parts, weights = outputs([1, 2, 3, 0], [0.7, 0.5, 0.9, 0.6]), torch.tensor([0.9, 0.1, 0.6, 0.4]).double()
    (found,) = mixup(temperature=0.2).environments(weights, *parts, members=None, temperature=0.5)
    assert float(found.loss()) == pytest.approx(soft_risk(parts, weights, 0.2, [1.0] * 4), rel=1e-10)
    step, slopes = 1e-5, []
    for k in range(4):
        up, down = ([1.0 + sign * step * (k == j) for j in range(4)] for sign in (1, -1))
        slopes.append((soft_risk(parts, weights, 0.5, up) - soft_risk(parts, weights, 0.5, down)) / (2 * step))
    assert float(found.penalty().detach()) == pytest.approx(sum(slope**2 for slope in slopes), rel=1e-6)


def soft_risk(parts: list[Tensor], weights: Tensor, temperature: float, scale: list[float]) -> float:
    first, share, _, second, _ = parts
    total = 0.0
    for i in range(4):
        x = [float(unit(first[i]) @ unit(z)) / temperature * s for z, s in zip(second, scale, strict=True)]
        others = [j for j in range(4) if j != i]
        mean = sum(float(weights[j]) for j in others) / 3
        below = math.exp(x[i]) + sum(float(weights[j]) / mean * math.exp(x[j]) for j in others)
        total -= float(weights[i] * share[i]) * math.log(math.exp(x[i]) / below)
    return total / float(weights.sum())


def test_ip_irm_mixes_anew_for_each_partition_and_adds_them_up() -> None:
    wrapped = IpIrm(mixup(), IpIrmSettings(every=1, weight=0.3, temperature=0.5), images=20, epochs=3, seed=0).double()
    wrapped.partitions[0, 10:16] = torch.tensor([0, 0, 1, 1, 1, 0])
    wrapped.partitions[1, 10:16] = torch.tensor([0, 1, 1, 1, 1, 1])  # its first subset is too small
    wrapped.found.fill_(2)
    own = outputs([5, 3, 1, 0, 2, 4], [0.7, 0.5, 0.9, 0.6, 0.8, 0.55])
    anew = [outputs([1, 5, 3, 4, 2, 0], [0.6] * 6)[:3], outputs([0, 5, 1, 2, 3, 4], [0.8] * 6)[:3]]
    terms = []
    for number, rows in ((0, [0, 1, 5]), (0, [2, 3, 4]), (1, [1, 2, 3, 4, 5])):
        part = [output[rows] for output in (*anew[number], *own[3:])]
        (found,) = wrapped.method.environments(
            torch.ones(len(rows), dtype=torch.float64), *part, members=torch.tensor(True), temperature=0.5
        )
        assert float(found.loss()) == pytest.approx(within(part), rel=1e-12)
        terms.append([float(found.loss()), float(found.penalty().detach())])
    risk, penalty = (sum(term[i] for term in terms) / 3 for i in (0, 1))
    expected = by_hand(own, 0.5) + 2 * (risk + 0.3 * penalty)
    flat = [*own, *anew[0], *anew[1]]
    assert float(wrapped.loss(*flat, own[4]).detach()) == pytest.approx(expected, rel=1e-9)


def within(part: list[Tensor]) -> float:
    """The loss of a subset, whose partners are all in it."""
    first, share, partners, second, indices = part
    places = torch.tensor([indices.tolist().index(float(one)) for one in partners]) + 10
    return by_hand([first, share, places, second, indices], 0.5)


def test_ip_irm_s_forward_mixes_within_subsets() -> None:
    wrapped = IpIrm(mixup(), IpIrmSettings(every=1), images=8, epochs=2, seed=0)
    wrapped.partitions[0] = torch.tensor([0, 0, 1, 1, 1, 0, 0, 1])
    wrapped.found.fill_(1)
    torch.manual_seed(0)
    found = wrapped(batch(8))
    assert len(found) == 5 + 3 + 1 and all(len(output) == 8 for output in found)
    assert torch.equal(wrapped.partitions[0][found[7].long()], wrapped.partitions[0])
    assert not torch.equal(found[0], found[5])


@pytest.mark.parametrize("text", [MIXED, IP], ids=["plain", "ip"])
def test_runs_resume_bitwise(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    write(folder, "suite.yaml", text.replace("epochs: 2", "epochs: 3"))
    assert main(["run", "suite.yaml", "--results", "straight", "--only", "pretrain/simclr"]) == 0
    saved: list[int] = []
    save = checkpoint.TrainingState.save

    def save_and_die(self: Any, path: Path) -> None:
        save(self, path)
        saved.append(self.step)
        if len(saved) % 4 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Saver, "__call__", lambda self, state: state.save(self.path))
    monkeypatch.setattr(checkpoint.TrainingState, "save", save_and_die)
    for _ in range(8):
        main(["run", "suite.yaml", "--results", "resumed", "--only", "pretrain/simclr"])
    assert len(saved) > 6
    for straight in sorted(Path("straight/pretrain").glob("*/checkpoint.pt")):
        a, b = (torch.load(path, weights_only=True) for path in (straight, Path("resumed", *straight.parts[1:])))
        assert a["step"] == 12 and all(torch.equal(a["encoder"][key], b["encoder"][key]) for key in a["encoder"])
        assert [row[1] for row in a["log"]] == [row[1] for row in b["log"]]


def test_two_devices_are_one(folder: Path) -> None:
    """Loss, parameters, buffers and partitions, with and without IP-IRM; partners stand on the other device, too."""
    arms: list[device_check.Arm] = []
    for text in (MIXED, IP):
        write(folder, "suite.yaml", text)
        jobs = read_plan(Path("suite.yaml")).unique()
        arms += [(job.config, job.method_code, job.parts) for job in jobs if isinstance(job.config, PretrainJob)]
    assert len(arms) == 4 and device_check.problems(arms) == [""] * 4


def test_the_whole_batch_where_it_is_not_split() -> None:
    """At the end of a pass over all images, an odd number of them is in every process."""
    batches = [[0, 1, 2, 3], [4, 5, 6]]
    alone = mixed_partners(batches)
    with together(2, mixed_partners, batches, patience=60):
        assert mixed_partners(batches) == [alone[0][:2], alone[1]]


def mixed_partners(batches: list[list[int]]) -> list[list[int]]:
    """Of this process's rows of each batch, which is split where its size is even."""
    wrapped, found = mixup().eval(), []
    for number, indices in enumerate(batches):
        own = world.share(len(indices)) if len(indices) % world.size() == 0 else slice(None)
        given = batch(len(indices))
        torch.manual_seed(number)
        part = Batch([view[own] for view in given.views], torch.tensor(indices)[own])
        found.append([int(partner) for partner in wrapped(part)[2]])
    return found


def test_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other jobs than without MixUp, whose digests it leaves alone; rows say that they have it."""
    digests = {}
    for name, text in (("plain", SUITE), ("mixed", MIXED), ("ip", IP)):
        write(folder, f"{name}.yaml", text.replace("name: tiny", f"name: {name}"))
        assert main(["plan", f"{name}.yaml", "--format", "json"]) == 0
        digests[name] = {job["digest"] for job in json.loads(capsys.readouterr().out) if job["kind"] == "pretrain"}
    assert all(len(found) == 2 for found in digests.values()) and len(set.union(*digests.values())) == 6
    for name in ("mixed", "ip"):
        assert main(["run", f"{name}.yaml", "--results", name]) == 0
        text = capsys.readouterr().out
        assert main(["table", name, "--notes"]) == 0
        text = capsys.readouterr().out
        assert "with MixUp" in text and "without MixUp" not in text and ("simclr + IP" in text) is (name == "ip")


def test_a_method_of_ones_own_can_be_mixed(folder: Path) -> None:
    write(folder, "methods/mine.py", CONTRAST)
    card = method_card("Mine", parameters="temperature: 0.3").replace(
        "source: this", "contrasts: head\nsource: this", 1
    )
    write(folder, "methods/mine.yaml", card.replace("batch_size: 50", "batch_size: 50\n    mixup: 0.5"))
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[mine]"))
    assert main(["run", "suite.yaml", "--only", "pretrain"]) == 0
    (result, *_) = Path("results/pretrain").glob("mine-none-*/result.json")
    assert json.loads(result.read_text())["metrics"]["notes"] == ["with MixUp"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "contrasts: head\n",
            "",
            "methods/mine.yaml:9: mine cannot be trained with MixUp: its card has no `contrasts`",
        ),
        ("contrasts: head", "contrasts: tail", "methods/mine.yaml:3: Mine has no part 'tail'"),
        (
            "[{}, {flip: 0.5}]",
            "[{}]",
            "methods/mine.yaml:12: a method that `contrasts` two views has recipes of 2, found 1",
        ),
        ("mixup: 0.5", "mixup: 0", "methods/mine.yaml:10: recipes.quick.mixup: should be greater than 0, found 0"),
    ],
)
def test_a_card_with_a_mistake(folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, line: str) -> None:
    write(folder, "methods/mine.py", CONTRAST)
    card = method_card("Mine", parameters="temperature: 0.3").replace(
        "source: this", "contrasts: head\nsource: this", 1
    )
    card = card.replace("batch_size: 50", "batch_size: 50\n    mixup: 0.5")
    assert old in card
    write(folder, "methods/mine.yaml", card.replace(old, new))
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[mine]"))
    assert main(["plan", "suite.yaml"]) == 2
    found = capsys.readouterr().err
    assert line in found, found


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("[simclr]", "[simclr, byol]", "suite.yaml:8: byol cannot be trained with MixUp; these can: simclr"),
        ("mixup: 1.0", "mixup: -1", "suite.yaml:8: pretrain.mixup: should be greater than 0, found -1"),
        ("mixup: 1.0", "mixpu: 1", "suite.yaml:8: unknown key 'mixpu' in pretrain; did you mean 'mixup'?"),
    ],
)
def test_a_suite_with_a_mistake(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, line: str
) -> None:
    write(folder, "suite.yaml", MIXED.replace(old, new))
    assert main(["plan", "suite.yaml"]) == 2
    found = capsys.readouterr().err
    assert line in found, found


def test_plan_counts_the_additional_passes(folder: Path) -> None:
    """With IP-IRM the first view once more for each partition: of two views three halves, then twice."""
    found = []
    for name, text in (("plain", SUITE), ("mixed", MIXED), ("ip", IP)):
        write(folder, f"{name}.yaml", text)
        found.append(next(job for job in read_plan(Path(f"{name}.yaml")).jobs if job.kind == "pretrain"))
    plain, mixed, ip = found
    assert work(plain) == work(mixed) and memory(plain) == memory(mixed)
    sought = 2 * 3 * 200 * 100 * 1.1e-6
    steps = work(plain) - 0.5
    assert work(ip) - sought - 0.5 == pytest.approx(steps * 1.75) and memory(ip) > memory(mixed)
