"""The arms of a suite: their settings, numbers, training and runs, and what of it is not there."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sem_bench.base.digest import canonical_json
from sem_bench.errors import printable
from sem_bench.report.file_models import JobEntry
from sem_bench.report.job_folder import JobFolders, Look
from sem_bench.report.layout import Table
from sem_bench.report.page.content import Arm, Pair, Pictures, Runs, page_table
from sem_bench.report.page.curves import curves
from sem_bench.report.results import Manifest
from sem_bench.report.row import ARM, Row, grouped
from sem_bench.report.text_table import HOLE, TextCell, TextTable, ends, plus, rounded

LOG = "log.csv"
LONGEST = 400  # characters of a setting: a thousand classes are not read one by one
DONE = "done"


class Found:
    """What the results folder has of the jobs of a suite."""

    def __init__(self, manifest: Manifest, folders: JobFolders) -> None:
        self.jobs = manifest.jobs
        self.folders = folders
        self.looks = [folders.look(job.kind, job.digest, manifest.tables.get(job.kind)) for job in self.jobs]
        self.states = [_state(job, look, folders) for job, look in zip(self.jobs, self.looks, strict=True)]

    def by_arm(self) -> dict[str, list[int]]:
        """The numbers of the jobs of each arm."""
        found: dict[str, list[int]] = {}
        for number, job in enumerate(self.jobs):
            found.setdefault(arm_key(job), []).append(number)
        return found

    def by_runs(self, numbers: Sequence[int]) -> dict[str, list[int]]:
        """Jobs by what they have in common but for the seed."""
        found: dict[str, list[int]] = {}
        for number in numbers:
            job = self.jobs[number]
            begin, _, end = job.slug.rpartition(f"-s{job.seed}")
            title = f"{job.kind} {end.lstrip('-') if begin else job.slug}".strip()
            found.setdefault(title, []).append(number)
        return found

    def said(self, numbers: Sequence[int]) -> str:
        """How many of these jobs are done, missing, ..."""
        return said([self.states[number] for number in numbers])

    def logs(self, numbers: Sequence[int]) -> dict[Path, str | None]:
        """The log of each of the pretrainings, where there is a folder, and its SHA-256, where a result says it.

        Without those that lie beside a result that cannot be believed.
        """
        jobs = [self.jobs[number] for number in numbers if self.jobs[number].kind == "pretrain"]
        found: dict[Path, str | None] = {}
        for job in jobs:
            for folder in self.folders.named(job.kind, job.digest):
                look = self.folders.at(folder, job.kind, job.digest)
                if look is None:
                    found[folder / LOG] = None
                elif look.result is not None:
                    found[folder / LOG] = (look.result.file.sums or {}).get(LOG)
        return found


def said(states: Sequence[str]) -> str:
    """States and how often each comes: "3 done, 1 missing"."""
    counts = sorted(Counter(states).items(), key=lambda one: (one[0] != DONE, one[0]))
    return ", ".join(f"{number} {state}" for state, number in counts)


def _state(job: JobEntry, look: Look, folders: JobFolders) -> str:
    if look.result is not None:
        return DONE
    begun = look.absence == "missing" and any((f / "log.csv").exists() for f in folders.named(job.kind, job.digest))
    return "partial" if begun else look.absence


def arm_key(job: JobEntry) -> str:
    """What the jobs of an arm share."""
    return canonical_json([getattr(job, name) for name in ARM])


def lacking(found: Found) -> TextTable | None:
    """The jobs that are not done, by arm and kind; None where all are."""
    body = []
    for numbers in found.by_arm().values():
        for title, own in found.by_runs(numbers).items():
            states = [found.states[number] for number in own]
            if any(state != DONE for state in states):
                row = _place(found.jobs[own[0]])
                seeds = [str(found.jobs[number].seed) for number in own if found.states[number] != DONE]
                cells = [row.method_label, row.embedding_label, row.backbone, row.dataset, title, said(states)]
                body.append([TextCell(text) for text in (*cells, ", ".join(seeds))])
    if not body:
        return None
    columns = ["method", "embedding", "backbone", "data set", "jobs", "state", "seeds not done"]
    legend = ["a cell of a table stays empty or a dash until all jobs that it stands on are done"]
    return TextTable("Jobs that are not done", columns, [0] * len(columns), body, legend, [])


def _place(job: JobEntry) -> Row:
    """A row without numbers: it knows how an arm is called."""
    place: dict[str, Any] = {name: getattr(job, name) for name in ARM}
    rest: dict[str, Any] = {"table": job.kind, "suite": "", "fraction": 1.0, "column": "", "metric": "", "notes": []}
    return Row(**place, **rest, representation="", tau_d=None, mean=None, std=None, n=0, digests=[])


def arms(
    found: Found, rows: Sequence[Row], tables: Mapping[str, Table], command: str, pictures: Mapping[str, Pictures]
) -> Iterator[Arm]:
    """Each arm of the suite, in the order of its jobs; the command prints the numbers."""
    digits = {table.name: table.digits for table in tables.values()}
    measured = grouped(rows, lambda row: row.key(ARM))
    for place, (key, numbers) in enumerate(found.by_arm().items(), 1):
        anchor = f"arm{place}"
        row = _place(found.jobs[numbers[0]])
        own, problems = measured.get(key, []), list[str]()
        yield Arm(
            anchor=anchor,
            title=printable(f"{row.method_label}, {row.embedding_label}: {row.backbone}, {row.dataset}"),
            state=found.said(numbers),
            settings=_settings_of_arm(row),
            numbers=page_table(f"{anchor}-numbers", _numbers(own, digits), command, names=5) if own else None,
            curves=curves(found.logs(numbers), problems),
            problems=problems,
            runs=[_runs(title, found, jobs) for title, jobs in found.by_runs(numbers).items()],
            pictures=pictures.get(arm_key(found.jobs[numbers[0]])),
        )


def _settings_of_arm(row: Row) -> list[Pair]:
    named = {name: getattr(row, name) for name in ARM if not name.startswith("embedding")}
    return flat(named | {"embedding": {"label": row.embedding, **row.embedding_config}})


NUMBERS = ("table", "labels", "column", "metric", "of", "tau_d", "mean", "sd", "n", "gain", "low", "high", "published")


def _numbers(rows: Sequence[Row], digits: Mapping[str, int]) -> TextTable:
    """Every row of an arm, with the digits of its table; columns that all leave empty are left out."""
    lines = [_numbers_of(row, digits.get(row.table, 1)) for row in rows]
    used = [number for number in range(len(NUMBERS)) if any(line[number] for line in lines)]
    body = [[TextCell(line[number]) for number in used] for line in lines]
    return TextTable("Numbers", [NUMBERS[number] for number in used], [0] * len(used), body, [], [])


def _numbers_of(row: Row, places: int) -> list[str]:
    gain = "" if row.gain is None else plus(row.gain, places)
    low, high = row.gain_low, row.gain_high
    return [
        *(row.table, f"{100 * row.fraction:g}%", row.column, row.metric, row.representation),
        "" if row.tau_d is None else f"{row.tau_d:g}",
        HOLE if row.mean is None else rounded(row.mean, places),
        "" if row.std is None else f"{row.std:.{places}f}",
        str(row.n),
        *(gain, *(("", "") if low is None or high is None else ends(low, high, places))),
        f"{row.published['value']} ({row.published['table']})" if row.published else "",
    ]


def _runs(title: str, found: Found, numbers: Sequence[int]) -> Runs:
    results = [found.looks[number].result for number in numbers]
    configs = [dict(flat(result.content.get("config"))) for result in results if result is not None]
    settings = {name: list(dict.fromkeys(one.get(name, "") for one in configs)) for one in configs for name in one}
    facts: list[dict[str, str]] = []
    for number, result in zip(numbers, results, strict=True):
        job, look = found.jobs[number], found.looks[number]
        one = {"state": found.states[number], "job": f"{job.kind}/{job.folder}"}
        one |= {"why": look.why} if look.why else {}
        if found.states[number] == "failed":
            one["error"] = _last_line([folder / "error.txt" for folder in found.folders.named(job.kind, job.digest)])
        if result is not None:
            one |= dict(flat(result.content.get("provenance")))
            one |= {f"input: {role}": digest[:12] for role, digest in result.file.inputs.items()}
        facts.append(one)
    names = list(dict.fromkeys(name for one in facts for name in one))
    return Runs(
        title=printable(title),
        state=found.said(numbers),
        settings=[(name, " / ".join(values)) for name, values in settings.items() if name != "seed"],
        seeds=[found.jobs[number].seed for number in numbers],
        facts=[(name, [one.get(name, "") for one in facts]) for name in names],
    )


def _last_line(paths: Sequence[Path]) -> str:
    for path in filter(Path.is_file, paths):
        with suppress(OSError):
            lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return _short(printable(lines[-1])) if lines else ""
    return ""


def flat(value: Any, above: str = "") -> list[Pair]:
    """What is set in a mapping and in those in it, under KEY.KEY; lists in a line."""
    if isinstance(value, dict) and (value or not above):
        return [pair for name, one in value.items() for pair in flat(one, f"{above}.{name}" if above else str(name))]
    if not above or value is None:
        return []
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [(printable(above), _short(printable(text)))]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... ({len(text):,} characters)"
