"""The decomposition on a whole run: its jobs, fresh layers that are the same on all networks, and what is printed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sem_bench.cli import main
from sem_bench.evaluations.decomposition import DecompositionJob
from sem_bench.evaluations.measures import features, readings
from sem_bench.evaluations.measures.features import Features
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.runs.job import Job
from sem_bench.runs.plan import read_plan
from sem_bench.runs.store import Store
from sem_bench.workspace import Workspace
from tests.helpers.toy import overlap, write

SUITE = """
name: parts
seeds: [0]
grid:
  methods: [simclr, byol]
  embeddings: {none: {}, linear: {L: 4, V: 3}, sem: {L: 4, V: 3, tau: 1.0}}
  backbones: [resnet10w16s2]
  datasets: [toy]
  images: {train: 80, test: 40}
pretrain: {recipe: quick, epochs: 0, batch_size: 50}
evaluate:
  probe: {fractions: [1.0], tau: [0.3, 1.0], l2: [1e-4, 1e-2]}
  decomposition: {draws: 2}
"""
SEM = EmbeddingSettings(type="sem", L=4, V=3, tau=1.0)
PARTS = ("layer", "pretraining", "trained layer")
APART = ("h to h", "width", "search", "softmax", "fresh softmax", "relu", "over relu")


def planned(text: str) -> dict[str, DecompositionJob]:
    """The jobs of the decomposition of seed 0, by method and embedding."""
    write(Path(), "suite.yaml", text)
    jobs = [job for job in read_plan(Path("suite.yaml")).jobs if job.kind == "decomposition" and job.cell.seed == 0]
    return {f"{job.cell.method} {job.cell.embedding}": job.config for job in jobs}  # type: ignore[misc]


def found(job: Job) -> Features:
    """The features that a job read."""
    source = Store(Path("results")).by_digest("pretrain", job.inputs["pretrain"])
    assert source is not None
    where = (Path(), {"pretrain": source}, job.method_code, job.place, job.parts, Path("cache"), torch.device("cpu"))
    return features.load(job.config.data, Workspace(*where))  # type: ignore[attr-defined]


def test_a_run_prints_each_part_of_each_method_and_of_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overlap(folder, "toy")
    write(folder, "suite.yaml", SUITE)
    assert main(["run", "suite.yaml", "--only", "decomposition"]) == 0
    for name in ("github", "latex", "html", "csv", "json"):
        capsys.readouterr()
        assert main(["table", "results", "--table", "decomposition", "--format", name]) == 0
        text = capsys.readouterr().out
        assert all(word in text for word in ("simclr", "byol", "pooled (2)", "gain", *PARTS, *APART)), name
    assert main(["table", "results", "--table", "decomposition", "--format", "json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    for method in ("simclr", "byol", "pooled (2)"):
        own = {row["metric"]: row for row in rows if row["method"] == method and row["representation"] == "difference"}
        assert own.keys() == {"gain", *PARTS, *APART, "fresh search", "searched gain"}
        assert all((row["n"], row["gain_low"]) == (1, None) for row in own.values())
        assert sum(own[name]["gain"] for name in PARTS) == pytest.approx(own["gain"]["gain"], abs=1e-10)

    # Differences are those of the rows that were measured.
    of = {
        (row["embedding"], row["representation"]): row["mean"]
        for row in rows
        if row["method"] == "simclr" and row["metric"] == "top1"
    }
    own = {row["metric"]: row["gain"] for row in rows if row["method"] == "simclr"}
    fresh = of["none", "fresh: sem L=4 V=3"]
    assert own["gain"] == pytest.approx(of["sem", "own"] - of["none", "h"])
    assert own["pretraining"] == pytest.approx(of["sem", "fresh"] - fresh)
    assert own["width"] == pytest.approx(of["linear", "own"] - of["none", "h"])
    assert own["over relu"] == pytest.approx(fresh - of["none", "relu: sem L=4 V=3"])
    assert len(set(of.values())) > 4, "a toy on which everything is as good decides nothing"

    # h of a network is what the probe reads of it, and its own layer but for BatchNorm; both draws count.
    (path,) = Path("results/decomposition").glob("simclr-none*s0-*/result.json")
    lines = json.loads(path.read_text())["metrics"]["rows"]
    assert [line["reads"] for line in lines].count("fresh") == 2

    # Fresh weights are those of the seed and the draw, on every network; BatchNorm is that of the network.
    jobs = [job for job in read_plan(Path("suite.yaml")).jobs if job.kind == "decomposition" and job.cell.seed == 0]
    networks = {job.cell.embedding: found(job) for job in jobs if job.cell.method == "simclr"}
    layers = {name: readings.fresh_layer(SEM, one, seed=0, draw=0) for name, one in networks.items()}
    weights = {name: dict(layer.named_parameters())["linear.weight"] for name, layer in layers.items()}
    assert torch.equal(weights["none"], weights["sem"])
    for seed, draw in ((0, 1), (1, 0)):
        other = readings.fresh_layer(SEM, networks["none"], seed=seed, draw=draw)
        assert not torch.equal(weights["none"], dict(other.named_parameters())["linear.weight"])
    trained = networks["sem"].encoder.embedding
    for layer, network in [*((layers[name], networks[name]) for name in ("none", "sem")), (trained, networks["sem"])]:
        z = readings.settled(layer, network).raw(network.h_train).double()
        norm = dict(layer.named_parameters())
        assert torch.allclose(z.mean(0), norm["norm.bias"].double(), atol=1e-4)
        assert torch.allclose(z.std(0), norm["norm.weight"].abs().double(), atol=1e-2)
    relu = readings.fresh_relu(12, networks["none"], seed=0, draw=0)(networks["none"].h_train)
    assert torch.allclose(relu, layers["none"].raw(networks["none"].h_train).relu(), atol=1e-5)


def test_the_baseline_knows_the_layers_of_its_arms(folder: Path) -> None:
    two = SUITE.replace(
        "linear: {L: 4, V: 3}", "untrained: {L: 4, V: 3}, linear: {L: 4, V: 3}, hot: {type: sem, L: 4, V: 3, tau: 2.0}"
    )
    jobs = planned(two)
    assert jobs.keys() == {
        f"{method} {one}" for method in ("simclr", "byol") for one in ("none", "linear", "hot", "sem")
    }
    layers = {name: [(one.embedding.tau, one.width) for one in job.layers] for name, job in jobs.items()}
    assert layers["byol none"] == [(2.0, 12), (1.0, 12)]
    assert (layers["byol sem"], layers["byol hot"], layers["byol linear"]) == ([(1.0, 12)], [(2.0, 12)], [])
    none, sem = jobs["byol none"], jobs["byol sem"]
    assert (none.tau, none.fixed_tau) == ([], None)
    same = none.probe(none.layers[1])
    assert (same.tau, same.fixed_tau, same.l2) == (sem.tau, sem.fixed_tau, sem.l2)


def test_layers_of_another_grid_count_where_the_tables_do(folder: Path) -> None:
    head, _, tail = SUITE.partition("grid:\n")
    grid, _, rest = tail.partition("pretrain:")
    lines = [line.strip() for line in grid.splitlines()]
    alone = lines[1].replace(", sem: {L: 4, V: 3, tau: 1.0}", "")
    other = "embeddings: {sem: {L: 4, V: 3, tau: 1.0}}"

    def suite(*more: str) -> str:
        grids = [[lines[0], alone, *lines[2:]], [lines[0], other, *lines[2:], *more]]
        body = "".join(f"  - {{{', '.join(one)}}}\n" for one in grids)
        return f"{head}grid:\n{body}pretrain:{rest}"

    assert len(planned(suite())["byol none"].layers) == 1
    assert planned(suite("pretrain: {epochs: 2}"))["byol none"].layers == []


def test_the_estimate_grows_with_draws_and_width(folder: Path) -> None:
    def cost(text: str) -> Any:
        write(folder, "suite.yaml", text)
        jobs = read_plan(Path("suite.yaml")).jobs
        return next(job.cost for job in jobs if job.kind == "decomposition" and job.cell.embedding == "none")

    little, more, wide = (
        cost(text) for text in (SUITE, SUITE.replace("draws: 2", "draws: 8"), SUITE.replace("L: 4", "L: 400"))
    )
    assert 3 < more.seconds / little.seconds < 4.5
    assert wide.bytes > little.bytes


def test_a_mistake_is_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", SUITE.replace("draws: 2", "drawz: 2"))
    assert main(["plan", "suite.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "suite.yaml:12: unknown key 'drawz'" in line and "did you mean 'draws'" in line
