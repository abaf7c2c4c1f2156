"""The command line, a module a command. Exit codes: 0 success, 1 some jobs failed, 2 bad input or absent data, 130
interrupted, 143 by SIGTERM, 129 by SIGHUP.
"""

import io
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from sem_bench.base import interrupts, leaving, streams
from sem_bench.base.files import reason
from sem_bench.cli.parser import parser
from sem_bench.errors import MOST, UserError, printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    every = parser()
    options = every.parse_args(arguments)
    if not hasattr(options, "command"):
        every.print_help(sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for a terminal without "—", and paths that are no UTF-8
    try:
        code = int(import_module(f"sem_bench.cli.{options.command}").command(options))
        sys.stdout.flush()  # whether all could be said shows itself here
        return code
    except UserError as error:
        for problem in error.problems[:MOST]:
            print(problem, file=sys.stderr)  # noqa: T201
        if (left := len(error.problems) - MOST) > 0:
            print(f"and {left:,} lines more", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        said = f"{error.filename or 'input or output'}: {reason(error)}"
        print(printable(said), file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("interrupted; all that is done is kept", file=sys.stderr)  # noqa: T201
        return interrupts.exit_code()


def script() -> NoReturn:
    """The program: a command, and the end, whatever a user's code has left behind."""
    streams.prepare()
    leaving.leave(main())
