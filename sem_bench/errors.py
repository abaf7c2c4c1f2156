"""The errors that users see. Each prints as one line a problem, without a traceback."""

import sys
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

LONGEST = 4000  # characters of a line
MOST = 100  # lines that are said of mistakes, and then how many more there are


MUTE = "an error that cannot say what it is"
_ASKED = {"__getattribute__", "__class__", "__traceback__", "__cause__", "__context__", "__suppress_context__"}
_OF_CODE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: Python's own classes lack it
P = ParamSpec("P")
R = TypeVar("R")


def printable(text: str) -> str:
    """One line that every terminal can show, and none obeys: of what is not printable the code stands there."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_line(error: BaseException) -> str:
    """What an error says, on one line; it may be nothing."""
    try:
        text = str(error)
    except BaseException as second:  # a class of the user's own
        from sem_bench.base import interrupts

        interrupts.pass_on(second)
        text = MUTE
    text = " ".join(text[: 2 * LONGEST].split())
    return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]} ...")


def described(error: BaseException) -> str:
    """The same with the error's type, as a traceback ends."""
    return f"{type(error).__name__}: {one_line(error)}"


def plainly(function: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
    """What it gives. Of an error that fails who asks for its class or its cause, a plain one of that name is raised.

    Python itself ends when it has such a one to print.
    """
    try:
        return function(*given, **named)
    except BaseException as error:
        if not _own_answers(type(error)):
            raise
        plain: BaseException = type(type.__getattribute__(type(error), "__name__"), (Exception,), {})(MUTE)
        plain.with_traceback(sys.exc_info()[2])
    raise plain


def _own_answers(kind: type[BaseException]) -> bool:
    """Whether an error's class answers in its own way what Python asks all errors. Nothing of the class is run."""
    of_code = [
        one for one in type.__getattribute__(kind, "__mro__") if type.__getattribute__(one, "__flags__") & _OF_CODE
    ]
    return any(not _ASKED.isdisjoint(type.__getattribute__(one, "__dict__")) for one in of_code)


def _shortened(text: str) -> str:
    """Its beginning and its end, which mostly says what is wrong."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


class UserError(Exception):
    """A mistake in what the user gave us (file, option, data). The command line prints its lines and exits with 2."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        texts = [problems] if isinstance(problems, str) else problems
        self.problems = [printable(_shortened(text)) for text in texts]
        super().__init__("\n".join(self.problems))
