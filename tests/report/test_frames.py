"""What a notebook makes of results: data frames, texts of tables, figures."""

from pathlib import Path
from typing import Any

import pytest

import sem_bench
from sem_bench.cli import main
from sem_bench.errors import UserError
from tests.helpers.places import REPOSITORY

RECORD = REPOSITORY / "docs/records/byol_photographs"
Lines = list[dict[str, Any]]


def lines(library: Any, **options: Any) -> Lines:
    frame = sem_bench.load(RECORD).to_dataframe(library, **options)
    found: Lines = frame.to_dicts() if library == "polars" else frame.to_dict("records")
    return found


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_line_a_row(library: str) -> None:
    found, rows = lines(library), sem_bench.load(RECORD)
    assert len(found) == len(rows) > 50
    for line, row in zip(found, rows, strict=True):
        for name in ("table", "method", "embedding", "column", "metric", "representation", "mean", "n"):
            assert line[name] == getattr(row, name)
    (sem,) = [
        line for line in found
        if (line["embedding"], line["column"], line["metric"], line["representation"])
        == ("sem", "100%", "top1_fixed_tau", "sem") and line["table"] == "comparison"
    ]  # fmt: skip
    assert (sem["embedding_L"], sem["embedding_V"], sem["embedding_tau"]) == (256, 8, 1)
    assert round(sem["gain"], 1) == 3.4


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_line_a_seed(library: str) -> None:
    """Their mean is the row's."""
    found = lines(library, per_seed=True)
    rows = [row for row in sem_bench.load(RECORD) if row.mean is not None]
    assert len(found) == sum(row.n for row in rows)
    assert {line["seed"] for line in found} == {0, 1, 2}
    at = 0
    for row in rows:
        own = found[at : at + row.n]
        at += row.n
        assert sum(line["value"] for line in own) / row.n == pytest.approx(row.mean)
        gains = [line["gain"] for line in own if line["gain"] == line["gain"] and line["gain"] is not None]
        if row.gain is not None:
            assert sum(gains) / len(gains) == pytest.approx(row.gain)
    assert "mean" not in found[0] and "std" not in found[0]


def test_tables_are_those_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    for format in ("github", "latex"):
        texts = sem_bench.load(RECORD).tables(format)
        assert list(texts) == ["comparison", "robustness", "transfer", "relevance", "entropy", "expressivity"]
        for name, text in texts.items():
            assert main(["table", str(RECORD), "--table", name, "--format", format]) == 0
            assert capsys.readouterr().out == text + "\n"


def test_a_figure_by_its_name(tmp_path: Path) -> None:
    results = sem_bench.load(RECORD)
    figure = results.figure("gains")
    figure.savefig(tmp_path / "gains.pdf")
    assert (tmp_path / "gains.pdf").read_bytes().startswith(b"%PDF")
    assert any("gain" in axis.get_xlabel() for axis in figure.axes)
    with pytest.raises(UserError, match="no figure 'gain' here; did you mean 'gains'\\?; there are gains, "):
        results.figure("gain")
