"""IP-IRM: subset losses and penalties against references written by hand, partitions, and whole runs."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sem_bench.cli import main
from sem_bench.environments import info_nce, regression
from sem_bench.training.card import IpIrmSettings, method_card
from sem_bench.training.ip_irm import BALANCE, IpIrm
from tests.helpers.methods import LIBRARY, batch, build
from tests.helpers.tensors import random, softmax, unit
from tests.helpers.toy import SUITE, write

ABLE = ["byol", "moco", "simclr", "simsiam"]
IP = SUITE.replace("[simclr]", "[simclr, moco, simsiam, byol]").replace(
    "  datasets: [toy]", "  datasets: [toy]\n  ip: {every: 1, batch_size: 100, passes: 3}"
)
OUTPUTS = {"byol": 4, "moco": 4, "simclr": 2, "simsiam": 4}


def outputs(name: str, count: int = 6) -> list[Tensor]:
    """As the method's forward gives them, in float64."""
    extra = [torch.arange(count, dtype=torch.float64)] if name == "moco" else []
    return [random(count, 5, seed=seed) for seed in range(OUTPUTS[name])] + extra


def small(name: str, **changes: Any) -> Any:
    return build(name, hidden=8, out=5, **({"queue": 16} if name == "moco" else {}) | changes)


def test_info_nce_and_its_penalty_by_hand() -> None:
    similarities, weights = random(3, 4).tanh(), torch.tensor([0.2, 0.9, 0.5], dtype=torch.float64)
    memberships = random(3, 3, seed=1).sigmoid()
    found = info_nce(
        similarities, weights=weights, negative_weights=memberships, temperature=0.5, penalty_temperature=0.25
    )

    def risk(scale: list[float], temperature: float) -> float:
        total = 0.0
        for row in range(3):
            x = [float(similarities[row, j]) / temperature * scale[j] for j in range(4)]
            share = [float(memberships[row, j]) / float(memberships[row].sum()) * 3 for j in range(3)]
            below = math.exp(x[0]) + sum(w * math.exp(value) for w, value in zip(share, x[1:], strict=True))
            total -= float(weights[row]) * math.log(math.exp(x[0]) / below)
        return total / float(weights.sum())

    assert float(found.loss()) == pytest.approx(risk([1.0] * 4, 0.5), rel=1e-12)
    step = 1e-5
    slopes = []
    for j in range(4):
        up, down = ([1.0 + sign * step * (k == j) for k in range(4)] for sign in (1, -1))
        slopes.append((risk(up, 0.25) - risk(down, 0.25)) / (2 * step))
    assert float(found.penalty().detach()) == pytest.approx(sum(slope**2 for slope in slopes), rel=1e-6)


def test_regression_and_its_penalty_by_hand() -> None:
    predictions, targets = random(4, 3), random(4, 3, seed=1)
    weights = torch.tensor([1.0, 0.5, 0.25, 0.0], dtype=torch.float64)
    found = regression(predictions, targets, weights=weights, factor=2)
    cosines = [float(unit(p) @ unit(t)) for p, t in zip(predictions, targets, strict=True)]
    mean = sum(float(w) * 2 * (1 - c) for w, c in zip(weights, cosines, strict=True)) / 1.75
    assert float(found.loss()) == pytest.approx(mean, rel=1e-12)
    slope = sum(
        (w * 2 * (unit(p) - unit(t)) * unit(p) for w, p, t in zip(weights, predictions, targets, strict=True)),
        torch.zeros(3, dtype=torch.float64),
    )
    assert float(found.penalty().detach()) == pytest.approx(float((slope / 1.75).square().sum()), rel=1e-12)


@pytest.mark.parametrize("name", ABLE)
def test_the_loss_of_a_subset_is_the_methods_own_on_that_subset(name: str) -> None:
    """The queue of MoCo holds the keys of the subset's images alone then."""
    method, everything = small(name).double(), outputs(name)
    rows = torch.tensor([0, 2, 3, 5])
    members = torch.zeros(40, dtype=torch.bool).index_fill(0, torch.tensor([0, 2, 3, 5, 20, 21]), True)
    if name == "moco":
        method.owners.copy_(torch.tensor([20, 1, 21, 4, 2, 30] + [-1] * 10))
    found = method.environments(
        torch.ones(4, dtype=torch.float64), *(part[rows] for part in everything), members=members, temperature=0.5
    )
    mean = float(torch.stack([environment.loss() for environment in found]).mean())
    if name == "moco":
        kept = torch.tensor([0, 2, 4])
        method.queue, method.owners = method.queue[:, kept], method.owners[kept]
    own = float(method.loss(*(part[rows] for part in everything)))
    assert mean == pytest.approx(own + (name == "simsiam"), rel=1e-12)


def test_simclr_columns_are_the_other_projections_in_order() -> None:
    method = small("simclr", temperature=0.5).double()
    found = method.environments(torch.ones(3, dtype=torch.float64), *outputs("simclr", 3), members=None, temperature=1)
    z = torch.stack([unit(row) for row in torch.cat(outputs("simclr", 3))])
    order = [[3, 1, 2, 4, 5], [4, 0, 2, 3, 5], [5, 0, 1, 3, 4], [0, 1, 2, 4, 5], [1, 0, 2, 3, 5], [2, 0, 1, 3, 4]]
    expected = torch.stack([torch.stack([z[i] @ z[j] for j in row]) for i, row in enumerate(order)])
    torch.testing.assert_close(found[0].penalised, expected)
    torch.testing.assert_close(found[0].outputs, expected / 0.5)


def test_moco_takes_negatives_from_the_batch_while_a_partition_is_sought() -> None:
    method, (q0, q1, k0, k1, indices) = small("moco", temperature=0.2).double(), outputs("moco", 4)
    weights = torch.tensor([0.9, 0.1, 0.6, 0.4], dtype=torch.float64)
    first, second = method.environments(weights, q0, q1, k0, k1, indices, members=None, temperature=0.5)
    for found, queries, keys in ((first, q0, k1), (second, q1, k0)):
        total = 0.0
        for i in range(4):
            logits = torch.stack([unit(queries[i]) @ unit(key) for key in keys]) / 0.2
            others = [j for j in range(4) if j != i]
            share = torch.ones(4, dtype=torch.float64)
            share[others] = weights[others] / weights[others].sum() * 3
            total -= float(weights[i]) * float(softmax(logits + share.log())[i].log())
        assert float(found.loss()) == pytest.approx(total / 2.0, rel=1e-10)


@pytest.mark.parametrize("weight", [0.2, 4.0])
@pytest.mark.parametrize("name", ABLE)
def test_the_whole_loss(name: str, weight: float) -> None:
    """Own + mean over subsets of two images at least + weight * mean penalty, divided by a weight above 1."""
    settings = IpIrmSettings(every=1, weight=weight)
    wrapped = IpIrm(small(name), settings, images=6, epochs=3, seed=0).double()
    wrapped.partitions[0] = torch.tensor([0, 0, 1, 1, 1, 0])
    wrapped.partitions[1] = torch.tensor([0, 1, 1, 1, 1, 1])  # its first subset is too small
    wrapped.found.fill_(2)
    parts = outputs(name)
    indices = torch.arange(6, dtype=torch.float64)
    own = wrapped.method.loss(*parts)
    terms = []
    for partition, rows in ((0, [0, 1, 5]), (0, [2, 3, 4]), (1, [1, 2, 3, 4, 5])):
        subset = int(wrapped.partitions[partition][rows[0]])
        found = wrapped.method.environments(
            torch.ones(len(rows), dtype=torch.float64),
            *(part[rows] for part in parts),
            members=wrapped.partitions[partition] == subset,
            temperature=0.5,
        )
        both = [[environment.loss(), environment.penalty()] for environment in found]
        terms.append([sum(float(pair[i].detach()) for pair in both) / len(both) for i in (0, 1)])
    risk, penalty = (sum(term[i] for term in terms) / 3 for i in (0, 1))
    expected = (float(own) + risk + weight * penalty) / max(weight, 1)
    assert float(wrapped.loss(*parts, indices).detach()) == pytest.approx(expected, rel=1e-9)


def test_a_partition_separates_what_is_hard_to_tell_apart_and_stays_balanced() -> None:
    """Negatives of one's own cluster are the hardest: the subsets that lose most are the clusters."""
    clusters = torch.arange(60) % 3 == 0  # a third: the balance allows it
    centres = torch.where(clusters[:, None], 1.0, -1.0) * torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0])
    views = [centres + 0.6 * random(60, 5, seed=seed).float() for seed in (0, 1)]
    settings = IpIrmSettings(batch_size=60, passes=30)
    wrapped = IpIrm(small("simclr", temperature=0.5), settings, images=60, epochs=1, seed=0)
    found = wrapped._partition(views, 0, print)
    agreement = float((found.bool() == clusters).double().mean())
    assert max(agreement, 1 - agreement) > 0.85
    assert torch.equal(found, wrapped._partition(views, 0, print))  # a function of features, seed and epoch
    assert not torch.equal(
        found, IpIrm(wrapped.method, settings, images=60, epochs=1, seed=1)._partition(views, 0, print)
    )


def test_balance_is_the_entropy_of_one_to_two() -> None:
    assert pytest.approx(-(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3), abs=1e-4) == BALANCE


def test_features_are_taken_in_eval_mode_and_modes_come_back() -> None:
    wrapped = IpIrm(build("simclr", "sem"), IpIrmSettings(), images=8, epochs=1, seed=0).train()
    projector = wrapped.method.get_submodule("projector").eval()
    state = {key: value.clone() for key, value in wrapped.state_dict().items()}
    whole = wrapped._features(lambda: iter([batch(8)]))
    halves = [type(batch(8))([view[part] for view in batch(8).views], batch(8).indices[part]) for part in
              (slice(0, 3), slice(3, 8))]  # fmt: skip
    for a, b in zip(whole, wrapped._features(lambda: iter(halves)), strict=True):
        torch.testing.assert_close(a, b)  # no statistics of the batch
    assert all(torch.equal(value, state[key]) for key, value in wrapped.state_dict().items())
    assert wrapped.method.encoder.training and not projector.training


def test_runs_resume_bitwise_with_their_partitions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sem_bench.training import checkpoint

    write(folder, "suite.yaml", IP.replace("epochs: 2", "epochs: 3"))
    main(["run", "suite.yaml", "--results", "straight", "--only", "pretrain/moco"])
    saved: list[int] = []
    save = checkpoint.TrainingState.save

    def save_and_die(self: Any, path: Path) -> None:
        save(self, path)
        saved.append(self.step)
        if len(saved) % 3 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Saver, "__call__", lambda self, state: state.save(self.path))
    monkeypatch.setattr(checkpoint.TrainingState, "save", save_and_die)
    for _ in range(12):
        main(["run", "suite.yaml", "--results", "resumed", "--only", "pretrain/moco"])
    assert len(saved) > 6
    for straight in sorted(Path("straight/pretrain").glob("*/checkpoint.pt")):
        resumed = Path("resumed", *straight.parts[1:])
        a, b = (torch.load(path, weights_only=True) for path in (straight, resumed))
        assert a["step"] == 12 and a["encoder"].keys() == b["encoder"].keys()
        assert all(torch.equal(a["encoder"][key], b["encoder"][key]) for key in a["encoder"])
        assert [row[1] for row in a["log"]] == [row[1] for row in b["log"]]


def test_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each method that can, with and without SEM: other results than without IP-IRM, rows of their own in the table."""
    write(folder, "suite.yaml", IP)
    assert main(["run", "suite.yaml"]) == 0
    plain = SUITE.replace("name: tiny", "name: plain")
    write(folder, "plain.yaml", plain)
    assert main(["run", "plain.yaml"]) == 0
    capsys.readouterr()
    assert main(["table", "results", "--suite", "tiny"]) == 0
    text = capsys.readouterr().out
    assert all(f"{name} + IP" in text for name in ABLE)
    assert main(["plan", "suite.yaml", "--format", "json"]) == 0
    for job in json.loads(capsys.readouterr().out):
        assert job["status"] == "done" and job["slug"].startswith(f"{job['method']}-ip-")
        assert job["ip"] == {
            "every": 1, "weight": 0.2, "partition_weight": 0.2, "temperature": 0.5, "batch_size": 100, "passes": 3,
        }  # fmt: skip
    losses = {
        path.parent.name.split("-")[1]: json.loads(path.read_text())["metrics"]["loss"]
        for path in Path("results/pretrain").glob("simclr-*none*/result.json")
    }
    assert losses["ip"] > 1.5 * losses["none"]  # the subsets' losses are added


def test_partitions_are_in_the_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sem_bench.training import checkpoint

    write(folder, "suite.yaml", IP.replace("epochs: 2", "epochs: 3").replace("every: 1", "every: 2"))
    monkeypatch.setattr(checkpoint.Saver, "__call__", lambda self, state: state.save(self.path))
    seen: dict[int, tuple[int, Tensor]] = {}
    save = checkpoint.TrainingState.save

    def look(self: Any, path: Path) -> None:
        save(self, path)
        state = torch.load(path, weights_only=True)["method"]
        seen[self.step] = int(state["found"]), state["partitions"]

    monkeypatch.setattr(checkpoint.TrainingState, "save", look)
    main(["run", "suite.yaml", "--only", "pretrain/simclr-ip-none"])
    assert {step: found for step, (found, _) in seen.items()} == {
        step: 1 if step <= 8 else 2 for step in range(1, 12)
    }  # four steps an epoch; the next partition comes before epoch 2
    first, last = seen[1][1], seen[11][1]
    assert first.shape == (2, 200) and torch.equal(first[0], last[0])
    for partition in last:
        assert 0.25 < float(partition.double().mean()) < 0.75


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "simclr, moco, simsiam, byol",
            "vicreg",
            f"suite.yaml:8: vicreg cannot be trained with IP-IRM; these can: {', '.join(ABLE)}",
        ),
        ("every: 1", "evry: 1", "suite.yaml:8: unknown key 'evry' in grid.ip; did you mean 'every'?"),
        ("every: 1", "every: 0", "suite.yaml:8: grid.ip.every: should be greater than or equal to 1, found 0"),
        (
            "passes: 3",
            "passes: 3, temperature: 0",
            "suite.yaml:8: grid.ip.temperature: should be greater than 0, found 0",
        ),
    ],
)
def test_bad_input(folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, line: str) -> None:
    write(folder, "suite.yaml", IP.replace(old, new))
    assert main(["plan", "suite.yaml"]) == 2
    found = capsys.readouterr().err
    assert line in found, found


def test_ip_without_settings_takes_the_defaults(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("ip: {}", "ip:"):
        write(folder, "suite.yaml", SUITE.replace("  datasets: [toy]", f"  datasets: [toy]\n  {text}"))
        assert main(["plan", "suite.yaml", "--format", "json"]) == 0
        jobs = json.loads(capsys.readouterr().out)
        assert all(job["ip"] == IpIrmSettings().model_dump() for job in jobs)


def test_who_can_is_found_out_from_the_code() -> None:
    from sem_bench.training.card import defines

    assert [name for name in LIBRARY.names("method") if defines(method_card(LIBRARY, name), "environments")] == ABLE


@pytest.mark.parametrize("weight", [0.5, 10.0])
def test_a_batch_without_subsets_is_scaled_as_the_others(weight: float) -> None:
    wrapped = IpIrm(small("simclr"), IpIrmSettings(weight=weight), images=6, epochs=1, seed=0).double()
    parts = outputs("simclr")
    expected = float(wrapped.method.loss(*parts)) / max(weight, 1)
    assert float(wrapped.loss(*parts, torch.arange(6.0))) == pytest.approx(expected)


def test_plan_counts_the_partitions(folder: Path) -> None:
    from sem_bench.runs.estimate import memory, work
    from sem_bench.runs.plan import read_plan

    write(folder, "suite.yaml", SUITE)
    write(folder, "ip.yaml", SUITE.replace("  datasets: [toy]", "  datasets: [toy]\n  ip: {every: 1, batch_size: 200}"))
    plain, ip = (
        [job for job in read_plan(Path(f"{name}.yaml")).jobs if job.kind == "pretrain"] for name in ("suite", "ip")
    )
    for a, b in zip(plain, ip, strict=True):
        assert work(b) - work(a) == pytest.approx(2 * 61 * 200 * 200 * 1.1e-6) and memory(b) >= memory(a)
