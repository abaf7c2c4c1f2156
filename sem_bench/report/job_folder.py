"""What the folder of a job holds, and whether it can be believed: runs, tables, records and `verify` all ask here.

A result has the SHA-256 of every file that the job left (`sums`), of what other jobs build on (`bits`), of what its
inputs were when it read them (`stands_on`), and of itself (`sum`). One of before has none, and counts as unchecked.
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, BinaryIO, NamedTuple

from sem_bench.base.files import barred, file_digest, read_json, stamp
from sem_bench.base.seals import DamagedError, holds, open_summed
from sem_bench.report.file_models import FigureRow, Metrics, ResultFile, plain, validated
from sem_bench.report.layout import Table

READ_BY_TABLES = "predictions.bin"
KEPT = ("result.json", READ_BY_TABLES)  # what a record has of a job
OF_THE_MOMENT = ("state.json", "deaths.json", "error.txt")  # beside the files that a job leaves
ASIDE = (".rerun", ".old")  # how folders end that are to take a job's place, or to make room
NO_JOBS = ("cache", "suites", "sweeps", "tables", "splits", "set-aside", "logs")
DIGITS = 12  # of a digest, in the name of a folder
NOT_A_FILE = "a folder where a file of the job goes"
NOT_A_FOLDER = "no folder, where one of jobs goes"
JOB = re.compile(rf"[^.].*-[0-9a-f]{{{DIGITS}}}")  # what runs call the folder of a job
TICK = 50_000_000  # ns: the time of a folder may stay the same in two changes so near to each other


@dataclass(frozen=True)
class Result:
    """A result that is whole."""

    folder: Path
    content: dict[str, Any]
    file: ResultFile
    metrics: Metrics


@dataclass(frozen=True)
class Look:
    """A job's result, or why there is none that can be believed.

    `absence` is a word for tables: missing, failed, unreadable, damaged, doubled or outdated.
    """

    result: Result | None = None
    absence: str = ""
    why: str = ""  # in a line, where something is there

    @property
    def void(self) -> bool:
        """Whether a result is there that cannot be believed."""
        return bool(self.why)


class _Listing(NamedTuple):
    """The folders of a kind."""

    jobs: dict[str, list[str]]  # the first digits of a digest -> names
    beside: set[str]
    changed: int  # the time of the folder (ns)
    sure: bool  # whether a later change shows itself in that time


def _listed(here: Path, changed: int) -> _Listing:
    sure = abs(time.time_ns() - changed) > TICK
    names = sorted(os.listdir(here)) if here.is_dir() else []  # noqa: PTH208 - thousands: no paths to sort
    jobs: dict[str, list[str]] = {}
    for name in names:
        if not name.endswith(ASIDE) and not name.startswith("."):
            jobs.setdefault(name[-DIGITS:], []).append(name)
    return _Listing(jobs, {name for name in names if name.endswith(ASIDE)}, changed, sure)


class JobFolders:
    """The job folders below `root`, as one command sees them: each result is read and checked once while it stays.

    With `whole` every file that a job left has to be there, as in a results folder; a record has those of `KEPT`.
    """

    def __init__(self, root: Path, *, whole: bool = False) -> None:
        self.root, self.whole = root, whole
        self._listings: dict[str, _Listing] = {}
        self._known: dict[str, tuple[tuple[int, int, int], Look]] = {}

    def named(self, kind: str, digest: str) -> list[Path]:
        """The folders of a job; more than one is a fault."""
        found = self._of_kind(kind).jobs.get(digest[:DIGITS], [])
        return [self.root / kind / name for name in found]

    def beside(self, kind: str) -> set[str]:
        """Names of folders that were to take the place of others, or to make room."""
        return self._of_kind(kind).beside

    def digits(self, kind: str) -> set[str]:
        """The first digits of all jobs of a kind that have a folder."""
        return set(self._of_kind(kind).jobs)

    def _of_kind(self, kind: str) -> "_Listing":
        """Listed once, for a plan asks for thousands, and again when somebody has changed the folder."""
        here = self.root / kind
        changed = here.stat().st_mtime_ns if here.is_dir() else 0
        known = self._listings.get(kind)
        if known is None or known.changed != changed or not known.sure:
            self._listings[kind] = known = _listed(here, changed)
        return known

    def look(self, kind: str, digest: str, table: Table | None = None) -> Look:
        """What is known of a job, whose rows have to fit its `table`."""
        folders = self.named(kind, digest)
        looks = [look for folder in folders if (look := self.at(folder, kind, digest)) is not None]
        if not looks:
            failed = any(_size(folder, "error.txt") is not None for folder in folders)
            return Look(absence="failed" if failed else "missing")
        sound = [look.result for look in looks if look.result is not None]
        if not sound:
            return looks[0]
        best = [result for result in sound if result.file.sum is not None] or sound
        if any(result.content != best[0].content for result in best):
            return Look(absence="doubled", why=f"doubled, with other content, in {best[0].folder} and {best[1].folder}")
        found, rows = best[0], best[0].metrics.rows
        if table is not None and (rows is None or not all(_fits(row, table) for row in rows)):
            return Look(absence="unreadable", why="result.json: its rows are not those of its table")
        for role in found.file.inputs:
            if other := self._other(role, found.file):
                return Look(absence="outdated", why=other)
        return Look(found)

    def _other(self, role: str, file: ResultFile) -> str:
        """Why a result does not stand on its input as it is now; "" where it does, or the input is not there.

        One of before does not say what it stands on: its input must not be the later of the two.
        """
        given = self.look(role, str(file.inputs[role]))
        if given.absence == "outdated":
            return given.why
        if given.result is None:
            return ""
        bits, now = (file.stands_on or {}).get(role), given.result.file.bits
        later = bits is None and _when(given.result.file) > _when(file) > ""
        return f"stands on an earlier run of its {role}" if later or (bits and now not in (None, bits)) else ""

    def at(self, folder: Path, kind: str, digest: str) -> Look | None:
        """What one folder holds of a job, whatever others do; None where it has no result."""
        path = os.path.join(folder, "result.json")  # noqa: PTH118 - looked at thousands of times
        try:
            now = stamp(path)
        except OSError:
            return None
        if path not in self._known or self._known[path][0] != now:
            self._known[path] = now, checked(folder, kind, digest, whole=self.whole)
        return self._known[path][1]


def checked(folder: Path, kind: str, digest: str, *, whole: bool) -> Look:
    """Whether a folder holds that job's result: its JSON, its own sum, the sizes of its files, its predictions."""
    content = read_json(folder / "result.json")
    file = validated(ResultFile, content)
    metrics = None if file is None else validated(Metrics, file.metrics)
    if file is None or metrics is None:
        why = barred(folder / "result.json") or "damaged, or of another version"
        return Look(absence="unreadable", why=f"result.json: {why}")
    if not holds(content):
        return Look(absence="damaged", why="result.json: not what was written (SHA-256)")
    if (file.kind, file.digest) != (kind, digest):
        return Look(absence="unreadable", why="result.json: of another job")
    if whole and (file.provenance is None or not file.provenance.whole):
        return Look(absence="unreadable", why="result.json: its provenance is damaged, or of another version")
    sizes = (file.provenance and file.provenance.files) or {}
    sums = file.sums or {}
    for name, size in sizes.items():
        found = _size(folder, name)
        owed = whole or (name == READ_BY_TABLES and name in sums)
        if found != size and (owed or found is not None):
            there = "absent" if found is None else f"{found:,} bytes, not {size:,}"
            return Look(absence="damaged", why=f"{name}: {there}")
    if READ_BY_TABLES in sums and file_digest(folder / READ_BY_TABLES) != sums[READ_BY_TABLES]:
        return Look(absence="damaged", why=f"{READ_BY_TABLES}: not what was written (SHA-256)")
    return Look(Result(folder, content, file, metrics))


def out_of_place(root: Path, kind: str) -> list[Path]:
    """What is no folder where the jobs of a kind, one of them or their locks belong."""
    here = root / kind
    if not here.is_dir():
        return [here] if os.path.lexists(here) else []
    names = [path for path in here.iterdir() if path.name == ".locks" or JOB.fullmatch(path.name)]
    return sorted(path for path in names if not path.is_dir())


def folders_for_files(folder: Path) -> list[Path]:
    """What is a folder where a file of the job goes, of those that every run of it writes anew."""
    return [path for name in (*OF_THE_MOMENT, "config.json") if (path := folder / name).is_dir()]


def files_left(folder: Path) -> list[Path]:
    """The files that a job leaves for others, all but its result."""
    own = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
    return [path for path in own if path.name not in ("result.json", *OF_THE_MOMENT)]


def wrong_files(result: Result) -> list[str]:
    """Which of a job's files are there and not what was written. Reads all that no look at the job has read."""
    found = []
    for name, expected in (result.file.sums or {}).items():
        if name != READ_BY_TABLES and _size(result.folder, name) is not None:
            try:
                open_summed(result.folder / name, expected).close()
            except DamagedError as error:
                found.append(f"{name}: {error.why}")
    return found


def opened(folder: Path, name: str) -> BinaryIO:
    """A file of a finished job, held against the result beside it. Raises DamagedError."""
    for _ in range(2):
        before = read_json(folder / "result.json")
        file = validated(ResultFile, before)
        try:
            return open_summed(folder / name, ((file and file.sums) or {}).get(name))
        except DamagedError:
            if read_json(folder / "result.json") == before:
                raise
    raise DamagedError(folder / name, "made again all the time")


def read(folder: Path, name: str, parse: Callable[[BinaryIO], Any]) -> Any:
    """What `parse` makes of such a file. Raises DamagedError likewise, and where it makes nothing of it."""
    with opened(folder, name) as file:
        try:
            return parse(file)
        except (MemoryError, OSError):
            raise
        except Exception as error:
            if "memory" in str(error).lower():
                raise
            raise DamagedError(folder / name, f"damaged ({type(error).__name__})") from error


def _when(file: ResultFile) -> str:
    """When a job ended, in UTC and so in order; "" where nobody knows."""
    return (file.provenance and file.provenance.when) or ""


def _size(folder: Path, name: str) -> int | None:
    path = os.path.join(folder, name)  # noqa: PTH118
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return status.st_size if os.path.isfile(path) else -1  # noqa: PTH113


def _fits(row: FigureRow, table: Table) -> bool:
    """Whether the extras that the table reckons with or prints are numbers, and the others such that JSON can hold."""
    extra = {name: value for name in table.extras if (value := (row.model_extra or {}).get(name)) is not None}
    if table.chance in extra:
        printed = {name for _, name, *_ in Formatter().parse(table.aside) if name in table.extras}
        # Results of before lack what a metric's own aside prints.
        printed |= {name for _, name, *_ in Formatter().parse(table.metric(row.metric).aside) if name in extra}
        if not all(isinstance(extra.get(name), int | float) for name in {table.chance, *printed}):
            return False
    try:
        return not extra or bool(plain(extra))
    except ValueError:
        return False
