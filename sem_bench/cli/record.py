"""`record`: keep what a table stands on, a few kilobytes a job, so that docs can quote it and readers reprint it."""

import argparse
import sys
from pathlib import Path

from sem_bench.base.files import no_folder, write_atomic
from sem_bench.errors import UserError, printable
from sem_bench.evaluations.registry import builtin
from sem_bench.report.file_models import Listed
from sem_bench.report.job_folder import KEPT, JobFolders
from sem_bench.report.results import manifests
from sem_bench.sweep.summary_file import load


def record(results: Path, folder: Path, *, suite: str | None) -> int:
    """Copy a suite's manifest, those of its sweeps, and each job's result.json and predictions.bin into `folder`.

    Returns the number of jobs. Raises UserError where one has no result: a record has no holes.
    """
    own, into = results.resolve(), folder.resolve()
    if own == into or own in into.parents or into in own.parents:
        raise UserError(f"{folder}: lies in the results, or they in it; a record has a folder of its own")
    if why := no_folder(folder):
        raise UserError(f"{folder}: {why}")
    (manifest,) = manifests(results, suite=suite, all_suites=False, known=builtin(), say=_say)
    path = results / "suites" / f"{manifest.name}.json"
    sweeps = {name: load(results / "sweeps" / f"{name}.json") for name in manifest.sweeps}
    if absent := [name for name, content in sweeps.items() if content is None]:
        raise UserError(
            f"{results}: sweep {absent[0]!r} of suite {manifest.name!r} was not run, or its file is damaged"
        )
    studies = [study for content in sweeps.values() if content is not None for study in content.studies]
    listed: list[Listed] = [*manifest.jobs, *(job for study in studies for job in study.jobs)]
    jobs = {(job.kind, job.digest): job.folder for job in listed}
    folders = JobFolders(results)
    looks = {(kind, key): folders.look(kind, key, manifest.tables.get(kind)) for kind, key in jobs}
    if lacking := {key: look for key, look in looks.items() if look.result is None}:
        (kind, key), look = next(iter(lacking.items()))
        text = f"{len(lacking)} of {len(jobs)} jobs of suite {manifest.name!r} have no result, such as "
        raise UserError(f"{results}: {text}{kind}/{jobs[kind, key]}" + (f" ({look.why})" if look.why else ""))
    for (kind, key), look in looks.items():
        for name in reversed(KEPT):
            if look.result is not None and (file := look.result.folder / name).is_file():
                write_atomic(folder / kind / jobs[kind, key] / name, file.read_bytes())
    for name in sweeps:
        write_atomic(folder / "sweeps" / f"{name}.json", (results / "sweeps" / f"{name}.json").read_bytes())
    write_atomic(folder / "suites" / path.name, path.read_bytes())  # last: it says that the rest is there
    return len(jobs)


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201


def command(options: argparse.Namespace) -> int:
    """Print it."""
    count = record(options.results, options.folder, suite=options.suite)
    into = printable(str(options.folder))
    print(f"{into}: the results of {count} jobs; `table {into}` prints them")  # noqa: T201
    return 0
