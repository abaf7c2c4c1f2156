"""The command line as users call it, and methods that fail."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent, indent

import pytest

from sem_bench.cli import main
from tests.helpers.forked import Forked, end
from tests.helpers.places import REPOSITORY
from tests.helpers.toy import SUITE, method_card

NOT_BOUND = 99  # exit code
Running = subprocess.Popen[str] | Forked
_begun: list[Running] = []


def bound_by_modes() -> None:
    """From its next `exec` on this process obeys the modes of files, also where it is root's (Linux)."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            os._exit(NOT_BOUND)


def process(
    folder: Path,
    *arguments: str,
    bound: bool = False,
    code: str = "",
    environment: Mapping[str, str | None] = {},
    fresh: bool = False,
) -> Running:
    """The command line in a process of its own, perhaps after some code; with `bound` modes hold for root, too.

    Of the environment other values are set, and None is taken away. It is forked, with all modules imported, unless it
    must be `fresh`; where it is bound or its environment is another, it is a new Python in any case.
    """
    _begun.append(
        _new(folder, *arguments, bound=bound, code=code, environment=environment)
        if bound or environment or fresh
        else Forked(folder, arguments, code)
    )
    return _begun[-1]


def _new(
    folder: Path, *arguments: str, bound: bool, code: str, environment: Mapping[str, str | None]
) -> subprocess.Popen[str]:
    run = ["-c", f"{code}\nfrom sem_bench.cli import script; script()"]
    command = [sys.executable, *(run if code else ["-m", "sem_bench"]), *arguments]
    known: dict[str, str | None] = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    return subprocess.Popen(
        command,
        cwd=folder,
        env={name: value for name, value in known.items() if value is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=bound_by_modes if bound and os.geteuid() == 0 else None,
    )


def end_what_was_left() -> None:
    """Processes of a test that failed while it waited for them."""
    while _begun:
        end(_begun.pop())


def ended(
    folder: Path,
    *arguments: str,
    bound: bool = False,
    code: str = "",
    environment: Mapping[str, str | None] = {},
    fresh: bool = False,
) -> tuple[int, str, str]:
    """(exit code, output, errors) of such a process."""
    run = process(folder, *arguments, bound=bound, code=code, environment=environment, fresh=fresh)
    output, errors = run.communicate(timeout=300)
    if run.returncode == NOT_BOUND:
        pytest.skip("root, and modes of files cannot be made to hold for it")
    assert run.returncode is not None
    return run.returncode, output, errors


FRAGILE_PY = """
import json
import os
import signal
import time
from pathlib import Path

from sem_bench.method import Method


class Fragile(Method):
    def __init__(self, encoder, *, hidden=4):
        super().__init__(encoder)

    def forward(self, batch):
        return tuple(self.encoder(view) for view in batch.views)

    def loss(self, first, second):
LOSS
        return ((first - second) ** 2).mean()

    def after_step(self, step, total):
STEP
"""


def fragile(*, loss: str = "", step: str = "pass") -> str:
    """A method whose loss, and what follows a step, begin with these lines."""
    said = {name: indent(dedent(lines), " " * 8) for name, lines in (("LOSS", loss), ("STEP", step))}
    return FRAGILE_PY.replace("LOSS", said["LOSS"]).replace("STEP", said["STEP"])


# Trains no further than its fourth step before there is a file `go`: whoever looks at it meanwhile is never too late.
WAITING = fragile(
    step="""
    while step == 3 and not Path("go").exists():
        time.sleep(0.01)
    """
)
BROKEN_LOSS = fragile(
    loss="""
    if Path("break").exists() and first.shape[1] != 12:
        raise RuntimeError("it broke")
    if Path("nan").exists():
        return (first * float("nan")).mean()
    """
)
# Its arms end in different ways; each notes its tries.
DEADLY = fragile(
    loss="""
    arm = {12: "once", 6: "error"}.get(first.shape[1], "always")
    tries = Path(f"tries-{arm}")
    if not hasattr(self, "begun"):
        self.begun = tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    if arm == "always" or (arm == "once" and tries.read_text() == "x"):
        os.kill(os.getpid(), signal.SIGKILL)
    if arm == "error":
        raise RuntimeError("it broke")
    """
)
DEADLY_SUITE = SUITE.replace("[simclr]", "[fragile]").replace(
    "{none: {}, sem: {L: 4, V: 3}}", "{none: {}, sem: {L: 4, V: 3}, sem_small: {type: sem, L: 2, V: 3}}"
)
FRAGILE = method_card("Fragile")


def problems(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines of a call that must fail as a user's mistake."""
    assert main(["plan", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "Traceback" not in output.err
    return output.err.splitlines()
