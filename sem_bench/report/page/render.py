"""A page as HTML. The template escapes every text; only figures, style and script go in as they are."""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sem_bench.report.page.content import Page
from sem_bench.report.page.curves import HEIGHT, WIDTH

HERE = Path(__file__).parent


def render(page: Page) -> str:
    """The text of the page's file."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = Markup  # of a figure, which sem_bench.report.page.svg has cleaned
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    return environment.get_template("page.html").render(
        page=page,
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        width=WIDTH,
        height=HEIGHT,
    )
