"""`record`: keep what a table stands on in one small file, so that docs can quote it and readers reprint it."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sem_bench.base.files import no_folder, no_place
from sem_bench.data import split_lists
from sem_bench.errors import UserError, printable
from sem_bench.evaluations.registry import builtin
from sem_bench.report.file_models import Listed
from sem_bench.report.job_folder import KEPT, JobFolders
from sem_bench.report.results import Manifest, manifests
from sem_bench.runs.record_file import ENDING, Opened, opened, pack, record_file
from sem_bench.sweep.summary_file import load


def record(results: Path, into: Path, *, suite: str | None = None, all_suites: bool = False) -> tuple[Path, int]:
    """Keep a suite's manifest, those of its sweeps, and each job's result.json and predictions.bin in one file.

    Lists of drawn splits are kept with them. What the file held before stays in it. Returns its path and the number of
    jobs. Raises UserError where one of them has no result: a record has no holes.
    """
    if into.is_dir():
        raise UserError(f"{into}: a folder; a record is one file, such as {into / f'NAME{ENDING}'}")
    file = record_file(into)
    if results.resolve() in file.resolve().parents:
        raise UserError(f"{into}: lies in the results; a record lies elsewhere")
    if why := (no_folder(into) if into != file else "") or no_place(file):
        raise UserError(f"{into}: {why}")
    with opened(results) as given, opened(file) as before, tempfile.TemporaryDirectory(prefix="sem-bench-") as private:
        folder = Path(private)
        if before.packed:
            _copy(before.root, folder, [path for path in before.root.rglob("*") if path.is_file()])
        found = manifests(given.root, suite=suite, all_suites=all_suites, known=builtin(), say=partial(_say, given))
        count = sum(_gather(given.root, folder, manifest) for manifest in found)
        pack(folder, file)
    return file, count


def _gather(results: Path, folder: Path, manifest: Manifest) -> int:
    """Copy what the tables of a suite stand on; how many jobs it has."""
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
    lists = set[Path]()
    for (kind, key), look in looks.items():
        assert look.result is not None
        if (listed_in := split_lists.named_by(look.result.file.config)) is not None:
            lists.add(results / split_lists.FOLDER / listed_in[0])
        for name in KEPT:
            if (source := look.result.folder / name).is_file():
                _write(folder / kind / jobs[kind, key] / name, source.read_bytes())
    _copy(results, folder, sorted(path for path in lists if path.is_file()))
    _copy(results, folder, [results / "sweeps" / f"{name}.json" for name in sweeps])
    _copy(results, folder, [results / "suites" / f"{manifest.name}.json"])
    return len(jobs)


def _copy(root: Path, folder: Path, paths: Sequence[Path]) -> None:
    for path in paths:
        _write(folder / path.relative_to(root), path.read_bytes())


def _say(given: Opened, line: str) -> None:
    print(given.named(line), file=sys.stderr)  # noqa: T201


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def command(options: argparse.Namespace) -> int:
    """Print it."""
    file, count = record(options.results, options.into, suite=options.suite, all_suites=options.all)
    name = printable(str(file))
    print(f"{name}: the results of {count} jobs; `table {name}` prints them")  # noqa: T201
    return 0
