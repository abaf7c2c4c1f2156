"""`sem_bench.run`: the command, called from Python."""

import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import sem_bench
from sem_bench.cli import main
from sem_bench.errors import UserError
from tests.helpers.commands import BROKEN_LOSS, FRAGILE
from tests.helpers.toy import write


def test_it_runs_and_gives_what_load_gives(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the options of the command; tables are written, not printed, and signals mean what they meant."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"results": "here", "set": ["pretrain.epochs=1", "seeds=[7]"], "only": ["knn/"]}
    found = sem_bench.run("suite.yaml", **options)
    printed = capsys.readouterr()
    assert printed.out == "" and "4 done, 0 reused, 0 failed" in printed.err
    assert list(found) == list(sem_bench.load("here")) and found.failed == []
    kept = [row for row in found if row.column == "kNN" and row.mean is not None]
    assert {row.embedding for row in kept} == {"none", "sem"} and {row.by_seed[0][0] for row in kept} == {7}
    assert {row.epochs for row in found} == {1} and Path("here/tables/tiny.html").is_file()
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    sem_bench.run(Path("suite.yaml"), **options)
    assert "0 done, 4 reused" in capsys.readouterr().err


def test_quiet_says_what_failed_and_what_came_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert re.fullmatch(r"8 done, 0 reused, 0 failed, 0 blocked in \S+ s\n", printed.err)
    assert main(["table", "results", "--summary"]) == 0
    assert printed.out == capsys.readouterr().out + "\n"
    write(folder, "methods/fragile.yaml", FRAGILE)
    write(folder, "methods/fragile.py", BROKEN_LOSS)
    write(folder, "break", "")
    sem_bench.run("suite.yaml", set=["grid.methods=[fragile]"], quiet=True)
    *lines, last = capsys.readouterr().err.splitlines()
    assert "failed in" in lines[0] and "it broke" in lines[0] and ", 1 failed, 3 blocked in" in last
    assert all("blocked" in line for line in lines[1:]) and len(lines) == 4


def test_in_a_thread(folder: Path) -> None:
    """Where Python allows no signal handlers."""
    found: list[sem_bench.Row] = []
    arguments: dict[str, Any] = {"only": ["pretrain/simclr-none"], "set": "pretrain.epochs=0"}
    thread = threading.Thread(target=lambda: found.extend(sem_bench.run("suite.yaml", **arguments)))
    thread.start()
    thread.join()
    assert found and all(row.mean is None for row in found)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"suite": "siute.yaml"}, "siute.yaml: no such file"),
        ({"set": ["pretrain.epochs=many"]}, "--set pretrain.epochs=many"),
        ({"only": ["byol"]}, "--only 'byol': no job's name contains it"),
        ({"jobs": 0}, "sem_bench run: argument --jobs: must be a whole number above 0, found '0'"),
        ({"device": "gpu"}, "sem_bench run: argument --device: invalid choice: 'gpu'"),
        ({"log": ["tensorbord"]}, "sem_bench run: argument --log: invalid choice: 'tensorbord'"),
        ({"address": "auto"}, "--address needs --executor ray"),
    ],
)
def test_mistakes(folder: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        sem_bench.run(**{"suite": "suite.yaml"} | options)
    assert said in str(error.value)
    assert capsys.readouterr().err == "" and not list(Path("results").glob("pretrain/*"))


def test_failed_jobs_are_named(folder: Path) -> None:
    """The others ran."""
    write(folder, "methods/fragile.yaml", FRAGILE)
    write(folder, "methods/fragile.py", BROKEN_LOSS)
    write(folder, "break", "")
    found = sem_bench.run("suite.yaml", set=["grid.methods=[fragile]", "evaluate={knn: {k: 5}}"])
    assert len(found.failed) == 2
    assert found.failed[0].startswith("pretrain/fragile-none-") and "error.txt" in found.failed[0]
    assert found.failed[1].startswith("knn/fragile-none-") and found.failed[1].endswith(": blocked by a failed input")
    assert {row.embedding for row in found if row.mean is not None} == {"sem"}
