"""The documents, and the output that they show."""

import re

from tests.helpers.places import REPOSITORY

DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


SHOWN = re.compile(r"(<!-- output: python -m sem_bench (.+?) -->\n```text\n)(.*?)(```)", re.DOTALL)


def shown() -> list[tuple[str, str, str]]:
    return [
        (document.name, match[2], match[3]) for document in DOCUMENTS for match in SHOWN.finditer(document.read_text())
    ]
