"""The command line in a process that is forked from one that has imported everything, as an import costs seconds."""

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

CONTEXT = multiprocessing.get_context("forkserver")
PRELOADED = [
    "sem_bench.runs.worker",
    "sem_bench.runs.executors.here",
    "sem_bench.training.pretrain",
    "sem_bench.evaluations.measures.augmented_heads",
    "sem_bench.data.readers.folder",
    "sem_bench.nets.backbones.resnets",
    "sem_bench.report.figures.panels",
    "sem_bench.sweep.driver",
    "lightly.loss",
    "matplotlib.pyplot",
    "filelock",
    "PIL.Image",
    "tests.helpers.forked",
    "tests.helpers.kills",
]


class Forked:
    """Such a process, with what tests use of subprocess.Popen; it leads a group of its own."""

    def __init__(self, folder: Path, arguments: Sequence[str], code: str = "") -> None:
        """Python code, if there is some, runs before the command."""
        CONTEXT.set_forkserver_preload(PRELOADED)
        output, its_output = CONTEXT.Pipe(duplex=False)
        errors, its_errors = CONTEXT.Pipe(duplex=False)
        started = (str(folder), arguments, code, dict(os.environ), its_output, its_errors)
        self._process = CONTEXT.Process(target=_run, args=started)
        self._process.start()
        its_output.close()  # so that its end ends the pipe
        its_errors.close()
        self.stdout, self.stderr = _text(output), _text(errors)
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        """Its exit code; minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        """To this process alone."""
        os.kill(self.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Its output and its errors, once it has ended. Raises subprocess.TimeoutExpired."""
        found: dict[TextIO, str] = {}
        streams = (self.stdout, self.stderr)
        readers = [threading.Thread(target=lambda s=s: found.update({s: s.read()}), daemon=True) for s in streams]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
        self._process.join(None if len(found) == 2 else 0)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("sem_bench", timeout or 0)
        return found[self.stdout], found[self.stderr]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.join()
        self.stdout.close()
        self.stderr.close()


def _text(pipe: Connection) -> TextIO:
    with pipe:
        return open(os.dup(pipe.fileno()), encoding="utf-8")


def _run(
    folder: str,
    arguments: Sequence[str],
    code: str,
    environment: Mapping[str, str],
    output: Connection,
    errors: Connection,
) -> None:
    """In the process."""
    from sem_bench.cli import script

    os.setsid()
    os.chdir(folder)
    for pipe, number in ((output, 1), (errors, 2)):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["sem_bench", *arguments]
    try:
        exec(code, {})
        script()
    finally:  # multiprocessing leaves them out
        atexit._run_exitfuncs()


def end(process: "Forked | subprocess.Popen[str]") -> None:
    """And whatever it has started, where it still runs."""
    with process:
        if process.poll() is None:
            with suppress(ProcessLookupError):  # it has no group yet
                os.killpg(process.pid, signal.SIGKILL)
            process.send_signal(signal.SIGKILL)
