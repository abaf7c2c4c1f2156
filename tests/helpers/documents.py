"""The documents, and the output that they show."""

import re
from pathlib import Path

from tests.helpers.places import REPOSITORY

DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


PACKAGE = "-m sem_bench "
SHOWN = re.compile(r"(<!-- output: python (.+?) -->\n```text\n)(.*?)(```)", re.DOTALL)
FILES = re.compile(r"(<!-- file: (\S+) -->\n```\w+\n)(.*?)(```)", re.DOTALL)


def with_files(text: str) -> str:
    """A document with the files that it shows as they are today."""
    return FILES.sub(lambda match: match[1] + (REPOSITORY / match[2]).read_text() + match[4], text)


def shown() -> list[tuple[str, str, str]]:
    """(document, command, output); a command of the package without `-m sem_bench`."""
    return [
        (document.name, match[2].removeprefix(PACKAGE), match[3])
        for document in DOCUMENTS
        for match in SHOWN.finditer(document.read_text())
    ]


def written(document: str, folder: Path) -> set[str]:
    """The files that a document shows, each under the name in its first line, put into a folder."""
    text = (REPOSITORY / "docs" / document).read_text()
    files = dict(re.findall(r"```(?:yaml|python)\n# ([\w/]+\.(?:yaml|py))\n(.*?)```", text, re.DOTALL))
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return set(files)
