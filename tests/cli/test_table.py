"""`table --out`, and commands over damaged results."""

import json
from pathlib import Path

import pytest

from sem_bench import analysis
from sem_bench.cli import main
from sem_bench.report import render
from tests.helpers.places import REPOSITORY
from tests.helpers.results import Tree
from tests.helpers.toy import write

MINE = """
from sem_bench.evaluation import Evaluation, LabelledData, Metric, Model, Table
from sem_bench.report.figures.panels import panels_of


class Job(Model):
    data: LabelledData


class Mine(Evaluation):
    name, summary, figure = "mine", "a user's evaluation", "mine"
    Settings, Job = Model, Job
    table = Table(name="mine", metrics=[Metric(name="top1")])

    def jobs(self, asked, arm, seed, before):
        yield from ()

    def run(self, job, workspace):
        return {"rows": []}

    def draw(self, rows, look):
        figure, _ = panels_of(rows[0], "Mine", grid=(1, 1), size=(2, 2))
        yield "", figure
"""


def test_own_evaluations_draw_and_faulty_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = Tree(tmp_path / "results")
    tree.arm([50])
    tree.arm([53], "sem")
    tree.write()
    write(tmp_path, "evaluations/mine.py", MINE)
    write(tmp_path, "evaluations/other.py", "import nothing_of_that_name\n")
    assert main(["table", "results", "--out", "out"]) == 0
    output = capsys.readouterr()
    (line,) = output.err.splitlines()
    assert output.out == "" and line.startswith("no figures of it: evaluations/other.py:1: ModuleNotFoundError")
    assert {path.name for path in Path("out").glob("*.png")} == {"gains.png", "mine.png"}


DAMAGE: list[object] = [3, [], {"provenance": 3}, {"provenance": {"seconds": "x"}}, {"config": 4}, {"metrics": [1]}]


def test_damaged_results_never_end_a_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml", "--set", "pretrain.epochs=0", "--set", "grid.embeddings={none: {}}"]) == 0
    options = ["suite.yaml", "--set", "pretrain.epochs=0", "--set", "grid.embeddings={none: {}}"]
    capsys.readouterr()
    (path,) = (folder / "results/knn").glob("*/result.json")
    whole = json.loads(path.read_text())
    texts = [json.dumps(whole | part if isinstance(part, dict) else part) for part in DAMAGE]
    for text in [*texts, "[" * 200_000]:
        path.write_text(text)
        assert main(["plan", *options]) == 0
        assert "3 done, 1 void" in capsys.readouterr().out
        assert main(["table", "results"]) == 0
        assert "unreadable: seed 0" in capsys.readouterr().out
        assert main(["record", "results", "kept"]) == 2
        assert "1 of 4 jobs of suite 'tiny' have no result, such as knn/" in capsys.readouterr().err
    path.write_text(json.dumps(whole | {"provenance": whole["provenance"] | {"data": {"train": 3}}}))
    assert main(["plan", *options]) == 0
    manifest = folder / "results/suites/tiny.json"
    manifest.unlink()
    manifest.mkdir()
    for command in (["table", "results"], ["record", "results", "kept"]):
        assert main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "tiny.json: a folder where a suite's manifest should be; move it away" in line
        capsys.readouterr()


QUICK = str(REPOSITORY / "docs/records/quick")


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["table", QUICK, *options]) == 0
    return capsys.readouterr().out


def test_all_tables_or_one(capsys: pytest.CaptureFixture[str]) -> None:
    found = analysis.read(Path(QUICK))
    tables = analysis.text_tables(found.rows, found.layouts)
    robustness = [table for table in tables if table.name == "robustness"]
    assert len(tables) == 7 and len(robustness) == 2
    assert printed(capsys, "--table", "all") == render.compact(tables) + "\n"
    assert printed(capsys, "--table", "all", "--notes") == render.compact(tables, notes=True) + "\n"
    assert printed(capsys, "--table", "robustness") == render.compact(robustness) + "\n"
    assert printed(capsys, "--table", "all", "--format", "github") == render.render(tables, found.rows, "github") + "\n"


def test_what_stands_without_options(capsys: pytest.CaptureFixture[str]) -> None:
    """The compact form, short; with --notes more below the first table; the long one is asked for."""
    short, noted, long = (printed(capsys, *options) for options in ([], ["--notes"], ["--format", "github"]))
    assert (
        "### " not in short and long.count("### ") == 7 and len(short.splitlines()) < 40 < 200 < len(long.splitlines())
    )
    assert "+2.6 {+0.1, +5.0}" in noted and "h: the backbone feature of the same network" in noted
    assert "{" not in short and "h: the backbone" not in short
    assert short.splitlines()[-7:] == noted.splitlines()[-7:]  # a line for each further table


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--table", "transfr"], "--table: no table 'transfr' here; did you mean 'transfer'?"),
        (["--table", "al"], "--table: no table 'al' here; did you mean 'all'?"),
        (["--notes", "--format", "github"], "--notes: tables of other formats, and in files, have all notes"),
        (["--notes", "--out", "there"], "--notes: tables of other formats, and in files, have all notes"),
        (["--notes", "--summary"], "--summary prints text, or JSON with --format json"),
    ],
)
def test_mistakes_are_one_line(options: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", QUICK, *options]) == 2
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", f"{line}\n")
