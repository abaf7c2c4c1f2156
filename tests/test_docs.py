"""The output shown in the docs is what the commands print today. `python tests/test_docs.py` writes it anew."""

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sem_bench.cards import Library, load_code
from sem_bench.cli import main

REPOSITORY = Path(__file__).parent.parent
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
SHOWN = re.compile(r"(<!-- output: python -m sem_bench (.+?) -->\n```text\n)(.*?)(```)", re.DOTALL)


def output(command: str) -> str:
    """What a command prints, run from the repository's folder."""
    printed = io.StringIO()
    with contextlib.chdir(REPOSITORY), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main(shlex.split(command))
    return printed.getvalue().rstrip("\n") + "\n"


def shown() -> list[tuple[str, str, str]]:
    return [
        (document.name, match[2], match[3]) for document in DOCUMENTS for match in SHOWN.finditer(document.read_text())
    ]


@pytest.mark.parametrize(("document", "command", "text"), shown(), ids=[f"{d}: {c}" for d, c, _ in shown()])
def test_shown_output(document: str, command: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    assert output(command) == text


def test_the_readme_shows_the_main_things() -> None:
    commands = {command for document, command, _ in shown() if document == "README.md"}
    assert {"--help", "list methods", "list datasets", "table docs/records/quick"} <= commands


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def contact_sheet(path: Path) -> None:
    """What the default suite's images look like."""
    card = Library(REPOSITORY).dataset("shapes")
    assert card.content.source.type == "python"
    load_code(card.code).contact_sheet(path, columns=8, zoom=1, **card.content.source.arguments)


def test_the_contact_sheet_is_that_of_the_card(tmp_path: Path) -> None:
    contact_sheet(tmp_path / "sheet.png")
    mine, shown = (np.asarray(Image.open(path)) for path in (tmp_path / "sheet.png", REPOSITORY / "docs/shapes.png"))
    assert mine.shape == shown.shape
    assert np.abs(mine.astype(int) - shown).max() <= 2  # another processor may round differently


def rewrite() -> None:
    """Put today's output into the documents."""
    contact_sheet(REPOSITORY / "docs/shapes.png")
    for document in DOCUMENTS:
        text = document.read_text()
        document.write_text(SHOWN.sub(lambda match: match[1] + output(match[2]) + match[4], text))


if __name__ == "__main__":
    import os

    os.environ["COLUMNS"] = "100"
    sys.path.insert(0, str(REPOSITORY))
    rewrite()
