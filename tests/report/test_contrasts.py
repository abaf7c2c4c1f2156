"""The decomposition of a gain from results written by hand: sums to the last digit, coverage, holes and layout."""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sem_bench import analysis
from sem_bench.evaluations.decomposition import Decomposition
from sem_bench.report import formats
from sem_bench.report.contrasts import contrast_rows
from sem_bench.report.gains import Cell
from sem_bench.report.render import render
from sem_bench.report.row import Row
from sem_bench.report.text_table import HOLE, TextTable
from tests.helpers.results import LINEAR, NONE, SEM
from tests.helpers.rows import row_of

TABLE = Decomposition.table
LAYER = "sem L=64 V=8 tau=1"
SETTINGS = {"none": NONE, "linear": LINEAR, "sem": SEM}
PARTS = ("layer", "pretraining", "trained layer")


def cell(
    arm: str, reads: str, values: Mapping[int, float], *, method: str = "byol", absent: str = "", **changes: Any
) -> Cell:
    """A reading of an arm."""
    behind = f": {LAYER}" if arm == "none" and reads != "h" else ""
    place = {"table": TABLE.name, "method": method, "embedding": arm, "embedding_config": SETTINGS[arm]}
    layer = None if reads == "h" and arm == "none" else LAYER
    row = row_of(place | {"representation": reads + behind, "reads": reads, "layer": layer, "n": len(values)} | changes)
    made = dict.fromkeys(values, "a" * 64)
    return Cell(row, TABLE.metrics[0], dict(values), dict.fromkeys(values, "cpu fp32"), {}, absent, False, False, made)


def cells(levels: Mapping[tuple[str, str], Any], *, method: str = "byol") -> list[Cell]:
    """Readings by arm and what is read: a value for each seed."""
    return [cell(*at, dict(enumerate(map(float, values))), method=method) for at, values in levels.items()]


def four(h: Any, fresh: Any, grafted: Any, own: Any) -> dict[tuple[str, str], Any]:
    """The readings that the gain and its parts need."""
    return {("none", "h"): h, ("none", "fresh"): fresh, ("sem", "fresh"): grafted, ("sem", "own"): own}


def rows(found: list[Cell]) -> list[Row]:
    return contrast_rows(found, {"decomposition": TABLE})


def by_metric(found: list[Row], method: str = "byol") -> dict[str, Row]:
    return {row.metric: row for row in found if row.method == method}


def text(found: list[Row]) -> TextTable:
    (table,) = analysis.text_tables(found, [TABLE])
    return table


def printed(found: list[Row], line: int = 0) -> dict[str, str]:
    """The text of each cell of a line."""
    table = text(found)
    return {name: cell.text for name, cell in zip(table.columns, table.body[line], strict=True)}


def test_parts_by_hand() -> None:
    found = by_metric(rows(cells(four([40, 42], [43, 43], [43.5, 44.5], [44, 43]))))
    assert {name: (row.gain_by_seed, row.mean) for name, row in found.items()} == {
        "gain": ([[0, 4], [1, 1]], 2.5),
        "layer": ([[0, 3], [1, 1]], 2),
        "pretraining": ([[0, 0.5], [1, 1.5]], 1),
        "trained layer": ([[0, 0.5], [1, -1.5]], -0.5),
    } | {name: (row.gain_by_seed, None) for name, row in found.items() if row.mean is None}
    # Differences 3 and 1: standard error 1, t(1) = 12.706205.
    assert (found["layer"].gain_low, found["layer"].gain_high) == pytest.approx((2 - 12.706205, 2 + 12.706205))


ACCURACY = st.integers(0, 10_000).map(lambda right: 100 * right / 10_000)
LEVELS = st.integers(1, 4).flatmap(
    lambda seeds: st.lists(
        st.lists(st.lists(ACCURACY, min_size=seeds, max_size=seeds), min_size=4, max_size=4), min_size=1, max_size=3
    )
)


@settings(deadline=None, max_examples=60)
@given(LEVELS)
def test_the_parts_add_up_to_the_gain_to_the_last_digit(levels: list[list[list[float]]]) -> None:
    """As printed, of each method and of all; and as numbers, whose sums differ by the rounding of floats alone."""
    found = rows([one for i, part in enumerate(levels) for one in cells(four(*part), method=f"m{i}")])
    lines = len(text(found).body)
    assert lines == len(levels) + (len(levels) > 1)
    for line in range(lines):
        shown = {
            name: Decimal(one.split(" ")[0]) for name, one in printed(found, line).items() if re.match(r"[+-]?\d", one)
        }
        assert sum(shown[name] for name in PARTS) == shown["gain"]
    for method in {row.method for row in found}:
        own = by_metric(found, method)
        assert sum(own[name].mean or 0.0 for name in PARTS) == pytest.approx(own["gain"].mean, abs=1e-10)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 6400), min_size=3, max_size=3), min_size=4, max_size=4))
def test_numbers_that_floats_hold_add_up_without_any_rounding(levels: list[list[int]]) -> None:
    """Multiples of 3/64: their means over three seeds are exact, too."""
    own = by_metric(rows(cells(four(*([3 * value / 64 for value in part] for part in levels)))))
    assert sum(own[name].mean or 0.0 for name in PARTS) == own["gain"].mean


def test_intervals_cover_known_parts_at_their_level() -> None:
    """Methods and seeds are drawn anew each time; three seeds, four methods, as in a real record."""
    random, times, true = np.random.default_rng(0), 200, {"layer": 2.0, "pretraining": 1.0, "trained layer": -0.5}
    true["gain"] = sum(true.values())
    hits: dict[tuple[str, str], int] = {}
    for _ in range(times):
        found, means = [], {}
        shared = random.normal(0, 0.4, (3, 3))  # of a seed, in each part
        for method in ("a", "b", "c", "d"):
            own = np.array([true[name] for name in PARTS]) + random.normal(0, 0.7, 3)
            means[method] = dict(zip((*PARTS, "gain"), (*own, own.sum()), strict=True))
            parts = own[:, None] + random.normal(0, 0.5, (3, 3))
            # The interval of a method is for new seeds; those of one method may share what they like.
            levels = 40 + random.normal(0, 1, 3) + np.vstack([np.zeros(3), np.cumsum(parts + shared, 0)])
            found += cells(four(*levels), method=method)
        for row in rows(found):
            wanted = means.get(row.method, true).get(row.metric)
            if wanted is not None:
                assert row.gain_low is not None and row.gain_high is not None
                at = (row.metric, "each" if row.method in means else "pooled")
                hits[at] = hits.get(at, 0) + (row.gain_low <= wanted <= row.gain_high)
    for name in true:
        assert hits[name, "each"] / (4 * times) == pytest.approx(0.95, abs=0.025)
        assert 0.915 <= hits[name, "pooled"] / times <= 0.995


def test_a_missing_result_is_a_hole_and_a_missing_arm_has_no_column() -> None:
    levels = four([40, 42], [43, 43], [43.5, 44.5], [44, 43])
    found = cells(levels)
    found[1] = cell("none", "fresh", {0: 43.0}, absent="failed: seed 1")
    own = by_metric(rows(found))
    assert own["gain"].mean == 2.5
    assert (own["layer"].mean, own["layer"].notes) == (None, ["failed: seed 1"])
    assert printed(list(own.values()))["pretraining"] == HOLE
    assert "width" not in own
    linear = cell("linear", "own", {0: 41.0, 1: 42.0})
    assert by_metric(rows([*found, linear]))["width"].mean == 0.5
    assert rows(cells({("none", "h"): [40]})) == []
    alone = by_metric(rows(cells({("sem", "own"): [44], ("sem", "fresh"): [43]})))
    assert alone["trained layer"].mean == 1
    assert "gain" not in alone


def test_a_hole_of_a_method_is_one_of_all() -> None:
    whole = four([40, 42], [43, 43], [43.5, 44.5], [44, 43])
    lacking = {at: values for at, values in whole.items() if at != ("sem", "fresh")}
    pooled = by_metric(rows([*cells(whole, method="a"), *cells(lacking, method="b")]), "pooled (2)")
    assert pooled["layer"].mean == 2
    assert pooled["pretraining"].mean is None
    assert pooled["pretraining"].notes


@pytest.mark.parametrize(("methods", "bold"), [(2, False), (3, True)])
def test_a_pooled_line_is_bold_from_three_methods_on(methods: int, bold: bool) -> None:
    """Each method's own line is, for it has three seeds."""
    levels = four([40, 42, 41], [43, 45.1, 44], [43, 45, 44], [44, 46, 45])
    made = [one for name in "abc"[:methods] for one in cells(levels, method=name)]
    table = text(rows(made))
    at = table.columns.index("layer")
    assert [line[at].bold for line in table.body] == [True] * methods + [bold]


def test_other_devices_are_no_pair() -> None:
    found = cells(four([40], [43], [43], [44]))
    found[3].settings[0] = "cuda bf16"
    own = by_metric(rows(found))
    assert (own["gain"].mean, own["gain"].notes) == (None, ["cuda bf16 against cpu fp32"])
    assert own["layer"].mean == 3


def test_layers_of_two_sizes_find_their_own() -> None:
    other = SEM | {"L": 16}
    found = cells(four([40], [43], [43], [44]))
    found.append(cell("none", "fresh", {0: 41.0}, layer="sem L=16 V=8 tau=1", representation="fresh: sem L=16 V=8"))
    found.append(cell("sem", "own", {0: 45.0}, layer="sem L=16 V=8 tau=1", embedding="small", embedding_config=other))
    made = {(row.embedding, row.metric): row.mean for row in rows(found)}
    assert (made["sem", "layer"], made["small", "layer"]) == (3, 1)


@pytest.mark.parametrize("name", formats.names())
def test_every_format_has_each_method_and_all(name: str) -> None:
    levels = four([40, 42, 41], [43, 43, 44], [43.5, 44.5, 45], [44, 43, 46])
    found = rows([*cells(levels, method="byol"), *cells(levels, method="simclr")])
    shown = render([text(found)], found, name)
    for word in ("byol", "simclr", "pooled (2)", "gain", *PARTS):
        assert all(part in shown for part in (word.split() if name == "compact" else [word]))


def test_the_figure_shows_every_line(tmp_path: Path) -> None:
    levels = four([40, 42, 41], [43, 43, 44], [43.5, 44.5, 45], [44, 43, 46])
    found = rows([*cells(levels, method="byol"), *cells(levels, method="simclr")])
    analysis.write_tables(tmp_path, found, [text(found)], {"decomposition": Decomposition()})
    assert (tmp_path / "decomposition-100pc.png").stat().st_size > 10_000
    svg = (tmp_path / "decomposition-100pc.svg").read_text()
    for word in ("byol, sem", "simclr, sem", "pooled (2), sem", "trained layer"):
        assert word in svg
