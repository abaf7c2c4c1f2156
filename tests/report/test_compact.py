"""The compact form of tables, for a terminal: narrow, few lines below, the same numbers, and no hole hidden."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sem_bench import analysis
from sem_bench.cli import main
from sem_bench.report.formats.compact import BELOW, FURTHER, MORE, WIDTH, overview
from sem_bench.report.formats.compact import render as compact
from sem_bench.report.layout import FIXED_TAU
from sem_bench.report.render import render
from sem_bench.report.text_table import DOT, HOLE, TextCell, TextTable
from tests.helpers.places import REPOSITORY
from tests.helpers.results import SEM, Tree, figure

RECORDS = REPOSITORY / "docs/records"
QUICK = RECORDS / "quick"
ALL_OF_QUICK = ["comparison", "robustness", "robustness", "transfer", "relevance", "entropy", "expressivity"]
MARK = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹•*]+(?:,[⁰¹²³⁴⁵⁶⁷⁸⁹]+)*")


@cache
def record(path: Path) -> list[TextTable]:
    return tables(path)


def tables(results: Path) -> list[TextTable]:
    found = analysis.read(results)
    return analysis.text_tables(found.rows, found.layouts)


def blocks(text: str) -> list[list[str]]:
    """The parts of one printed table: caption, columns (one or more), and what stands below."""
    return [block.splitlines() for block in text.split("\n\n")]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "results")


@pytest.mark.parametrize("name", ["quick", "default"])
def test_every_table_of_the_default_suite_fits_100_columns_in_one_part(name: str) -> None:
    found = record(RECORDS / name)
    assert [table.name for table in found] == ALL_OF_QUICK
    for table in found:
        text = compact([table], [])
        assert max(map(len, text.splitlines())) <= WIDTH == 100
        assert len(blocks(text)) == 3, text  # not cut in parts


@pytest.mark.parametrize("name", ["quick", "byol_photographs", "smoke_table1_cifar100", "sweeps_photographs"])
def test_at_most_five_lines_stand_below(name: str) -> None:
    for table in record(RECORDS / name):
        *_, below = blocks(compact([table], []))
        assert len(below) <= BELOW == 5 and below[-1] == MORE, below
        assert all(note in " ".join(below) for note in table.notes)
        bold = any(cell.bold for line in table.body for cell in line)
        assert bold == any(line.startswith(f"{DOT}: ") for line in below)


def test_the_numbers_are_those_of_the_json() -> None:
    rows = json.loads(render([], analysis.read(QUICK).rows, "json"))
    _, lines, _ = blocks(compact(record(QUICK)[:1], []))
    columns = [("100%", FIXED_TAU), ("1%", FIXED_TAU), ("kNN", ""), ("100%", ""), ("1%", "")]
    arms = 0
    for line in lines[2:-2]:  # but chance and the pooled line
        method, embedding, *printed = MARK.sub("", line).split()
        own = {
            (row["column"], row["metric"], row["representation"]): row
            for row in rows
            if (row["table"], row["method"], row["embedding"]) == ("comparison", method, embedding)
        }
        main, expected = {"none": "h", "sem": "sem"}[embedding], list[str]()
        for column, end in columns:
            metric = "knn_top1" if column == "kNN" else "top1"
            row = own.get((column, metric + end, main)) or own[column, metric, main]
            expected += [f"{row['mean']:.1f}", *([f"{row['gain']:+.1f}"] if embedding == "sem" else [])]
        assert printed == [*expected, f"{own['100%', 'top1', 'h']['mean']:.1f}"]
        arms += 1
    assert arms == 12


def test_gains_stand_beside_their_numbers_and_the_size_in_the_caption(tree: Tree) -> None:
    for method, gains in (("byol", [4.0, 4.01, 3.99]), ("simclr", [-3.0, 4.0, 6.0])):
        tree.arm([50, 50, 50], method=method)
        tree.arm([50 + gain for gain in gains], "sem", method=method)
    tree.write()
    caption, lines, below = blocks(compact(tables(tree.root), []))
    assert caption == ["quick: shapes, resnet10w16s2, recipe quick, 10 epochs; sem: L=64, V=8"]
    assert lines == [
        "method      embedding        100%         h 100%",
        "----------  ---------  -----------------  ------",
        "byol        none       50.0 ± 0.0           50.0",
        "byol        sem        54.0 ± 0.0 +4.0*•",
        "simclr      none       50.0 ± 0.0           50.0",
        "simclr      sem        52.3 ± 4.7 +2.3",
        "pooled (2)  sem                   +3.2",
    ]
    assert below[0].startswith(f"{DOT}: its 95 % interval excludes 0, n >= 3")
    assert below[1] == "n = 3 seeds; top-1 in percent ± sd; gain over none of the same method, paired by seed"
    tree.arm([51, 52, 53], "wide", embedding_config=SEM | {"L": 256})
    tree.write()
    text = compact(tables(tree.root), [])
    assert "sem (L=64, V=8)" in text and "wide (L=256, V=8)" in text and "; sem" not in text


def test_notes_show_intervals_and_every_line(tree: Tree) -> None:
    tree.arm([50, 51, 52])
    tree.arm([53.5, 55, 56.5], "sem")
    tree.job([figure(51, "z", notes=["odd"])], seed=0, embedding="linear")
    tree.write()
    (table,) = tables(tree.root)
    text = compact([table], [], notes=True)
    *_, below = blocks(text)
    assert re.search(r"^byol    sem        55\.0 ± 1\.5  \+4\.0 \[\+2\.8, \+5\.2\]\*•$", text, re.MULTILINE)
    joined = " ".join(below)
    assert below[0] == f"{DOT}: bold in the lines below"
    assert all(
        line in joined
        for line in [*table.legend, *(f"{mark} {note}" for mark, note in zip("¹²", table.notes, strict=False))]
    )
    short = compact([table], [])
    assert "[" not in short and len(short.splitlines()) < len(text.splitlines())


def many(notes: Sequence[str], *, holes: Sequence[int]) -> TextTable:
    """A line for each note, of which some stand on holes."""
    body = [
        [TextCell("byol"), TextCell("sem"), TextCell(HOLE if number in holes else "50.0", marks=(number + 1,))]
        for number in range(len(notes))
    ]
    return TextTable("t", ["method", "embedding", "100%"], [0, 0, 1], body, [], list(notes), brief=["n = 1 seed"])


@settings(max_examples=20)
@given(st.sets(st.integers(0, 29), max_size=29))
def test_what_stands_on_a_hole_is_said_however_many_notes_there_are(holes: set[int]) -> None:
    notes = [f"missing: seed {number}, for a reason that takes half a line to tell" for number in range(30)]
    text = compact([many(notes, holes=sorted(holes))], [])
    *_, below = blocks(text)
    said = " ".join(below)
    assert all(notes[number] in said for number in holes) and below[-1] == MORE
    assert len(below) <= BELOW or len(holes) > 3


def test_holes_failures_and_their_reasons_are_shown(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    tree.arm([50, 52])
    folders = tree.arm([53, None], "sem")
    (folders[1] / "error.txt").write_text("out of memory")
    for embedding, value in (("none", [figure(50.0, "h", column="c")]), ("sem", None)):
        tree.job(value, seed=0, embedding=embedding, kind="robustness", columns=["c"])
    tree.write()
    assert main(["table", str(tree.root)]) == 0
    shown = capsys.readouterr().out
    assert "—¹" in shown and "¹ failed: seed 1" in shown
    assert "\n—: results are missing; no mean and no gain stands on a part of its seeds\n" in shown
    assert re.search(r"^robustness, probe at 100 %: 2 missing; test —; c —  --table robustness$", shown, re.MULTILINE)


def test_a_line_for_each_further_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(QUICK)]) == 0
    shown = capsys.readouterr().out
    comparison, _, rest = shown.partition(f"\n{FURTHER}\n")
    assert main(["table", str(QUICK), "--table", "comparison"]) == 0
    assert comparison.endswith("\n" + capsys.readouterr().out)
    lines = rest.splitlines()
    assert [line.split()[-2:] for line in lines] == [["--table", name] for name in ALL_OF_QUICK[1:]]
    assert max(map(len, lines)) <= WIDTH
    assert lines[0].startswith("robustness, probe at 100 %: test +2.4; v2 +2.0; r -0.5; ")
    assert lines[2].startswith("transfer: digits -1.0; textures +1.6 ")
    assert lines[4].startswith("entropy: entropy of the simplices in nats, at the pretraining temperature, … ")


def test_the_line_of_one_method_has_the_gains_of_each_embedding() -> None:
    found = record(REPOSITORY / "docs/records/byol_photographs")
    (line,) = [line for line in overview(found, "comparison").splitlines() if line.startswith("transfer")]
    assert line.startswith("transfer: linear: digits -0.3; textures -0.5; untrained: digits +0.3; … ")


def test_lines_say_of_which_data_they_are(tree: Tree) -> None:
    for dataset in ("shapes", "digits"):
        tree.job([figure(50, "h", column="c")], seed=0, kind="robustness", columns=["c"], dataset=dataset)
    tree.write()
    lines = overview(tables(tree.root), "comparison").splitlines()
    headings = [line for line in lines if line.startswith("quick: ")]
    assert [heading.split(",")[0] for heading in headings] == ["quick: shapes", "quick: digits"]


def test_parts_of_a_wide_table_are_as_wide_as_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (comparison, *_) = record(RECORDS / "default")
    parts = [lines for lines in blocks(compact([comparison], [])) if any("---" in line for line in lines)]
    heads = [" ".join(" ".join(lines[: len(lines) - 16]).split()) for lines in parts]
    assert heads == ["method embedding 100% 1% kNN", "100% h method embedding searched 1% searched 100%"]


def test_a_wide_terminal_takes_more_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ["method", "embedding", *(f"{number}" for number in range(12))]
    line = [TextCell("byol"), TextCell("none"), *(TextCell("x" * 10) for _ in range(12))]
    table = TextTable("t", columns, [0, 0, *range(1, 13)], [line], [], [])
    parts = {}
    for width in ("80", "100", "120", "170", ""):
        monkeypatch.setenv("COLUMNS", width)
        parts[width] = [row.count("x" * 10) for row in compact([table], []).splitlines() if row.startswith("byol")]
    assert parts == {"80": [4, 4, 4], "100": [6, 6], "120": [6, 6], "170": [12], "": [6, 6]}


def test_what_stands_in_brackets_behind_a_number_is_left_to_the_notes() -> None:
    (relevance,) = [table for table in record(RECORDS / "default") if table.name == "relevance"]
    short, long = compact([relevance], []), compact([relevance], [], notes=True)
    assert re.search(r"^simclr +none +0\.100 +0\.150 ", short, re.MULTILINE)
    assert "0.100 (0.500; 80%)" in long and "in brackets" in long and "in brackets" not in short
    assert "gains are of what lies above chance" in " ".join(short.split())


@settings(max_examples=30)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_no_part_of_a_wide_table_is_too_wide_or_lost(widths: list[int]) -> None:
    columns = ["method", "embedding", *(f"{i}" for i in range(len(widths)))]
    line = [TextCell("byol"), TextCell("none"), *(TextCell("x" * width) for width in widths)]
    text = compact([TextTable("t", columns, [0, 0, *range(1, len(widths) + 1)], [line], [], [])], [])
    assert max(map(len, text.splitlines())) <= WIDTH
    parts = [row for row in text.splitlines() if row.startswith("byol")]
    assert [word for row in parts for word in row.split()[2:]] == ["x" * width for width in widths]


def test_the_better_one_of_a_pair_is_marked(tree: Tree) -> None:
    for method, none, sem, linear in (("byol", 50, 53, 49), ("simclr", 60, 58, 59), ("moco", 40, 40, 39)):
        tree.arm([none], method=method)
        tree.arm([sem], "sem", method=method)
        tree.arm([linear], "linear", method=method)
    tree.arm([70, 71], method="dino", device="cuda")
    tree.arm([72, 73], "sem", method="dino")  # no gain, so no pair
    tree.write()
    (table,) = tables(tree.root)
    better = {(line[0].text, line[1].brief): [cell.better for cell in line].count(True) for line in table.body}
    assert {arm for arm, count in better.items() if count} == {("byol", "sem"), ("simclr", "none")}
    assert set(better.values()) == {0, 1}  # not again in the column of h
    assert not replace(table, body=[line for line in table.body if line[0].text == "dino"]).better


def test_a_part_of_a_wide_table_leaves_out_lines_without_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (relevance,) = [table for table in record(RECORDS / "default") if table.name == "relevance"]
    parts = [lines for lines in blocks(compact([relevance], [], notes=True)) if any("---" in line for line in lines)]
    pooled = [any(line.startswith("pooled") for line in lines) for lines in parts]
    assert len(parts) > 1 and True in pooled and False in pooled  # K has no gains, neighbours have
