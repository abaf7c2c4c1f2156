"""Locks among processes, on one machine or on many that share a file system.

A lock is a small file that says whose it is: host, process, start of the process. Its holder touches it as long as it
lives. Who wants a lock of a dead process takes it over: at once on the holder's own host, elsewhere after `LEASE`
seconds without a sign of life, counted on the own clock. Where the file system cannot exchange two files in one step,
as on NFS, the own host has to wait as well. Needed are exclusive creation and rename, and neither flock nor fcntl,
which many shared file systems do not have.

A process that stood still for so long may find its lock taken over. With a `fence` it writes no file then: `check` is
called between steps and before each file gets its name.
"""

import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from filelock import SoftFileLease

LEASE = 120.0  # seconds; NFS clients may see a file's time up to 60 seconds late
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # a suspended machine's time passes, too


class LostError(Exception):
    """Another process has taken over what this one held."""


class Lock:
    """The lock at `path`; its folder must be there. Nothing remains of a lock that was released."""

    def __init__(self, path: Path, *, fence: bool = False, lease: float | None = None) -> None:
        self.path = path.absolute()  # it is touched while code runs that may change the working folder
        self._fence, self._duration = fence, LEASE if lease is None else lease
        self._made: SoftFileLease | None = None
        self._checked, self._process = 0.0, 0
        self._seen: tuple[tuple[int, int], float] | None = None  # another's file, and since when it is as it is

    @property
    def _lease(self) -> "SoftFileLease":
        """Made once: it remembers since when another's lock shows no sign of life."""
        if self._made is None:
            from filelock import SoftFileLease  # 30 ms, which a command without locks need not pay

            self._made = SoftFileLease(
                self.path, lease_duration=self._duration, heartbeat_interval=self._heartbeat, thread_local=False
            )
        return self._made

    @property
    def _heartbeat(self) -> float:
        return self._duration / 6

    def take(self) -> bool:
        """Take it where nobody holds it, without waiting."""
        return self._try() or self._try() or (self._silent() and self._bury() and self._try())

    def acquire(self) -> None:
        """Wait until no other process has it."""
        while not self.take():
            time.sleep(0.03)

    def _try(self) -> bool:
        """Take it, or clear away what a dead process left, where the library can do that in one step."""
        from filelock import LeaseSettingsMismatch, Timeout

        try:
            self._lease.acquire(timeout=0)
        except (Timeout, LeaseSettingsMismatch):  # that of another version is not taken for dead by time
            return False
        self._checked, self._process = time.clock_gettime(_CLOCK), os.getpid()
        if self._fence:
            _FENCES.append(self)
        return True

    def _silent(self) -> bool:
        """Whether its file has been the same for longer than the lease, seen from here, and is of such a lease."""
        now = time.clock_gettime(_CLOCK)
        try:
            status = self.path.stat()
        except OSError:
            return False
        stamp = status.st_ino, status.st_mtime_ns
        if self._seen is None or self._seen[0] != stamp:
            self._seen = stamp, now
        owner = self._lease.owner
        own_kind = owner is None or owner.lease_duration == self._duration
        return own_kind and now - self._seen[1] > self._duration + self._heartbeat

    def _bury(self) -> bool:
        """Move a silent holder's file away: for file systems that cannot exchange two files, such as NFS and SMB."""
        dead = self.path.with_name(f"{self.path.name}.dead-{uuid.uuid4().hex}")
        before = self._lease.owner
        try:
            self.path.rename(dead)
            if _content(dead) != before:  # somebody was faster, and this is his
                os.link(dead, self.path)
            dead.unlink()
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Let others in; nothing happens where it is not held."""
        if self in _FENCES:
            _FENCES.remove(self)
        if self._made is not None:
            self._made.release()

    @property
    def holder(self) -> str:
        """Who holds it and when that process last showed that it lives; "" where nobody does."""
        owner = self._lease.owner
        try:
            silent = max(0, round(time.time() - self.path.stat().st_mtime))
        except OSError:
            return ""
        if owner is None:
            return "another process"
        return f"host {owner.hostname.partition('?')[0]}, process {owner.pid}, last sign of life {silent} s ago"

    def check(self) -> None:
        """Raise LostError where it is no longer this process's; the file is read once in a heartbeat's time.

        Nor is it that of a process which its holder has forked.
        """
        if os.getpid() != self._process:
            raise LostError(f"{self.path}: of process {self._process}, which has forked this one")
        now = time.clock_gettime(_CLOCK)
        if now - self._checked < self._heartbeat and self._lease.compromise is None:
            return
        owner = self._lease.owner
        if self._lease.compromise is not None or owner is None or owner.token != self._lease.token:
            raise LostError(f"{self.path}: taken over by {self.holder or 'another process'}")
        self._checked = now

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def _content(path: Path) -> object:
    """The owner that a lock's file names, as filelock reads it."""
    from filelock import SoftFileLease

    return SoftFileLease(path, lease_duration=LEASE).owner


_FENCES: list[Lock] = []  # that this process holds


def check() -> None:
    """Raise LostError where another process has taken over a fence of this one."""
    for lock in _FENCES:
        lock.check()
