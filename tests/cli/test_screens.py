"""What commands print fits the terminal; what goes to a file or program is not wrapped."""

import pytest

from sem_bench.base import screen
from sem_bench.cli import main
from tests.helpers.places import REPOSITORY

COMMANDS = (
    "table docs/records/default",
    "table docs/records/default --table robustness",
    "table docs/records/decomposition_cifar100 --table all",
    "table docs/records/sweeps",
    "verify docs/records/default",
    "plan suite.yaml",
    "plan suites/cifar100.yaml --on cpu_2cores",
    "list suites",
    "list methods",
    "list methods byol",
    "list datasets",
    "list evaluations probe",
    "list keys",
    "doctor",
    *(f"{command} --help" for command in ("run", "plan", "sweep", "table", "record")),
)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_lines_fit(
    command: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("COLUMNS", str(columns))
    try:
        assert main(command.split()) == 0
    except SystemExit as ended:
        assert ended.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1 and [line for line in lines if len(line) > columns] == []


def test_what_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "one two three " * 10
    monkeypatch.delenv("COLUMNS", raising=False)
    assert screen.wrapped(text.strip()) == text.strip()  # here nothing is a terminal
    monkeypatch.setenv("COLUMNS", "50")
    first, *others = screen.wrapped(text, indent=4).splitlines()
    assert len(first) <= 50 and all(line.startswith("    ") for line in others)
    assert " ".join([first, *map(str.strip, others)]) == text.strip()
    assert screen.listed([("a", "short"), ("longer", "")]) == "a       short\nlonger"
    monkeypatch.setenv("COLUMNS", "3")
    assert screen.width() == screen.LEAST
