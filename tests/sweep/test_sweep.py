"""Sweeps through the command line: trials, their values, what is reused, what continues, what is refused."""

import contextlib
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sem_bench.cli import main
from sem_bench.config.strict_yaml import parse
from sem_bench.config.validation import validate
from sem_bench.runs.plan import read_plan
from sem_bench.runs.sweep_card import Space
from sem_bench.sweep import subjects
from tests.helpers.commands import FRAGILE, fragile
from tests.helpers.places import REPOSITORY
from tests.helpers.toy import SUITE, TAU, write

TINY = SUITE.replace("epochs: 2, batch_size: 50", "epochs: 1, batch_size: 100").replace("[1.0, 0.1]", "[1.0]")


@pytest.fixture
def sweeps(folder: Path) -> Path:
    """A user's folder with a suite of one epoch and the sweep `heat`."""
    write(folder, "suite.yaml", TINY)
    write(folder, "sweeps/heat.yaml", TAU)
    return folder


def summary(folder: Path, name: str = "heat-tiny") -> dict[str, Any]:
    """What a sweep left."""
    content: dict[str, Any] = json.loads((folder / f"results/sweeps/{name}.json").read_text())
    return content


def trials(folder: Path, name: str = "heat-tiny") -> list[dict[str, Any]]:
    """The trials of its first study."""
    found: list[dict[str, Any]] = summary(folder, name)["studies"][0]["trials"]
    return found


def done(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of the progress: how many jobs were done."""
    return next(line for line in reversed(capsys.readouterr().err.splitlines()) if " reused, " in line)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a call that must fail as a user's mistake."""
    assert main(["sweep", *arguments]) == 2
    output = capsys.readouterr()
    lines = output.err.splitlines()
    assert output.out == "" and len(lines) == 1, output
    return lines[0]


# --- a whole sweep ---------------------------------------------------------------------------------------------------


def test_from_card_to_table(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "heat"]) == 0
    printed = capsys.readouterr()
    first, second = trials(sweeps)
    assert first["params"] == {"tau": 1} and first["embedding_config"]["tau_target"] == 1  # the suite's own setting
    assert 0.03 <= second["params"]["tau"] <= 5 and len(repr(second["params"]["tau"])) <= 8
    for trial in (first, second):
        assert trial["state"] == "complete" and {0.1, 1, 10} <= {one["tau_d"] for one in trial["search"]}
        probe = next((sweeps / "results/probe").glob(f"*{trial['digests'][1][:12]}/result.json"))
        rows = json.loads(probe.read_text())["metrics"]["rows"]
        (row,) = (row for row in rows if row["metric"] == "top1" and row["representation"] == "sem")
        assert trial["value"] == row["validation"] == max(one["value"] for one in trial["search"])
        assert trial["tau_d"] == row["tau_d"]
    best = summary(sweeps)["studies"][0]["best"]
    assert best["params"] == max((first, second), key=lambda trial: trial["value"])["params"]
    assert len(best["test"]) == 3  # seeds
    assert "sweep heat" in printed.out and "±" in printed.out and "best so far" in printed.err
    names = {path.name for path in (sweeps / "results/tables/heat-tiny").iterdir()}
    stem = "sweep-heat-simclr"
    assert {f"sweep.{end}" for end in ("md", "csv", "tex", "html", "json")} <= names
    assert {f"{stem}.png", f"{stem}.svg", f"{stem}-tau_d.png", f"{stem}-tau_d.svg"} <= names

    # The same call again does nothing; more trials continue; a table needs neither storage nor Optuna.
    before = {path: path.stat().st_mtime_ns for path in sweeps.glob("results/[prs]*/**/*.json*") if path.is_file()}
    before = {path: time for path, time in before.items() if "suites" not in path.parts}
    assert main(["sweep", "heat"]) == 0
    again = capsys.readouterr()
    assert again.out == printed.out and "0 done, 6 reused, 0 failed" in again.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (sweeps / "results/sweeps/heat-tiny.journal").rename(sweeps / "journal")
    assert main(["table", "results"]) == 0
    assert capsys.readouterr().out == printed.out
    (sweeps / "journal").rename(sweeps / "results/sweeps/heat-tiny.journal")
    assert main(["sweep", "heat", "--trials", "3"]) == 0
    assert [trial["params"] for trial in trials(sweeps)[:2]] == [first["params"], second["params"]]
    assert [trial["state"] for trial in trials(sweeps)] == ["complete"] * 3


def test_the_rows(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "heat"]) == 0
    capsys.readouterr()
    assert main(["table", "results", "--table", "sweep", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    searched = [(number, one["tau_d"]) for number, trial in enumerate(trials(sweeps)) for one in trial["search"]]
    assert [(row["trial"], row["tau_d"]) for row in rows] == searched
    for row in rows:
        assert row["table"] == "sweep" and row["sweep"] == "heat" and row["method"] == "simclr"
        assert row["objective"] == "probe" and row["state"] == "complete" and row["params"].keys() == {"tau"}
        assert row["mean"] == row["value"] and row["n"] == 1 and row["gain"] is None
        trial = trials(sweeps)[row["trial"]]
        ends = {f([one["tau_d"] for one in trial["search"]]) for f in (min, max)}
        assert ("tau_d on the edge of its grid" in row["notes"]) == (row["tau_d"] == trial["tau_d"] in ends)
    tested = [row for row in rows if row["test"] is not None]
    best = summary(sweeps)["studies"][0]["best"]
    assert len(tested) == 1 and tested[0]["best"] and tested[0]["test_n"] == 3
    assert tested[0]["test"] == pytest.approx(sum(best["test"]) / 3)
    for kind in ("csv", "latex", "html"):
        assert main(["table", "results", "--format", kind]) == 0
        assert "heat" in capsys.readouterr().out


def test_a_sweep_and_a_suite_share_their_jobs(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = (
        TINY.replace("tau: [0.3, 1.0]", "tau: [0.1, 1, 10]").replace("none: {}, ", "").replace("  knn: {k: 5}\n", "")
    )
    write(sweeps, "suite.yaml", suite)
    assert main(["run", "suite.yaml"]) == 0
    capsys.readouterr()
    assert main(["sweep", "heat", "--trials", "1"]) == 0
    assert done(capsys).startswith("6 done, 2 reused")  # three other seeds of the suite's own setting
    assert main(["run", "suite.yaml", "--set", "seeds=[0, 1, 2]"]) == 0
    assert done(capsys).startswith("0 done, 6 reused")


def test_a_suite_contains_sweeps(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(sweeps, "suite.yaml", TINY + "sweeps: [{use: heat, trials: 1}]\n")
    assert main(["plan", "suite.yaml"]) == 0
    assert "sweep heat of simclr: 0 of 1 trials finished; about " in capsys.readouterr().out
    assert main(["run", "suite.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "sweep heat" in printed and "gain" in printed
    assert main(["plan", "suite.yaml"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("sweep heat of simclr: 1 of 1 trials finished")
    assert main(["record", "results", "record"]) == 0
    capsys.readouterr()
    assert main(["table", "record"]) == 0
    assert capsys.readouterr().out == printed


def test_the_best_settings_as_a_suite(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "heat", "--export", "best.yaml"]) == 0
    assert "best.yaml: a suite with the chosen values" in capsys.readouterr().err
    best = summary(sweeps)["studies"][0]["best"]
    plan = read_plan(Path("best.yaml"))
    assert plan.suite.seeds == [1, 2, 3]
    embeddings = plan.suite.grid[0].embeddings
    assert embeddings["sem"].tau == best["params"]["tau"] and embeddings["none"].type == "none"
    assert main(["run", "best.yaml", "--only", "simclr-sem"]) == 0
    assert re.match(r"3 done, 6 reused, 0 failed", done(capsys))  # kNN alone is new


def test_the_suite_of_the_best_leaves_out_what_was_not_swept(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = TINY.replace("[simclr]", "[simclr, byol]")
    write(sweeps, "suite.yaml", two + "  expressivity: {methods: [byol], fractions: [1.0], tau: [1]}\n")
    assert main(["sweep", "heat", "--trials", "1", "--export", "best.yaml"]) == 0
    plan = read_plan(Path("best.yaml"))
    assert {job.cell.method for job in plan.jobs} == {"simclr"}
    assert not [job for job in plan.jobs if job.kind == "expressivity"]
    # Again is fine, but not over a file of the user's, and that is said before anything runs.
    assert main(["sweep", "heat", "--trials", "1", "--export", "best.yaml"]) == 0
    capsys.readouterr()
    line = "--export suite.yaml: there is a file that no sweep wrote; another name keeps it"
    assert refused(capsys, "heat", "--trials", "1", "--export", "suite.yaml") == line
    assert refused(capsys, "heat", "--export", "datasets") == "--export datasets: is a folder"
    line = "--export nowhere/best.yaml: No such file or directory"
    assert refused(capsys, "heat", "--export", "nowhere/best.yaml") == line


def test_methods_swept_apart_stay_together(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(sweeps, "suite.yaml", TINY.replace("[simclr]", "[simclr, byol]"))
    quick = ["sweep", "heat", "--trials", "1", "--set", "pretrain.epochs=0"]
    assert main(quick) == 0
    assert "byol, sem" not in capsys.readouterr().out
    assert main([*quick, "--methods", "byol"]) == 0
    assert [study["method"] for study in summary(sweeps)["studies"]] == ["simclr", "byol"]
    table = capsys.readouterr().out
    assert "simclr, sem" in table and "byol, sem" in table
    assert main(["record", "results", "record"]) == 0
    capsys.readouterr()
    assert main(["table", "record"]) == 0
    assert capsys.readouterr().out == table
    write(sweeps, "sweeps/heat.yaml", TAU.replace("high: 5", "high: 4"))  # another sweep: its table is its own
    assert main([*quick, "--results", "elsewhere"]) == 0
    write(sweeps, "elsewhere/sweeps/heat-tiny.json", (sweeps / "results/sweeps/heat-tiny.json").read_text())
    assert main([*quick, "--results", "elsewhere"]) == 0
    assert len(json.loads(Path("elsewhere/sweeps/heat-tiny.json").read_text())["studies"]) == 1


def test_damaged_summaries_are_made_anew(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(sweeps, "suite.yaml", TINY + "sweeps: [{use: heat, trials: 1}]\n")
    assert main(["run", "suite.yaml", "--set", "pretrain.epochs=0"]) == 0
    table = capsys.readouterr().out
    path = sweeps / "results/sweeps/heat-tiny.json"
    for text in (
        "[1]",
        '{"schema": 1, "studies": []}',
        '{"schema": 1, "studies": 3}',
        '{"studies": [{"name": "x"}]}',
        "{",
    ):
        path.write_text(text)
        assert main(["plan", "suite.yaml"]) == 0
        assert "0 of 1 trials finished" in capsys.readouterr().out
        assert main(["record", "results", "record"]) == 2
        assert "sweep 'heat-tiny' of suite 'tiny' was not run, or its file is damaged" in capsys.readouterr().err
    assert main(["run", "suite.yaml", "--set", "pretrain.epochs=0"]) == 0
    assert capsys.readouterr().out == table


# --- objectives, samplers, pruning -----------------------------------------------------------------------------------


def test_nearest_neighbours_as_the_objective(sweeps: Path) -> None:
    write(sweeps, "sweeps/heat.yaml", TAU.replace("tau_d:", "objective: knn\ntau_d:").replace("trials: 2", "trials: 1"))
    assert main(["sweep", "heat"]) == 0
    (trial,) = trials(sweeps)
    values = []
    for digest in trial["digests"][1:]:
        path = next((sweeps / "results/knn").glob(f"*{digest[:12]}/result.json"))
        result = json.loads(path.read_text())
        assert result["config"]["holdout"] == 0
        values.append(next(row["value"] for row in result["metrics"]["rows"] if row["representation"] == "sem"))
    assert [one["value"] for one in trial["search"]] == values and trial["value"] == max(values)
    assert len(summary(sweeps)["studies"][0]["best"]["test"]) == 3


def test_rankme_needs_no_labels(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(sweeps, "sweeps/heat.yaml", TAU.replace("tau_d: [0.1, 1, 10]", "objective: rankme").replace(": 2", ": 1"))
    card = (sweeps / "datasets/toy.yaml").read_text()
    card = re.sub("classes:.*\nsuperclasses:.*\n", "", card).replace("{train: 200, test: 80}", "{train: 200}")
    write(sweeps, "datasets/toy.yaml", card)
    write(sweeps, "suite.yaml", TINY[: TINY.index("evaluate:")])
    assert main(["sweep", "heat"]) == 0
    (trial,) = trials(sweeps)
    result = json.loads(next((sweeps / "results/pretrain").glob("*/result.json")).read_text())
    assert trial["value"] == result["metrics"]["health"]["effective_rank"] and trial["tau_d"] is None
    assert summary(sweeps)["studies"][0]["best"]["test"] == [] and "—" in capsys.readouterr().out


@pytest.mark.parametrize("sampler", ["tpe", "qmc"])
def test_samplers_go_on_where_they_stopped(sweeps: Path, sampler: str) -> None:
    """The settings are a function of the trial's number: one call of four or two of two ask for the same."""
    space = "L: {low: 2, high: 6}\n  tau: {low: 0.5, high: 2}"
    card = TAU.replace("tau: {low: 0.03, high: 5, log: true}", space).replace("sampler: random", f"sampler: {sampler}")
    write(sweeps, "sweeps/heat.yaml", card.replace("tau_d: [0.1, 1, 10]", "objective: rankme"))
    quick = ["sweep", "heat", "--set", "pretrain.epochs=0"]
    for results, counts in (("once", ["3"]), ("twice", ["2", "3"])):
        for count in counts:
            assert main([*quick, "--trials", count, "--results", results]) == 0
    once, twice = (json.loads(Path(name, "sweeps/heat-tiny.json").read_text()) for name in ("once", "twice"))
    assert once == twice
    study = once["studies"][0]
    assert len({json.dumps(trial["params"]) for trial in study["trials"]}) == 3
    assert study["sampler"] == {"type": sampler, "seed": 0, "optuna": optuna.__version__}


@pytest.mark.parametrize("space", ["V: {values: [2, 3, 4]}", "V: {low: 2, high: 4}"], ids=["values", "range"])
def test_a_finite_space_is_tried_once(sweeps: Path, space: str) -> None:
    for sampler in ("grid", "tpe"):
        card = TAU.replace("tau: {low: 0.03, high: 5, log: true}", space).replace("random", sampler)
        write(sweeps, "sweeps/heat.yaml", card.replace("tau_d: [0.1, 1, 10]", "objective: rankme"))
        call = ["sweep", "heat", "--set", "pretrain.epochs=0", "--trials", "9"]
        assert main([*call, "--results", sampler]) == 0
        content = json.loads(Path(sampler, "sweeps/heat-tiny.json").read_text())
        assert sorted(trial["params"]["V"] for trial in content["studies"][0]["trials"]) == [2, 3, 4]
        journal = Path(sampler, "sweeps/heat-tiny.journal")
        before = journal.read_bytes()
        assert main([*call, "--results", sampler]) == 0
        assert journal.read_bytes() == before  # nothing is left to try


def test_a_table_says_how_each_trial_was_made(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["sweep", "heat", "--set", "pretrain.epochs=0"]
    assert main([*quick, "--trials", "2"]) == 0
    capsys.readouterr()
    assert main(["table", "results", "--notes"]) == 0
    assert "search: random, the suite's own setting first; Optuna" in capsys.readouterr().out
    write(sweeps, "sweeps/heat.yaml", TAU.replace("sampler: random", "sampler: tpe"))
    assert main([*quick, "--trials", "3"]) == 0
    capsys.readouterr()
    assert main(["table", "results", "--notes"]) == 0
    assert "search: random; TPE, its first 10 trials at random, the suite's" in capsys.readouterr().out


def test_pruned_pretrainings_are_partial_and_can_be_continued(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pruner = "pruner: {type: median, startup_trials: 1, warmup_epochs: 1}"
    space = "lr: {values: [1e-9, 0.1, 0.2]}"  # training lowers the rank
    card = TAU.replace("tau: {low: 0.03, high: 5, log: true}", space).replace("tau_d: [0.1, 1, 10]", "embedding: none")
    write(sweeps, "sweeps/heat.yaml", card.replace("sampler: random", f"sampler: grid\n{pruner}\nobjective: rankme"))
    long = ["--set", "pretrain.epochs=4", "--set", "pretrain.lr=1e-9"]
    assert main(["sweep", "heat", *long, "--trials", "3"]) == 0
    printed = capsys.readouterr()
    found = {trial["params"]["lr"]: trial for trial in trials(sweeps)}
    pruned = [lr for lr, trial in found.items() if trial["state"] == "pruned"]
    assert pruned and "pruned" in printed.out and f"{len(pruned)} pruned in " in printed.err
    assert found[pruned[0]]["value"] is None and found[1e-9]["state"] == "complete"
    folders = [path.parent for path in sweeps.glob("results/pretrain/*/checkpoint.pt")]
    (partial, *_) = [folder for folder in folders if not (folder / "result.json").exists()]
    assert json.loads((partial / "state.json").read_text())["state"] == "pruned"
    assert len((partial / "log.csv").read_text().splitlines()) < 5  # epochs and the header
    rate = json.loads((partial / "config.json").read_text())["training"]["optimizer"]["lr"]
    same = ["run", "suite.yaml", *long, "--set", f"pretrain.lr={rate}", "--only", "pretrain/simclr-none"]
    assert main(["plan", "suite.yaml", *long, "--set", f"pretrain.lr={rate}"]) == 0
    assert "1 partial" in capsys.readouterr().out
    assert main(same) == 0
    continued = json.loads((partial / "result.json").read_text())
    assert main([*same, "--results", "undisturbed"]) == 0
    undisturbed = json.loads(next(Path("undisturbed/pretrain").glob("*/result.json")).read_text())
    assert continued["metrics"] == undisturbed["metrics"]


def test_a_monitor_changes_no_weight(sweeps: Path) -> None:
    card = TAU.replace("trials: 2", "trials: 1\npruner: {type: halving, warmup_epochs: 1}")
    write(sweeps, "sweeps/heat.yaml", card)
    long = ["--set", "pretrain.epochs=3"]
    assert main(["sweep", "heat", *long]) == 0
    (monitored,) = sweeps.glob("results/pretrain/*-s0-*/checkpoint.pt")
    assert main(["run", "suite.yaml", *long, "--only", "pretrain/simclr-sem", "--results", "alone"]) == 0
    (alone,) = sweeps.glob(f"alone/pretrain/{monitored.parent.name}/checkpoint.pt")
    with_it, without = (torch.load(path, weights_only=True) for path in (monitored, alone))
    assert with_it["encoder"].keys() == without["encoder"].keys()
    assert all(torch.equal(with_it["encoder"][name], without["encoder"][name]) for name in without["encoder"])
    assert [row[:3] for row in with_it["log"]] == [row[:3] for row in without["log"]]


def test_a_failing_trial_is_recorded_and_tried_again_by_the_next_call(
    sweeps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = 'if Path("break").exists():\n    raise RuntimeError("it broke")'
    write(sweeps, "methods/fragile.py", fragile(loss=broken))
    write(sweeps, "methods/fragile.yaml", FRAGILE)
    write(sweeps, "suite.yaml", TINY.replace("[simclr]", "[fragile]"))
    (sweeps / "break").touch()
    assert main(["sweep", "heat", "--methods", "fragile"]) == 1
    printed = capsys.readouterr()
    assert "RuntimeError: it broke" in printed.err and "failed" in printed.out
    assert [trial["state"] for trial in trials(sweeps)] == ["failed", "failed"]  # no more than were asked for
    (sweeps / "break").unlink()
    assert main(["sweep", "heat", "--methods", "fragile"]) == 0
    assert [trial["state"] for trial in trials(sweeps)] == ["failed"] * 2 + ["complete"] * 2


def test_time_is_over(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "heat", "--timeout", "1e-9", "--export", "best.yaml"]) == 1
    printed = capsys.readouterr().err
    assert "heat-tiny-simclr: the time is over after 0 of 2 trials; the same call goes on" in printed
    assert "--export: the best is not confirmed yet" in printed and not (sweeps / "best.yaml").exists()
    assert main(["sweep", "heat", "--trials", "1", "--timeout", "600"]) == 0
    assert len(trials(sweeps)) == 1


# --- mistakes --------------------------------------------------------------------------------------------------------

CARDS = {
    "unknown parameter": ("tau: {", "taw: {", "heat.yaml:4: unknown key 'taw' in space; did you mean 'tau'?"),
    "empty range": ("high: 5", "high: 0.03", "heat.yaml:4: space.tau: the range from 0.03 to 0.03 is empty"),
    "reversed range": ("high: 5", "high: 0.01", "heat.yaml:4: space.tau: the range from 0.03 to 0.01 is reversed"),
    "log from 0": ("low: 0.03", "low: 0", "heat.yaml:4: space.tau: a log range starts above 0, found low 0"),
    "zero": (
        "{low: 0.03, high: 5, log: true}",
        "{low: 0, high: 5}",
        "heat.yaml:4: space.tau: must be above 0, found 0",
    ),
    "half a range": (", high: 5", "", "heat.yaml:4: space.tau: needs low and high, or values"),
    "text": ("low: 0.03", 'low: "0.03"', "heat.yaml:4: space.tau.low: must be a number, found '0.03'"),
    "truth": (
        "{low: 0.03, high: 5, log: true}",
        "{values: [true]}",
        "space.tau.values[0]: must be a number, found True",
    ),
    "both": (
        "log: true",
        "values: [1]",
        "heat.yaml:4: space.tau: `values` stand alone: no low, high or log beside them",
    ),
    "no values": (
        "{low: 0.03, high: 5, log: true}",
        "{values: []}",
        "heat.yaml:4: space.tau.values: must not be empty",
    ),
    "empty space": ("\n  tau: {low: 0.03, high: 5, log: true}", " {}", "heat.yaml:3: space: must name one of tau, "),
    "V of one": ("tau: {low: 0.03, high: 5, log: true}", "V: {values: [1]}", "space.V: must be at least 2, found 1"),
    "L of none": ("tau: {low: 0.03, high: 5, log: true}", "L: {values: [0]}", "space.L: must be at least 1, found 0"),
    "fractional L": (
        "tau: {low: 0.03, high: 5, log: true}",
        "L: {values: [4.0]}",
        "space.L: must be whole, found 4.0",
    ),
    "half an L": ("tau: {low: 0.03, high: 5, log: true}", "L: {values: [2.5]}", "space.L: must be whole, found 2.5"),
    "too wide": (
        "tau: {low: 0.03, high: 5, log: true}",
        "L: {values: [2, 400000]}",
        "heat.yaml:4: L*V = 1200000 is above the limit of 1048576",
    ),
    "product": (
        "tau: {low: 0.03, high: 5, log: true}",
        "V: {values: [2, 5]}\n  product: 12",
        "heat.yaml:3: space: product: V = 5 leaves no L to L*V = 12",
    ),
    "objective": ("sampler:", "objective: prob\nsampler:", "heat.yaml:6: objective: unknown objective 'prob'; did you"),
    "sampler": ("random", "randon", "heat.yaml:6: sampler: unknown sampler 'randon'; did you mean 'random'?"),
    "grid of a range": ("random", "grid", "heat.yaml:1: sampler grid needs values of tau, not a range"),
    "pruner": ("sampler:", "pruner: {type: mean}\nsampler:", "heat.yaml:6: pruner.type: unknown type 'mean'; did you"),
    "set": ("sampler:", "set: [pretrain.epoch=1]\nsampler:", "heat.yaml:6: set pretrain.epoch=1: unknown key 'epoch'"),
    "no trial": ("trials: 2", "trials: 0", "heat.yaml:7: trials: should be greater than or equal to 1, found 0"),
    "method": ("[simclr]", "[simclir]", "heat.yaml:2: 'simclir' is no method of suite 'tiny'; did you mean 'simclr'?"),
    "embedding": (
        "sampler:",
        "embedding: sme\nsampler:",
        "heat.yaml:6: simclr has no embedding 'sme' in suite 'tiny'; did",
    ),
    "tau without SEM": (
        "tau_d: [0.1, 1, 10]",
        "embedding: none",
        "heat.yaml:4: simclr with 'none' has no temperature, so no tau",
    ),
}


@pytest.mark.parametrize("name", CARDS)
def test_a_faulty_card_gets_one_line(sweeps: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    right, wrong, expected = CARDS[name]
    assert right in TAU
    write(sweeps, "sweeps/heat.yaml", TAU.replace(right, wrong))
    line = refused(capsys, "heat")
    assert expected in line and line.startswith("sweeps/heat.yaml:")
    assert not (sweeps / "results").exists()


def test_a_grid_has_an_end(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = TAU.replace("tau: {low: 0.03, high: 5, log: true}", "L: {low: 1, high: 900}\n  V: {low: 2, high: 900}")
    write(sweeps, "sweeps/heat.yaml", large.replace("random", "grid"))
    assert refused(capsys, "heat") == "sweeps/heat.yaml:1: sampler grid: the space has more than 100,000 points"


def test_mistakes_on_the_command_line(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "haet") == "unknown sweep 'haet'; did you mean 'heat'?"
    assert "--methods: 'byol' is no method of suite 'tiny'" in refused(capsys, "heat", "--methods", "byol")
    assert refused(capsys, "heat", "--suite", "none.yaml").startswith("none.yaml: no such file")
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", "heat", "--trials", "0"])
    assert "--trials: must be a whole number above 0, found '0'" in capsys.readouterr().err
    write(sweeps, "suite.yaml", TINY + "sweeps: [{use: haet}]\n")
    assert main(["plan", "suite.yaml"]) == 2
    assert "suite.yaml:12: unknown sweep 'haet'; did you mean 'heat'?" in capsys.readouterr().err
    write(sweeps, "suite.yaml", TINY + "sweeps: [{use: heat, methods: [simclir]}]\n")
    assert main(["plan", "suite.yaml"]) == 2
    said = "suite.yaml:12: 'simclir' is no method of this suite; did you mean 'simclr'?"
    assert said in capsys.readouterr().err
    write(sweeps, "suite.yaml", TINY.replace("tau: [0.3, 1.0], l2: [1e-4, 1e-2]", "tau: [1.0], l2: [1e-5]"))
    assert "with the sweep's tau [0.1, 1.0, 10.0]: l2 needs two values" in refused(capsys, "heat")
    write(sweeps, "suite.yaml", TINY.replace("datasets: [toy]", "datasets: [cars]"))
    assert "no data for" in refused(capsys, "heat")  # one line: --allow-missing is no option here


def test_storages_that_cannot_be_used(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = "postgresql+psycopg://me:secret@127.0.0.1:1/sweeps"
    line = refused(capsys, "heat", "--storage", url)
    assert line.startswith("--storage postgresql+psycopg://me:***@127.0.0.1:1/sweeps: cannot be reached: ")
    assert "secret" not in line
    assert "cannot be reached" in refused(capsys, "heat", "--storage", "sqlite:////no/such/folder/x.db")
    assert refused(capsys, "heat", "--storage", "secret") == "--storage: no database URL; one is sqlite:///sweeps.db"
    assert "cannot be reached" in refused(capsys, "heat", "--storage", "oracle2://x")
    port = "postgresql://me@host:abc/db"
    assert refused(capsys, "heat", "--storage", port) == "--storage: no database URL; one is sqlite:///sweeps.db"
    for url in ("sqlite://", "sqlite:///", "sqlite:///:memory:"):
        assert refused(capsys, "heat", "--storage", url) == "--storage: names no file; sqlite:///sweeps.db does"


def test_a_database_of_a_newer_optuna_is_refused(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["heat", "--storage", "sqlite:///trials.db", "--trials", "1", "--set", "pretrain.epochs=0"]
    assert main(["sweep", *quick]) == 0
    capsys.readouterr()
    with contextlib.closing(sqlite3.connect("trials.db")) as database, database:
        database.execute("UPDATE version_info SET schema_version = 99")
        database.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    assert refused(capsys, *quick).startswith("--storage sqlite:///trials.db: ")


@pytest.mark.parametrize(
    "text", ["{}\n{}\n", '{"op_code": 99, "worker_id": "x"}\n', '{"op_code": 0, "wor\n'], ids=["other", "code", "line"]
)
def test_a_damaged_journal_is_refused(sweeps: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["heat", "--trials", "1", "--set", "pretrain.epochs=0"]
    assert main(["sweep", *quick]) == 0
    capsys.readouterr()
    with (sweeps / "results/sweeps/heat-tiny.journal").open("a") as journal:
        journal.write(text)
    assert "heat-tiny.journal: damaged, or no journal of Optuna" in refused(capsys, *quick)


def test_a_study_of_other_data_is_refused(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    labels, parts = np.arange(60) % 4, (("train", slice(40)), ("test", slice(40, 60)))

    def put(images: "np.typing.NDArray[np.uint8]") -> None:
        arrays: dict[str, Any] = {
            f"{name}_{what}": of[rows] for name, rows in parts for what, of in (("images", images), ("labels", labels))
        }
        np.savez(sweeps / "data/toy.npz", **arrays)

    (sweeps / "data").mkdir()
    put(pixels)
    card = (sweeps / "datasets/toy.yaml").read_text()
    card = card.replace(
        "{type: python}", '{type: npz, path: toy.npz, images: "{split}_images", labels: "{split}_labels"}'
    ).replace("200, test: 80", "40, test: 20")
    write(sweeps, "datasets/toy.yaml", card)
    quick = ["heat", "--trials", "1", "--set", "pretrain={recipe: quick, epochs: 0, batch_size: 20}"]
    assert main(["sweep", *quick]) == 0
    capsys.readouterr()
    put(255 - pixels)
    line = refused(capsys, *quick)
    assert "the study 'heat-tiny-simclr' there is another one: data.toy/train is " in line


def test_a_study_of_another_results_folder_is_refused(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["heat", "--storage", "sqlite:///trials.db", "--trials", "1", "--set", "pretrain.epochs=0"]
    assert main(["sweep", *quick]) == 0
    capsys.readouterr()
    line = refused(capsys, *quick, "--results", "elsewhere")
    assert line.startswith(
        "--storage sqlite:///trials.db: the study 'heat-tiny-simclr' there belongs to another results"
    )


def test_a_study_of_another_space_is_refused(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--storage", "sqlite:///trials.db"]
    write(sweeps, "sweeps/heat.yaml", TAU.replace("tau_d: [0.1, 1, 10]", "objective: rankme").replace(": 2", ": 1"))
    assert main(["sweep", "heat", *quick, "--set", "pretrain.epochs=0"]) == 0
    capsys.readouterr()
    line = refused(capsys, "heat", *quick, "--set", "pretrain.epochs=1")
    name = "--storage sqlite:///trials.db: the study 'heat-tiny-simclr' there is another one: "
    assert line.startswith(f"{name}jobs.pretrain.training.epochs is 0 there and 1 here; ")
    write(sweeps, "sweeps/heat.yaml", (sweeps / "sweeps/heat.yaml").read_text().replace("high: 5", "high: 6"))
    assert f"{name}space.tau.high is 5 there and 6 here" in refused(
        capsys, "heat", *quick, "--set", "pretrain.epochs=0"
    )


# --- the installed cards ---------------------------------------------------------------------------------------------

INSTALLED = sorted(path.stem for path in (REPOSITORY / "sweeps").glob("*.yaml"))


def test_the_installed_sweeps_fit_the_default_suite(capsys: pytest.CaptureFixture[str]) -> None:
    fitting = ["L", "LV", "LV_free", "V", "recipe", "tau", "tau_d"]
    assert [*fitting, "LV_untrained"] == sorted(INSTALLED, key=lambda name: name == "LV_untrained")
    for name in fitting:
        found = subjects.read(name, suite=None, assignments=[], data=Path("data"), trials=None, methods=None)
        (subject,) = found.each
        assert subject.arm.method.name == "byol"
        if name == "LV_free":  # the paper's V is not the suite's
            assert subject.own is None
            continue
        assert subject.own is not None
        assert [job.kind for job in subject.jobs(subject.own)] == ["pretrain", "probe"]
        own = subject.jobs(subject.sweep.space.settled(subject.own))[0]
        assert own.digest in {job.digest for job in found.plan.jobs}  # the suite's own pretraining
    assert main(["list", "sweeps"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == set(INSTALLED)


def test_the_card_in_the_docs_is_good(folder: Path) -> None:
    text = (REPOSITORY / "docs/sweeps.md").read_text()
    (card,) = re.findall(r"```yaml\n# sweeps/mine.yaml\n(.*?)```", text, re.DOTALL)
    write(folder, "sweeps/mine.yaml", card)
    found = subjects.read("mine", suite=None, assignments=[], data=Path("data"), trials=None, methods=None)
    assert found.trials == 12 and found.each[0].arm.training.epochs == 5
    assert found.each[0].sweep.space.names == ["tau", "tau_target", "L"]


@given(low=st.floats(1e-9, 1e9), factor=st.floats(1.0001, 1e6), share=st.floats(0, 1))
def test_settings_from_a_range_are_short_and_inside(low: float, factor: float, share: float) -> None:
    space = Space.model_validate({"tau": {"low": low, "high": low * factor, "log": True}})
    axis = space.axes["tau"]
    drawn = min(max(low * factor**share, axis.ends[0]), axis.ends[1])
    tau = space.settled({"tau": drawn})["tau"]
    assert tau in axis and tau == pytest.approx(drawn, rel=1e-3)
    assert space.settled({"tau": tau}) == {"tau": tau}  # what is settled stays


def test_what_follows_from_a_product() -> None:
    space = validate(Space, parse("{V: {values: [2, 4]}, product: 12}", path="space"))
    assert space.names == ["L", "V"] and space.points == [{"V": 2}, {"V": 4}]
    assert space.settled({"V": 4}) == {"L": 3, "V": 4}
