"""The page of a suite, from its rows, tables, figures and jobs."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from sem_bench.errors import described, printable
from sem_bench.report.figures.write import Draw, Problem, svgs
from sem_bench.report.job_folder import JobFolders
from sem_bench.report.layout import Table
from sem_bench.report.page.arms import Found, arms, lacking
from sem_bench.report.page.content import Page, PageFigure, PageTable, Pictures, page_table
from sem_bench.report.page.svg import inlined
from sem_bench.report.results import Manifest
from sem_bench.report.row import Row
from sem_bench.report.summary import summaries
from sem_bench.report.text_table import TextCell, TextTable, plus, rounded

PROGRAM = "python -m sem_bench"


def page(
    manifest: Manifest,
    folders: JobFolders,
    rows: Sequence[Row],
    tables: Sequence[TextTable],
    layouts: Sequence[Table],
    drawers: Mapping[str, Draw],
    *,
    name: Path,
    drawn: Path,
    version: str,
    pictures: Mapping[str, Pictures],
) -> Page:
    """All that there is of a suite. Figures that lie in the folder `drawn`, of these rows, are not drawn again.

    `name` is what commands call the results, `pictures` are those of arms, by `arm_key`.
    """
    of = shlex.join([str(name), "--suite", manifest.name])
    found = Found(manifest, folders)
    problems: list[Problem] = []
    figures = _figures(svgs(rows, drawers, drawn, problems), f"{PROGRAM} table {of} --out figures", problems)
    absent, published = lacking(found), _published(rows)
    unrounded = printable(f"{PROGRAM} table {of} --format json")
    return Page(
        title=printable(manifest.name),
        version=version,
        written=manifest.written.isoformat(" ", "minutes"),
        state=f"{len(found.jobs):,} jobs: {found.said(range(len(found.jobs)))}" if found.jobs else "",
        command=printable(f"{PROGRAM} report {of}"),
        summaries=summaries(rows, layouts),
        lacking=page_table("lacking", absent, names=len(absent.columns)) if absent else None,
        tables=[_table(number, table, of) for number, table in enumerate(tables, 1)],
        figures=figures,
        published=page_table("published", published, unrounded, names=5) if published else None,
        arms=list(arms(found, rows, manifest.tables, unrounded, pictures)),
        problems=[printable(f"{figure}: {why}" if figure else why) for figure, why in problems],
    )


def _table(number: int, table: TextTable, of: str) -> PageTable:
    command = f"{PROGRAM} table {of} --table {shlex.quote(table.name)} --notes"
    return page_table(f"table{number}", table, printable(command))


def _figures(drawn: Sequence[tuple[str, str]], command: str, problems: list[Problem]) -> list[PageFigure]:
    found = []
    for number, (name, text) in enumerate(drawn, 1):
        anchor = f"figure{number}"
        try:
            title, svg = inlined(text, f"{anchor}-")
        except ElementTree.ParseError as error:  # a file that somebody else has written
            problems.append((name, f"not drawn: {described(error)}"))
            continue
        found.append(PageFigure(anchor, name, title or name, svg, printable(command)))
    return found


def _published(rows: Sequence[Row]) -> TextTable | None:
    """Each number of the paper that a measured one stands for."""
    body, notes = [], dict[str, int]()
    for row in rows:
        if row.published is None:
            continue
        printed, note = row.published, row.published["note"]
        marks = (notes.setdefault(note, len(notes) + 1),) if note else ()
        mean = TextCell("" if row.mean is None else rounded(row.mean, 1))
        apart = TextCell("" if row.mean is None else plus(row.mean - printed["value"], 1))
        names = [row.method_label, row.embedding_label, row.backbone, row.dataset, row.column]
        cells = [TextCell(str(printed["value"]), marks=marks), TextCell(f"table {printed['table']}")]
        body.append([*map(TextCell, names), mean, *cells, apart])
    if not body:
        return None
    columns = ["method", "embedding", "backbone", "data set", "column", "measured", "published", "in", "difference"]
    legend = ["published: Lavoie et al. (arXiv 2204.00616)"]
    return TextTable("Published numbers", columns, [0] * len(columns), body, legend, list(notes))
