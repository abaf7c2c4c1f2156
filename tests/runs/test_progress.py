import contextlib
import io
import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sem_bench.runs.forecast import Forecast
from sem_bench.runs.progress import Reporter, human_seconds, reporter
from tests.helpers.terminal import screen


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Run:
    """A reporter on a clock and a stream of ours."""

    def __init__(
        self,
        total: int,
        *,
        live: bool = False,
        estimates: dict[str, float] | None = None,
        kinds: dict[str, str] | None = None,
    ) -> None:
        self.clock, self.stream = Clock(), io.StringIO()
        self.report: Reporter = reporter(
            total, stream=self.stream, live=live, estimates=estimates, kinds=kinds, clock=self.clock
        )

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def job(self, key: str, kind: str, seconds: float, status: str = "done", summary: str = "") -> None:
        self.report.job_started(key, kind, f"label-{key}")
        self.wait(seconds)
        self.report.job_finished(key, status, seconds=seconds, summary=summary)

    def left(self) -> float:
        left = self.report.seconds_left()
        assert left is not None
        return left

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (0.42, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (12.4, "12 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (192, "3 min 12 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (360000, "100 h 00 min"),
    ],
)
def test_human_seconds(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


def test_a_plain_run_line_by_line() -> None:
    estimates = {"r1": 0.0, "r2": 0.0, "a": 60.0, "b": 6.0, "c": 60.0, "d": 6.0}
    kinds = {"a": "pretrain", "b": "probe", "c": "pretrain", "d": "probe"}
    run = Run(6, estimates=estimates, kinds=kinds)
    with run.report as report:
        report.job_finished("r1", "reused", seconds=0.0)
        report.job_finished("r2", "reused", seconds=0.0)
        report.job_started("a", "pretrain", "byol-none-s0")
        for quarter in range(1, 4):
            run.wait(20)
            report.job_progress("a", 25 * quarter, 100, note=f"loss 0.{quarter}")
        run.wait(20)
        report.job_finished("a", "done", seconds=80.0, summary="loss 0.5")
        run.job("b", "probe", 4.0, summary="top-1 45.3")
        report.message("a word in between")
        run.job("c", "pretrain", 0.4, "failed", "CUDA out\n of memory")
        report.job_finished("d", "blocked", seconds=0.0, summary="needs pretrain c", label="byol-sem-s0")
    assert run.lines == [
        "2 of 6 jobs reused",
        "[3/6] pretrain byol-none-s0 (~2 min left)",
        # 40 s of a; then b, c and d: 72 s by their estimates, and more as a takes longer than it was thought to
        "[3/6] pretrain byol-none-s0: 50 %, loss 0.2 (40 s elapsed, ~2 min left)",
        "[3/6] pretrain byol-none-s0: done in 1 min 20 s, loss 0.5 (1 min 20 s elapsed, ~1 min left)",
        "[4/6] probe label-b (1 min 20 s elapsed, ~1 min left)",
        "[4/6] probe label-b: done in 4.0 s, top-1 45.3 (1 min 24 s elapsed, ~1 min left)",
        "a word in between",
        "[5/6] pretrain label-c (1 min 24 s elapsed, ~1 min left)",
        "[5/6] pretrain label-c: failed in 0.4 s, CUDA out of memory (1 min 24 s elapsed, ~5 s left)",
        "[6/6] probe byol-sem-s0: blocked, needs pretrain c (1 min 24 s elapsed)",
        "2 done, 2 reused, 1 failed, 1 blocked in 1 min 24 s",
    ]


def test_a_plain_job_writes_a_line_every_30_seconds() -> None:
    run = Run(1)
    with run.report as report:
        report.job_started("a", "pretrain", "x")
        for step in range(1, 1001):
            run.wait(0.1)
            report.job_progress("a", step, 1000)
    progress = [line for line in run.lines if "%" in line]
    assert [line.split(": ")[1].split(" ")[0] for line in progress] == ["30", "60", "90"]


def test_time_left_follows_estimates_rescaled_by_kind() -> None:
    kinds = {"p1": "pretrain", "p2": "pretrain", "k1": "probe", "k2": "probe", "x": "knn"}
    estimates = {"p1": 100.0, "p2": 50.0, "k1": 10.0, "k2": 20.0, "x": 4.0}
    run = Run(5, estimates=estimates, kinds=kinds)
    slow, quick = ("pretrain", 100.0, 200.0), ("probe", 10.0, 5.0)
    with run.report:
        assert run.left() == pytest.approx(184)
        run.job("p1", "pretrain", 200.0)  # twice the estimate: all that is known so far
        known = Forecast([slow])
        assert run.left() == pytest.approx(expected(known, {"pretrain": 50, "probe": 30, "knn": 4}))
        run.job("k1", "probe", 5.0)  # half the estimate
        known = Forecast([slow, quick])
        assert run.left() == pytest.approx(expected(known, {"pretrain": 50, "probe": 20, "knn": 4}))
        run.job("p2", "pretrain", 1.0, "failed")  # a failure says nothing of how long the others take
        assert run.left() == pytest.approx(expected(known, {"probe": 20, "knn": 4}))
        run.report.job_finished("k2", "reused", seconds=0.0)
        run.job("x", "knn", 1.0)
        assert run.left() == 0


def expected(forecast: Forecast, estimates: dict[str, float]) -> float:
    """Seconds of jobs, by their kinds."""
    return sum(forecast.seconds(kind, estimate) for kind, estimate in estimates.items())


def test_time_left_of_a_running_job_follows_its_estimate_then_its_speed() -> None:
    run = Run(2, estimates={"a": 100.0, "b": 10.0}, kinds={"a": "pretrain", "b": "probe"})
    with run.report as report:
        report.job_started("a", "pretrain", "x")
        run.wait(20)  # compilation
        report.job_progress("a", 0, 1000)
        assert run.left() == pytest.approx(80 + 10)
        run.wait(3)
        report.job_progress("a", 50, 1000)  # 60 s in all at this speed; too early to rescale the probe
        assert run.left() == pytest.approx(57 + 10)
        run.wait(27)
        report.job_progress("a", 500, 1000)  # half in 30 s
        probe = Forecast([("pretrain", 100, 60)]).seconds("probe", 10)
        assert run.left() == pytest.approx(30 + probe) and 6 < probe < 10
        run.wait(10)  # no report: time passes all the same
        assert run.left() == pytest.approx(20 + probe)
        run.wait(1000)
        assert run.left() == pytest.approx(probe)


def test_a_count_that_starts_again_is_measured_again() -> None:
    run = Run(1)
    with run.report as report:
        report.job_started("a", "probe", "x")
        for done, seconds in [(0, 1), (8, 1), (0, 0), (2, 10)]:  # 8 folds of 10 in 1 s; then 2 of 10 in 10 s
            run.wait(seconds)
            report.job_progress("a", done, 10)
        assert run.left() == pytest.approx(40)


def test_a_resumed_job_does_not_make_the_next_look_short() -> None:
    run = Run(2, estimates={"a": 100.0, "b": 100.0}, kinds={"a": "pretrain", "b": "pretrain"})
    with run.report as report:
        report.job_started("a", "pretrain", "x")
        report.job_progress("a", 900, 1000)
        run.wait(10)
        report.job_progress("a", 1000, 1000)
        report.job_finished("a", "done", seconds=10.0)
        assert run.left() == pytest.approx(100)


def test_no_time_left_rather_than_a_wrong_one() -> None:
    run = Run(2)
    with run.report as report:
        assert report.seconds_left() is None
        run.job("a", "probe", 5.0)
        assert report.seconds_left() is None  # of the second job nothing is known
        report.job_started("b", "pretrain", "x")
        assert report.seconds_left() is None
        report.job_progress("b", 1, 10)
        run.wait(2)
        report.job_progress("b", 2, 10)  # the last job: its own speed is enough
        assert run.left() == pytest.approx(16)
    assert "left" not in "".join(run.lines)


@pytest.mark.parametrize("live", [False, True])
def test_steps_without_a_total_and_a_count_that_starts_again(live: bool) -> None:
    run = Run(1, live=live)
    with run.report as report:
        report.job_started("a", "probe", "x")
        for done, total in [(0, 0), (5, 0), (9, 10), (3, 10), (4, 10), (12, 10)]:
            run.wait(31)
            report.job_progress("a", done, total)
        report.job_finished("a", "done", seconds=186.0)
    assert "100 %" in run.stream.getvalue()


def test_an_unknown_status_is_a_programming_error() -> None:
    run = Run(1)
    with run.report as report, pytest.raises(ValueError, match="finished"):
        report.job_finished("a", "finished", seconds=1.0)


def test_a_run_without_jobs() -> None:
    for live in (False, True):
        run = Run(0, live=live)
        with run.report:
            pass
        assert run.lines[-1].endswith("0 done, 0 reused, 0 failed, 0 blocked in 0.0 s")


@pytest.mark.parametrize("live", [False, True])
def test_an_interrupted_run_ends_tidily(live: bool) -> None:
    run = Run(2, live=live)
    with pytest.raises(KeyboardInterrupt), run.report as report:
        run.job("a", "probe", 3.0)
        report.job_started("b", "pretrain", "x")
        raise KeyboardInterrupt
    assert run.lines[-1].endswith("1 done, 0 reused, 0 failed, 0 blocked in 3.0 s")
    if live:
        assert run.stream.getvalue().rindex("\x1b[?25h") > run.stream.getvalue().rindex("\x1b[?25l")  # the cursor


def play_live(run: Run) -> None:
    with run.report as report:
        report.job_finished("r", "reused", seconds=0.0)
        report.job_started("a", "pretrain", "byol-sem64x8[x]-shapes-s0")
        for step in range(1, 101):
            run.wait(0.5)
            report.job_progress("a", step, 100, note=f"loss {1 / step:.3f}")
        report.message("look [bold] here")
        report.job_finished("a", "done", seconds=50.0, summary="loss 0.010")
        for n in range(8):
            run.job(f"f{n}", "probe", 1.0, "failed", f"reason {n}")


def test_a_live_run_shows_label_loss_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    estimates = {"r": 0.0, "a": 25.0} | {f"f{n}": 2.5 for n in range(8)}
    run = Run(10, live=True, estimates=estimates)
    play_live(run)
    text = run.stream.getvalue()
    for part in ("byol-sem64x8[x]-shapes-s0", "loss 0.020", "50 %", "~25 s left", "look [bold] here"):
        assert part in text
    tree, last_line = text[text.rindex("10/10 jobs (1 reused)") :], run.lines[-1]
    assert "pretrain: 1 done; last byol-sem64x8[x]-shapes-s0: loss 0.010 (50 s)" in tree
    assert "probe: 8 failed" in tree
    assert "probe label-f7: reason 7" in tree
    assert "reason 2" not in tree  # only the last failures
    assert last_line.endswith("1 done, 1 reused, 8 failed, 0 blocked in 58 s")


def test_a_live_run_shows_of_names_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    run = Run(2, live=True)
    with run.report as report:
        report.name([f"{method}-none-shapes-3000-train-e8-s0" for method in ("byol", "simclr")])
        report.job_started("a", "pretrain", "byol-none-shapes-3000-train-e8-s0")
        report.job_finished("a", "done", seconds=2.0, summary="loss 0.5")
    text = run.stream.getvalue()
    assert "last byol: loss 0.5" in text and "3000" not in text


@pytest.mark.parametrize("columns", [1, 5, 10, 30, 59, 60])
def test_a_narrow_terminal_cuts_lines(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    run = Run(10, live=True)
    play_live(run)
    widest = max(len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)) for line in run.lines)
    assert widest <= columns
    assert columns == 1 or "…" in run.stream.getvalue()


def test_the_live_tree_is_drawn_at_most_five_times_a_second() -> None:
    run = Run(1, live=True)
    with run.report as report:
        report.job_started("a", "pretrain", "x")
        before = run.stream.getvalue().count("0/1 jobs")
        for step in range(10_000):
            run.wait(0.001)
            report.job_progress("a", step, 10_000)
        assert 45 <= run.stream.getvalue().count("0/1 jobs") - before <= 50


def test_progress_costs_microseconds_and_rich_loads_only_when_live() -> None:
    report = reporter(1, stream=io.StringIO(), live=False)
    with report:
        report.job_started("a", "pretrain", "x")
        started = time.process_time()
        for step in range(10_000):
            report.job_progress("a", step, 10_000, note="loss")
        assert (time.process_time() - started) / 10_000 < 2e-5
    code = (
        "import sys, sem_bench.runs.progress as p\n"
        "with p.reporter(1) as r: r.job_started('a', 'probe', 'x')\n"
        "print({'rich', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    assert done.stderr.startswith("[1/1] probe x\n")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_what_a_terminal_echoes_of_ctrl_c_leaves_no_line_twice(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    run = Run(2, live=True)
    with contextlib.suppress(KeyboardInterrupt), run.report as report:
        report.job_started("a", "pretrain", "x")
        run.wait(1)
        report.job_progress("a", 1, 4, note=columns * "n")  # its line is full
        run.stream.write("^C")
        raise KeyboardInterrupt
    lines = screen(run.stream.getvalue(), columns)
    assert [("jobs" in line, "pretrain" in line) for line in lines[:2]] == [(True, False), (False, True)]
    assert sum("0/2 jobs" in line for line in lines) == 1 and lines[-1].startswith("0 done")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_live_where_the_stream_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def written() -> str:
        stream = Terminal()
        with reporter(1, stream=stream) as report:
            report.job_started("a", "probe", "x")
        return stream.getvalue()

    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[" in written()
    monkeypatch.setenv("TERM", "dumb")
    assert written().startswith("[1/1] probe x\n")


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_reader_that_has_gone_away_does_not_stop_the_run() -> None:
    with reporter(1, stream=Gone(), live=False) as report:
        report.job_started("a", "probe", "x")
        report.job_finished("a", "done", seconds=1.0)
        assert report.ended == {"a": "done"}


@given(st.floats(min_value=0, max_value=1e7))
def test_human_seconds_never_shows_sixty(seconds: float) -> None:
    assert " 60 " not in f" {human_seconds(seconds)} "


def test_time_left_with_several_jobs_at_a_time() -> None:
    """The work shared by the slots, or the longest job, which nobody shares."""
    run = Run(4, estimates={"a": 100, "b": 100, "c": 100, "d": 20})
    run.report.slots = 2
    with run.report:
        assert run.left() == pytest.approx(160)
        run.report.job_started("a", "pretrain", "a")
        run.report.job_started("b", "pretrain", "b")
        run.wait(90)
        assert run.left() == pytest.approx(100)  # c alone: 10 + 10 + 100 + 20 are 70 for each of two
        run.report.job_given_back("b")  # its worker died
        assert run.left() == pytest.approx((10 + 100 + 100 + 20) / 2)
        run.report.job_started("b", "pretrain", "b")
        assert run.left() == pytest.approx((10 + 100 + 100 + 20) / 2)


def test_the_live_tree_shows_all_jobs_that_run() -> None:
    run = Run(3, live=True)
    with run.report:
        for key, kind in (("a", "pretrain"), ("b", "pretrain"), ("c", "probe")):
            run.report.job_started(key, kind, f"label-{key}")
        run.wait(1)
        run.report.job_progress("b", 1, 4, note="loss 0.5")
    drawn = run.stream.getvalue().rpartition("0/3 jobs")[2]
    assert drawn.index("pretrain") < drawn.index("label-a") < drawn.index("label-b") < drawn.index("25 %, loss 0.5")
    assert drawn.index("25 %") < drawn.index("probe") < drawn.index("label-c")
