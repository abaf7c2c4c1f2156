"""Intervals of gains: by hand, against another way to compute them, and how often they hold on simulated data."""

import random
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sem_bench import analysis
from sem_bench.evaluations.registry import builtin
from sem_bench.report.gains import crossed, holm, interval, p_value, pooled
from sem_bench.report.job_folder import JobFolders
from sem_bench.report.row import FLOOR, Row
from sem_bench.report.sight import half_width, sight, spreads_in
from sem_bench.report.text_table import TextTable
from tests.helpers.results import MAIN, Tree, figure
from tests.helpers.rows import row_of

Gains = list[list[float]]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "results")


def gained(values: list[float], seeds: list[int] | None = None) -> Row:
    by_seed = [[seed, gain] for seed, gain in zip(seeds or range(len(values)), values, strict=True)]
    return row_of({"gain": statistics.fmean(values), "gain_by_seed": by_seed})


def simulated(true: float, *, methods: int, seeds: int, sd: tuple[float, float, float], rng: random.Random) -> Gains:
    """Gains (methods, seeds) with effects of methods, seeds and the rest of these standard deviations."""
    of_methods = [rng.gauss(0, sd[0]) for _ in range(methods)]
    of_seeds = [rng.gauss(0, sd[1]) for _ in range(seeds)]
    return [[true + method + seed + rng.gauss(0, sd[2]) for seed in of_seeds] for method in of_methods]


# --- the pooled interval ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("methods", "seeds"), [(3, 3), (6, 3), (8, 5)])
@pytest.mark.parametrize("sd", [(0.3, 0.5, 0.5), (0.0, 0.5, 0.3), (1.0, 0.2, 0.3), (0.0, 0.0, 0.5)])
def test_the_pooled_interval_holds_for_new_methods_and_seeds(
    methods: int, seeds: int, sd: tuple[float, float, float]
) -> None:
    rng, held, times = random.Random(0), 0, 500
    for _ in range(times):
        found = crossed(simulated(1.0, methods=methods, seeds=seeds, sd=sd, rng=rng))
        assert found.low is not None and found.high is not None
        held += found.low <= 1.0 <= found.high
    assert held / times >= 0.92  # 0.95 less three standard errors; it may be too wide where there is no effect


def test_methods_as_units_do_not_hold() -> None:
    """Why the pooled interval is none over methods: what they share in a seed is no part of it."""
    rng, sd = random.Random(0), (0.3, 0.5, 0.5)
    for seeds in (1, 5):
        held = 0
        for _ in range(400):
            means = [statistics.fmean(own) for own in simulated(1.0, methods=6, seeds=seeds, sd=sd, rng=rng)]
            _, low, high = interval(means)
            assert low is not None and high is not None
            held += low <= 1.0 <= high
        assert held / 400 < 0.85


def test_the_interval_of_a_method_holds_for_new_seeds() -> None:
    rng, held, rejected = random.Random(0), 0, 0
    for _ in range(600):
        values = simulated(0.0, methods=1, seeds=3, sd=(0.0, 0.7, 0.0), rng=rng)[0]
        _, low, high = interval(values)
        assert low is not None and high is not None
        held += low <= 0 <= high
        p = p_value(values)
        assert p is not None and (p < 0.05) == (not low <= 0 <= high)
        rejected += p < 0.05
    assert 0.92 <= held / 600 <= 0.98 and held + rejected == 600


def test_the_pooled_interval_by_hand() -> None:
    # Mean squares by hand: methods 4.5, seeds 0.5, rest 0.5. Variance (4.5 + 0.5 - 0.5) / 6 is no more than that of
    # the methods alone, which has one degree of freedom.
    found = crossed([[1.0, 2.0, 2.0], [3.0, 3.0, 4.0]])
    table = np.array([[1.0, 2.0, 2.0], [3.0, 3.0, 4.0]])
    methods = 3 * table.mean(1).var(ddof=1)
    seeds = 2 * table.mean(0).var(ddof=1)
    rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    of_rest = (rest**2).sum() / 2
    assert found.mean == pytest.approx(2.5)
    variance = methods + seeds - of_rest
    df = variance**2 / (methods**2 / 1 + seeds**2 / 2 + of_rest**2 / 2)
    half = stats.t.ppf(0.975, df) * np.sqrt(variance / 6)
    assert (found.low, found.high) == pytest.approx((2.5 - half, 2.5 + half))
    assert found.p == pytest.approx(2 * stats.t.sf(2.5 / np.sqrt(variance / 6), df))
    assert found.seeds == 3


@given(st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=2, max_size=6))
def test_the_pooled_interval_is_never_narrower_than_methods_or_seeds_alone_say(gains: Gains) -> None:
    found = crossed(gains)
    table = np.array(gains)
    assert found.low is not None and found.high is not None and found.p is not None
    error = np.sqrt(max(table.mean(1).var(ddof=1) / len(gains), table.mean(0).var(ddof=1) / 3))
    assert (found.high - found.low) / 2 >= 1.95 * error - 1e-6
    assert found.low - 1e-9 <= table.mean() <= found.high + 1e-9
    assert 0 <= found.p <= 1


def test_gains_whose_squares_underflow_have_an_interval() -> None:
    found = crossed([[0.0, 0.0, 0.0], [0.0, 1.7e-115, 1.6e-128]])
    assert found.low is not None and found.high is not None and found.low <= 0 <= found.high < 1e-100


def test_what_cannot_be_pooled_has_no_interval() -> None:
    assert pooled([gained([1.0]), None]).mean is None
    assert pooled([gained([1.0]), row_of({})]).mean is None
    one = pooled([gained([1.0]), gained([2.0])])
    assert (one.mean, one.low, one.p) == (1.5, None, None)
    apart = pooled([gained([1.0, 2.0], [0, 1]), gained([2.0, 4.0], [2, 3])])
    assert (apart.mean, apart.low) == (2.25, None)
    partly = pooled([gained([1.0, 2.0, 3.0]), gained([2.0, 4.0], [0, 1])])
    assert (partly.mean, partly.low, partly.seeds) == (2.5, None, 2)
    two = pooled([gained([1.0, 1.5]), gained([2.0, 4.0])])  # seeds: an interval of so few holds too seldom
    assert (two.mean, two.low, two.seeds) == (2.125, None, 2)
    assert pooled([gained([1.0, 1.5, 2.0]), gained([2.0, 4.0, 2.0])]).low is not None


def test_gains_that_do_not_differ_have_no_test() -> None:
    assert p_value([0.1, 0.1, 0.1]) is None and p_value([0.0, 0.0]) is None
    assert p_value([0.1, 0.2, 0.1]) is not None


# --- many comparisons -------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    assert holm([]) == holm([0.06]) == holm([0.03, 0.03]) == -1
    assert holm([0.05]) == 0.05
    # 0.01 * 4, then 0.015 * 3, then 0.03 * 2: the third does not survive, nor does what comes after it.
    assert holm([0.04, 0.01, 0.03, 0.015]) == 0.015


def test_holm_seldom_marks_what_is_nothing() -> None:
    rng = random.Random(0)
    wrong = sum(holm([rng.random() for _ in range(20)]) >= 0 for _ in range(1000))
    assert wrong / 1000 < 0.08
    assert sum(min(rng.random() for _ in range(20)) < 0.05 for _ in range(1000)) / 1000 > 0.5  # without it


# --- the random backbone ----------------------------------------------------------------------------------


def read(tree: Tree) -> tuple[list[Row], TextTable]:
    found = analysis.read(tree.write()).rows
    (table,) = analysis.text_tables(found, [one.table for one in builtin().values()], only="comparison")
    return found, table


def notes_of(table: TextTable, line: int, cell: int) -> list[str]:
    return [table.notes[mark - 1] for mark in table.body[line][cell].marks]


def test_a_baseline_at_the_floor_has_no_bold_gain(tree: Tree) -> None:
    tree.arm([20.0, 21.0, 19.5], method="byol")
    tree.arm([30.0, 31.0, 29.5], "sem", method="byol")
    tree.arm([40.0, 41.0, 39.5], method="simclr")
    tree.arm([50.0, 51.0, 49.5], "sem", method="simclr")
    tree.arm([20.0, 19.0, 21.0], method=FLOOR)
    found, table = read(tree)
    assert [line[0].text for line in table.body][4] == "random backbone"
    assert notes_of(table, 0, 2) == ["no better than the random backbone"]
    assert [cell.bold for cell in (table.body[1][3], table.body[3][3])] == [False, True]
    assert notes_of(table, 1, 3) == ["none is no better than the random backbone"]
    assert notes_of(table, 1, 2) == notes_of(table, 2, 2) == notes_of(table, 3, 3) == []
    assert not table.body[-1][3].bold
    row = next(row for row in found if row.method == "byol" and row.baseline)
    assert row.notes == ["no better than the random backbone"]


@pytest.mark.parametrize(
    ("none", "marked"), [([25.0], False), ([20.0], True), ([25.0, 19.0], True), ([25.0, 26.0], False)]
)
def test_with_few_seeds_each_has_to_beat_the_random_backbone(tree: Tree, none: list[float], marked: bool) -> None:
    tree.arm([*none])
    tree.arm([20.0] * len(none), method=FLOOR)
    _, table = read(tree)
    assert bool(table.body[0][2].marks) is marked


def test_the_floor_of_another_place_is_none(tree: Tree) -> None:
    tree.arm([20.0])
    tree.arm([30.0], method=FLOOR, backbone="resnet18")
    assert not any(row.notes for row in analysis.read(tree.write()).rows)


def test_chance_has_a_line_where_the_classes_are_known(tree: Tree) -> None:
    classes = {"fraction": 1.0, "data": {"classes": ["a", "b", "c", "d"]}}
    for embedding in ("none", "sem"):
        tree.job([figure(50, MAIN[embedding])], seed=0, embedding=embedding, config=classes)
    _, table = read(tree)
    assert [cell.text for cell in table.body[-1]] == ["chance", "", "25.0", "", ""]


# --- what a design can see --------------------------------------------------------------------------------


def test_what_seeds_can_see() -> None:
    assert half_width(0.55, 3) == pytest.approx(4.302653 * 0.55 / 3**0.5, rel=1e-6)
    assert "3 seeds see a gain of 1.4 to 3.5 points" in sight(3, [])
    assert "1 seed: nothing bold; 3 seeds see a gain of 1.2 points" in sight(1, [0.5])
    assert "spread of seeds 0.5 to 2, measured here" in sight(5, [2.0, 0.5, 1.0])


def test_the_spread_is_that_of_the_primary_contrast(tree: Tree) -> None:
    assert spreads_in(tree.root, JobFolders(tree.root), "quick", builtin()) == []
    searched = {0: 55.0, 1: 59.0, 2: 54.0}
    for seed, fixed in enumerate([53.0, 54.0, 55.0]):
        tree.job([figure(50, "h")], seed=seed, config={"fraction": 1.0})
        lines = [figure(searched[seed], "sem"), figure(fixed, "sem", metric="top1_fixed_tau"), figure(51, "h")]
        tree.job(lines, seed=seed, embedding="sem", config={"fraction": 1.0})
    for job in tree.jobs:
        job["fraction"] = 1.0
    results = tree.write()
    assert spreads_in(results, JobFolders(results), "quick", builtin()) == [1.0]
