"""The benchmarks run, at tiny sizes, and say what their rows promise; how fast anything is, no test says."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from benchmarks.run import main
from tests.helpers.places import REPOSITORY

NUMBERS = ("median_s", "spread", "ratio_vs_peer", "ratio_vs_floor", "images_per_s")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "benchmarks/run.py", "--quick", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    done = run("--json", "--only", "sem", "optimizer", "probe", "knn", "decode", "pretrain", "shares")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_rows(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert (row["threads"], row["device"]) == (1, "cpu")
        assert all(row[name] is None or row[name] >= 0 for name in NUMBERS)
        assert row["median_s"] or row["note"]
        assert row["repeats"] in (1, 2)
    for name in ("sem", "optimizer", "probe", "knn", "decode", "pretrain", "shares"):
        assert any(row["name"] == name and row["role"] == "ours" and row["median_s"] for row in rows)


def test_ratios(rows: list[dict[str, Any]]) -> None:
    """Of two turns the median ratio lies between those of the extremes that the medians and spreads allow."""
    ours, peer, floor = (row for row in rows if row["name"] == "sem" and row["case"].startswith("forward, "))
    assert peer["ratio_vs_peer"] is floor["ratio_vs_peer"] is floor["ratio_vs_floor"] is None
    assert ours["ratio_vs_peer"] == pytest.approx(peer["median_s"] / ours["median_s"], rel=0.5)
    assert ours["ratio_vs_floor"] == pytest.approx(floor["median_s"] / ours["median_s"], rel=0.5)
    assert ours["images_per_s"] == pytest.approx(8 / ours["median_s"])


def test_the_decoders_agree(rows: list[dict[str, Any]]) -> None:
    """torchvision.io gives Pillow's pixels, or next to them; its own resize rounds in another way."""
    notes = [row["note"] for row in rows if row["case"].startswith("JPEG") and "torchvision" in row["who"]]
    assert [note.startswith(("pixels differ by at most 0 ", "pixels differ by at most 1 ")) for note in notes] == [
        True
    ] * 2


def test_what_was_kept_is_shown(rows: list[dict[str, Any]], tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (0, 1):
        (tmp_path / f"{number}.json").write_text(json.dumps(rows[number::2]))
    assert main(["--show", str(tmp_path / "0.json"), str(tmp_path / "1.json"), "--only", "knn", "sem"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("### sem\n") and "\n### knn\n" in said and "### probe" not in said
    assert said.count("\n| ") == 2 + sum(row["name"] in ("knn", "sem") for row in rows)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu() -> None:
    done = run("--device", "cuda", "--only", "sem")
    assert done.returncode == 2 and "torch finds no CUDA device" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--repeats", "-1"], "'-1' is no number from 1 on"),
        (["--repeats", "0"], "'0' is no number from 1 on"),
        (["--threads", "-3"], "'-3' is no number from 1 on"),
        (["--show", "absent.json"], "--show absent.json: No such file or directory"),
        (["--show", "README.md"], "--show README.md: not what --json wrote"),
        (["--only", "sem", "--case", "zzz"], "--case 'zzz': no case of sem has it in its name"),
    ],
)
def test_mistakes(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(expected)
