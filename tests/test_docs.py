"""The output shown in the docs is what the commands print today. `python tests/test_docs.py` writes it anew."""

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from sem_bench.cli import main

REPOSITORY = Path(__file__).parent.parent
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
SHOWN = re.compile(r"(<!-- output: python -m sem_bench (.+?) -->\n```text\n)(.*?)(\n```)", re.DOTALL)


def output(command: str) -> str:
    """What a command prints, run from the repository's folder."""
    printed = io.StringIO()
    with contextlib.chdir(REPOSITORY), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main(shlex.split(command))
    return printed.getvalue().rstrip("\n")


def shown() -> list[tuple[str, str, str]]:
    return [
        (document.name, match[2], match[3]) for document in DOCUMENTS for match in SHOWN.finditer(document.read_text())
    ]


@pytest.mark.parametrize(("document", "command", "text"), shown(), ids=[f"{d}: {c}" for d, c, _ in shown()])
def test_shown_output(document: str, command: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert output(command) == text


def test_the_readme_shows_the_main_things() -> None:
    commands = {command for document, command, _ in shown() if document == "README.md"}
    assert {"--help", "list methods", "list datasets", "table docs/records/quick"} <= commands


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def rewrite() -> None:
    """Put today's output into the documents."""
    for document in DOCUMENTS:
        text = document.read_text()
        document.write_text(SHOWN.sub(lambda match: match[1] + output(match[2]) + match[4], text))


if __name__ == "__main__":
    import os

    os.environ["COLUMNS"] = "100"
    sys.path.insert(0, str(REPOSITORY))
    rewrite()
