"""Where studies are kept, a journal file or a database, and the locks of the drivers that share them.

A driver is a process that runs a sweep. Several may share the studies, a results folder and its locks.
"""

import json
import os
import re
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sem_bench.base.locks import Lock
from sem_bench.errors import UserError, described

CONNECT_TIMEOUT = 10  # seconds


class _JournalLock(JournalFileOpenLock):
    """The journal's lock; a line that a killed writer left is cut off."""

    def __init__(self, journal: Path) -> None:
        self.journal, self.lock = journal, Lock(journal.with_suffix(".lock"))

    def acquire(self) -> bool:
        """Wait for it."""
        self.lock.acquire()
        content = self.journal.read_bytes()  # some kilobytes
        if not content.endswith(b"\n"):
            os.truncate(self.journal, content.rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Let others in."""
        self.lock.release()


class _Lines(BaseJournalBackend):
    """A journal's lines, to read."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self.lines = lines

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """Those from that number on."""
        return self.lines[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """None are."""
        raise NotImplementedError


def open_storage(url: str | None, journal: Path) -> BaseStorage:
    """The storage at a database URL, or the journal file. Raises UserError where the file is none.

    Drivers write whole lines, so what cannot be read was damaged by something else.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if url is not None:
        return RDBStorage(url, engine_kwargs={"connect_args": _connect_arguments(url)})
    journal.parent.mkdir(parents=True, exist_ok=True)
    lock = _JournalLock(journal)
    with undamaged(journal):
        backend = JournalFileBackend(str(journal), lock)
        lock.acquire()
        try:
            for line in journal.read_bytes().splitlines():  # Optuna does not mind the last one
                json.loads(line)
        finally:
            lock.release()
        return JournalStorage(backend)


def values(journal: Path) -> dict[tuple[str, int], float | None]:
    """The values of the complete trials in a journal file, by study and number; nothing is written.

    Raises UserError where it cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    *lines, _ = journal.read_bytes().split(b"\n")  # the last is empty, or one that is being written
    with undamaged(journal):
        storage = JournalStorage(_Lines([json.loads(line) for line in lines]))
        studies = [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)]
        complete = (TrialState.COMPLETE,)
        return {
            (study.study_name, trial.number): trial.value
            for study in studies
            for trial in study.get_trials(deepcopy=False, states=complete)
        }


@contextmanager
def undamaged(where: Path | str) -> Iterator[None]:
    """Raises UserError where what a storage holds is nothing that Optuna or we have written."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise UserError(f"{where}: damaged, or no journal of Optuna ({_reason(error)})") from None


def close_storage(storage: BaseStorage) -> None:
    """Let go of a database."""
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


@contextmanager
def reached(url: str | None, where: str) -> Iterator[None]:
    """Raises UserError where the storage is not there, is lost, or is nothing that this version of Optuna can read."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError) as error:
        if url is None:
            raise
        raise UserError(f"{where}: cannot be reached: {_reason(error)}") from None
    except RuntimeError as error:
        if url is None or "table schema" not in str(error):
            raise
        raise UserError(f"{where}: {' '.join(str(error).split())}") from None
    except Exception as error:
        if isinstance(error, UserError) or not _of_optuna(error):
            raise
        raise UserError(f"{where}: damaged: {described(error)}") from None


def _of_optuna(error: BaseException) -> bool:
    """Whether Optuna raised it, or what Optuna called."""
    inside = Path(optuna.__file__).parent
    return any(inside in Path(frame.filename).parents for frame in traceback.extract_tb(error.__traceback__))


def shown_url(url: str) -> str:
    """A database URL without its password and options. Raises UserError for what names no lasting database."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise UserError("--storage: no database URL; one is sqlite:///sweeps.db") from None
    memory = parsed.database in (None, "", ":memory:") or parsed.query.get("mode") == "memory"
    if parsed.get_backend_name() == "sqlite" and memory:
        raise UserError("--storage: names no file; sqlite:///sweeps.db does")
    return parsed.set(query={}).render_as_string(hide_password=True)


def _connect_arguments(url: str) -> dict[str, Any]:
    """How long to wait for a database: for its lock, or its answer."""
    shown_url(url)
    waits = {"sqlite": {"timeout": 60}, "postgresql": {"connect_timeout": CONNECT_TIMEOUT}}
    return waits.get(make_url(url).get_backend_name(), {})


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause."""
    while (cause := error.__cause__ or getattr(error, "orig", None)) is not None:
        error = cause
    return str(error).strip().split("\n")[0]


class Driver:
    """This process as others see it: alive as long as it holds the lock on its file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = uuid.uuid4().hex
        self._life = Lock(folder / self.name)
        self._others: dict[str, Lock] = {}  # each remembers since when another shows no sign of life

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._life.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self._life.release()

    def lives(self, name: str | None) -> bool:
        """Whether the driver of that name is alive."""
        if name is None:
            return False
        if name == self.name:
            return True
        other = self._others.setdefault(name, Lock(self.folder / name))
        if not other.take():
            return True
        other.release()
        return False

    @property
    def in_company(self) -> bool:
        """Whether another driver is alive."""
        names = [path.name for path in self.folder.iterdir() if re.fullmatch("[0-9a-f]{32}", path.name)]
        return any(self.lives(name) for name in names if name != self.name)

    @property
    def home(self) -> str:
        """A random name that tells this results folder from others. It may be made now: ask for it while `alone`."""
        file = self.folder / "home"
        if not file.exists():
            file.write_text(uuid.uuid4().hex)
        return file.read_text()

    def alone(self) -> Lock:
        """A context in which no other driver of this results folder changes a list of trials."""
        return Lock(self.folder / "trials.lock")
