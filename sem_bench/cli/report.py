"""`report`: write a suite's results as one HTML page."""

import argparse
import sys

from sem_bench import analysis
from sem_bench.base.files import no_place
from sem_bench.cli.table import pictures_of, usable
from sem_bench.errors import UserError, printable
from sem_bench.report.job_folder import JobFolders
from sem_bench.runs.record_file import opened


def command(options: argparse.Namespace) -> int:
    """Write the page and print its path; returns the exit code: 1 where a figure could not be drawn, which is said."""
    if options.out and (why := no_place(options.out)):
        raise UserError(f"--out {options.out}: {why}")
    with opened(options.results) as there:
        folders = JobFolders(there.root)
        found = analysis.read(there.root, suite=options.suite, folders=folders)
        suite = found.manifests[-1].name
        if there.packed and not options.out:
            raise UserError(f"{there.name}: a record is one file; say where its page goes, as with --out {suite}.html")
        path = options.out or analysis.page_of(there.root, suite)
        shown = pictures_of(found, folders, options.data)
        problems = analysis.write_page(path, found, folders, usable(), name=there.name, pictures=shown)
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201
    print(printable(str(path)))  # noqa: T201
    return 1 if problems else 0
