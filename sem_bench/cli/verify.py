"""`verify`: can a results folder or a record be believed? Every file in it is read and held against what was written.

A job's folder is judged where runs and tables judge it (report/job_folder.py). Here all its files are read, its digest
is computed again, and what no job needs is found.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from sem_bench.base import screen
from sem_bench.base.digest import digest
from sem_bench.base.files import barred, files_below, left_behind, no_folder, read_json, remove, stamp
from sem_bench.base.limits import Limits
from sem_bench.base.locks import Lock
from sem_bench.base.seals import DamagedError, holds, open_sealed
from sem_bench.config.fields import resolved
from sem_bench.data import split_lists
from sem_bench.errors import UserError, printable
from sem_bench.evaluation import Stage
from sem_bench.evaluations.registry import builtin
from sem_bench.report.file_models import ResultFile, validated
from sem_bench.report.job_folder import (
    ASIDE,
    DIGITS,
    JOB,
    NO_JOBS,
    NOT_A_FILE,
    NOT_A_FOLDER,
    JobFolders,
    Result,
    folders_for_files,
    out_of_place,
    wrong_files,
)
from sem_bench.report.results import manifests
from sem_bench.runs.drivers import at_work
from sem_bench.runs.pending import look_at_data
from sem_bench.runs.plan import read_plan
from sem_bench.runs.record_file import Opened, opened
from sem_bench.runs.store import Store
from sem_bench.sweep.summary_file import SweepFile, load
from sem_bench.training.job import PRETRAIN

_State = tuple[tuple[int, int, int] | None, ...]


class Finding(NamedTuple):
    """A line to say, and what it is about."""

    text: str
    wrong: bool = True  # else only worth knowing
    place: Path | None = None  # what is no folder, where one goes
    job: Path | None = None  # folder of a job that cannot be believed, or of one that another folder holds as well
    rest: Path | None = None  # what a dead process or nobody needs
    orphan: Path | None = None  # folder of a job that no suite names


class Verifier:
    """One look at all of a folder."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UserError(f"{root}: {no_folder(root) or 'no such folder'}")
        self.root = root
        self.kinds = sorted(
            path.name for path in root.iterdir() if path.is_dir() and path.name not in NO_JOBS and path.name[0] != "."
        )
        # A record has of each job what tables read, and nothing of how it was made.
        self.record = not any(True for kind in self.kinds for _ in (root / kind).glob("*/state.json"))
        self.folders = JobFolders(root, whole=not self.record)
        self.stages: dict[str, Stage[Any]] = {PRETRAIN.name: PRETRAIN, **builtin()}
        self.jobs = self.unchecked = self.older = 0
        self.barred: list[Path] = []  # nobody knows whether they are damaged
        self.drawn: dict[str, dict[str, int]] = {}  # list of a drawn split -> images of each split in the results
        self.states: dict[Path, _State] = {}  # of the folders of jobs, when they were looked at
        self.broken: dict[str, Path] = {}  # the first digits of a digest -> the folder of a job

    def findings(self) -> Iterator[Finding]:
        """Whatever there is to say, a line each."""
        yield from self._barred()
        yield from self._places()
        yield from self._strays()
        for finding in self._jobs():
            if finding.wrong and finding.job is not None:
                self.broken[finding.job.name[-DIGITS:]] = finding.job
            yield finding
        yield from self._trials()
        yield from self._splits()
        yield from self._caches()
        yield from self.orphans()
        if self.older:
            text = f"{self.older} configurations are of an earlier version of their stage: digests not computed again"
            yield Finding(text, wrong=False)
        if self.unchecked:
            yield Finding(
                f"{self.unchecked} results are of an earlier version, without checksums: unchecked", wrong=False
            )

    def _barred(self) -> Iterator[Finding]:
        for path in sorted(self.root.rglob("*")):
            if why := barred(path):
                self.barred.append(path)
                yield Finding(f"{path}: {why}")

    def _closed(self, path: Path) -> bool:
        """Whether something of it may not be read."""
        return any(one.is_relative_to(path) or path.is_relative_to(one) for one in self.barred)

    def _jobs(self) -> Iterator[Finding]:
        for kind in (kind for kind in self.kinds if not barred(self.root / kind)):
            names = sorted(path.name for path in (self.root / kind).iterdir() if path.is_dir() and path.name[0] != ".")
            own = [name for name in names if not name.endswith(ASIDE) and not self._closed(self.root / kind / name)]
            for name in own:
                yield from self._job(kind, self.root / kind / name)
            yield from self._kind(kind, own)

    def _places(self) -> Iterator[Finding]:
        for kind in sorted({*self.kinds, *self.stages}):
            for path in [] if barred(self.root / kind) else out_of_place(self.root, kind):
                yield Finding(f"{path}: {NOT_A_FOLDER}", place=path)

    def _strays(self) -> Iterator[Finding]:
        below = [self.root, *(path for path in self.root.rglob("*") if path.is_dir())]
        for path in (path for folder in below for path in left_behind(folder)):
            yield Finding(f"{path}: left by a process that is dead", wrong=False, rest=path)
        for kind in self.kinds:
            for name in sorted(self.folders.beside(kind)):
                path = self.root / kind / name
                if not _claim(path).path.exists():
                    yield Finding(f"{path}: begun to take the place of a result, and not ended", wrong=False, rest=path)

    def _job(self, kind: str, folder: Path) -> Iterator[Finding]:
        """One folder, whatever the others say."""
        self.states[folder] = _state(folder)
        yield from (Finding(f"{path}: {NOT_A_FILE}", job=folder) for path in folders_for_files(folder))
        if not (folder / "result.json").exists():
            if (folder / "checkpoint.pt").exists():
                try:
                    open_sealed(folder / "checkpoint.pt").close()
                except DamagedError as error:
                    yield Finding(f"{error}; a run begins this job anew", job=folder)
            return
        self.jobs += 1
        file = validated(ResultFile, read_json(folder / "result.json"))
        named = file is not None and folder.name.endswith(f"-{file.digest[:DIGITS]}")
        look = self.folders.at(folder, kind, file.digest if file is not None else "")
        if look is None or look.result is None:
            yield Finding(f"{folder}: {look.why if look else 'gone meanwhile'}", job=folder)
            return
        self.unchecked += look.result.file.sum is None
        if (drawn := split_lists.named_by(look.result.file.config)) is not None:
            for split, count in drawn[1].items():
                self.drawn.setdefault(drawn[0], {})[split] = count
        wrong = [*wrong_files(look.result), *self._digest(look.result)]
        wrong += [] if named else ["its name is not that of its digest"]
        yield from (Finding(f"{folder}: {why}", job=folder) for why in wrong)

    def _digest(self, result: Result) -> Iterator[str]:
        """Whether its digest is that of configuration and inputs, in this version of its stage or an earlier one."""
        stage, file = self.stages.get(result.file.kind), result.file
        if stage is None:
            return
        try:
            config = resolved(stage.Job.model_validate_json(json.dumps(file.config)))
        except ValidationError:
            self.older += 1  # its fields were others: what it says is held by its sum alone
            return
        content = {"kind": file.kind, "config": config, "inputs": file.inputs}
        if not any(digest(content | {"version": one}) == file.digest for one in range(stage.version, 0, -1)):
            yield "its digest is not that of its configuration and inputs"

    def _kind(self, kind: str, names: list[str]) -> Iterator[Finding]:
        """Doubles, and what stands on an earlier run of an input."""
        if kind not in self.stages and names:
            yield Finding(f"{kind}: a stage whose code is not here; its digests are not computed again", wrong=False)
        by_digest: dict[str, list[str]] = {}
        for name in names:
            by_digest.setdefault(name[-DIGITS:], []).append(name)
        for alike in by_digest.values():
            file = validated(ResultFile, read_json(self.root / kind / alike[0] / "result.json"))
            look = None if file is None else self.folders.look(kind, file.digest)
            if look is not None and look.absence in ("doubled", "outdated"):
                for name in alike:
                    yield Finding(f"{self.root / kind / name}: {look.why}", job=self.root / kind / name)
            elif look is not None and look.result is not None:
                for folder in (self.root / kind / name for name in alike):
                    if folder != look.result.folder:
                        yield Finding(f"{folder}: a second folder of {look.result.folder}", wrong=False, job=folder)

    def _trials(self) -> Iterator[Finding]:
        """Trials whose figures come from results that cannot be believed, or that a journal tells otherwise.

        The sweep chose among them.
        """
        for path in sorted((self.root / "sweeps").glob("*.json")):
            sweep = load(path)
            for study in () if sweep is None else sweep.studies:
                for trial in study.trials:
                    if found := [self.broken[key] for one in trial.digests if (key := one[:DIGITS]) in self.broken]:
                        text = f"trial {trial.number} of {study.name} stands on {found[0]}, which cannot be believed"
                        yield Finding(f"{path}: {text}")
            if sweep is not None:
                yield from self._journal(path.with_suffix(".journal"), sweep)

    def _journal(self, path: Path, sweep: SweepFile) -> Iterator[Finding]:
        if not path.is_file() or self._closed(path):
            return
        from sem_bench.sweep.storage import values  # Optuna takes a second

        try:
            told = values(path)
        except UserError as error:
            yield from (Finding(line) for line in error.problems)
            return
        for study in sweep.studies:
            for trial in (trial for trial in study.trials if (study.name, trial.number) in told and trial.tried):
                own, best = told[study.name, trial.number], max(one.value or 0.0 for one in trial.tried)
                if own != best:
                    text = f"trial {trial.number} of {study.name} has the value {own}, and had {best}"
                    yield Finding(f"{path}: {text}; `sweep` takes that of its results")

    def _splits(self) -> Iterator[Finding]:
        """Lists of drawn splits that are none, or have other numbers of images than the results made of them."""
        for path in sorted((self.root / split_lists.FOLDER).glob("*.csv")):
            if self._closed(path):
                continue
            try:
                found = Counter(split_lists.read_split_list(path).values())
            except UserError as error:
                yield from (Finding(line) for line in error.problems)
                continue
            for split, count in self.drawn.get(path.name, {}).items():
                if found[split] != count:
                    yield Finding(f"{path}: {found[split]:,} {split} images, and results were made of {count:,}")

    def _caches(self) -> Iterator[Finding]:
        cache = self.root / "cache"
        for path in (path for path in sorted((cache / "features").glob("*.npy")) if not self._closed(path)):
            try:
                open_sealed(path, path.name).close()
            except DamagedError as error:
                yield Finding(str(error), rest=path)
        for path in (path for path in sorted((cache / "data").glob("*.json")) if not self._closed(path)):
            content = read_json(path)
            if not isinstance(content, dict | str) or not holds(content):
                yield Finding(f"{path}: not what was written", rest=path)

    def orphans(self) -> Iterator[Finding]:
        """Jobs that no manifest and no sweep names; also what is wrong with those."""
        lines: list[str] = []
        listed: set[tuple[str, str]] = set()
        try:
            found = manifests(self.root, suite=None, all_suites=True, known=builtin(), say=lines.append)
            listed |= {(job.kind, job.digest[:DIGITS]) for manifest in found for job in manifest.jobs}
            yield from self._absent(listed)
        except UserError as error:
            lines += error.problems
        for path in sorted((self.root / "sweeps").glob("*.json")):
            sweep = load(path)
            if sweep is None:
                why = barred(path) or "damaged, or written by another version; `sweep` writes it again"
                lines.append(f"{path}: {why}")
            else:
                listed |= {(job.kind, job.digest[:DIGITS]) for study in sweep.studies for job in study.jobs}
        yield from (Finding(line.removeprefix("passed over: ")) for line in lines)
        if lines:
            return  # who knows what they name
        for kind in self.kinds:
            for path in [] if barred(self.root / kind) else sorted((self.root / kind).iterdir()):
                named = (kind, path.name[-DIGITS:]) in listed or not JOB.fullmatch(path.name)
                if path.is_dir() and not named:
                    yield Finding(f"{path}: no suite or sweep here names this job", wrong=False, orphan=path)

    def _absent(self, listed: set[tuple[str, str]]) -> Iterator[Finding]:
        """How many jobs of suites have no result: not run yet, or lost."""
        there = {(kind, name) for kind in self.kinds for name in self.folders.digits(kind)}
        if lacking := len(listed - there):
            yield Finding(f"{lacking} of {len(listed)} jobs that suites name are not here", wrong=False)

    def data(self, suite: Path, data: Path) -> Iterator[Finding]:
        """Results of a suite whose data are not here any more what they were then."""
        store = Store(self.root)
        jobs = [job for job in read_plan(suite, data=data).unique() if self.folders.look(job.kind, job.digest).result]
        there = [job for job in jobs if not job.absent()]
        look_at_data(there, store, Limits())
        for job in there:
            if store.look(job).absence == "outdated":
                yield Finding(f"{store.folder(job)}: {store.look(job).why}", job=store.folder(job))
        if lacking := len(jobs) - len(there):
            yield Finding(f"the data of {lacking} results are not here, and not looked at", wrong=False)


def command(options: argparse.Namespace) -> int:
    """Print it; returns 1 where something cannot be believed."""
    with opened(options.results) as there:
        return _verified(there, options)


def _verified(there: Opened, options: argparse.Namespace) -> int:
    if there.packed and (options.repair or options.prune):
        raise UserError(f"{there.name}: a record is one file; --repair and --prune are for results folders")
    verifier = Verifier(there.root)
    found = list(dict.fromkeys(verifier.findings()))
    if options.of is None:
        found.append(Finding("data: not looked at; --of SUITE says whose to hold the results against", wrong=False))
    else:
        found += verifier.data(options.of, options.data)
    for one in found:
        _say(f"{'wrong' if one.wrong else 'note '}  {there.named(one.text)}")
    wrong = [one for one in found if one.wrong]
    _say(f"{there.name}: {verifier.jobs} results, {len(wrong)} lines of what cannot be believed")
    if options.repair:
        _repair(verifier, found)
    if options.prune:
        _prune(verifier.root, sure=options.yes)
    return 1 if wrong else 0


def _repair(verifier: Verifier, found: list[Finding]) -> None:
    """Set aside what cannot be believed, so that `run` makes it anew, and clear away rests."""
    store = Store(verifier.root)
    for path, why in ((one.place, one.text) for one in found if one.place is not None):
        if target := store.move_aside(path, why):
            _say(f"set aside: {path} -> {target}")
    for folder in dict.fromkeys(one.job for one in found if one.job is not None):
        why = "; ".join(one.text for one in found if one.job == folder)
        if _state(folder) != verifier.states.get(folder):
            _say(f"not set aside: {folder}: it has changed since it was looked at")
        elif target := store.set_aside(folder.parent.name, folder.name[-DIGITS:], folder, why):
            _say(f"set aside: {folder} -> {target}")
        else:
            _say(f"not set aside: {folder}: a run works on it, or it is gone")
    for path in (one.rest for one in found if one.rest is not None):
        if not path.is_dir():
            path.unlink(missing_ok=True)
        elif not _deleted(path, _claim(path)):
            continue
        _say(f"removed: {path}")


def _prune(root: Path, *, sure: bool) -> None:
    """Free what can be computed again: cached features, what is known of the data, and orphans.

    A run may need any of it, or may have begun since the orphans were found. Raises UserError where one is at work.
    """
    if sure and (holder := at_work(root)):
        raise UserError(f"{root}: a run is at work here ({holder}); nothing is deleted before it has ended")
    orphans = [one.orphan for one in Verifier(root).orphans() if one.orphan is not None]
    parts = [path for path in (root / "cache" / "features", root / "cache" / "data", *orphans) if path.is_dir()]
    size = sum(status.st_size for path in parts for _, status in files_below(path))
    _say(f"prune: {size / 2**20:,.1f} MiB in {len(parts)} folders" + ("" if sure else "; --yes deletes them"))
    for path in parts if sure else ():
        _deleted(path, Lock(path / "lock") if path.parent == root / "cache" else _claim(path))


def _claim(folder: Path) -> Lock:
    """The lock of the job in whose folder, or beside it, something lies."""
    name = folder.name.removesuffix(".rerun").removesuffix(".old")
    return Lock(folder.parent / ".locks" / name[-DIGITS:])


def _deleted(path: Path, lock: Lock) -> bool:
    """Delete a folder under its lock; of a link the link, for what it leads to is not the results'."""
    lock.path.parent.mkdir(exist_ok=True)
    if not lock.take():
        _say(f"not deleted: {path}: a run works on it")
        return False
    try:
        if path.is_symlink():
            lock.release()  # it may lie where the link leads
        remove(path)
    except OSError as error:
        _say(f"not deleted: {path}: {error.strerror or error}")
        return False
    finally:
        lock.release()
    return True


def _state(folder: Path) -> _State:
    """What is other once a job was made again, or got further."""
    return tuple(_stamp(folder / name) for name in ("result.json", "checkpoint.pt"))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        return stamp(path)
    except OSError:
        return None


def _say(line: str) -> None:
    print(screen.wrapped(printable(line), indent=7))  # noqa: T201
