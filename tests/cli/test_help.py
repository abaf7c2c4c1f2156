"""What the program says of itself."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from sem_bench import __version__
from sem_bench.cli import main
from sem_bench.config.meanings import meanings

COMMANDS = ("run", "plan", "sweep", "table", "report", "record", "export", "verify", "list", "doctor", "card")


class Base(BaseModel):
    first: int = 1  # of the base
    plain: str = "#"


class Below(Base):
    # two lines
    # above
    second: int
    third: int = 3  # behind, in brackets


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


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_fits_80_columns(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, said(capsys, command, "--help").splitlines())) <= 80


def test_keys_with_type_default_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "keys", "suite"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "seeds list of whole number from 0 needed every arm is trained with each" in lines
    assert "k whole number from 1 20 neighbours" in lines  # of an evaluation's settings
    assert "lr number above 0 -" in lines
    assert main(["list", "keys"]) == 0
    everything = capsys.readouterr().out
    assert all(f"\n{key} " in everything for key in ("image_size", "recipes", "parameters", "features", "sampler"))
    assert main(["list", "keys", "sute"]) == 2
    assert capsys.readouterr().err == "list keys: no 'sute'; did you mean 'suite'?\n"


def test_an_evaluation_is_described_as_its_keys_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "evaluations", "knn"]) == 0
    first, keys = capsys.readouterr().out.split("\n\n")
    assert main(["list", "keys", "suite"]) == 0
    assert first == "knn\naccuracy of weighted nearest neighbours" and keys in capsys.readouterr().out


def test_suites_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of the current folder before the package's of that name, with the first sentence of each."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites/mine.yaml").write_text("# Does it help\n# us? Perhaps.\nname: mine\n")
    (tmp_path / "suite.yaml").write_text("name: mine\n")
    assert main(["list", "suites"]) == 0
    parts = (line.partition(" ") for line in capsys.readouterr().out.splitlines())
    lines = {name: summary.strip() for name, _, summary in parts}
    assert lines["suites/mine.yaml"] == "Does it help us?" and lines["suite.yaml"] == ""
    assert lines["suites/cifar10.yaml"] == "Does SEM help BYOL and SimCLR on CIFAR-10?"
    assert main(["list", "suites", "mine"]) == 2
    assert capsys.readouterr().err == "list suites: `plan mine` shows one\n"


def test_meanings_are_the_comments_beside_the_fields() -> None:
    assert meanings(Below) == {"first": "of the base", "second": "two lines above", "third": "behind, in brackets"}


def test_it_completes_commands_in_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    script = said(capsys, "--print-completion", "bash")
    assert all(command in script for command in COMMANDS) and "--rerun" in script


def test_without_a_command_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and all(f"    {command} " in printed.err for command in COMMANDS)


@pytest.mark.parametrize(
    ("what", "name", "lines"),
    [
        ("methods", "byol", ["byol: methods/byol.yaml", "source: Grill et al.", "cifar_resnet18", "momentum: 0.99"]),
        ("datasets", "imagenet", ["splits: {train: 1281167, test: 50000}", "'... 1,000 in all'", "path: imagenet"]),
        ("backbones", "resnet10w16s2", ["backbones/resnet10w16s2.yaml", "arguments: {stride: 2}"]),
        ("embeddings", "sem", ["class: SimplicialEmbedding", "groups: [L, V]"]),
        ("evaluations", "probe", ["fractions", "[1.0, 0.01]", "sketch"]),
        ("sweeps", "tau", ["tau: {low: 0.03, high: 5, log: true}"]),
    ],
)
def test_one_of_a_list(what: str, name: str, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what, name]) == 0
    printed = capsys.readouterr().out
    assert all(line in printed for line in lines), printed


@pytest.mark.parametrize("what", ["methods", "datasets", "backbones", "embeddings", "evaluations", "sweeps"])
def test_a_name_that_is_not_listed(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what, "nothing_like_it"]) == 2
    assert capsys.readouterr().err.startswith(f"list {what}: no 'nothing_like_it'")


def test_every_name_of_every_list_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    for what in ("methods", "datasets", "embeddings", "evaluations", "sweeps"):
        assert main(["list", what]) == 0
        for name in [line.split()[0] for line in capsys.readouterr().out.splitlines()]:
            assert main(["list", what, name]) == 0, name
            assert name in capsys.readouterr().out
