"""Files of a results folder at the door: a damaged one is a hole or one line, a mistake of ours is neither."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sem_bench import analysis
from sem_bench.errors import UserError
from sem_bench.report import pooled_rows, results
from sem_bench.report.layout import Metric, Remark
from sem_bench.report.row import Row
from sem_bench.sweep import table as sweep_table
from tests.helpers.places import REPOSITORY
from tests.helpers.results import Json, Tree, figure

DEEP = "[" * 200_000


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "results")


def found(tree: Tree) -> list[Row]:
    return analysis.read(tree.write()).rows


def change(path: Path, **parts: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))


@pytest.mark.parametrize(
    "parts",
    [
        *({"provenance": 3}, {"provenance": []}, {"provenance": {"device": 3}}, {"provenance": {"files": [1]}}),
        *({"provenance": {"seconds": "x"}}, {"provenance": {"data": {"train": 5}}}, {"config": []}, {"config": 1e999}),
        *({"metrics": {"rows": 3}}, {"metrics": {"rows": [], "notes": 3}}, {"metrics": {"rows": [], "notes": [[]]}}),
        *({"metrics": {"rows": [figure(1e300, "h")]}}, {"metrics": {"rows": [figure(5, "h") | {"tau_d": "x"}]}}),
    ],
)
def test_wrong_types_anywhere_are_a_hole(tree: Tree, parts: Json) -> None:
    folders = tree.arm([50, 52])
    change(folders[1] / "result.json", **parts)
    (row,) = found(tree)
    assert (row.mean, row.notes) == (None, ["unreadable: seed 1"])


@pytest.mark.parametrize("text", [DEEP, '{"schema": 1, "config": ' + DEEP, "[" * 900 + "]" * 900])
def test_deep_nesting_is_a_hole(tree: Tree, text: str) -> None:
    folders = tree.arm([50, 52])
    (folders[1] / "result.json").write_text(text)
    assert [row.notes for row in found(tree)] == [["unreadable: seed 1"]]


def test_a_folder_instead_of_a_result_is_a_hole(tree: Tree) -> None:
    folders = tree.arm([50, 52])
    (folders[1] / "result.json").unlink()
    (folders[1] / "result.json").mkdir()
    assert [row.notes for row in found(tree)] == [["unreadable: seed 1"]]


@pytest.mark.parametrize("null", ["x", [1], {"a": 1}])
def test_an_extra_that_is_reckoned_with_is_a_number(tree: Tree, null: object) -> None:
    for number, own in enumerate((0.1, null)):
        line = figure(0.5, "h", column="1", metric="relevance_per_class", neighbours=2.0) | {"null": own}
        tree.job([line], seed=number, kind="relevance", columns=["1"])
    assert [row.notes for row in found(tree)] == [["unreadable: seed 1"]]


def test_extras_that_do_not_fit_together_have_no_mean(tree: Tree) -> None:
    for seed, histogram in enumerate(([1, 2], {"a": 1}, None, [1, 2, 3])):
        line = figure(0.5, "sem", column="train", metric="entropy_share", histogram=histogram)
        tree.job([line], seed=seed, embedding="sem", kind="entropy", columns=["train"])
    (row,) = found(tree)
    assert (row.mean, row.extra) == (0.5, {"histogram": None})


@pytest.mark.parametrize("made", [3, {"device": 3}, {"device": "cpu", "precision": ["bf16"]}])
def test_a_pretraining_of_unknown_make_leaves_no_gain(tree: Tree, made: object) -> None:
    tree.arm([50])
    tree.arm([53], "sem")
    for path in (tree.root / "pretrain").glob("*sem*/result.json"):
        change(path, provenance=made)
    assert [row.gain_notes for row in found(tree)] == [[], ["unknown against cpu bf16: no gain"]]


def job(tree: Tree, **parts: Any) -> list[Json]:
    return [*tree.jobs[:-1], tree.jobs[-1] | parts]


@pytest.mark.parametrize(
    "parts",
    [
        *({"seed": "x"}, {"digest": "../../x"}, {"kind": ".."}, {"slug": "a/b"}, {"inputs": {}}, {"inputs": 3}),
        *({"embedding_config": {}}, {"embedding_config": {"type": 3}}, {"ip": 3}, {"owes": 3}, {"owes": [["a"]]}),
        *({"columns": 3}, {"epochs": None}, {"fraction": "x"}, {"kind": "expressivity", "owes": None}),
    ],
)
def test_an_entry_of_wrong_type_is_one_line(tree: Tree, parts: Json) -> None:
    tree.arm([50])
    path = tree.write() / "suites" / "quick.json"
    change(path, jobs=job(tree, **parts))
    with pytest.raises(UserError, match=r"quick\.json: damaged, or written by another version") as error:
        analysis.read(tree.root)
    assert len(error.value.problems) == 1


@pytest.mark.parametrize("text", [DEEP, "[]", '{"schema": 1, "jobs": ' + DEEP, None])
def test_a_manifest_that_is_none_is_one_line(tree: Tree, text: str | None) -> None:
    tree.arm([50])
    path = tree.write() / "suites" / "quick.json"
    path.unlink()
    path.mkdir() if text is None else path.write_text(text)
    with pytest.raises(UserError, match=r"quick\.json: (damaged|a folder where)"):
        analysis.read(tree.root)


def broken(*_: object, **__: object) -> None:
    raise KeyError("our own mistake")


@pytest.mark.parametrize(("module", "name"), [(results, "_key"), (results, "_setting"), (pooled_rows, "_mean")])
def test_a_mistake_of_ours_is_no_damaged_file(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    tree.job([figure(0.5, "h", column="1", metric="relevance", null=0.1, neighbours=1)], seed=0, kind="relevance")
    monkeypatch.setattr(module, name, broken)
    tree.jobs[-1]["columns"] = ["1"]
    with pytest.raises(KeyError, match="our own mistake"):
        found(tree)


def test_a_mistake_of_ours_is_no_damaged_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_table, "_row", broken)
    with pytest.raises(KeyError, match="our own mistake"):
        analysis.read(REPOSITORY / "docs/records/sweeps")


def test_what_manifests_of_today_say_needs_no_type(tree: Tree) -> None:
    """The representation and the marker of an embedding that this version does not know."""
    tree.job([figure(50, "code")], seed=0, embedding="mine", embedding_config={"type": "quantised"})
    tree.jobs[-1] |= {"representation": "code", "marker": "*", "owes": [], "kind": "knn"}
    (tree.root / "probe").rename(tree.root / "knn")
    path = next((tree.root / "knn").glob("*/result.json"))
    change(path, kind="knn")
    tree.write_as_it_is()
    (row,) = analysis.read(tree.root).rows
    assert (row.main, row.marker, row.mean) == ("code", "*", 50)
    assert not {"main", "marker", "apart", "twin", "gain_notes", "choices"} & row.as_json().keys()


@pytest.mark.parametrize("name", ["sem", "sem {:g}"])
def test_temperatures_stay_apart_where_a_table_has_a_line_for_each(tree: Tree, name: str) -> None:
    """Results of today say the temperature in the representation, too."""
    for seed in (0, 1):
        lines = [figure(50 + tau, name.format(tau), column="1%", metric="test", tau_d=tau) for tau in (0.1, 10.0)]
        tree.job([*lines, figure(40, "h", column="1%", metric="test")], seed=seed, embedding="sem", kind="expressivity")
        tree.jobs[-1] |= {"columns": ["1%"], "owes": [["1%", 1.0, "test", "h"]]}
    read = analysis.read(tree.write())
    assert [(row.representation, row.tau_d, row.mean, row.n) for row in read.rows] == [
        *(("sem", 0.1, 50.1, 2), ("sem", 10.0, 60, 2), ("h", None, 40, 2)),
    ]
    (table,) = analysis.text_tables(read.rows, read.layouts)
    assert [line[1].text.partition(": ")[2] for line in table.body] == ["sem at 0.1", "sem at 10", "h"]


def test_a_layout_names_what_there_is() -> None:
    """A user's mistake shows where the table is said, and not when it is printed."""
    with pytest.raises(ValidationError, match=r"'\{columns\} train' can name \{column\} alone"):
        Metric(name="train", header="{columns} train")
    with pytest.raises(ValidationError, match=r"can name \{value\} alone"):
        Remark(field="images", text="{images} images")
