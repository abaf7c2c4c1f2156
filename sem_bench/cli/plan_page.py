"""The page of `plan`: a line a kind of job with states, time and memory, and a table of arms by kinds."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from typing import NamedTuple

from sem_bench.base import screen
from sem_bench.runs.job import Job
from sem_bench.runs.progress import human_seconds

ARMS = 25  # lines of arms on a page
STATES = ("done", "void", "failed", "partial", "missing", "no data")
BROKEN = ("void", "failed")
LONG = 96 * 3600  # seconds from which a time is said in days
LEAST = 3  # letters of a kind at the head of its column


class Look(NamedTuple):
    """What is known of a job."""

    job: Job
    state: str
    left: float  # seconds
    memory: float  # bytes that it will take


def page(looks: Sequence[Look]) -> str:
    """By kind, and by arm over all seeds; the arms that take longest stand first."""
    kinds = _grouped(looks, lambda job: (job.kind,))
    arms = _grouped(looks, _arm)
    longest = sorted(arms, key=lambda arm: -sum(look.left for look in arms[arm]))  # others stay in their order
    occurring = [state for state in STATES if state == "done" or any(look.state == state for look in looks)]
    headers = ["kind", "jobs", *occurring, "time left", "memory"]
    by_kind = [
        [*kind, *_counts(found, occurring), memory(max(look.memory for look in found))] for kind, found in kinds.items()
    ]
    text = f"{table(headers, by_kind, numbers=len(headers) - 1)}\n\n{_by_arm({arm: arms[arm] for arm in longest})}"
    return text + (f"\nand {len(arms) - ARMS} more arms" if len(arms) > ARMS else "")


def _by_arm(arms: dict[tuple[str, ...], list[Look]]) -> str:
    """Of each kind the jobs that are done, of all: 3/5. What all arms share is said once, above the table."""
    kinds = list(dict.fromkeys(look.job.kind for looks in arms.values() for look in looks))
    names = ("method", "embedding", "backbone", "data", "epochs")
    varied = [number for number, name in enumerate(names) if number < 2 or len({arm[number] for arm in arms}) > 1]
    rows = []
    for arm, looks in list(arms.items())[:ARMS]:
        of_kinds = _grouped(looks, lambda job: (job.kind,))
        cells = [_cell(of_kinds.get((kind,), [])) for kind in kinds]
        rows.append([*(arm[number] for number in varied), *cells, time(sum(look.left for look in looks))])
    said = [f"{name} {next(iter(arms))[number]}" for number, name in enumerate(names) if number not in varied]
    said.append("jobs of each kind: done/all")
    said += ["! some failed or void"] * any(look.state in BROKEN for looks in arms.values() for look in looks)
    headers = [*(names[number] for number in varied), *_short(kinds), "time left"]
    return f"{screen.wrapped(', '.join(said))}\n\n{table(headers, rows, numbers=len(kinds) + 1)}"


def _short(kinds: Sequence[str]) -> list[str]:
    """The kinds by their first letters, as many as tell them apart; the table above has them in full."""
    enough = next(size for size in count(LEAST) if len({kind[:size] for kind in kinds}) == len(set(kinds)))
    return [kind[:enough] for kind in kinds]


def _cell(looks: Sequence[Look]) -> str:
    if not looks:
        return ""
    done = sum(look.state == "done" for look in looks)
    return f"{done}/{len(looks)}" + "!" * any(look.state in BROKEN for look in looks)


def _arm(job: Job) -> tuple[str, ...]:
    """The arm of a job, as tables say it."""
    cell = job.cell
    method = cell.method + (" + IP" if cell.ip is not None else "")
    return method, cell.embedding, cell.backbone, cell.dataset, str(cell.epochs)


def _grouped(looks: Sequence[Look], key: Callable[[Job], tuple[str, ...]]) -> dict[tuple[str, ...], list[Look]]:
    groups: dict[tuple[str, ...], list[Look]] = {}
    for look in looks:
        groups.setdefault(key(look.job), []).append(look)
    return groups


def _counts(looks: Sequence[Look], occurring: Sequence[str]) -> list[str]:
    """How many jobs, how many of each state, and the time left."""
    counted = Counter(look.state for look in looks)
    numbers = [len(looks), *(counted[state] for state in occurring)]
    return [*map(str, numbers), time(sum(look.left for look in looks))]


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> str:
    """A table whose last columns are `numbers`; columns stand closer where it would be wider than the screen."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    left = len(headers) - numbers
    lines = [headers, ["-" * width for width in widths], *rows]
    sides = [str.ljust if number < left else str.rjust for number in range(len(headers))]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= screen.width() else " "
    return "\n".join(
        gap.join(side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)).rstrip()
        for line in lines
    )


def duration(seconds: float) -> str:
    """As `human_seconds`; days where there are many."""
    return f"{seconds / 86400:,.0f} days" if seconds >= LONG else human_seconds(seconds)


def time(seconds: float) -> str:
    """An estimate; nothing where nothing is left."""
    return f"~{duration(seconds)}" if seconds else ""


def memory(size: float) -> str:
    """An estimate of bytes, likewise."""
    return f"~{size / 2**30:.1f} GiB" if size else ""
