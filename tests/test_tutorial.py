"""docs/tutorial.md, step by step, as a newcomer types it."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sem_bench.cli import main
from tests.helpers.documents import written
from tests.helpers.places import REPOSITORY

TEXT = (REPOSITORY / "docs/tutorial.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)


def test_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert written("tutorial.md", tmp_path) == {"first.yaml", "draw.py", "methods/agree.yaml", "methods/agree.py"}
    monkeypatch.chdir(tmp_path)
    said = []
    for command in [line for block in BLOCKS for line in block.splitlines()]:
        first, *words = shlex.split(command)
        assert first == "python"
        if words[:2] == ["-m", "sem_bench"]:
            assert main(words[2:]) == 0, command
            printed = capsys.readouterr()
            said.append(printed.out + printed.err)
        else:
            subprocess.run([sys.executable, *words], check=True)
    assert "0 done, 6 reused" in said[2]  # the second run
    assert all(name in said[3] for name in ("pretraining", "trained layer", "layer"))
    assert "birds: 192 train, 48 test" in "".join(said)
    assert "two views of an image agree" in "".join(said)
    assert "3 seeds" in said[-2] and "agree" in said[-2]
    assert (tmp_path / "birds.html").stat().st_size > 100_000
