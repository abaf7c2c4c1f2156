"""What a results folder says: which jobs a suite has (its manifest), and what is known of each evaluation.

A damaged result is never an error: it counts as absent, with the reason.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol

from pydantic import ValidationError

from sem_bench.base.digest import canonical_json
from sem_bench.base.files import barred, no_folder, read_json
from sem_bench.base.seals import holds
from sem_bench.config.validation import did_you_mean
from sem_bench.errors import UserError
from sem_bench.report.file_models import FigureRow, JobEntry, ManifestFile
from sem_bench.report.job_folder import READ_BY_TABLES, JobFolders, Look, Result
from sem_bench.report.layout import Table
from sem_bench.report.row import FigureKey, Predictions, main_representation

UNKNOWN = "unknown"


class Key(NamedTuple):
    """Which of the figures of a job."""

    column: str
    fraction: float
    metric: str
    representation: str
    tau_d: float | None = None  # in tables that have a line for each


@dataclass(frozen=True)
class Measurement:
    """One measured number, in percent: one draw of a column."""

    value: float
    tau_d: float | None
    notes: tuple[str, ...]
    extra: dict[str, Any] = field(default_factory=dict)  # what else stands beside it, such as a histogram
    predictions: Predictions | None = None


@dataclass(frozen=True)
class Evaluated:
    """An evaluation job: its figures, or why there are none, as `Look.absence` says it."""

    job: JobEntry
    absence: str = ""
    config: str = ""  # canonical, without the seed
    figures: dict[Key, list[Measurement]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    setting: str = UNKNOWN  # device kind and precision of the pretraining, "cpu bf16"


@dataclass(frozen=True)
class Manifest:
    """A suite that was run: its jobs, its evaluation jobs by arm, and what their tables look like."""

    name: str
    number: int  # 0: of an earlier version
    written: datetime
    jobs: list[JobEntry]
    arms: dict[str, list[JobEntry]]  # each says its `representation` and what it `owes`
    tables: dict[str, Table]  # of each kind of job
    sweeps: list[str]  # files of results/sweeps/


class Kind(Protocol):
    """What a kind of job says of its table; manifests of before know it by name alone."""

    @property
    def table(self) -> Table:
        """What it looks like."""

    def owes(self, entry: Mapping[str, Any]) -> list[FigureKey]:
        """The least that a job of a manifest was to give."""


SLACK = timedelta(minutes=10)  # clocks of hosts differ


def manifests(
    results: Path,
    *,
    suite: str | None,
    all_suites: bool,
    known: Mapping[str, Kind],
    say: Callable[[str], None] = lambda line: None,
) -> list[Manifest]:
    """The manifest of `suite`, or all of them by age, or the last. Raises UserError where there is none.

    What a manifest does not say of its tables is taken from the kinds of job that are `known` here. Of several
    a damaged one is passed over; `say` hears of it.
    """
    if not results.is_dir():
        why = no_folder(results) or f"no such folder; `run SUITE --results {results}` makes it"
        raise UserError(f"{results}: {why}")
    paths = {path.stem: path for path in sorted((results / "suites").glob("*.json"))}
    if not paths:
        raise UserError(f"{results}: no suite was run here yet; `run SUITE --results {results}` runs one")
    if suite is not None and suite not in paths:
        raise UserError(f"--suite {suite}: not in {results}{did_you_mean(suite, paths)}")
    found: list[Manifest] = []
    damaged: list[str] = []
    for path in [paths[suite]] if suite is not None else paths.values():
        try:
            found.append(_manifest(path, known))
        except UserError as error:
            damaged += error.problems
    if not found:
        raise UserError(damaged)
    for line in damaged:
        say(f"passed over: {line}")
    several = len(found) > 1
    found.sort(key=lambda manifest: _age(manifest, say if several else lambda line: None))
    return found if all_suites else found[-1:]


def _age(manifest: Manifest, say: Callable[[str], None]) -> tuple[int, datetime]:
    """By what manifests are put in order: the number of the run, for clocks may go back; then the time."""
    if manifest.written <= datetime.now(UTC) + SLACK:
        return manifest.number, manifest.written
    if manifest.number == 0:
        say(f"suite {manifest.name!r} is dated in the future ({manifest.written}): not taken for the last one run")
    return manifest.number, datetime.min.replace(tzinfo=UTC)


def _manifest(path: Path, known: Mapping[str, Kind]) -> Manifest:
    if path.is_dir():
        raise UserError(f"{path}: a folder where a suite's manifest should be; move it away, and run the suite again")
    try:
        content = read_json(path)
        file = ManifestFile.model_validate(content)
        if not holds(content):
            raise _Lacking("sum")
        tables = {kind: one.table for kind, one in known.items()} | (file.tables or {})
        arms: dict[str, list[JobEntry]] = {}
        for job in file.jobs:
            if job.kind in tables:
                job = _complete(job, known.get(job.kind))
                arms.setdefault(job.arm, []).append(job)
    except (ValidationError, RecursionError, _Lacking):
        why = barred(path) or "damaged, or written by another version; run the suite again"
        raise UserError(f"{path}: {why}") from None
    written = file.written if file.written.tzinfo else file.written.replace(tzinfo=UTC)
    return Manifest(path.stem, file.number, written, file.jobs, arms, tables, file.sweeps)


class _Lacking(Exception):  # noqa: N818 - no error: the file is
    """An entry of a manifest lacks what its kind of job has."""


class _Entry(dict[str, Any]):
    def __missing__(self, name: str) -> NoReturn:
        raise _Lacking(name)


def _complete(job: JobEntry, kind: Kind | None) -> JobEntry:
    """An evaluation job with what manifests of before do not say: the representation by type, what its kind owes."""
    if "pretrain" not in job.inputs:
        raise _Lacking("pretrain")
    if not job.representation:
        job = job.model_copy(update={"representation": main_representation(vars(job))})
    if job.owes is None:
        if kind is None or (job.columns and job.fractions and len(job.columns) != len(job.fractions)):
            raise _Lacking("owes")
        job = job.model_copy(update={"owes": kind.owes(_Entry(job.model_dump(exclude_none=True)))})
    return job


def evaluated(job: JobEntry, folders: JobFolders, table: Table) -> Evaluated:
    """What is known of a job. The setting is that of its pretraining, which made the representation."""
    look = folders.look(job.kind, job.digest, table)
    if look.result is None:
        return Evaluated(job, look.absence)
    result, figures = look.result, dict[Key, list[Measurement]]()
    for row, predictions in zip_longest(result.metrics.rows or (), _predictions(result)):
        extra = {name: value for name in table.extras if (value := (row.model_extra or {}).get(name)) is not None}
        figure = Measurement(row.value, row.tau_d, tuple(row.notes or ()), extra, predictions)
        figures.setdefault(_key(row, table), []).append(figure)
    config = canonical_json({name: value for name, value in result.file.config.items() if name != "seed"})
    pretraining = folders.look("pretrain", job.inputs["pretrain"])
    notes = [note for one in (pretraining.result, result) if one is not None for note in one.metrics.notes or ()]
    notes += [f"its pretraining is {pretraining.absence}"] * pretraining.void
    return Evaluated(job, "", config, figures, tuple(notes), _setting(pretraining))


def _key(row: FigureRow, table: Table) -> Key:
    if not table.every or row.tau_d is None:
        return Key(row.column, row.fraction, row.metric, row.representation)
    # Results hold "sem 0.1" where there are several temperatures.
    representation = row.representation.removesuffix(f" {row.tau_d:g}")
    return Key(row.column, row.fraction, row.metric, representation, row.tau_d)


def _predictions(result: Result) -> list[Predictions]:
    """Those of the rows of a probe; a record made before they were kept has none."""
    path = result.folder / READ_BY_TABLES
    layout = re.match(r"(\d{1,9}) rows of (\d{1,12}) bits", result.metrics.predictions or "")
    if layout is None or not path.is_file():
        return []
    rows, images, there = int(layout[1]), int(layout[2]), len(result.metrics.rows or ())
    width = -(-images // 8)
    if path.stat().st_size != rows * width or rows < there:
        return []
    content = path.read_bytes()
    return [Predictions(content[row * width : (row + 1) * width], images) for row in range(there)]


def _setting(pretraining: Look) -> str:
    made = pretraining.result and pretraining.result.file.provenance
    return f"{made.device.split(':')[0]} {made.precision}" if made and made.device and made.precision else UNKNOWN
