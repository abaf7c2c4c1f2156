"""How a run looks: one live tree on a terminal, plain lines anywhere else.

    with reporter(len(jobs), estimates=seconds, kinds=kinds) as report:
        report.job_started(key, "pretrain", label)
        report.job_progress(key, step, steps, note="loss 0.412")  # as often as you like: about a microsecond
        report.job_finished(key, "done", seconds=31.5, summary="loss 0.398")

There is no thread (data loader workers fork safely): these calls redraw, and nothing moves between them.
"""

import contextlib
import math
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TextIO

from sem_bench.errors import printable
from sem_bench.runs.forecast import Forecast

if TYPE_CHECKING:
    from rich.console import RenderableType


STATUSES = ("done", "reused", "failed", "blocked", "pruned")
GOOD = ("done", "reused")
SAID = STATUSES[:4]  # at the end, also where there are none
LINE_EVERY = 30.0  # seconds between two progress lines of a job, plain
DRAW_EVERY = 0.2  # seconds between two redraws, live


def reporter(
    total_jobs: int,
    *,
    stream: TextIO | None = None,
    live: bool | None = None,
    estimates: Mapping[str, float] | None = None,
    kinds: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
    quiet: bool = False,
) -> "Reporter":
    """The reporter that writes to `stream` (None: standard error); live=None: live on a terminal.

    quiet: only failures, messages, and how many jobs became what.

    estimates: seconds by job key, 0 where it will be reused; unless all jobs have one, no time left is shown.
    kinds: kind by job key, so that what finished jobs took rescales the estimates of their own kind.
    """
    stream = sys.stderr if stream is None else stream
    if live is None:
        live = stream.isatty() and os.environ.get("TERM") != "dumb"
    of_kind = _Quiet if quiet else _Live if live else Reporter
    return of_kind(total_jobs, stream, estimates or {}, dict(kinds or {}), clock)


def human_seconds(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 12 s, 2 h 05 min."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@dataclass(slots=True)
class _Job:
    """A job that has begun. Its speed counts from its first report on: no start-up, no resumed steps."""

    key: str
    kind: str
    label: str
    position: int
    started: float
    done: int = 0
    total: int = 0
    at: float = 0.0  # when `done` was reported
    first_done: int = 0
    first_at: float = 0.0
    note: str = ""
    line_at: float = 0.0  # when its last line was written

    def progress(self, done: int, total: int, at: float, note: str) -> None:
        if total != self.total or done < self.done:  # the first report, or another count
            self.first_done, self.first_at = done, at
        self.done, self.total, self.at, self.note = done, total, at, note

    @property
    def fraction(self) -> float:
        return min(self.done / max(self.total, 1), 1.0)

    @property
    def measured(self) -> float:
        """The fraction of the job whose speed is known."""
        return (self.done - self.first_done) / max(self.total, 1)

    @property
    def projected(self) -> float:
        """Seconds of the whole job at this speed."""
        return (self.at - self.first_at) / self.measured if self.measured > 0 else 0.0

    def remaining(self, expected: float | None, now: float) -> float | None:
        if self.measured >= 0.01 or (self.measured > 0 and expected is None):
            return max(self.projected * (1 - self.fraction) - (now - self.at), 0.0)
        return None if expected is None else max(expected - (now - self.started), 0.0)

    def state(self, *details: str) -> str:
        return ", ".join(filter(None, [f"{int(100 * self.fraction)} %", *details, self.note]))


@dataclass
class Reporter:
    """Follows the jobs of a run. This one writes plain lines: a job starts, every 30 s, a job ends.

    Enter it before the first job and leave it after the last. Reused and blocked jobs need no job_started.
    """

    total_jobs: int
    stream: TextIO
    estimates: Mapping[str, float]
    kinds: dict[str, str]
    clock: Callable[[], float]
    slots: int = 1  # jobs at a time
    began: float = 0.0
    running: dict[str, _Job] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)  # key: status
    took: list[tuple[str, str, float]] = field(default_factory=list)  # kind, key, seconds of done jobs
    headline: str = ""  # what stands beside the times: the best so far

    def __enter__(self) -> Self:
        self.began = self.clock()
        return self

    def __exit__(self, *error: object) -> None:
        counts = Counter(self.ended.values())
        said = ", ".join(f"{counts[status]} {status}" for status in STATUSES if status in SAID or counts[status])
        self.message(f"{said} in {human_seconds(self.clock() - self.began)}")

    def expect(self, jobs: Iterable[tuple[str, str, float]]) -> None:
        """(key, kind, seconds) of all jobs still to come, in place of those expected before: the number may change."""
        known = self.running.keys() | self.ended.keys()
        coming = [job for job in jobs if job[0] not in known]
        seconds, kinds = {key: s for key, _, s in coming}, {key: kind for key, kind, _ in coming}
        self.estimates = {key: s for key, s in self.estimates.items() if key in known} | seconds
        self.kinds = {key: kind for key, kind in self.kinds.items() if key in known} | kinds
        self.total_jobs = len(known) + len(coming)

    def name(self, labels: Iterable[str]) -> None:
        """The labels of all jobs: what is the same in each of them need not be shown."""

    def job_started(self, key: str, kind: str, label: str) -> None:
        """A job begins; `label` is its readable slug."""
        self.kinds[key] = kind
        job = self.running[key] = self._job(key, label)
        self._show_start(job)

    def job_progress(self, key: str, done: int, total: int, *, note: str = "") -> None:
        """`done` of `total` steps of a running job, and a few words about it."""
        job, now = self.running[key], self.clock()
        job.progress(done, total, now, note)
        self._show_progress(job, now)

    def job_given_back(self, key: str) -> None:
        """A job does not run any more, and has not ended: another attempt follows."""
        self.running.pop(key, None)

    def job_finished(self, key: str, status: str, *, seconds: float, summary: str = "", label: str = "") -> None:
        """A job has ended, with one of STATUSES. `label` names one that never started."""
        if status not in STATUSES:
            raise ValueError(f"status {status!r} is none of {', '.join(STATUSES)}")
        job = self.running.pop(key, None) or self._job(key, label or key)
        self.ended[key] = status
        if status == "done":  # a resumed job takes more than the seconds of this run
            self.took.append((job.kind, key, max(seconds, job.projected)))
        if status != "reused":
            self._show_end(job, status, seconds, " ".join(summary.split()))

    def message(self, text: str) -> None:
        """A line of text between the others."""
        with contextlib.suppress(OSError):  # a reader that has gone away must not stop the run
            self.stream.write(printable(text) + "\n")
            self.stream.flush()

    def seconds_left(self) -> float | None:
        """Estimated time to the end of the run; None as long as any part of it is unknown."""
        now, expected = self.clock(), self._forecast()
        waiting = (self.estimates.keys() | self.kinds.keys()) - self.running.keys() - self.ended.keys()
        parts = [job.remaining(expected(job.key), now) for job in self.running.values()]
        parts += [expected(key) for key in waiting]
        if None in parts or len(self.ended) + len(parts) < self.total_jobs:
            return None
        known = [part for part in parts if part]
        return max([sum(known) / self.slots, *known], default=0.0)  # no job is shared

    def _forecast(self) -> Callable[[str], float | None]:
        """Expected seconds by key: the estimate, in the light of what other jobs took so far."""
        running = [job for job in self.running.values() if job.measured >= 0.1]  # enough to know their length
        took = [*self.took, *((job.kind, job.key, job.projected) for job in running)]
        forecast = Forecast((kind, self.estimates.get(key, 0.0), seconds) for kind, key, seconds in took)

        def expected(key: str) -> float | None:
            estimate = self.estimates.get(key)
            return estimate and forecast.seconds(self.kinds.get(key, ""), estimate)

        return expected

    def _job(self, key: str, label: str) -> _Job:
        position = len(self.ended) + len(self.running) + 1
        return _Job(key, self.kinds.get(key, "job"), " ".join(label.split()), position, started=self.clock())

    def _times(self) -> str:
        elapsed = self.clock() - self.began
        said = [f"{human_seconds(elapsed)} elapsed"] if elapsed >= 1 else []
        return ", ".join(filter(None, [*said, _left(self.seconds_left()), self.headline]))

    def _line(self, job: _Job, what: str = "") -> None:
        job.line_at = self.clock()
        times = f" ({times})" if (times := self._times()) else ""
        self.message(f"[{job.position}/{self.total_jobs}] {job.kind} {job.label}{what}{times}")

    def _show_start(self, job: _Job) -> None:
        if set(self.ended.values()) == {"reused"}:
            self.message(f"{len(self.ended)} of {self.total_jobs} jobs reused")
        self._line(job)

    def _show_progress(self, job: _Job, now: float) -> None:
        if now - job.line_at >= LINE_EVERY:
            self._line(job, f": {job.state()}")

    def _show_end(self, job: _Job, status: str, seconds: float, summary: str) -> None:
        took = "" if status == "blocked" else f" in {human_seconds(seconds)}"
        self._line(job, f": {status}{took}" + (f", {summary}" if summary else ""))


class _Quiet(Reporter):
    """Says what went wrong, and the counts at the end."""

    def _show_start(self, job: _Job) -> None:
        pass

    def _show_progress(self, job: _Job, now: float) -> None:
        pass

    def _show_end(self, job: _Job, status: str, seconds: float, summary: str) -> None:
        if status not in GOOD:
            super()._show_end(job, status, seconds, summary)


class _Live(Reporter):
    """A tree: the run, under it the kinds of jobs, under these what runs; failures at the end."""

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.live import Live

        self.last: dict[str, str] = {}  # kind: its last result
        self.common: frozenset[str] = frozenset()  # words that all labels have
        self.by_kind: dict[str, Counter[str]] = {}
        self.failures: deque[str] = deque(maxlen=5)
        self.drawn, self.over = -DRAW_EVERY, False
        self.console = console = Console(file=self.stream, force_terminal=True, highlight=False, markup=False)
        # Output to the terminal has to pass above the tree; output to a file must not.
        tty = sys.stdout.isatty()
        self.live = Live(console=console, get_renderable=self._tree, auto_refresh=False, redirect_stdout=tty)
        self.live.start()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        self.over = True
        self.live.stop()
        super().__exit__(*error)

    def name(self, labels: Iterable[str]) -> None:
        """The tree shows of a label what is not in all of them: "simclr none s0"."""
        words = [frozenset(label.split("-")) for label in labels]
        self.common = frozenset.intersection(*words) if len(words) > 1 else frozenset()

    def _short(self, label: str) -> str:
        if not self.common:
            return label
        return " ".join(word for word in label.split("-") if word not in self.common) or label

    def message(self, text: str) -> None:
        """A line of text above the tree."""
        self.console.print(printable(text))

    def _show_start(self, job: _Job) -> None:
        self.by_kind.setdefault(job.kind, Counter())
        self._show_progress(job, now=math.inf)

    def _show_progress(self, job: _Job, now: float) -> None:
        if now - self.drawn >= DRAW_EVERY:
            self.drawn = self.clock()
            self.live.refresh()

    def _show_end(self, job: _Job, status: str, seconds: float, summary: str) -> None:
        self.by_kind.setdefault(job.kind, Counter())[status] += 1
        result = ": ".join(filter(None, [self._short(job.label), summary]))
        if status == "done":
            self.last[job.kind] = f"; last {result} ({human_seconds(seconds)})"
        else:
            self.failures.append(f"{status}: {job.kind} {result}")
        self._show_progress(job, self.clock())

    def _tree(self) -> "RenderableType":
        from rich.console import Group
        from rich.tree import Tree

        now, left, expected, ended = self.clock(), self.seconds_left(), self._forecast(), len(self.ended)
        elapsed = now - self.began
        fraction = elapsed / (elapsed + left) if left else ended / max(self.total_jobs, 1)
        reused = f" ({n} reused)" if (n := list(self.ended.values()).count("reused")) else ""
        state = ", ".join(filter(None, [f"{ended}/{self.total_jobs} jobs{reused}", self._times()]))
        tree = Tree(self._bar(fraction, state), guide_style="dim")
        for kind, counts in self.by_kind.items():
            said = ", ".join(f"{n} {status}" for status, n in counts.items()) or "first job"
            branch = tree.add(_text(f"{kind}: {said}{self.last.get(kind, '')}"))
            for job in self.running.values():
                if job.kind == kind:
                    bar = self._bar(job.fraction, job.state(_left(job.remaining(expected(job.key), now))))
                    branch.add(Group(_text(self._short(job.label), "bold"), bar))
        for failure in self.failures:
            tree.add(_text(failure, "red"))
        # The cursor waits on a line of its own: behind a full one the "^C" of a terminal would move all by a line.
        return tree if self.over else Group(tree, _text(""))

    def _bar(self, fraction: float, state: str) -> "RenderableType":
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        if self.console.width < 60:
            return _text(state)
        row = Table.grid(padding=(0, 1))
        row.add_row(ProgressBar(total=1.0, completed=fraction, width=20, finished_style="green"), _text(state))
        return row


def _text(text: str, style: str = "") -> "RenderableType":
    """One line, cut where the terminal ends."""
    from rich.text import Text

    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _left(seconds: float | None) -> str:
    """~45 s left, ~4 min left or ~2.5 h left; "" where nothing is known or nothing is left."""
    if not seconds:
        return ""
    if seconds < 59.5:
        return f"~{max(round(seconds), 1)} s left"
    return f"~{round(seconds / 60)} min left" if seconds < 3570 else f"~{seconds / 3600:.1f} h left"
