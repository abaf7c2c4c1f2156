"""The sentences that stand before the tables: they say what the rows say, and no more."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import sem_bench
from sem_bench.cli import main
from sem_bench.evaluations.registry import builtin
from sem_bench.report.row import FLOOR, Row
from sem_bench.report.summary import summaries
from tests.helpers.places import REPOSITORY
from tests.helpers.results import NONE, SEM
from tests.helpers.rows import row_of

FIXED = "top1_fixed_tau"
LAYOUTS = [one.table for one in builtin().values()]


def compared(method: str, gains: list[float], low: float | None, high: float | None, **changes: Any) -> list[Row]:
    """A method's baseline and its SEM arm at all labels."""
    seeds = [[seed, gain] for seed, gain in enumerate(gains)]
    mean = sum(gains) / len(gains)
    place = {
        "table": "comparison",
        "method": method,
        "column": "100%",
        "fraction": 1.0,
        "metric": FIXED,
        "n": len(gains),
    }
    base = place | {"embedding": "none", "embedding_config": NONE, "representation": "h", "mean": 40.0}
    arm = place | {"embedding": "sem", "embedding_config": SEM, "representation": "sem", "mean": 40.0 + mean}
    arm |= {"gain": mean, "gain_low": low, "gain_high": high, "gain_by_seed": seeds, "tau_d": 1.0}
    return [row_of(base), row_of(arm | changes)]


def said(rows: list[Row]) -> str:
    (one,) = summaries(rows, LAYOUTS)
    return "\n".join(one.sentences)


def test_three_seeds_of_one_method() -> None:
    text = said(compared("byol", [3.0, 3.5, 4.0], 2.3, 4.7))
    assert text.startswith("1 method (byol), 3 seeds: sem (L=64, V=8) against none, by the top-1 accuracy of a linear")
    assert "sem (L=64, V=8), all labels, tau_d = tau: +3.5 [+2.3, +4.7] points; the interval excludes 0." in text
    assert "another seed" not in text


def test_an_interval_that_includes_0_says_so() -> None:
    assert "-0.5 [-2.9, +1.9] points; the interval includes 0." in said(compared("byol", [-1.5, -0.5, 0.5], -2.9, 1.9))


def test_one_seed_concludes_nothing() -> None:
    text = said(compared("byol", [3.0], None, None) + compared("swav", [-1.0], None, None))
    assert "+1.0 points in the mean of 2 methods, from -1.0 (swav) to +3.0 (byol); one seed: no conclusion." in text
    assert "Limits: another seed can change these numbers by points." in text


def test_limits_name_floors_edges_and_holes() -> None:
    rows = compared("byol", [3.0, 3.5, 4.0], 2.3, 4.7, notes=["l2 on the edge of its grid"])
    low = rows[0].as_json() | {"method": "dino", "notes": ["no better than the random backbone"]}
    hole = rows[1].as_json() | {"table": "entropy", "mean": None, "n": 0}
    floor = rows[0].as_json() | {"method": FLOOR}
    text = said([*rows, row_of(low), row_of(hole), row_of(floor)])
    assert "no better than a random backbone in some column without an embedding: dino" in text
    assert "1 of 3 probes have their best candidate on the edge of the search" in text
    assert "1 figures are missing" in text and FLOOR not in text


def test_a_decomposition_says_how_the_gain_splits() -> None:
    """The pooled line where there is one, else each method's."""
    means = {"gain": 3.4, "layer": 2.5, "pretraining": 0.6, "trained layer": 0.3, "search": 0.2, "width": -0.5}
    rows = compared("byol", [3.0, 3.5, 3.7], 2.3, 4.5)
    place = rows[1].as_json() | {"table": "decomposition", "tau_d": None, "gain": None}
    parts = [
        row_of(place | {"metric": name, "mean": mean, "gain_low": mean - 1, "gain_high": mean + 1})
        for name, mean in means.items()
    ]
    assert (
        "sem (L=64, V=8), byol: gain +3.4 [+2.4, +4.4] is layer +2.5 [+1.5, +3.5], pretraining +0.6 [-0.4, +1.6], "
        "trained layer +0.3 [-0.7, +1.3]; searching tau_d adds +0.2 [-0.8, +1.2]."
    ) in said([*rows, *parts])
    pooled = [row_of(row.as_json() | {"method": "pooled (3)", "mean": (row.mean or 0) + 1}) for row in parts]
    text = said([*rows, *parts, *pooled])
    assert "sem (L=64, V=8), pooled (3): gain +4.4" in text and "byol: gain" not in text
    assert " is layer" not in said([*rows, *parts[1:]])  # not without all of its parts


def test_nothing_to_compare_has_no_summary() -> None:
    assert summaries(compared("byol", [1.0], None, None)[:1], LAYOUTS) == []


@pytest.mark.parametrize("record", ["quick", "byol_photographs", "eight_methods", "photographs"])
def test_numbers_of_records_stand_in_their_tables(record: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = REPOSITORY / "docs/records" / record
    assert main(["table", str(path), "--table", "comparison", "--notes"]) == 0
    table = capsys.readouterr().out
    for one in sem_bench.load(path).summary():
        numbers = re.findall(r"[-+]\d+\.\d(?: \[[^]]*\])?", " ".join(one.sentences))
        assert len(numbers) > 3 and [number for number in numbers if number not in table] == []


def test_the_command_prints_it_alone_or_first(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(REPOSITORY / "docs/records/quick")
    assert main(["table", path, "--summary"]) == 0
    alone = capsys.readouterr().out
    assert main(["table", path, "--summary", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert alone.splitlines() == [found["of"], *(f"- {sentence}" for sentence in found["sentences"])]
    assert 3 <= len(found["sentences"]) <= 6
    for options in ([], ["--format", "github"]):
        assert main(["table", path, *options]) == 0
        assert capsys.readouterr().out.startswith(alone)
    assert main(["table", path, "--table", "comparison", "--format", "github"]) == 0
    assert capsys.readouterr().out.startswith("### quick")
    assert main(["table", path, "--table", "comparison"]) == 0
    assert capsys.readouterr().out.startswith("quick: shapes (3000 train), resnet10w16s2, recipe quick, 8 epochs; sem")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--summary", "--format", "csv"], "--summary prints text, or JSON with --format json"),
        (["--summary", "--out", "there"], "--summary prints text, or JSON with --format json"),
    ],
)
def test_what_it_cannot_do(
    options: list[str], line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["table", str(REPOSITORY / "docs/records/quick"), *options]) == 2
    assert capsys.readouterr().err == f"{line}\n"
    assert list(tmp_path.iterdir()) == []
