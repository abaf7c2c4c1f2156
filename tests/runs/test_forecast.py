"""How long a run takes: finished runs replayed, and what was said of them at each moment."""

import heapq
import io
import json
from functools import cache
from typing import Any

import pytest

from sem_bench.runs.estimate import as_tasks, estimated, need
from sem_bench.runs.forecast import Forecast
from sem_bench.runs.job import Job
from sem_bench.runs.plan import read_plan
from sem_bench.runs.progress import reporter
from sem_bench.runs.queue import Queue
from sem_bench.runs.record_file import opened
from tests.helpers.places import REPOSITORY

Results = dict[str, dict[str, Any]]


def test_what_was_seen_counts_the_more_the_more_there_is_of_it() -> None:
    assert Forecast([]).seconds("pretrain", 10) == 10
    one, many = Forecast([("pretrain", 10, 40)]), Forecast([("pretrain", 10, 40)] * 50)
    assert 10 < one.seconds("probe", 10) < one.seconds("pretrain", 10) < many.seconds("pretrain", 10) < 40
    assert many.seconds("pretrain", 10) == pytest.approx(40, rel=0.02)
    kinds = Forecast([(kind, 10, 40) for kind in ("pretrain", "probe", "knn")])
    assert one.seconds("transfer", 10) < kinds.seconds("transfer", 10) < 40
    assert Forecast([("pretrain", 0, 40), ("pretrain", 10, 0)]).seconds("pretrain", 10) == 10


@cache
def finished(suite: str, record: str) -> tuple[list[Job], Results]:
    """The jobs of a suite, and the results of those that a record has."""
    with opened(REPOSITORY / "docs/records" / record) as there:
        found = [json.loads(path.read_text()) for path in there.root.glob("*/*/result.json")]
    results = {one["digest"]: one for one in found}
    return [job for job in read_plan(REPOSITORY / suite).unique() if job.digest in results], results


class Clock:
    """What is told to it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def replayed(suite: str, record: str, slots: int, speed: float, share: float) -> list[tuple[float, float]]:
    """(share of the time that is over, expected over real time of the whole) every half second of a run.

    Its jobs take what they took, on a machine `speed` times as fast; a `share` of them are on disk from an earlier run.
    """
    jobs, results = finished(suite, record)
    seconds = {job.digest: results[job.digest]["provenance"]["seconds"] / speed for job in jobs}
    before = [job.digest for job in jobs[: int(share * len(jobs))]]
    on_disk = {key: results[key] | {"provenance": {"seconds": seconds[key]}} for key in before}
    coming = {job.digest: job for job in jobs if job.digest not in on_disk}
    thought, clock, queue, said = estimated(jobs, on_disk), Clock(), Queue(slots), list[tuple[float, float]]()
    queue.add(as_tasks(list(coming.values()), thought, {key: need(job) for key, job in coming.items()}, {}))
    with reporter(0, stream=io.StringIO(), live=False, clock=clock) as report:
        report.slots = slots
        report.expect((key, job.kind, thought[key]) for key, job in coming.items())
        running: list[tuple[float, str]] = []
        while queue:
            while (key := queue.take()) is not None:
                report.job_started(key, coming[key].kind, coming[key].slug)
                heapq.heappush(running, (clock.now + seconds[key], key))
            end, last = heapq.heappop(running)
            while clock.now < end:
                clock.now = min(end, clock.now + 0.5)
                for ends, key in [*running, (end, last)]:
                    if coming[key].kind == "pretrain" and ends > clock.now:  # others tell no steps
                        report.job_progress(key, int(1000 * (1 - (ends - clock.now) / seconds[key])), 1000)
                left = report.seconds_left()
                assert left is not None
                said.append((clock.now, clock.now + left))
            report.job_finished(last, "done", seconds=seconds[last])
            queue.end(last)
    return [(now / clock.now, expected / clock.now) for now, expected in said]


DEFAULT, LONG = ("suite.yaml", "default"), ("suites/decomposition.yaml", "decomposition_cifar100")


@pytest.mark.parametrize(
    ("run", "slots", "speed", "share"),
    [
        *((DEFAULT, slots, speed, share) for slots in (1, 2) for speed in (1, 0.2) for share in (0, 0.3)),
        (DEFAULT, 1, 3, 0),
        (LONG, 1, 1, 0),
    ],
)
def test_after_a_tenth_of_a_run_its_time_is_known_within_a_factor(
    run: tuple[str, str], slots: int, speed: float, share: float
) -> None:
    """Records were made beside other programs, which slowed single jobs down up to five times."""
    said = [expected for now, expected in replayed(*run, slots, speed, share) if now >= 0.1]
    assert len(said) > 100 and min(said) > 1 / 1.5 and max(said) < 1.5
