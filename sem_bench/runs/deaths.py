"""How often a job's process died of it, as the job's folder tells it, across runs: the system ended it for want of
memory, it crashed, or its code ended the process.

Who holds a job's claim and finds it "running" knows that the process is gone which said so. A job is tried `LIVES`
times. An interrupted run (SIGINT, SIGTERM) says so in the folder, as the workers of a killed one do; a machine that was
started anew ended all its jobs, whatever they did; and a training that has finished an epoch since its last death
may die again.
"""

from pathlib import Path
from typing import Any

from sem_bench.base import machine
from sem_bench.base.files import no_file, read_json, write_json

LIVES = 2  # processes that may die of a job before it counts as failed
FILE = "deaths.json"
UNSEEN = "out of memory, a crash, or kill -9"


def said_by(folder: Path) -> list[str]:
    """What is known of each death."""
    content = read_json(folder / FILE)
    found = content.get("deaths") if isinstance(content, dict) else None
    return [str(one) for one in found[:LIVES]] if isinstance(found, list) else []


def died_unseen(folder: Path) -> bool:
    """Whether a process that is gone worked on the job to its end; for who holds the job's claim."""
    state = read_json(folder / "state.json")
    return isinstance(state, dict) and state.get("state") == "running" and not _before_this_boot(state)


def _before_this_boot(state: dict[str, Any]) -> bool:
    here, there = machine.boot().split(" "), str(state.get("boot", "")).split(" ")
    return here[0] == there[0] and here != there


def note(folder: Path, why: str) -> None:
    """One more death. Those count since the training last got further."""
    known, epochs = read_json(folder / FILE), _epochs(folder)
    before = known.get("epochs") if isinstance(known, dict) else None
    further = isinstance(before, int | float) and epochs > before
    deaths = [*([] if further else said_by(folder)), why][-LIVES:]
    write_json(folder / FILE, {"deaths": deaths, "epochs": epochs})


def _epochs(folder: Path) -> int:
    """That a training has finished, as its log says."""
    if no_file(folder / "log.csv"):
        return 0
    try:
        return len((folder / "log.csv").read_text().splitlines())
    except (OSError, ValueError):
        return 0


def verdict(folder: Path) -> str:
    """Why a job is given up, in a line; "" while it may be tried."""
    deaths = said_by(folder)
    if len(deaths) < LIVES:
        return ""
    return f"its process died twice ({'; '.join(dict.fromkeys(deaths))}); --rerun failed tries it again"
