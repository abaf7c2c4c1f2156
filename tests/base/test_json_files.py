"""JSON files that are read once, for as long as they are the same."""

from pathlib import Path
from typing import Any

import pytest

from sem_bench.base import files
from sem_bench.base.files import JsonFiles, write_json


def test_a_file_is_read_again_when_it_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    real = files.read_json

    def noted(path: Path) -> Any:
        read.append(path)
        return real(path)

    monkeypatch.setattr(files, "read_json", noted)
    known, path = JsonFiles(), tmp_path / "result.json"
    assert known.read(path) is None and not read
    write_json(path, {"value": 1})
    assert [known.read(path) for _ in range(3)] == [{"value": 1}] * 3 and read == [path]
    write_json(path, {"value": 2})  # as long, and perhaps in the same tick of the clock
    assert known.read(path) == {"value": 2} and read == [path] * 2
    path.write_text('{"val')
    assert known.read(path) is None
    path.unlink()
    assert known.read(path) is None
