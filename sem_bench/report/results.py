"""What a results folder says: which jobs a suite has (its manifest), and what is known of each evaluation.

A damaged result is never an error: it counts as absent, with the reason.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from sem_bench.base.digest import canonical_json
from sem_bench.base.files import read_json
from sem_bench.errors import UserError
from sem_bench.report.layout import Table
from sem_bench.report.row import ARM, FigureKey, Row, main_representation

ResultReader = Callable[[str, str], tuple[Row, str]]
SCHEMA = 1
UNKNOWN = "unknown"
_BROKEN = (ValueError, TypeError, KeyError, AttributeError)  # what a damaged or foreign file can raise


@dataclass(frozen=True)
class Predictions:
    """Where it stands which test images a figure counts as right: a row of a predictions.bin."""

    path: Path
    row: int
    rows: int
    images: int


@dataclass(frozen=True)
class Measurement:
    """One measured number, in percent: one draw of a column."""

    value: float
    tau_d: float | None
    notes: tuple[str, ...]
    extra: Row = field(default_factory=dict)  # what else stands beside it, such as a histogram
    predictions: Predictions | None = None


@dataclass(frozen=True)
class Evaluated:
    """An evaluation job: its figures, or why there are none ("missing", "failed" or "unreadable")."""

    job: Row
    absence: str = ""
    config: str = ""  # canonical, without the seed
    figures: dict[FigureKey, list[Measurement]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    setting: str = UNKNOWN  # device kind and precision of the pretraining, "cpu bf16"

    @property
    def seed(self) -> int:
        """The job's seed."""
        return int(self.job["seed"])


@dataclass(frozen=True)
class Manifest:
    """A suite that was run: its evaluation jobs by arm, and what their tables look like."""

    name: str
    written: datetime
    arms: dict[str, list[Row]]  # their jobs; each says its `representation` and what it `owes`
    tables: dict[str, Table]  # of each kind of job
    sweeps: tuple[str, ...] = ()  # files of results/sweeps/


class Kind(Protocol):
    """What a kind of job says of its table; manifests of before know it by name alone."""

    @property
    def table(self) -> Table:
        """What it looks like."""

    def owes(self, entry: Mapping[str, Any]) -> list[FigureKey]:
        """The least that a job of a manifest was to give."""


def manifests(results: Path, *, suite: str | None, all_suites: bool, known: Mapping[str, Kind]) -> list[Manifest]:
    """The manifest of `suite`, or all of them by age, or the last. Raises UserError where there is none.

    What a manifest does not say of its tables is taken from the kinds of job that are `known` here.
    """
    if not results.is_dir():
        raise UserError(f"{results}: no such folder; `run SUITE --results {results}` makes it")
    paths = {path.stem: path for path in sorted((results / "suites").glob("*.json"))}
    if not paths:
        raise UserError(f"{results}: no suite was run here yet; `run SUITE --results {results}` runs one")
    if suite is not None and suite not in paths:
        from sem_bench.config.validation import did_you_mean

        raise UserError(f"--suite {suite}: not in {results}{did_you_mean(suite, paths)}")
    chosen = [paths[suite]] if suite is not None else paths.values()
    found = sorted((_manifest(path, known) for path in chosen), key=lambda manifest: manifest.written)
    return found if all_suites else found[-1:]


def _manifest(path: Path, known: Mapping[str, Kind]) -> Manifest:
    content = read_json(path)
    arms: dict[str, list[Row]] = {}
    try:
        if content["schema"] != SCHEMA:
            raise ValueError
        written = datetime.fromisoformat(content["written"])
        own = {kind: Table.model_validate(table) for kind, table in (content.get("tables") or {}).items()}
        tables = {kind: one.table for kind, one in known.items()} | own
        for job in content["jobs"]:
            if job["kind"] in tables:
                job = {"representation": main_representation(job)} | job
                owed = job["owes"] if "owes" in job else known[job["kind"]].owes(job)
                arms.setdefault(_arm(job), []).append(job | {"owes": [tuple(key) for key in owed]})
        sweeps = tuple(str(name) for name in content.get("sweeps", []))
    except _BROKEN:
        raise UserError(f"{path}: damaged, or written by another version; run the suite again") from None
    return Manifest(path.stem, written if written.tzinfo else written.replace(tzinfo=UTC), arms, tables, sweeps)


def _arm(job: Row) -> str:
    """What the seeds of a cell share. Raises where the job lacks what is read of it later."""
    texts = (job["slug"], job["digest"], job["inputs"]["pretrain"])
    if not isinstance(job["seed"], int) or not all(isinstance(text, str) for text in texts):
        raise ValueError
    return canonical_json([job["kind"], job["embedding_config"]["type"], *(job[name] for name in ARM)])


def reader(results: Path) -> ResultReader:
    """A function (kind, digest) -> (result, ""), or ({}, why there is none). Each file is read once."""

    @cache
    def folders(kind: str) -> dict[str, Path]:
        return {path.name[-12:]: path for path in sorted((results / kind).glob("*"))}

    @cache
    def read(kind: str, digest: str) -> tuple[Row, str]:
        folder = folders(kind).get(digest[:12])
        if folder is None or not (folder / "result.json").exists():
            return {}, "failed" if folder and (folder / "error.txt").exists() else "missing"
        result = read_json(folder / "result.json")
        whole = isinstance(result, dict) and (result.get("schema"), result.get("kind")) == (SCHEMA, kind)
        if not whole or result.get("digest") != digest:
            return {}, "unreadable"
        return result | {"folder": folder}, ""

    return read


def evaluated(job: Row, read: ResultReader, table: Table) -> Evaluated:
    """What is known of a job. The setting is that of its pretraining, which made the representation."""
    result, absence = read(job["kind"], job["digest"])
    if absence:
        return Evaluated(job, absence)
    pretraining, _ = read("pretrain", job["inputs"]["pretrain"])
    figures: dict[FigureKey, list[Measurement]] = {}
    try:
        for number, row in enumerate(result["metrics"]["rows"]):
            key = (str(row["column"]), float(row["fraction"]), str(row["metric"]), str(row["representation"]))
            figures.setdefault(key, []).append(_figure(row, _predictions(result, number), table))
        config = canonical_json({name: value for name, value in result["config"].items() if name != "seed"})
        notes = _notes(pretraining.get("metrics") or {}) + _notes(result["metrics"])
        return Evaluated(job, "", config, figures, notes, _setting(pretraining))
    except _BROKEN:
        return Evaluated(job, "unreadable")


def _predictions(result: Row, number: int) -> Predictions | None:
    """Those of a row of a probe; a record made before they were kept has none."""
    path = result["folder"] / "predictions.bin"
    layout = re.match(r"(\d+) rows of (\d+) bits", str(result["metrics"].get("predictions", "")))
    return Predictions(path, number, int(layout[1]), int(layout[2])) if layout and path.is_file() else None


def _figure(row: Row, predictions: Predictions | None, table: Table) -> Measurement:
    value, tau_d = float(row["value"]), row.get("tau_d")
    if not math.isfinite(value) or not (tau_d is None or math.isfinite(tau_d)):
        raise ValueError
    extra = {name: row[name] for name in table.extras if row.get(name) is not None}
    return Measurement(value, tau_d, _notes(row), extra, predictions)


def _notes(part: Row) -> tuple[str, ...]:
    return tuple(str(note) for note in part.get("notes") or [])


def _setting(pretraining: Row) -> str:
    provenance = pretraining.get("provenance") or {}
    device, precision = provenance.get("device"), provenance.get("precision")
    return f"{str(device).split(':')[0]} {precision}" if device and precision else UNKNOWN


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result.json of a folder, if it is whole and of this version; else None."""
    result = read_json(folder / "result.json")
    parts = {"kind": str, "digest": str, "metrics": dict, "provenance": dict}
    if not isinstance(result, dict) or result.get("schema") != SCHEMA:
        return None
    if not all(isinstance(result.get(name), type_) for name, type_ in parts.items()):
        return None
    return result if {"data", "files", "seconds", "when"} <= result["provenance"].keys() else None
