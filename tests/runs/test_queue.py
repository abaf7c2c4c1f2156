"""Which job starts next, and how long a plan takes: hand-made cases, and what holds of any plan."""

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sem_bench.runs.queue import Queue, Task, simulate


def order(tasks: Sequence[Task], slots: int, room: float = float("inf")) -> list[list[str]]:
    """What starts at the beginning and after each end; the one that started first ends first."""
    queue, running, found = Queue(slots, room), list[str](), []
    queue.add(tasks)
    while queue:
        started = []
        while (key := queue.take()) is not None:
            started.append(key)
        running += started
        found.append(started)
        queue.end(running.pop(0))
    return [started for started in found if started]


NETWORKS = [
    Task("a", (), 0, 10),
    Task("a1", ("a",), 0, 1),
    Task("b", (), 0, 20),
    Task("b1", ("b",), 0, 5),
    Task("b2", ("b", "b1"), 0, 1),
    Task("c", (), 1, 100),
]


def test_one_slot_keeps_the_order_of_the_plan() -> None:
    assert order(NETWORKS, 1) == [["a"], ["a1"], ["b"], ["b1"], ["b2"], ["c"]]
    assert simulate(NETWORKS, 1) == 137


def test_long_chains_first_within_a_seed() -> None:
    """b and what follows it take 26 seconds, a 11; the other seed's c comes when the first seed has nothing ready."""
    assert order(NETWORKS, 2) == [["b", "a"], ["b1"], ["a1"], ["b2"], ["c"]]
    # b 0-20, a 0-10, a1 10-11, c 11-111 on the second slot; b1 20-25, b2 25-26 on the first
    assert simulate(NETWORKS, 2) == 111
    assert simulate(NETWORKS, 3) == 100


def test_one_slot_takes_long_chains_first_where_others_work_on_the_same_plan() -> None:
    queue = Queue(1)
    queue.add(NETWORKS)
    assert queue.take() == "a"
    queue.defer("a")  # another run has it
    queue.spread()
    started = [queue.take()]
    queue.end("b")
    queue.again("a")
    while (key := queue.take()) is not None:
        started.append(key)
        queue.end(key)
    assert started == ["b", "a", "b1", "a1", "b2", "c"]


def test_a_task_waits_for_memory_and_a_larger_one_runs_alone() -> None:
    tasks = [
        Task("large", (), 0, 9, 50),
        Task("half", (), 0, 8, 6),
        Task("other", (), 0, 7, 6),
        Task("small", (), 0, 1, 1),
    ]
    assert order(tasks, 4, room=10) == [["large"], ["half", "small"], ["other"]]
    assert order(tasks, 4, room=100) == [["large", "half", "other", "small"]]
    assert simulate(tasks, 4, room=10) == 9 + 8 + 7


def test_small_tasks_do_not_keep_a_large_one_waiting_for_ever() -> None:
    small = [Task(f"s{i}", (), 0, 1, 6) for i in range(50)]
    queue = Queue(2, room=12)
    queue.add([Task("first", (), 0, 90, 6), Task("large", (), 0, 80, 11), *small])
    assert queue.take() == "first"
    overtaken = 0
    while (key := queue.take()) is not None:
        overtaken += 1
        queue.end(key)
    assert overtaken == 4  # twice the slots; then the slot stays empty until `first` has ended
    queue.end("first")
    assert queue.take() == "large"


def test_what_does_not_run_comes_again() -> None:
    queue = Queue(2)
    queue.add([Task("held"), Task("next"), Task("after", ("held",))])
    assert (queue.take(), queue.take(), queue.take()) == ("held", "next", None)
    queue.defer("held")
    assert queue.waiting == ["held", "after"] and queue.take() is None
    queue.again("held")
    queue.end("next")
    assert queue.take() == "held" and queue.take() is None
    queue.again("held")  # its worker died
    assert queue.take() == "held"
    queue.end("held")
    assert queue.take() == "after"
    queue.end("after")
    assert not queue


def test_more_tasks_may_come_and_inputs_that_are_done_are_not_waited_for() -> None:
    queue = Queue(2)
    queue.add([Task("a", ("done before",))])
    assert queue.take() == "a"
    queue.add([Task("b", ("a",)), Task("c", ("elsewhere", "done before"))])
    assert queue.take() == "c"
    assert queue.take() is None
    queue.end("a")
    assert queue.take() == "b"


@st.composite
def plans(draw: st.DrawFn) -> list[Task]:
    """Tasks whose inputs stand before them."""
    tasks: list[Task] = []
    for number in range(draw(st.integers(1, 12))):
        inputs = draw(st.sets(st.sampled_from([task.key for task in tasks]), max_size=2)) if tasks else set()
        seconds, size = float(draw(st.integers(0, 9))), float(draw(st.integers(0, 9)))
        turn, slots = draw(st.integers(0, 2)), draw(st.integers(1, 3))
        tasks.append(Task(str(number), tuple(sorted(inputs)), turn, seconds, size, slots))
    return tasks


@given(plans(), st.integers(1, 4), st.integers(1, 20))
def test_any_plan_ends_within_its_bounds(tasks: list[Task], slots: int, room: int) -> None:
    queue, ended = Queue(slots, room), set[str]()
    queue.add(tasks)
    known = {task.key: task for task in tasks}
    running: list[str] = []
    while queue:
        while (key := queue.take()) is not None:
            assert set(known[key].inputs) <= ended and key not in ended
            running.append(key)
            taken = sum(known[one].bytes for one in running)
            held = sum(known[one].slots for one in running)
            assert (held <= slots and taken <= room) or len(running) == 1
        ended.add(running[0])
        queue.end(running.pop(0))
    assert ended == known.keys()
    total = sum(task.seconds for task in tasks)
    assert total / slots <= simulate(tasks, slots, room) + 1e-9 and simulate(tasks, slots, room) <= total
    assert simulate(tasks, 1) == total


def test_a_task_of_several_slots_waits_for_all_of_them_and_is_not_overtaken_for_ever() -> None:
    small = [Task(f"s{i}", (), 0, 1) for i in range(50)]
    queue = Queue(2)
    queue.add([Task("first", (), 0, 90), Task("wide", (), 0, 80, slots=2), *small])
    assert queue.take() == "first" and queue.free == 1
    overtaken = 0
    while (key := queue.take()) is not None:
        overtaken += 1
        queue.end(key)
    assert overtaken == 4  # twice the slots; then one stays empty until `first` has ended
    queue.end("first")
    assert queue.take() == "wide" and queue.free == 0 and queue.take() is None
    queue.end("wide")
    assert queue.take() == "s4" and queue.take() == "s5"  # one device each


def test_the_time_of_tasks_of_several_slots() -> None:
    """a on both 0-10, then a1 and a2 beside each other 10-15; b on both 15-20."""
    tasks = [
        Task("a", (), 0, 10, slots=2),
        Task("a1", ("a",), 0, 5),
        Task("a2", ("a",), 0, 5),
        Task("b", (), 1, 5, slots=2),
    ]
    assert order(tasks, 2) == [["a"], ["a1", "a2"], ["b"]]
    assert simulate(tasks, 2) == 20
    assert simulate(tasks, 4) == 15  # b beside a
    assert simulate(tasks, 1) == 25  # what is larger than all of them runs alone


def test_ten_thousand_tasks_cost_little() -> None:
    networks = [Task(f"p{i}", (), i % 10, 60, 2e9) for i in range(1000)]
    tests = [Task(f"e{i}-{j}", (f"p{i}",), i % 10, 3, 1e9) for i in range(1000) for j in range(9)]
    began = time.process_time()
    assert simulate([*networks, *tests], 64) == pytest.approx(87000 / 64, rel=0.1)
    assert time.process_time() - began < 5  # a tenth of a second on a quiet machine
