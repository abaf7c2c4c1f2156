"""A terminal: the command line in a pseudo-terminal, and what its screen shows in the end."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

from tests.helpers.places import REPOSITORY

CTRL_C = b"\x03"
_CODE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")


def screen(text: str, columns: int) -> list[str]:
    """The lines that a terminal of so many columns holds after a text; it knows what rich uses of its codes."""
    lines: list[list[str]] = [[]]
    x = y = at = 0
    while at < len(text):
        code = _CODE.match(text, at)
        at += len(code[0]) if code else 1
        if code:
            if code[2] == "A":
                y = max(0, y - int(code[1] or 1))
            elif code[2] == "K":
                lines[y] = []
            continue
        one = text[at - 1]
        if one == "\r":
            x = 0
        elif one == "\n":
            x, y = 0, y + 1
        else:
            if x == columns:
                x, y = 0, y + 1
            while len(lines) <= y:
                lines.append([])
            lines[y] = [*lines[y][:x], *" " * (x - len(lines[y])), one, *lines[y][x + 1 :]]
            x += 1
        while len(lines) <= y:
            lines.append([])
    return [shown for line in lines if (shown := "".join(line).rstrip())]


def interrupted(
    folder: Path, *arguments: str, columns: int, when: Callable[[str], bool], patience: float = 120
) -> tuple[int, list[str]]:
    """The command line in a terminal, where Ctrl-C is pressed once `when` holds of its output: exit code, screen."""
    inside, outside = pty.openpty()[::-1]
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    begun = subprocess.Popen(
        [sys.executable, "-m", "sem_bench", *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm"},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C is a signal in its own terminal alone
    )
    os.close(inside)
    output, pressed, end = b"", False, time.monotonic() + patience
    try:
        while time.monotonic() < end:
            if select.select([outside], [], [], 0.1)[0]:
                try:
                    output += os.read(outside, 65536)
                except OSError:  # its last process has gone
                    break
            if not pressed and when(output.decode(errors="replace")):
                os.write(outside, CTRL_C)
                pressed = True
        return begun.wait(10), screen(output.decode(), columns)
    finally:
        begun.kill()
        begun.wait()
        os.close(outside)
