"""A hook of mkdocs: README is the home page, and links to files beside the documents become their names.

A link to a file that is not there is said, which fails a strict build.
"""

import logging
import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
DOCS = Path(__file__).parent
log = logging.getLogger("mkdocs.hooks.site_links")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The text of a page, as the site can show it."""
    source = DOCS.parent / "README.md" if page.file.src_uri == "index.md" else DOCS / page.file.src_uri
    text = source.read_text() if source.name == "README.md" and source.parent == DOCS.parent else markdown
    return LINK.sub(lambda match: _link(match, source, page.file.src_uri), text)


def _link(match: re.Match[str], source: Path, place: str) -> str:
    image, label, path, anchor = match[1], match[2], match[3], match[4] or ""
    target = (source.parent / path).resolve()
    if not target.exists():
        log.warning("%s: no such file: %s", source.name, path)
    inside = target.is_relative_to(DOCS) and (target.suffix != ".md" or target.name != "index.md")
    if inside and target.is_file() and (image or target.suffix == ".md"):
        above = "../" * place.count("/")
        return f"{image}[{label}]({above}{target.relative_to(DOCS)}{anchor})"
    if target == DOCS.parent / "README.md":
        return f"[{label}]({'../' * place.count('/')}index.md{anchor})"
    return f"{label} (`{target.relative_to(DOCS.parent)}`)" if label.strip("`") not in str(target) else f"`{label}`"
