"""The runs of a suite that are alive, on any machine that shares the results folder.

Runs of one suite share its jobs. A run of another suite of the same name would take its tables from it.
"""

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sem_bench.base.files import left_behind, read_json, write_json
from sem_bench.base.locks import LEASE, Lock
from sem_bench.errors import UserError

NAME = "[0-9a-f]{32}"  # of a run's file


class _Other(NamedTuple):
    """A run that is alive."""

    suite: str
    since: int | None
    holder: str


@contextmanager
def registered(root: Path, name: str, suite: str, *, anew: bool) -> Iterator[tuple[int | None, bool]]:
    """While this run of a suite is alive. `suite` is the digest of all that it means.

    Gives (time, alone). Where jobs are to be done `anew`, results are new from that time on (ns, by the clock of the
    results folder): when the first of the runs that do it together began; else None. `alone`: no other run is
    alive here, of any suite. Raises UserError where a run of another suite of this name is alive.
    """
    folder = root / "suites" / ".runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    own = uuid.uuid4().hex
    life, said = Lock(folder / own), folder / f"{own}.json"
    with Lock(folder / "lock"):
        life.acquire()
        try:
            now = (folder / own).stat().st_mtime
            others = list(_alive(folder, now, own))
            elsewhere = (
                any(_alive(one, now, own)) for one in folder.parent.iterdir() if one.is_dir() and one != folder
            )
            alone = not others and not any(elsewhere)
            if wrong := [other.holder for other in others if other.suite != suite]:
                text = f"suite {name!r}: a run of another suite of this name is at work in {root} ({wrong[0]})"
                raise UserError(f"{text}; give this one another name, such as --set name={name}_2")
            together = [other.since for other in others if other.since is not None]
            since = min([*together, (folder / own).stat().st_mtime_ns]) if anew else None
            write_json(said, {"suite": suite, "since": since})
        except BaseException:
            life.release()
            raise
    try:
        yield since, alone
    finally:
        said.unlink(missing_ok=True)
        life.release()


def at_work(root: Path) -> str:
    """Who runs a suite or a sweep in these results now; "" where nobody does."""
    lives = [*root.glob("suites/.runs/*/*"), *root.glob("sweeps/.drivers/*")]
    for path in (path for path in lives if re.fullmatch(NAME, path.name)):
        life = Lock(path)
        if life.take():
            life.release()
        elif time.time() - _touched(path, 0) < LEASE:
            return life.holder
    return ""


def _alive(folder: Path, now: float, own: str) -> Iterator[_Other]:
    """The other runs; `now` by the clock that stamps the folder's files. What dead ones left is cleared away."""
    for path in left_behind(folder):
        path.unlink(missing_ok=True)
    names = {path.stem for path in folder.iterdir()}  # a run may have died before it said what it is, or after
    for name in sorted(name for name in names - {own} if re.fullmatch(NAME, name)):
        said = folder / f"{name}.json"
        life, content = Lock(folder / name), read_json(said)
        if life.take():
            life.release()
            said.unlink(missing_ok=True)
        elif isinstance(content, dict) and now - _touched(life.path, now) < LEASE:
            since = content.get("since")
            yield _Other(content.get("suite", ""), since if isinstance(since, int) else None, life.holder)


def _touched(path: Path, now: float) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return now
