"""Commands that a signal hits at a chosen moment: amid a write, between two steps of one, or at any time.

Each runs in a process forked from one that has imported everything, so that a trial takes a second. There the moments
are counted by Python's audit events of files that are opened to be written, renamed and removed, and by a file object
that writes the half of what it is given.
"""

import json
import math
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sem_bench.cli import main
from tests.helpers.forked import CONTEXT, PRELOADED

STRUCK, SEEN = "struck.txt", "seen.txt"  # in the user's folder: when the signal came; the moments that there were
WORKER = "worker: "
AIM = "TEST_MOMENT"  # for worker processes


@dataclass(frozen=True)
class Moment:
    """When a signal comes, and to whom."""

    number: int = 0  # of the signal; 0: none comes, and the moments are noted
    label: str = ""  # of the step before which it comes, such as "rename result.json"; "": `after` says when
    count: int = 1  # the how-manyth of these steps
    after: float = 0.0  # seconds
    in_worker: bool = False  # whose steps count
    worker_only: bool = False  # whether it hits that worker, and not the driver


@dataclass(frozen=True)
class Ended:
    """What became of a command."""

    code: int
    output: str
    struck: bool
    seconds: float  # from the signal to the end, or of all where none came
    seen: Mapping[str, int]  # moments by label, where they were noted; those in workers begin with WORKER


class Command:
    """The command line in a folder, in a process of its own."""

    def __init__(self, folder: Path, *arguments: str, moment: Moment | None = None) -> None:
        self.folder, self.moment, self.began = folder, moment or Moment(after=math.inf), time.time()
        self.log = folder / f"log-{time.monotonic_ns()}.txt"
        (folder / STRUCK).unlink(missing_ok=True)
        CONTEXT.set_forkserver_preload(PRELOADED)
        text = json.dumps(asdict(self.moment))
        self.process = CONTEXT.Process(target=_run, args=(str(folder), arguments, text, str(self.log)))
        self.process.start()

    def end(self) -> Ended:
        """Send the signal, if its moment is one of time, and wait for the end."""
        pid, struck = self.process.pid or 0, self.folder / STRUCK
        if self.moment.number and not self.moment.label:
            self.process.join(self.moment.after)
            if self.process.is_alive():
                struck.write_text(repr(time.time()))
                os.kill(pid, self.moment.number)
        self.process.join(300)
        assert self.process.exitcode is not None, self.log.read_text()
        hit, seen = struck.exists(), self.folder / SEEN
        began = float(struck.read_text()) if hit else self.began
        counts = Counter(seen.read_text().splitlines() if seen.exists() else ())
        return Ended(self.process.exitcode, self.log.read_text(), hit, time.time() - began, counts)


def _run(folder: str, arguments: Sequence[str], moment: str, log: str) -> None:
    """In the process."""
    os.setsid()
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    from sem_bench.runs.executors import processes

    processes._prepare = _prepare
    os.environ[AIM] = moment
    _watch(Moment(**json.loads(moment)), os.getpid(), is_worker=False)
    code = main(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # they would come too late
        signal.signal(number, signal.SIG_IGN)
    sys.stdout.flush()
    sys.stderr.flush()
    raise SystemExit(code)


def _prepare(pipe: Connection, environment: Mapping[str, str]) -> None:
    """Before the first order of a worker process."""
    from sem_bench.runs.executors.processes import _prepare as prepare

    prepare(pipe, environment)
    _watch(Moment(**json.loads(os.environ[AIM])), os.getppid(), is_worker=True)


def _watch(moment: Moment, driver: int, *, is_worker: bool) -> None:
    from sem_bench.training import checkpoint

    checkpoint.SAVING_SHARE = math.inf  # a checkpoint after each step
    watcher = _Watcher(moment, driver, is_worker=is_worker)
    sys.addaudithook(watcher.audit)
    really, fsync = Path.open, os.fsync

    def half(self: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        file = really(self, mode, *rest, **named)
        return _Halving(file, watcher, str(self)) if mode in ("wb", "xb") else file

    def slow(file: int) -> None:
        watcher.before("fsync", Path(f"/proc/self/fd/{file}").readlink())
        fsync(file)

    Path.open, os.fsync = half, slow  # type: ignore[method-assign,assignment]


STEPS = {"os.rename": ("rename", 1), "os.remove": ("remove", 0), "os.mkdir": ("mkdir", 0), "os.rmdir": ("rmdir", 0)}


class _Watcher:
    """Counts moments, and sends the signal at the one that was asked for."""

    def __init__(self, moment: Moment, driver: int, *, is_worker: bool) -> None:
        self.moment, self.driver, self.is_worker = moment, driver, is_worker
        self.seen = Counter[str]()
        noting = not moment.number and not moment.after
        self.notes = os.open(SEEN, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if noting else -1
        self.active = noting or (bool(moment.label) and is_worker is moment.in_worker)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Python tells of each event before it happens."""
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            self.before("open", arguments[0])
        elif event in STEPS:
            step, place = STEPS[event]
            self.before(step, arguments[place])

    def before(self, step: str, path: object) -> bool:
        """Strike, if this is the moment."""
        if not self.active or not isinstance(path, str | bytes | os.PathLike):
            return False
        label = f"{step} {_kind(os.fsdecode(path))}"
        if label.endswith(" "):
            return False
        self.seen[label] += 1
        if self.notes >= 0:
            os.write(self.notes, f"{WORKER if self.is_worker else ''}{label}\n".encode())
        due = label == self.moment.label and self.seen[label] == self.moment.count
        if due and step != "half":
            self.strike()
        return due

    def strike(self) -> None:
        """Send the signal."""
        self.active = False
        with open(STRUCK, "w") as file:
            file.write(repr(time.time()))
        if not self.moment.worker_only:
            os.kill(self.driver, self.moment.number)
        if self.is_worker and self.moment.number == signal.SIGKILL:
            os.kill(os.getpid(), signal.SIGKILL)


def _kind(path: str) -> str:
    """What a file is; "" for one that is not the suite's, or nothing of it."""
    here = str(Path.cwd())
    path = os.path.relpath(path) if path.startswith(here) else path
    *folders, name = Path(path).parts or ("",)
    name = re.sub(r"^\.(.*)\.\w+\.\d+\.\w+\.tmp$", r"\1", name)
    if not folders or folders[0] not in ("results", "data"):
        return ""
    if "data" in folders:
        return "data"
    if name.startswith(".") or any(one.startswith(".") for one in folders):
        return "lock"
    kind = name.rpartition(".")[2] if "." in name and not re.search(r"[0-9a-f]{12}$", name) else "folder"
    for one in ("suites", "cache", "sweeps", "tables"):
        if one in folders:
            return f"{one} {kind}"
    return name if kind != "folder" else kind


class _Halving:
    """A file of whose writes one may stop in the middle."""

    def __init__(self, file: Any, watcher: _Watcher, path: str) -> None:
        self._file, self._watcher, self._path = file, watcher, path

    def write(self, data: Any) -> int:
        if self._watcher.before("half", self._path):
            self._file.write(memoryview(data).cast("B")[: memoryview(data).nbytes // 2])
            self._file.flush()
            self._watcher.strike()
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Halving":
        self._file.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self._file.__exit__(*error)
