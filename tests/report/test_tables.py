"""The comparison from small results folders written here: pooling, gains, holes, layout and formats."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sem_bench import analysis
from sem_bench.analysis import write_tables
from sem_bench.cards import load_code
from sem_bench.cli.parser import parser
from sem_bench.errors import UserError
from sem_bench.evaluation import AnyEvaluation
from sem_bench.evaluations.registry import builtin
from sem_bench.report import formats
from sem_bench.report.formats._parts import WIDTH
from sem_bench.report.gains import interval
from sem_bench.report.render import render
from sem_bench.report.row import Row
from sem_bench.report.text_table import TextCell, TextTable, ends, signed
from tests.helpers.records import RECORDS
from tests.helpers.results import MAIN, NONE, SEM, Json, Tree, figure
from tests.helpers.rows import row_of

DRAW = """
from sem_bench.report.figures.panels import footnote, panels_of

def draw(rows, look):
    figure, panels = panels_of(rows[0], "Mine", grid=(1, 1), size=(2, 2))
    panels[0, 0].plot([row.mean for row in rows])
    footnote(figure, rows, look, rows)
    yield "", figure
"""
KEYS = [
    *(
        "table",
        "suite",
        "method",
        "ip",
        "embedding",
        "embedding_config",
        "backbone",
        "dataset",
        "recipe",
        "epochs",
    ),
    *("fraction", "column", "metric", "representation", "tau_d", "mean", "std", "n", "by_seed"),
    *("gain", "gain_low", "gain_high", "gain_p", "gain_by_seed", "bootstrap", "published", "digests", "notes"),
]


def rows(results: Path, **options: Any) -> list[Row]:
    return analysis.read(results, **options).rows


def tables(rows: list[Row], *, only: str | None = None) -> list[TextTable]:
    return analysis.text_tables(rows, [one.table for one in builtin().values()], only=only)


def comparison(rows: list[Row]) -> list[TextTable]:
    return tables(rows, only="comparison")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "results")


def find(found: list[Row], **wanted: Any) -> Row:
    """The one row with these values."""
    hits = [row for row in found if all(getattr(row, key) == value for key, value in wanted.items())]
    assert len(hits) == 1, f"{len(hits)} rows with {wanted}"
    return hits[0]


def sem_row(tree: Tree) -> Row:
    return find(rows(tree.write()), embedding="sem")


# --- means, gains, intervals ------------------------------------------------------------------------------


def test_three_seeds_by_hand(tree: Tree) -> None:
    tree.arm([50, 52, 54])
    tree.arm([53, 56, 60], "sem")
    found = rows(tree.write())
    none, sem = found
    assert (none.mean, none.std, none.n, none.gain) == (52, 2, 3, None)
    assert sem.mean == pytest.approx(169 / 3)
    assert sem.std == pytest.approx(3.511884584)
    # Gains 3, 4, 6: mean 13/3, s = 1.527525, standard error 0.881917, t(2) = 4.302653.
    assert sem.gain == pytest.approx(13 / 3)
    assert sem.gain_low == pytest.approx(13 / 3 - 3.794584, abs=1e-5)
    assert sem.gain_high == pytest.approx(13 / 3 + 3.794584, abs=1e-5)
    assert sem.notes == []


def test_two_seeds_have_a_wide_interval(tree: Tree) -> None:
    tree.arm([50, 52])
    tree.arm([53, 56], "sem")
    sem = sem_row(tree)
    # Gains 3, 4: standard error 0.5, t(1) = 12.706205.
    assert (sem.gain, sem.n) == (3.5, 2)
    assert (sem.gain_low, sem.gain_high) == pytest.approx((3.5 - 6.353102, 3.5 + 6.353102), abs=1e-5)


def test_one_seed_has_a_gain_without_interval(tree: Tree) -> None:
    tree.arm([50])
    tree.arm([53], "sem")
    sem = sem_row(tree)
    assert [getattr(sem, key) for key in ("mean", "std", "n", "gain", "gain_low", "gain_high")] == [
        53,
        None,
        1,
        3,
        None,
        None,
    ]


def test_each_representation_is_compared_with_h_of_none(tree: Tree) -> None:
    tree.arm([50.0])
    tree.job([figure(53, "z"), figure(51, "h")], seed=0, embedding="linear")
    fixed = figure(55, "sem", metric="top1_fixed_tau", tau_d=1.0)
    tree.job([figure(56, "sem", tau_d=0.3), figure(52, "h"), fixed], seed=0, embedding="sem")
    gains = {(row.embedding, row.representation, row.metric): row.gain for row in rows(tree.write())}
    assert gains == {
        ("none", "h", "top1"): None,
        ("linear", "z", "top1"): 3,
        ("linear", "h", "top1"): 1,
        ("sem", "sem", "top1"): 6,
        ("sem", "h", "top1"): 2,
        ("sem", "sem", "top1_fixed_tau"): 5,
    }


@pytest.mark.parametrize(
    "difference",
    [
        *({"method": "simclr"}, {"ip": {}}, {"backbone": "resnet18"}, {"dataset": "digits"}),
        *({"recipe": "slow"}, {"epochs": 20}),
    ],
)
def test_the_baseline_is_none_of_the_same_place(tree: Tree, difference: Json) -> None:
    tree.arm([50], **difference)
    tree.arm([53], "sem")
    sem = sem_row(tree)
    assert sem.gain is None
    assert sem.notes == ["no none arms to compare with: no gain"]


def test_the_baseline_is_known_by_its_type_and_its_column(tree: Tree) -> None:
    for label, kind, value in (("plain", "none", 40.0), ("wide", "sem", 43.0)):
        config = {"none": NONE, "sem": SEM}[kind]
        kinds = [figure(value, MAIN[kind]), figure(value / 2, MAIN[kind], column="10%", fraction=0.1)]
        tree.job(kinds, seed=0, embedding=label, embedding_config=config)
        knn = [figure(value + 7, MAIN[kind], column="kNN", metric="knn_top1")]
        tree.job(knn, seed=0, embedding=label, embedding_config=config, kind="knn", config={"k": 20})
    gains = {row.column: row.gain for row in rows(tree.write()) if row.embedding == "wide"}
    assert gains == {"100%": 3, "10%": 1.5, "kNN": 3}


def test_seeds_are_paired_by_seed_and_not_by_order(tree: Tree) -> None:
    for seed, value in ((0, 50.0), (1, 60.0), (2, 70.0)):
        tree.job([figure(value, "h")], seed=seed)
    for seed, value in ((2, 73.0), (1, 62.0), (0, 51.0)):
        tree.job([figure(value, "sem")], seed=seed, embedding="sem")
    sem = sem_row(tree)
    assert sem.gain == 2
    assert sem.gain_low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-5)


def test_only_common_seeds_count_in_the_gain(tree: Tree) -> None:
    tree.arm([50, 52])
    tree.arm([53, 56, 90], "sem")
    sem = sem_row(tree)
    assert (sem.n, sem.gain) == (3, 3.5)
    assert sem.gain_high == pytest.approx(3.5 + 6.353102, abs=1e-5)
    assert sem.notes == ["only seeds 0, 1 paired in the gain"]


def test_draws_are_averaged_within_a_seed_first(tree: Tree) -> None:
    def draws(values: Sequence[float], representation: str) -> list[Json]:
        return [figure(v, representation, column="1%", fraction=0.01, draw=i) for i, v in enumerate(values)]

    for seed, (base, arm) in enumerate([([10, 20, 30, 40, 50], [31, 32, 33, 34, 35]), ([1, 2, 3, 4, 5], [7] * 5)]):
        tree.job(draws(base, "h"), seed=seed)
        tree.job(draws(arm, "sem"), seed=seed, embedding="sem")
    none, sem = (find(rows(tree.write()), embedding=label, column="1%") for label in ("none", "sem"))
    assert (none.mean, none.n) == (16.5, 2)
    assert none.std == pytest.approx(27 / 2**0.5)
    assert (sem.gain, sem.n) == (3.5, 2)  # per seed: 33 - 30 and 7 - 3


def test_intervals_at_their_edges() -> None:
    assert interval([]) == (None, None, None)
    assert interval([2.0]) == (2.0, None, None)
    assert interval([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=9))
def test_the_interval_surrounds_the_mean_and_turns_with_the_sign(values: list[float]) -> None:
    mean, low, high = interval(values)
    assert mean is not None and low is not None and high is not None
    assert low <= mean <= high
    assert interval([-value for value in values]) == pytest.approx((-mean, -high, -low), abs=1e-6)


# --- what must not be compared or pooled ------------------------------------------------------------------


def test_another_device_has_no_gain(tree: Tree) -> None:
    tree.arm([50, 52], device="cuda:0")
    tree.arm([53, 56], "sem")
    sem = sem_row(tree)
    assert (sem.mean, sem.gain, sem.gain_low) == (54.5, None, None)
    assert sem.notes == ["cpu bf16 against cuda bf16: no gain"]


def test_the_number_of_the_device_does_not_matter(tree: Tree) -> None:
    tree.arm([50], device="cuda:0")
    tree.arm([53], "sem", device="cuda:1")
    assert sem_row(tree).gain == 3


def test_a_lost_pretraining_result_leaves_no_gain(tree: Tree) -> None:
    tree.arm([50])
    tree.arm([53], "sem")
    for path in (tree.root / "pretrain").glob("byol-sem*/result.json"):
        path.unlink()
    sem = sem_row(tree)
    assert (sem.mean, sem.gain, sem.notes) == (53, None, ["unknown against cpu bf16: no gain"])


def test_two_unknown_devices_are_not_the_same(tree: Tree) -> None:
    tree.arm([50])
    tree.arm([53], "sem")
    for path in (tree.root / "pretrain").glob("*/result.json"):
        path.unlink()
    assert sem_row(tree).notes == ["unknown against unknown: no gain"]


def test_a_cell_of_two_devices_says_so(tree: Tree) -> None:
    for seed, device in ((0, "cpu"), (1, "cuda")):
        tree.job([figure(50, "h")], seed=seed, device=device)
        tree.job([figure(51, "sem")], seed=seed, device=device, embedding="sem")
    sem = sem_row(tree)
    assert (sem.gain, sem.notes) == (1, ["pools cpu bf16 and cuda bf16"])


def test_other_configurations_are_not_pooled(tree: Tree) -> None:
    for k, value in ((20, 50.0), (200, 60.0)):
        for seed in (0, 1):
            line = figure(value + seed, "h", column="kNN", metric="knn_top1")
            tree.job([line], seed=seed, kind="knn", config={"k": k})
    found = rows(tree.write())
    assert [(row.mean, row.n) for row in found] == [(50.5, 2), (60.5, 2)]
    (table,) = comparison(found)
    assert [line[2].text for line in table.body] == ["50.5 ± 0.7", "60.5 ± 0.7"]


def test_ambiguous_baselines_give_no_gain(tree: Tree) -> None:
    for k in (20, 200):
        tree.job([figure(50, "h", column="kNN", metric="knn_top1")], seed=0, kind="knn", config={"k": k})
    line = figure(50, "sem", column="kNN", metric="knn_top1")
    tree.job([line], seed=0, kind="knn", embedding="sem", config={"k": 20})
    sem = find(rows(tree.write()), embedding="sem", representation="sem")
    assert (sem.gain, sem.notes) == (None, ["several none arms to compare with: no gain"])


def test_labels_with_other_settings_are_other_arms(tree: Tree) -> None:
    tree.arm([50], "sem")
    tree.arm([60], "sem", embedding_config=SEM | {"L": 256})
    assert [(row.embedding_config["L"], row.mean) for row in rows(tree.write())] == [
        (64, 50),
        (256, 60),
    ]


# --- holes ------------------------------------------------------------------------------------------------


def test_a_missing_seed_makes_a_hole(tree: Tree) -> None:
    tree.arm([50, 52, 54])
    tree.arm([53, None, 60], "sem")
    sem = sem_row(tree)
    assert [getattr(sem, key) for key in ("mean", "std", "n", "gain")] == [None, None, 2, None]
    assert sem.notes == ["missing: seed 1"]
    assert len(sem.digests) == 2


def test_a_hole_in_none_takes_the_gain_only(tree: Tree) -> None:
    tree.arm([50, None])
    tree.arm([53, 56], "sem")
    sem = sem_row(tree)
    assert (sem.mean, sem.n, sem.gain) == (54.5, 2, None)
    assert sem.notes == ["the none arm has holes (missing: seed 1): no gain"]


def test_failures_are_named(tree: Tree) -> None:
    folders = tree.arm([50, None, None, None])
    (folders[1] / "error.txt").write_text("out of memory")
    (folders[3] / "error.txt").write_text("out of memory")
    (row,) = [row for row in rows(tree.write()) if row.representation == "h"]
    assert (row.mean, row.n, row.notes) == (None, 1, ["failed: seeds 1, 3; missing: seed 2"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"schema": 1, "kind": "pro',
        "[]",
        "null",
        '{"schema": 2}',
        '{"schema": 1, "kind": "probe", "digest": "DIGEST", "metrics": {"rows": []}}',
        '{"schema": 1, "kind": "probe", "digest": "DIGEST", "config": {}, "metrics": []}',
        '{"schema": 1, "kind": "probe", "digest": "DIGEST", "config": {}, "metrics": {"rows": [1]}}',
        '{"schema": 1, "kind": "probe", "digest": "DIGEST", "config": {}, "metrics": {"rows": [{}]}}',
        '{"schema": 1, "kind": "knn", "digest": "DIGEST", "config": {}, "metrics": {"rows": []}}',
        '{"schema": 1, "kind": "probe", "digest": "other", "config": {}, "metrics": {"rows": []}}',
    ],
)
def test_a_result_that_cannot_be_read_is_a_hole(tree: Tree, text: str) -> None:
    folders = tree.arm([50, 52])
    (folders[1] / "result.json").write_text(text.replace("DIGEST", tree.jobs[-1]["digest"]))
    (row,) = rows(tree.write())
    assert (row.mean, row.n, row.notes) == (None, 1, ["unreadable: seed 1"])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", '"x"', "null"])
def test_a_figure_that_is_no_number_is_a_hole(tree: Tree, number: str) -> None:
    folders = tree.arm([50, 52])
    text = (folders[1] / "result.json").read_text().replace('"value": 52', f'"value": {number}')
    (folders[1] / "result.json").write_text(text)
    (row,) = rows(tree.write())
    assert (row.mean, row.notes) == (None, ["unreadable: seed 1"])


def test_an_arm_without_any_result_has_the_columns_of_its_like(tree: Tree) -> None:
    lines = [figure(53, "sem"), figure(52, "h"), figure(51, "sem", metric="top1_fixed_tau")]
    tree.job(lines, seed=0, embedding="sem")
    tree.job(None, seed=0, embedding="sem", method="dino")
    found = [row for row in rows(tree.write()) if row.method == "dino"]
    assert [(row.metric, row.representation) for row in found] == [
        ("top1", "sem"),
        ("top1", "h"),
        ("top1_fixed_tau", "sem"),
    ]
    assert all((row.mean, row.n, row.notes[0]) == (None, 0, "missing: seed 0") for row in found)


def test_a_suite_without_any_result_shows_what_it_was_to_give(tree: Tree) -> None:
    tree.fractions = [1.0, 0.01]
    tree.job(None, seed=0, embedding="sem")
    tree.job(None, seed=0, embedding="sem", kind="knn")
    found = rows(tree.write())
    assert [(row.column, row.representation) for row in found] == [
        *(("100%", "sem"), ("100%", "h"), ("1%", "sem"), ("1%", "h")),
        *(("kNN", "sem"), ("kNN", "h")),
    ]
    assert {row.mean for row in found} == {None}


def test_a_fraction_that_failed_everywhere_is_a_column_of_holes(tree: Tree) -> None:
    """With a probe for each fraction, as sem_bench.runs.plan makes them."""
    tree.fractions = [1.0, 0.01]
    for seed in (0, 1):
        tree.job([figure(50 + seed, "h")], seed=seed, end="-100pc", config={"fraction": 1.0})
        folder = tree.job(None, seed=seed, end="-1pc", config={"fraction": 0.01})
        (folder / "error.txt").write_text("too few labels")
    full, small = rows(tree.write())
    assert (full.column, full.mean, full.notes) == ("100%", 50.5, [])
    assert (small.column, small.fraction, small.mean) == ("1%", 0.01, None)
    assert small.notes == ["failed: seeds 0, 1"]


def test_the_reason_is_that_of_the_fraction(tree: Tree) -> None:
    tree.fractions = [1.0, 0.01]
    for seed in (0, 1):
        for fraction in (1.0, 0.01):
            column = f"{100 * fraction:g}"
            lines = [figure(50, "h", column=f"{column}%", fraction=fraction)] if seed == 0 else None
            folder = tree.job(lines, seed=seed, end=f"-{column}pc", config={"fraction": fraction})
            if seed == 1 and fraction == 1.0:
                (folder / "error.txt").write_text("killed")
    notes = {row.column: row.notes for row in rows(tree.write())}
    assert notes == {"100%": ["failed: seed 1"], "1%": ["missing: seed 1"]}


# --- tau_d, notes, published ------------------------------------------------------------------------------


def test_tau_d_is_given_where_all_agree(tree: Tree) -> None:
    for seed, taus in enumerate([[0.3, 1.0], [0.3, 0.3]]):
        agreed = figure(50, "sem", tau_d=1.0)
        chosen = [figure(40, "sem", column="1%", fraction=0.01, draw=i, tau_d=tau) for i, tau in enumerate(taus)]
        tree.job([agreed, *chosen], seed=seed, embedding="sem")
    full, small = rows(tree.write())
    assert (full.tau_d, full.notes[:-1]) == (1.0, [])
    assert (small.tau_d, small.notes[0]) == (None, "tau_d: 0.3 x3, 1 x1")


def test_notes_of_results_come_once(tree: Tree) -> None:
    for seed in (0, 1):
        line = figure(50, "h", notes=["l2 on the edge of its grid"])
        tree.job([line], seed=seed, notes=["collapse: effective rank 1.2"])
    (row,) = rows(tree.write())
    assert row.notes == ["collapse: effective rank 1.2", "l2 on the edge of its grid"]


def test_published_numbers_stand_beside_the_measured(tree: Tree) -> None:
    place: Json = {"dataset": "cifar100", "backbone": "resnet18", "epochs": 1000}
    tree.job([figure(70, "h"), figure(60, "h", column="1%", fraction=0.01)], seed=0, **place)
    tree.job([figure(75, "sem"), figure(72, "h")], seed=0, embedding="sem", **place)
    found = rows(tree.write())
    assert [row.published and row.published["value"] for row in found] == [70.46, None, 74.36, None]
    (table,) = comparison(found)
    assert table.columns == ["method", "embedding", "100%", "gain", "published", "1%", "gain", "h 100%"]
    assert [line[4].text for line in table.body] == ["70.46 (1a)", "74.36 (1a)"]
    assert any("L=5000, V=13" in note for note in table.notes)


# --- which manifest ---------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three suites; the second was run last, though its clock was in another zone."""
    times = {
        "cifar10": "2026-11-21T03:00:00+00:00",
        "quick": "2026-11-21T02:00:00-05:00",
        "zoo": "2026-11-20T03:00:00+00:00",
    }
    for name, written in times.items():
        tree = Tree(tmp_path, name, written)
        tree.arm([50], method=name)
        tree.write()
    return tmp_path


def test_the_last_suite_run_is_the_default(three: Path) -> None:
    assert [row.suite for row in rows(three)] == ["quick"]
    assert [row.suite for row in rows(three, suite="zoo")] == ["zoo"]
    assert [row.suite for row in rows(three, all_suites=True)] == ["zoo", "cifar10", "quick"]


def test_a_damaged_manifest_spoils_only_what_needs_it(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (three / "suites" / "zoo.json").write_text('{"schema": 1, "jobs": [')
    assert [row.suite for row in rows(three, suite="quick")] == ["quick"]
    assert [row.suite for row in rows(three)] == ["quick"]
    assert "zoo.json: damaged" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"zoo\.json: damaged"):
        rows(three, suite="zoo")


def test_user_mistakes_have_one_clear_line(three: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(UserError, match="did you mean 'quick'"):
        rows(three, suite="quikc")
    with pytest.raises(UserError, match="no such folder; `run SUITE"):
        rows(empty / "absent")
    with pytest.raises(UserError, match="no suite was run here"):
        rows(empty)
    with pytest.raises(UserError, match="github, latex, csv, html, json"):
        render([], [], "docx")


@pytest.mark.parametrize(
    "change", [{"schema": 2}, {"written": "yesterday"}, {"jobs": [{"kind": "probe"}]}, {"jobs": 3}]
)
def test_foreign_manifests_are_refused(tree: Tree, change: Json) -> None:
    tree.arm([50])
    path = tree.write() / "suites" / "quick.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match="damaged, or written by another version"):
        rows(tree.root)


# --- the tables of a reader -------------------------------------------------------------------------------


def texts(table: TextTable) -> list[list[str]]:
    return [[f"*{cell.text}*" if cell.bold else cell.text for cell in line] for line in table.body]


def test_the_layout(tree: Tree) -> None:
    for method, none, sem in (("simclr", [50, 52, 54], [53, 56, 60]), ("byol", [60, 61, 62], [62, 61, 63])):
        tree.arm([*none], method=method)
        for seed, value in enumerate(sem):
            tree.job([figure(value, "sem"), figure(value - 1, "h")], seed=seed, embedding="sem", method=method)
    (table,) = comparison(rows(tree.write()))
    assert table.title == "quick: shapes, resnet10w16s2, recipe quick, 10 epochs"
    assert table.columns == ["method", "embedding", "100%", "gain", "h 100%"]
    assert texts(table) == [
        ["simclr", "none", "52.0 ± 2.0", "", "52.0 ± 2.0"],
        ["simclr", "sem (L=64, V=8)", "56.3 ± 3.5", "*+4.3 [+0.5, +8.1]*", "55.3 ± 3.5"],
        ["byol", "none", "61.0 ± 1.0", "", "61.0 ± 1.0"],
        ["byol", "sem (L=64, V=8)", "62.0 ± 1.0", "+1.0 [-1.5, +3.5]", "61.0 ± 1.0"],
        # Gains 3, 4, 6 and 2, 0, 1: mean squares 50/3 of methods, 7/6 of seeds, 13/6 of the rest: that of the methods
        # stands for all. Standard error 5/3, t(1) = 12.7062.
        ["pooled (2)", "sem (L=64, V=8)", "", "+2.7 [-18.5, +23.8]", ""],
    ]
    assert table.legend[0] == "n = 3 seeds; top-1 in percent, mean ± standard deviation over seeds"
    assert any(
        line.startswith("probe: l2 logistic regression on frozen features; test read once") for line in table.legend
    )
    assert table.notes == []


@pytest.mark.parametrize(
    ("sem", "bold"), [([53, 54], False), ([53, 54, 55], True), ([53, 54, 20], False), ([47, 48, 49], True)]
)
def test_bold_needs_three_seeds_and_an_interval_without_zero(tree: Tree, sem: list[float], bold: bool) -> None:
    tree.arm([50, 51, 52][: len(sem)])
    tree.arm([*sem], "sem")
    (table,) = comparison(rows(tree.write()))
    assert table.body[1][3].bold is bold


def test_no_end_of_an_interval_reads_as_zero_where_zero_lies_outside(tree: Tree) -> None:
    tree.arm([50, 50, 50])
    tree.arm([50.40, 50.42, 50.75], "sem")
    (table,) = comparison(rows(tree.write()))
    assert table.body[1][3].bold and table.body[1][3].text == "+0.5 [+0.04, +1.0]*"
    assert signed(-0.4, -0.8, -0.04, 1) == "-0.4 [-0.8, -0.04]"
    assert signed(0.4, -0.04, 0.8, 1) == "+0.4 [0.0, +0.8]"  # 0 lies inside, and the end is rounded as ever


@given(st.floats(1e-9, 100), st.floats(0, 100), st.sampled_from([-1, 1]), st.integers(0, 3))
def test_what_is_printed_of_an_interval_has_zero_outside_where_it_lies_there(
    near: float, more: float, sign: int, digits: int
) -> None:
    low, high = sorted([sign * near, sign * (near + more)])
    assert all(sign * float(text) > 0 for text in ends(low, high, digits))


def test_a_gain_of_some_seeds_is_never_bold(tree: Tree) -> None:
    tree.arm([50, 51, 52])
    tree.arm([53, 54, 55, 90], "sem")
    (table,) = comparison(rows(tree.write()))
    assert table.body[1][3] == TextCell("+3.0 [+3.0, +3.0]", bold=False, marks=(1,), short="+3.0")
    assert table.notes == ["only seeds 0, 1, 2 paired in the gain"]


def test_pooled_lines_take_methods_and_seeds_as_random(tree: Tree) -> None:
    for method, gain in (("simclr", 3.0), ("byol", 4.0), ("dino", 5.0)):
        tree.arm([50, 60, 70], method=method)
        tree.arm([50 + gain, 60 + gain, 70 + gain], "sem", method=method)
        tree.arm([51, 61, 71], "linear", method=method)
    tree.arm([50], method="byol", ip={})
    (table,) = comparison(rows(tree.write()))
    # Gains 3, 4, 5, alike in each seed: standard error 1/sqrt(3), t(2) = 4.302653.
    assert texts(table)[-2:] == [
        ["pooled (3)", "sem (L=64, V=8)", "", "*+4.0 [+1.5, +6.5]**", ""],
        ["pooled (3)", "linear (L=64, V=8)", "", "*+1.0 [+1.0, +1.0]**", ""],
    ]
    assert any("new seeds and methods of this kind" in line for line in table.legend)


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_make_nothing_bold(tree: Tree, seeds: int) -> None:
    for method in ("simclr", "byol", "dino", "moco"):
        tree.arm([50.0, 60.0][:seeds], method=method)
        tree.arm([54.0, 65.0][:seeds], "sem", method=method)
    (table,) = comparison(rows(tree.write()))
    assert not any(cell.bold for line in table.body for cell in line)
    assert texts(table)[-1][3] == ("+4.0" if seeds == 1 else "+4.5")
    assert texts(table)[1][3] == ("+4.0" if seeds == 1 else "+4.5 [-1.9, +10.9]")
    assert any("nothing is bold" in line for line in table.legend) is (seeds == 1)
    assert ("5 gains in this table, none of them tested: that takes seeds" in table.legend) is (seeds == 1)


def test_what_survives_the_correction_is_marked(tree: Tree) -> None:
    for method, gains in (("byol", [4.0, 4.01, 3.99]), ("simclr", [3.0, 4.0, 6.0]), ("dino", [1.0, -1.0, 0.5])):
        tree.arm([50, 50, 50], method=method)
        tree.arm([50 + gain for gain in gains], "sem", method=method)
    (table,) = comparison(rows(tree.write()))
    marked = [line[0].text for line in table.body if line[3].text.endswith("*")]
    bold = [line[0].text for line in table.body if line[3].bold]
    assert (marked, bold) == (["byol"], ["byol", "simclr"])
    assert "4 gains in this table; *: p < 0.05 after Holm's correction for all" in table.legend
    primary = "primary: the gain at 100% of the labels with tau_d = tau; all others are secondary"
    assert primary in table.legend


def test_a_pooled_line_says_where_precisions_differ(tree: Tree) -> None:
    for method, device in (("byol", "cpu"), ("simclr", "cuda")):
        tree.arm([50, 51], method=method, device=device)
        tree.arm([52, 52], "sem", method=method, device=device)
    (table,) = comparison(rows(tree.write()))
    assert [table.notes[mark - 1] for mark in table.body[-1][3].marks] == ["pools cpu bf16 and cuda bf16"]


def test_a_hole_makes_the_pooled_line_a_hole(tree: Tree) -> None:
    for method, last in (("simclr", 63.0), ("byol", 64.0), ("dino", None)):
        tree.arm([50, 60], method=method)
        tree.arm([53, last], "sem", method=method)
    (table,) = comparison(rows(tree.write()))
    assert texts(table)[-1] == ["pooled (3)", "sem (L=64, V=8)", "", "—", ""]
    assert texts(table)[5][2:4] == ["—", "—"]
    assert table.body[5][2].marks == (1,)
    assert table.notes == ["missing: seed 1"]


def test_one_label_is_pooled_over_recipes_with_temperatures_of_their_own(tree: Tree) -> None:
    for method, tau in (("byol", 1.0), ("simclr", 0.17), ("moco", 0.04)):
        tree.arm([40], method=method)
        tree.arm([41 + tau], "sem", embedding_config=SEM | {"tau": tau, "tau_target": tau}, method=method)
    (table,) = comparison(rows(tree.write()))
    assert [cell.text for cell in table.body[-1]][:2] == ["pooled (3)", "sem (L=64, V=8)"]
    assert [table.notes[mark - 1] for mark in table.body[-1][1].marks] == [
        "temperatures as each method's recipe has them"
    ]
    tree.arm([60], "sem", embedding_config=SEM | {"tau": 3.0})  # now byol has two: nothing tells which to pool
    (table,) = comparison(rows(tree.write()))
    assert not any(line[0].text.startswith("pooled") for line in table.body)


def test_errors_have_no_gain(tree: Tree) -> None:
    for embedding, value in (("none", 50.0), ("sem", 40.0)):
        figures = [figure(value, MAIN[embedding], column="c", metric=metric) for metric in ("top1", "mce")]
        tree.job(figures, seed=0, embedding=embedding, kind="robustness", columns=["c"])
    found = rows(tree.write())
    assert [(row.metric, row.gain) for row in found if row.gain is not None] == [("top1", -10.0)]
    (table,) = tables(found, only="robustness")
    assert table.columns == ["method", "embedding", "c", "gain", "c, mCE"]


def test_a_shift_without_results_is_a_hole_in_all_its_columns(tree: Tree) -> None:
    figures = [figure(50, "h", column="r", metric=metric) for metric in ("top1", "top1_all")]
    tree.job(figures, seed=0, kind="robustness", columns=["r"])
    tree.job(None, seed=0, embedding="sem", kind="robustness", columns=["r"])
    (table,) = tables(rows(tree.write()), only="robustness")
    assert table.columns == ["method", "embedding", "r", "gain", "r, all classes", "gain"]
    assert [cell.text for cell in table.body[1]][2::2] == ["—", "—"]


def test_gains_of_relevance_are_at_equal_numbers_of_neighbours(tree: Tree) -> None:
    columns = {"1": "relevance_per_class", "2 neighbours": "relevance_matched"}
    for embedding, value, null in (("none", 0.5, 0.3), ("sem", 0.4, 0.05)):
        beside = {"null": null, "neighbours": 2.5, "base_rate": 0.25, "isolated": 0.93, "connected": 1.0, "top_k": 17}
        lines = [figure(value, MAIN[embedding], column=at, metric=metric) | beside for at, metric in columns.items()]
        tree.job(lines, seed=0, embedding=embedding, kind="relevance", columns=[*columns])
    found = rows(tree.write())
    assert [row.gain for row in found] == [None, None, None, pytest.approx(0.15)]
    (table,) = tables(found, only="relevance")
    assert table.columns == ["method", "embedding", "K = 1", "2 neighbours", "gain"]
    assert [cell.text for cell in table.body[1]][2:] == ["0.400 (1.000; 93%)", "0.400 (0.050; 17)", "+0.150"]
    assert "base rate: 0.250 of the other classes lie in a class's superclass" in table.legend


def test_an_older_result_has_a_dash_for_what_it_does_not_say(tree: Tree) -> None:
    line = figure(0.5, "h", column="1", metric="relevance_per_class") | {"null": 0.3, "isolated": 0.2}
    tree.job([line], seed=0, kind="relevance", columns=["1"])
    (table,) = tables(rows(tree.write()), only="relevance")
    assert table.body[0][2].text == "0.500 (—; 20%)"


def test_ip_stands_apart_with_its_own_baseline(tree: Tree) -> None:
    for ip, none, sem in ((None, 50.0, 53.0), ({}, 60.0, 61.0)):
        tree.arm([none], ip=ip)
        tree.arm([sem], "sem", ip=ip)
    (table,) = comparison(rows(tree.write()))
    assert [line[0:4:3] for line in texts(table)] == [
        ["byol", ""],
        ["byol", "+3.0"],
        ["byol + IP", ""],
        ["byol + IP", "+1.0"],
    ]


def test_a_table_for_each_place(tree: Tree) -> None:
    for dataset, backbone in (("shapes", "a"), ("digits", "a"), ("shapes", "b")):
        tree.arm([50], dataset=dataset, backbone=backbone)
    tables = comparison(rows(tree.write()))
    assert [table.title.split(", recipe")[0] for table in tables] == [
        "quick: shapes, a",
        "quick: digits, a",
        "quick: shapes, b",
    ]
    assert tables[0].columns == ["method", "embedding", "100%"]


def test_equal_notes_share_a_number(tree: Tree) -> None:
    for method in ("simclr", "byol"):
        tree.arm([50], method=method, device="cuda")
        tree.arm([53], "sem", method=method)
        tree.job([figure(51, "z", notes=["odd"])], seed=0, embedding="linear", method=method)
    (table,) = comparison(rows(tree.write()))
    assert table.notes == ["cpu bf16 against cuda bf16: no gain", "odd"]
    assert [line[3].marks for line in table.body[:3]] == [(), (1,), (1,)]
    assert [line[2].marks for line in table.body[:3]] == [(), (), (2,)]


def test_differing_tau_d_is_one_line_and_no_footnotes(tree: Tree) -> None:
    for seed, tau in enumerate((0.3, 1.0)):
        tree.job([figure(50, "sem", tau_d=tau)], seed=seed, embedding="sem")
    (table,) = comparison(rows(tree.write()))
    assert sum("tau_d is chosen" in line for line in table.legend) == 1
    assert not any("tau_d" in note for note in table.notes)


# --- formats ----------------------------------------------------------------------------------------------


@pytest.fixture
def odd(tree: Tree) -> list[Row]:
    """Names that mean something in each of the formats, a hole, a footnote, a bold gain."""
    tree.arm([50, 52, 54], method="a_b")
    tree.arm([53, 56, 60], "_s|x*", embedding_config=SEM, method="a_b")
    tree.arm([50, None, 54], "50%<&$", embedding_config=SEM, method="a_b")
    return rows(tree.write())


def test_github(odd: list[Row]) -> None:
    text = render(comparison(odd), odd, "github")
    lines = text.splitlines()
    assert lines[0] == "### quick: shapes, resnet10w16s2, recipe quick, 10 epochs"
    assert lines[2].replace("|", " ").split() == ["method", "embedding", "100%", "gain", "h", "100%"]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:3]] for line in lines[4:7]]
    assert cells == [["a_b", "none"], ["a_b", r"\_s\|x\* (L=64, V=8)"], ["a_b", r"50%\<&$ (L=64, V=8)"]]
    assert r"| **+4.3 [+0.5, +8.1]\*** |" in text
    assert "| — ¹ |" in " ".join(text.split())
    assert "- ¹ missing: seed 1" in lines


def test_github_cells_stay_in_their_columns(odd: list[Row]) -> None:
    text = render(comparison(odd), odd, "github")
    table = [line for line in text.splitlines() if line.startswith("|")]
    bars = {line.replace("\\|", "  ").count("|") for line in table}
    assert bars == {6}


def test_latex(odd: list[Row]) -> None:
    text = render(comparison(odd), odd, "latex")
    assert r"a\_b" in text
    assert r"100\%" in text
    assert r"50\%\textless{}\&\$ & ---$^{1}$ & {\tiny ---} &  \\" in text
    assert r"a\_b & \_s\textbar{}x* & \underline{56.3 $\pm$ 3.5} & {\tiny \textbf{+4.3*}} &  \\" in text
    assert text.count("underline{") == 1
    assert "underlined: the better one of an arm and its baseline" in text
    assert "bold: its 95 \\% interval excludes 0, n $\\geq$ 3" in text
    assert r"with $\tau_d$ = $\tau$" in text
    assert "$^{1}$ missing: seed 1" in text
    assert text.isascii()
    assert text.count("{") == text.count("}")
    body = text.split(r"\begin{tabular}{@{}llr@{\,}lr@{}}")[1].split(r"\end{tabular}")[0]
    assert [body.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\hline")] == [1, 1, 1, 0]
    head, *cells = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert head == r"method & embedding & \multicolumn{2}{c}{100\%} & \shortstack{h\\100\%} \\"
    assert {line.replace(r"\&", "").count("&") for line in cells} == {4}


def test_latex_has_a_minus_before_losses_and_a_rule_above_pooled_gains(tree: Tree) -> None:
    for method in ("a-1", "simclr"):
        tree.arm([50], method=method)
        tree.arm([48.5], "sem", method=method)
    text = render(comparison(found := rows(tree.write())), found, "latex")
    assert r"a-1 & sem & 48.5 & {\tiny $-$1.5} &  \\" in text
    assert "\\midrule\npooled (2) & sem &  & {\\tiny $-$1.5} &  \\\\\n\\bottomrule" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_latex_of_every_record_compiles_and_fits_the_line(odd: list[Row], tmp_path: Path) -> None:
    texts = [render(comparison(odd), odd, "latex")]
    for record in RECORDS:
        found = analysis.read(record, all_suites=True)
        texts.append(render(analysis.text_tables(found.rows, found.layouts), found.rows, "latex"))
    lines = [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", *texts, r"\end{document}"]
    (tmp_path / "paper.tex").write_text("\n\\clearpage\n".join(lines))
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-draftmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Overfull" not in done.stdout


def test_html(odd: list[Row]) -> None:
    text = render(comparison(odd), odd, "html")
    assert "50%&lt;&amp;$ (L=64, V=8)" in text
    assert "<b>+4.3 [+0.5, +8.1]*</b>" in text
    assert '<span class="better">56.3 ± 3.5</span>' in text and text.count('"better"') == 1
    assert ".better { text-decoration: underline; }" in text
    assert "<li>underlined: the better one of an arm and its baseline" in text
    assert "—<sup>1</sup>" in text
    assert "<li><sup>1</sup> missing: seed 1</li>" in text
    assert '<meta charset="utf-8">' in text


def test_a_format_is_one_file(odd: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is rendered, offered, and written by a run where it says how its files end."""
    code = "END = {}\ndef render(tables, rows): return f'{{len(tables)}} tables of {{len(rows)}} rows'\n"
    (tmp_path / "counted.py").write_text(code.format("'txt'"))
    (tmp_path / "shown.py").write_text(code.format(None))
    (tmp_path / "_helper.py").write_text("")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    assert formats.names() == ["compact", "github", "latex", "csv", "html", "json", "counted", "shown"]
    assert (
        render(comparison(odd), odd, "counted")
        == render(comparison(odd), odd, "shown")
        == f"1 tables of {len(odd)} rows"
    )
    assert parser().parse_args(["table", "results", "--format", "counted"]).format == "counted"
    write_tables(tmp_path / "out", odd, comparison(odd))
    assert (tmp_path / "out/comparison.txt").read_text() == f"1 tables of {len(odd)} rows\n"
    assert len(list((tmp_path / "out").glob("comparison.*"))) == 6


def test_json_has_the_keys_of_the_contract(odd: list[Row]) -> None:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} in JSON")

    parsed = json.loads(render(comparison(odd), odd, "json"), parse_constant=refuse)
    assert parsed == [row.as_json() for row in odd]
    assert [list(row) for row in parsed] == [KEYS] * len(odd)
    assert {row["table"] for row in parsed} == {"comparison"}


def test_json_refuses_what_json_cannot_hold() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        render([], [row_of({"mean": float("nan")})], "json")


def test_csv_reparses(odd: list[Row]) -> None:
    parsed = list(csv.DictReader(io.StringIO(render(comparison(odd), odd, "csv"))))
    assert list(parsed[0]) == KEYS
    assert len(parsed) == len(odd)
    sem = next(row for row in parsed if row["embedding"] == "_s|x*" and row["representation"] == "sem")
    assert float(sem["mean"]) == pytest.approx(169 / 3, abs=0)
    assert json.loads(sem["embedding_config"]) == SEM
    assert len(sem["digests"].split(";")) == 3
    assert sem["ip"] == ""
    hole = next(row for row in parsed if row["embedding"] == "50%<&$")
    assert (hole["mean"], hole["n"], hole["notes"]) == ("", "2", "missing: seed 1")


def test_a_wide_table_is_split_for_a_terminal(tree: Tree) -> None:
    columns = {"100%": 1.0, "10%": 0.1, "1%": 0.01}
    for label, rep, value in (("none", "h", 50.0), ("sem", "sem", 55.0)):
        for seed in range(2):
            lines = [
                figure(value + 9 * seed * fraction, name, column=column, fraction=fraction)
                for column, fraction in columns.items()
                for name in dict.fromkeys((rep, "h"))
            ]
            tree.job(lines, seed=seed, embedding=label, method="barlow_twins")
    found = rows(tree.write())
    text = render(comparison(found), found, "github")
    headers = [line for line in text.splitlines() if line.startswith("| method")]
    assert [header.replace("|", " ").split() for header in headers] == [
        ["method", "embedding", "100%", "gain", "10%", "gain"],
        ["method", "embedding", "1%", "gain", "h", "100%"],
    ]
    assert max(map(len, text.splitlines())) <= WIDTH


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_no_part_of_a_split_table_is_too_wide_or_lost(widths: list[int]) -> None:
    columns = ["method", "embedding", *(f"{i}" for i in range(len(widths)))]
    line = [TextCell("byol"), TextCell("none"), *(TextCell("x" * width) for width in widths)]
    groups = [0, 0, *range(1, len(widths) + 1)]
    text = render([TextTable("t", columns, groups, [line], [], [])], [], "github")
    table = [row for row in text.splitlines() if row.startswith("|")]
    assert max(map(len, table)) <= WIDTH
    shown = [cell.strip() for row in table if row.startswith("| byol") for cell in row.strip("|").split("|")[2:]]
    assert shown == ["x" * width for width in widths]


def test_tables_are_written_whole(odd: list[Row], tmp_path: Path) -> None:
    folder = tmp_path / "tables" / "quick"
    paths = write_tables(folder, odd, comparison(odd))
    tables = ["comparison.csv", "comparison.html", "comparison.json", "comparison.md", "comparison.tex"]
    assert sorted(path.name for path in folder.glob("[!.]*") if path.suffix not in (".png", ".svg")) == tables
    assert sorted(path.name for path in paths) == tables
    assert json.loads((folder / "comparison.json").read_text()) == [row.as_json() for row in odd]
    assert (folder / "comparison.md").read_text() == render(comparison(odd), odd, "github") + "\n"
    assert write_tables(tmp_path / "out", odd, [])[0].parent == tmp_path / "out"


def test_figures_are_drawn_where_a_table_changed(tree: Tree, tmp_path: Path) -> None:
    tree.arm([50, 52])
    tree.arm([53, 54], "sem")
    found = rows(tree.write())
    write_tables(tmp_path, found, comparison(found))
    (drawn,) = tmp_path.glob("*.svg")
    drawn.write_text("as it was")
    write_tables(tmp_path, found, comparison(found))
    assert drawn.read_text() == "as it was"
    (tmp_path / "comparison.md").unlink()  # a run that was killed before the tables
    write_tables(tmp_path, found, comparison(found))
    assert drawn.read_text() != "as it was"


def drawn_again(folder: Path, found: list[Row]) -> bool:
    (drawn,) = folder.glob("*.svg")
    drawn.write_text("as it was")
    write_tables(folder, found, comparison(found))
    return drawn.read_text() != "as it was"


def test_a_figure_that_is_not_there_is_drawn(tree: Tree, tmp_path: Path) -> None:
    tree.arm([50, 52])
    tree.arm([53, 54], "sem")
    found = rows(tree.write())
    write_tables(tmp_path, found, comparison(found))
    assert not drawn_again(tmp_path, found)
    (tmp_path / "gains.png").unlink()
    assert drawn_again(tmp_path, found) and (tmp_path / "gains.png").is_file()
    for text in ("[]", "{", '{"of": 3, "files": 4}'):
        (tmp_path / ".figures").write_text(text)
        assert drawn_again(tmp_path, found)
    assert not drawn_again(tmp_path, found)


def test_figures_of_other_code_or_rows_are_drawn_anew(tree: Tree, tmp_path: Path) -> None:
    """The drawing code of a user's evaluation, and what a table does not print."""
    tree.arm([50, 52])
    tree.arm([53, 54], "sem")
    found = rows(tree.write())
    code = tmp_path / "evaluations" / "mine.py"
    code.parent.mkdir()

    def write(text: str) -> bool:
        code.write_text(text)
        mine = {"mine": cast(AnyEvaluation, SimpleNamespace(figure="mine", draw=load_code(code).draw))}
        analysis.write_tables(tmp_path / "out", found, comparison(found), mine)
        (picture,) = (tmp_path / "out").glob("mine.svg")
        again = picture.read_text() != "as it was"
        picture.write_text("as it was")
        return again

    assert write(DRAW) and not write(DRAW) and write(DRAW + "# changed\n") and not write(DRAW + "# changed\n")
    found = [replace(row, extra={"more": 1}) for row in found]
    texts = {path: path.read_text() for path in (tmp_path / "out").glob("*.md")}
    assert write(DRAW + "# changed\n") and texts == {path: path.read_text() for path in texts}


def test_no_rows_make_empty_files(tree: Tree) -> None:
    found = rows(tree.write())
    assert (found, comparison(found), render([], [], "json")) == ([], [], "[]")
    assert render([], [], "csv") == ""


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, sem_bench.report.render; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "torchvision", "sklearn", "scipy", "numpy"} & set(loaded)


# --- what rounds to nothing, and notes ---------------------------------------------------------------------


def test_what_rounds_to_zero_has_no_sign(tree: Tree) -> None:
    tree.arm([50.00, 50.00, 50.00])
    tree.arm([49.98, 49.97, 49.99], "sem")
    found = rows(tree.write())
    (table,) = comparison(found)
    (gain,) = [cell for line in table.body for cell in line if "[" in cell.text]
    assert (gain.text, gain.brief) == ("0.0 [0.0, 0.0]", "0.0")
    for name in ("compact", "github", "latex", "html"):
        text = render([table], found, name)
        assert "-0.0" not in text and "+0.0" not in text, name


def test_a_note_on_all_figures_of_an_arm_stands_once_beside_its_name(tree: Tree) -> None:
    for seed in range(3):
        lines = [figure(50 + seed, "h"), figure(30 + seed, "h", column="1%", fraction=0.01, notes=["only here"])]
        tree.job(lines, seed=seed, notes=["of the whole arm"])
    (table,) = comparison(rows(tree.write()))
    (line,) = [line for line in table.body if line[0].text == "byol"]
    said = [[table.notes[mark - 1] for mark in cell.marks] for cell in line]
    assert said == [[], ["of the whole arm"], [], ["only here"]]


def test_marks_of_a_cell_are_in_order(tree: Tree) -> None:
    tree.job([figure(50, "h", notes=["one"]), figure(40, "h", column="1%", notes=["two"])], seed=0)
    tree.job([figure(60, "sem", notes=["two", "one"]), figure(40, "sem", column="1%")], seed=0, embedding="sem")
    found = rows(tree.write())
    (table,) = comparison(found)
    assert [cell.marks for line in table.body for cell in line if len(cell.marks) > 1] == [(1, 2)]
    assert "60.0¹,²" in render([table], found, "compact")
