"""The results folder: the only memory of a run, and the source of truth for what is done.

A job's folder is results/KIND/SLUG-DIGEST12/. Its result.json is written last and atomically: its existence means done.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol

from sem_bench.base import locks, machine
from sem_bench.base.digest import digest
from sem_bench.base.files import (
    LEADS_NOWHERE,
    JsonFiles,
    files_below,
    left_behind,
    lines_digest,
    no_folder,
    read_json,
    reason,
    remove,
    write_atomic,
    write_json,
)
from sem_bench.base.locks import Lock
from sem_bench.base.seals import holds, with_sum
from sem_bench.config.fields import Model, SplitName, resolved
from sem_bench.data.dataset import Place
from sem_bench.errors import UserError
from sem_bench.evaluation import Evaluation, Stage
from sem_bench.report.file_models import SCHEMA, folder_name
from sem_bench.report.job_folder import (
    DIGITS,
    NOT_A_FILE,
    NOT_A_FOLDER,
    JobFolders,
    Look,
    folders_for_files,
    out_of_place,
)
from sem_bench.runs import deaths
from sem_bench.runs.job import Job, data_of
from sem_bench.runs.suite import Suite

Status = Literal["done", "void", "failed", "partial", "missing"]
SET_ASIDE = "set-aside"  # below the results: what was not what was written


class Stored(Protocol):
    """What the store knows a job by: a `Job` of a plan, or the order to do one."""

    @property
    def kind(self) -> str:
        """The name of its stage."""

    @property
    def slug(self) -> str:
        """Its readable name."""

    @property
    def digest(self) -> str:
        """64 hexadecimal digits."""

    @property
    def config(self) -> Model:
        """All that its stage depends on."""

    @property
    def stage(self) -> Stage[Any]:
        """What does it."""

    @property
    def place(self) -> Place:
        """Where the data lie that it reads."""


class Store:
    """A results folder, as one command sees it. Nothing is created before something is written.

    Each result.json is read once, and again when it has become another file, whoever wrote it.
    """

    def __init__(self, root: Path) -> None:
        if why := no_folder(root):
            raise UserError(f"--results {root}: {why}")
        self.root = root
        self.folders = JobFolders(root, whole=True)
        self.files = JsonFiles()
        self._stamps: dict[Path, str] = {}
        self._described: dict[tuple[object, ...], dict[SplitName, Path]] = {}  # data -> the files of its fingerprints
        self._claims: dict[Path, Lock] = {}

    def folder(self, job: Stored) -> Path:
        """Where the job's files are, or will be."""
        place = self.root / job.kind / folder_name(job.slug, job.digest)
        there = self.folders.named(job.kind, job.digest)
        if len(there) > 1 and (result := self.folders.look(job.kind, job.digest).result):
            return result.folder
        return place if place in there or not there else there[0]

    def by_digest(self, kind: str, digest: str) -> Path | None:
        """The folder of a finished job, or None."""
        there = self.folders.named(kind, digest)
        if len(there) > 1 and (result := self.folders.look(kind, digest).result):
            return result.folder
        return there[0] if there and _appeared(there[0] / "result.json") else None

    def look(self, job: Stored) -> Look:
        """The job's result, if it is whole, of this job, and made from the inputs and data that are there."""
        look = self.folders.look(job.kind, job.digest, getattr(job.stage, "table", None))
        if look.result is None:
            return look
        used = look.result.content["provenance"]["data"]
        here = self.fingerprints(job) or used
        if all(here.get(split) == value for split, value in used.items()):
            return look
        return Look(absence="outdated", why="made from other data than is there now")

    def result(self, job: Stored) -> dict[str, Any] | None:
        """Its content; None where there is none that can be believed."""
        found = self.look(job).result
        return None if found is None else found.content

    def usable(self, job: Stored) -> bool:
        """Whether other jobs can build on it."""
        return self.look(job).result is not None

    def status(self, job: Stored) -> Status:
        """What is there of a job; void: a result that cannot be believed."""
        folder = self.folder(job)
        if not folder.is_dir():  # as nearly all are at first
            return "missing"
        look = self.look(job)
        if look.result is not None:
            return "done"
        if (folder / "error.txt").exists():
            return "failed"
        if look.void:
            return "void"
        return "partial" if (folder / "checkpoint.pt").exists() else "missing"

    def claim(self, job: Stored) -> Lock:
        """Who works on a job holds it, and writes into its folder only as long as it does."""
        path = self.root / job.kind / ".locks" / job.digest[:DIGITS]  # outside the folder, which may be exchanged
        if path not in self._claims:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._claims[path] = Lock(path, fence=True)
        return self._claims[path]

    def done_since(self, job: Stored, since: int) -> bool:
        """Whether other jobs can build on it, and its result was written later than that (ns), by whichever process."""
        path = self.folder(job) / "result.json"
        return _appeared(path) and self.usable(job) and path.stat().st_mtime_ns >= since

    def date_back(self, jobs: Sequence[Stored], since: int) -> None:
        """After a clock went back: what is dated in the future was not written since then (ns)."""
        places = [place for job in jobs for place in (self.folder(job), self._place(job))]
        paths = {place / name for place in places for name in ("result.json", "checkpoint.pt")}
        dated = {path: path.stat().st_mtime_ns for path in paths if path.is_file()}
        present = _present(self.root)
        for path in (path for path, when in dated.items() if when > present):
            os.utime(path, ns=(since - 1, since - 1))

    def failed_at(self, job: Stored) -> int | None:
        """When it failed (ns); None where it did not, or was begun again since."""
        with contextlib.suppress(OSError):
            return self.error_file(job).stat().st_mtime_ns
        return None

    def error_file(self, job: Stored) -> Path:
        """Where it stands why a job failed."""
        return self._place(job) / "error.txt"

    def _place(self, job: Stored) -> Path:
        """The folder that was worked in last, perhaps beside a result that stays."""
        folder = self.folder(job)
        beside = folder.with_name(f"{folder.name}.rerun")
        return beside if (folder / "result.json").exists() and beside.is_dir() else folder

    @contextmanager
    def workplace(self, job: Stored, *, afresh: bool, since: int = 0) -> Iterator[Path]:
        """The folder to work in, with `afresh` without what was begun before `since` (ns), or at any time.

        Where there is a result, even one of other data, the work goes on beside it and takes its place at the end.
        """
        folder = self.folder(job)
        for path in folders_for_files(folder):
            self.move_aside(path, NOT_A_FILE)
        self._recover(folder)
        if not (folder / "result.json").exists():
            _tidy(folder, afresh=afresh, since=since)
            yield folder
        else:
            beside, old = folder.with_name(f"{folder.name}.rerun"), folder.with_name(f"{folder.name}.old")
            _tidy(beside, afresh=afresh, since=since)
            if not afresh and not (beside / "checkpoint.pt").exists():
                with contextlib.suppress(OSError):  # which may be whole where the result is damaged: it says so itself
                    os.link(folder / "checkpoint.pt", beside / "checkpoint.pt")
            yield beside
            if (beside / "result.json").exists():  # else the old result stays
                locks.check()
                folder.rename(old)
                beside.rename(folder)
                remove(old)
        if (folder / "result.json").exists():
            for other in self.folders.named(job.kind, job.digest):
                if other not in (folder, folder.with_name(f"{folder.name}.rerun")):
                    self.move_aside(other, f"a second folder of this job beside {folder.name}")

    def move_aside(self, path: Path, why: str) -> Path | None:
        """Move what cannot be believed to set-aside/, with the reason; None where it is not there any more.

        Nothing that lies there is read again, and nothing is deleted.
        """
        name = "-".join(path.absolute().relative_to(self.root.absolute()).parts)
        target = self.root / SET_ASIDE / f"{name}-{uuid.uuid4().hex[:6]}"
        if target.parent.exists() and not target.parent.is_dir():
            target.parent.rename(target.parent.with_name(f"{SET_ASIDE}-{uuid.uuid4().hex[:6]}"))
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.rename(target)
        except FileNotFoundError:
            return None
        write_atomic(target.with_name(f"{target.name}.why.txt"), f"{path}: {why}\n")
        return target

    def set_aside(self, kind: str, digest: str, folder: Path, why: str) -> Path | None:
        """The same with the folder of a job, unless somebody works on it."""
        path = self.root / kind / ".locks" / digest[:DIGITS]
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = Lock(path)
        if not lock.take():
            return None
        try:
            return self.move_aside(folder, why)
        finally:
            lock.release()

    def count_death(self, job: Stored, why: str) -> str | None:
        """Note that a worker died of a job; returns why it is given up, "" while it may be tried again.

        None where another process works on it now.
        """
        claim = self.claim(job)
        if not claim.take():
            return None
        try:
            deaths.note(self._place(job), why)
            self.write_state(self._place(job), "died")
            return self.given_up(job)
        finally:
            claim.release()

    def count_unseen_death(self, job: Stored) -> bool:
        """The same, for who holds the claim, where the process that worked on it before died and nobody saw it."""
        if found := deaths.died_unseen(self._place(job)):
            deaths.note(self._place(job), deaths.UNSEEN)
            self.write_state(self._place(job), "died")
        return found

    def given_up(self, job: Stored) -> str:
        """Why a job is not tried any more, for who holds the claim; it is noted where it was not. "": it may be."""
        folder, look = self._place(job), self.look_folder(job)
        of_data = f"a look at the data {data_of(job).name!r}: " if deaths.verdict(look) else ""
        why = of_data + deaths.verdict(look if of_data else folder)
        if why and not (folder / "error.txt").exists():
            self.write_failure(folder, f"{why}\n")
            self.write_state(folder, "failed")
        return why

    def suspect(self, job: Stored) -> bool:
        """Whether a process died of a job that may be tried again, and nobody works on it."""
        folder = self._place(job)
        if not (deaths.died_unseen(folder) or deaths.said_by(folder)) or deaths.verdict(folder):
            return False
        claim = self.claim(job)
        if free := claim.take():
            claim.release()
        return free

    def forgive(self, job: Stored) -> None:
        """Try a job again, whoever died of it."""
        (self._place(job) / deaths.FILE).unlink(missing_ok=True)
        shutil.rmtree(self.look_folder(job), ignore_errors=True)

    def _recover(self, folder: Path) -> None:
        """Finish an exchange of folders in whose middle a run was killed."""
        old = folder.with_name(f"{folder.name}.old")
        if old.exists() and not (folder / "result.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            old.rename(folder)
        elif old.exists():
            remove(old)

    def write_state(self, folder: Path, state: str, **details: object) -> None:
        """state.json: what becomes of the job. Who is "running" and is gone has died (sem_bench.runs.deaths)."""
        said = {"state": state, "pid": os.getpid(), "boot": machine.boot(), "at": now()}
        write_json(folder / "state.json", said | details)

    def write_failure(self, folder: Path, text: str) -> None:
        """error.txt: why the job failed. A failure is never taken for a result."""
        write_atomic(folder / "error.txt", text)

    def write_manifest(self, name: str, suite: Suite, jobs: Sequence[Job], sweeps: Sequence[str] = ()) -> Path:
        """results/suites/NAME.json: the resolved suite, its jobs, what their tables look like, its sweeps."""
        path = self.root / "suites" / f"{name}.json"
        if path.is_dir():
            raise UserError(f"{path}: a folder where the suite's manifest goes; move it away, and run again")
        numbers = [_number(other) for other in path.parent.glob("*.json")]
        manifest = {
            "schema": SCHEMA,
            "name": name,
            "number": 1 + max(numbers, default=0),  # of this run, for clocks may go back
            "written": now(),
            "suite": suite.model_dump(mode="json"),
            "tables": {job.kind: job.stage.table.model_dump() for job in jobs if isinstance(job.stage, Evaluation)},
            "jobs": [job.manifest_entry() for job in jobs],
            "sweeps": list(sweeps),
        }
        write_json(path, with_sum(manifest))
        return path

    def sweep_up(self, jobs: Sequence[Job], *, alone: bool) -> None:
        """Clear away what dead processes left: temporary files, and where no other run is alive begun replacements of
        sound results. Files where folders belong are set aside."""
        for kind in sorted({job.kind for job in jobs}):
            for path in out_of_place(self.root, kind):
                if not path.exists():
                    raise UserError(f"{path}: {LEADS_NOWHERE}; is its disk there? `verify --repair` sets it aside")
                self.move_aside(path, NOT_A_FOLDER)
        folders = [self.root / name for name in ("suites", "sweeps", "tables", "cache/data", "cache/features")]
        for folder in (*folders, *(self.root / "tables").glob("*")):
            for path in left_behind(folder):
                path.unlink(missing_ok=True)
        for job in jobs if alone else ():
            if not (names := self.folders.beside(job.kind)):
                continue
            folder = self.folder(job)
            if f"{folder.name}.rerun" in names and self.usable(job):
                beside, claim = folder.with_name(f"{folder.name}.rerun"), self.claim(job)
                if not (beside / "error.txt").exists() and claim.take():
                    shutil.rmtree(beside, ignore_errors=True)
                    claim.release()

    def fingerprints(self, job: Stored) -> dict[SplitName, str] | None:
        """What is known of the content of the job's data, by split; None before its first use here."""
        data = data_of(job)
        described = type(data), data.model_dump_json(), *map(self._stamp, job.place.needs)  # the same for many jobs
        if described not in self._described:
            self._described[described] = {split: self._fingerprint_file(job, split) for split in data.counts}
        found = {split: _fingerprint(self.files.read(path)) for split, path in self._described[described].items()}
        return {split: value for split, value in found.items() if value} if all(found.values()) else None

    def look_folder(self, job: Stored) -> Path:
        """Where it is noted while a process looks at the job's data, and how often one died of it."""
        data = data_of(job)
        identity = [data.name, resolved(data.source), data.code, [self._stamp(path) for path in job.place.needs]]
        return self.root / "cache" / "data" / f"{data.name}-{digest(identity)[:12]}.look"

    def looking_at_data(self) -> Lock:
        """Who reads data for their fingerprints holds it."""
        folder = self.root / "cache" / "data"
        folder.mkdir(parents=True, exist_ok=True)
        return Lock(folder / "lock")

    def write_fingerprints(self, job: Stored, fingerprints: Mapping[SplitName, str]) -> None:
        """Remember the content of each split."""
        self._stamps.clear()  # reading it may have unpacked or downloaded it
        for split, value in fingerprints.items():
            write_json(self._fingerprint_file(job, split), with_sum({"fingerprint": value}))

    def _fingerprint_file(self, job: Stored, split: SplitName) -> Path:
        data = data_of(job)
        described = [data.name, resolved(data.source), data.code, data.image_size, data.reduce]
        identity = {
            "data": [*described, split, data.counts[split], data.used(split)],
            "files": [self._stamp(path) for path in job.place.needs],
            # Drawn data depends on the libraries that draw, so another version of them has to be looked at anew.
            "libraries": _libraries(),
        }
        return self.root / "cache" / "data" / f"{data.name}-{split}-{digest(identity)[:12]}.json"

    def _stamp(self, path: Path) -> str:
        """The stamp of a file or folder; looked at once a command, for a folder may have a million files."""
        if path not in self._stamps:
            self._stamps[path] = _stamp(path)
        return self._stamps[path]


def manifest_digest(suite: Suite, jobs: Sequence[Job], sweeps: Sequence[str]) -> str:
    """Of all that a suite means: runs of equal ones can share their work."""
    return digest([suite.model_dump(mode="json"), [job.digest for job in jobs], list(sweeps)])


@cache
def _libraries() -> dict[str, str]:
    return {name: version(name) for name in ("numpy", "pillow")}


def _fingerprint(content: object) -> str | None:
    """What a file of cache/data says; None where it is damaged. One of before is a text alone."""
    value = content.get("fingerprint") if isinstance(content, dict) and holds(content) else content
    return value if isinstance(value, str) and value else None


def _number(manifest: Path) -> int:
    content = read_json(manifest)
    found = content.get("number") if isinstance(content, dict) else None
    return found if isinstance(found, int) and 0 <= found < 2**62 - 1 else 0


def _appeared(path: Path) -> bool:
    """Whether a file is there that another machine may have written a moment ago.

    An NFS client remembers for up to a minute that it was not; opening its folder makes the client look anew.
    """
    if not path.exists():
        with contextlib.suppress(OSError):
            os.listdir(path.parent.parent)  # noqa: PTH208
            os.listdir(path.parent)  # noqa: PTH208
    return path.exists()


def _stamp(path: Path) -> str:
    """A hash of the names, sizes and times of a file, or of all files below a folder."""
    alone = [(str(path), path.stat())] if path.is_file() else []
    found = files_below(path) if path.is_dir() else alone
    return lines_digest(sorted(f"{name}\t{status.st_size}\t{status.st_mtime_ns}" for name, status in found))


def _tidy(folder: Path, *, afresh: bool, since: int) -> None:
    """Make the folder, or clear away what a failed or killed run left that nobody needs; `afresh` clears all."""
    checkpoint = folder / "checkpoint.pt"
    of_this_rerun = since and checkpoint.exists() and checkpoint.stat().st_mtime_ns >= since
    if afresh and not of_this_rerun:
        remove(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder / "error.txt", folder / "result.json", *folder.glob(".*.tmp")):
        path.unlink(missing_ok=True)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _present(root: Path) -> int:
    """The time (ns) by the clock that stamps the files of a folder. Raises OSError where none can be written."""
    probe = root / f".writable.{uuid.uuid4().hex}"
    probe.write_text("")
    try:
        return probe.stat().st_mtime_ns
    finally:
        probe.unlink()


def check_writable(root: Path) -> None:
    """Raise UserError where results cannot be written."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        _present(root)
    except OSError as error:
        raise UserError(f"--results {root}: cannot write there ({reason(error)})") from None
