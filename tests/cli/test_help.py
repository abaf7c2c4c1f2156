"""What the program says of itself."""

import pytest

from sem_bench import __version__
from sem_bench.cli import main

COMMANDS = ("run", "plan", "sweep", "table", "report", "record", "verify", "list", "doctor")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--version") == f"sem-bench {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_that_it_takes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from sem_bench.cli.parser import parser

    example = said(capsys, command, "--help").splitlines()[-1]
    assert example.startswith(f"example: python -m sem_bench {command}")
    assert parser().parse_args(example.split()[4:]).command


def test_without_a_command_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and all(f"    {command} " in printed.err for command in COMMANDS)
