"""`table`: print the tables of a results folder, or write them."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sem_bench import analysis
from sem_bench.analysis import Found
from sem_bench.base.files import no_folder
from sem_bench.config.cards import Library
from sem_bench.config.validation import did_you_mean
from sem_bench.errors import UserError
from sem_bench.evaluation import AnyEvaluation
from sem_bench.evaluations.registry import sound
from sem_bench.report import render
from sem_bench.report.figures.write import NotDrawnError
from sem_bench.report.job_folder import JobFolders
from sem_bench.report.page.arms import arm_key
from sem_bench.report.page.content import Pictures
from sem_bench.report.results import Manifest
from sem_bench.report.row import Row
from sem_bench.report.summary import summaries
from sem_bench.report.text_table import TextTable

if TYPE_CHECKING:  # `table` runs nothing, and starts faster without it
    from sem_bench.runs.store import Store

COMPACT = "compact"
EVERY = "all"  # the tables


def command(options: argparse.Namespace) -> int:
    """Print or write tables; returns the exit code."""
    if options.out and (why := no_folder(options.out)):
        raise UserError(f"--out {options.out}: {why}")
    found = analysis.read(options.results, suite=options.suite, all_suites=options.all)
    if options.summary:
        return _summarised(found, options)
    if options.notes and (options.out or options.format != COMPACT):
        raise UserError("--notes: tables of other formats, and in files, have all notes")
    names = sorted({row.table for row in found.rows})
    only = None if options.table == EVERY else options.table
    if only and only not in names:
        raise UserError(f"--table: no table {only!r} here{did_you_mean(only, [*names, EVERY])}")
    rows = [row for row in found.rows if only in (None, row.table)]
    tables = analysis.text_tables(found.rows, found.layouts, only=only)
    if options.out:
        return _written(options.out, rows, tables, usable())
    if options.format in (COMPACT, "github") and not options.table:
        _say(found)
    if options.format == COMPACT:
        first = None if options.table else found.first
        print(render.compact(tables, first=first, notes=options.notes))  # noqa: T201
    else:
        print(render.render(tables, rows, options.format))  # noqa: T201
    return 0


def _summarised(read: Found, options: argparse.Namespace) -> int:
    """Print the sentences alone. Raises UserError for a format that has none, or where nothing is compared."""
    if options.out or options.notes or options.format not in (COMPACT, "github", "json"):
        raise UserError("--summary prints text, or JSON with --format json")
    found = summaries(read.rows, read.layouts)
    if options.format == "json":
        print(json.dumps([one.as_json() for one in found], indent=2))  # noqa: T201
    elif not found:
        raise UserError(f"{options.results}: no comparison with none, so no summary")
    else:
        print("\n\n".join(one.as_text() for one in found))  # noqa: T201
    return 0


def _say(found: Found) -> None:
    """What came out, before the tables."""
    for one in summaries(found.rows, found.layouts):
        print(f"{one.as_text()}\n")  # noqa: T201


def usable() -> dict[str, AnyEvaluation]:
    """The package's evaluations and the sound ones of the current folder; of the others the reason is said."""
    found, problems = sound(Library(Path.cwd()))
    for problem in problems.values():
        print(f"no figures of it: {problem}", file=sys.stderr)  # noqa: T201
    return found


def _written(
    folder: Path, rows: Sequence[Row], tables: Sequence[TextTable], evaluations: Mapping[str, AnyEvaluation]
) -> int:
    """Write the tables and figures; 1 where a figure could not be drawn, which is said."""
    try:
        analysis.write_tables(folder, rows, tables, evaluations)
    except NotDrawnError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def pictures_of(found: Found, folders: JobFolders, data: Path) -> dict[str, Pictures]:
    """Those of the arms of the suite on the page. Torch is imported only where encoders lie."""
    manifest = found.manifests[-1]
    if not any(folders.root.glob("pretrain/*/checkpoint.pt")):
        return _none(manifest, "No pictures: no encoders lie here; a record keeps none")
    from sem_bench.trained.pictures import pictures

    return pictures(manifest, folders, data=data, cards=Path())


def _none(manifest: Manifest, why: str) -> dict[str, Pictures]:
    return {arm_key(job): Pictures([], why) for job in manifest.jobs}


def print_tables(
    name: str,
    store: "Store",
    evaluations: Mapping[str, AnyEvaluation],
    *,
    show: bool = True,
    quiet: bool = False,
) -> int:
    """Print the first table of a suite and what others say, write all of them into its results, with its page.

    `quiet`: print the sentences alone; without `show` nothing is printed. The page has no pictures of arms: they take
    torch, data and the code of methods. Returns the exit code.
    """
    found = analysis.read(store.root, suite=name, folders=store.folders)
    tables = analysis.text_tables(found.rows, found.layouts)
    if tables and show:
        _say(found)
        if not quiet:
            print(render.compact(tables, first=found.first))  # noqa: T201
    code = _written(analysis.tables_of(store.root, name), found.rows, tables, evaluations)
    page = analysis.page_of(store.root, name)
    pictures = _none(found.manifests[-1], f"Pictures: `python -m sem_bench report {store.root}` draws them")
    analysis.write_page(page, found, store.folders, evaluations, pictures=pictures)  # what it could not draw is said
    if not quiet:
        print(f"{page}: all of it as a page", file=sys.stderr)  # noqa: T201
    return code
