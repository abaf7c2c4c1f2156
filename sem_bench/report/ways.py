"""Rows of one table that were made in different ways: with other threads or devices, or with images streamed.

Each of these rounds otherwise, so that the rows are not quite alike, and a footnote says so. Where the precision or
the kind of device differs, the gain says more: there is none.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sem_bench.report.file_models import JobEntry, Provenance
from sem_bench.report.job_folder import JobFolders
from sem_bench.report.results import Manifest
from sem_bench.report.row import TABLE, Row

Part = tuple[str, str]  # "pretrained" or "evaluated", and what of it
Way = dict[Part, str]


def told_apart(rows: Sequence[Row], manifests: Sequence[Manifest], folders: JobFolders) -> list[Row]:
    """The rows; those made otherwise than most of their table have a note that says how."""
    jobs = {job.digest: job for manifest in manifests for job in manifest.jobs}
    ways = [_way([jobs[digest] for digest in row.digests if digest in jobs], folders) for row in rows]
    usual: dict[tuple[object, ...], Counter[str]] = {}
    for row, way in zip(rows, ways, strict=True):
        for part, text in way.items():
            usual.setdefault((_table(row), part), Counter())[text] += 1
    found = []
    for row, way in zip(rows, ways, strict=True):
        most = {part: usual[_table(row), part].most_common(1)[0][0] for part in way}
        notes = [*row.notes, *_notes(way, most)]
        found.append(row if notes == row.notes else replace(row, notes=notes))
    return found


def _table(row: Row) -> tuple[object, ...]:
    return row.table, *(getattr(row, name) for name in TABLE)


def _way(jobs: Sequence[JobEntry], folders: JobFolders) -> Way:
    """How the seeds of a row were made; where they differ, all ways."""
    seen: dict[Part, set[str]] = {}
    for job in jobs:
        for role, kind, digest in (("evaluated", job.kind, job.digest), ("pretrained", "pretrain", job.pretrained)):
            result = folders.look(kind, digest).result
            if result is not None and result.file.provenance is not None:
                for part, text in _said(result.file.provenance):
                    seen.setdefault((role, part), set()).add(text)
    return {part: " and ".join(sorted(texts)) for part, texts in seen.items()}


def _said(made: Provenance) -> Iterator[tuple[str, str]]:
    """What its numbers depend on, in words; nothing of what it does not say."""
    if made.threads is not None:
        yield "threads", f"{made.threads} thread{'s' if made.threads != 1 else ''}"
        yield "compiler", "a compiled backbone" if made.compiled else "an eager backbone"
        yield "devices", f"{made.devices or 1} device{'s' if (made.devices or 1) != 1 else ''}"
    if made.images:
        yield "images", "images streamed" if "streamed" in made.images.values() else "images in memory"


def _notes(way: Way, most: Mapping[Part, str]) -> Iterator[str]:
    for role in ("pretrained", "evaluated"):
        if parts := [part for part in way if part[0] == role and way[part] != most[part]]:
            own, others = (", ".join(texts[part] for part in parts) for texts in (way, most))
            yield f"{role} with {own}; most rows of this table with {others}"
