"""The errors that users see. Each prints as one line a problem, without a traceback."""

from collections.abc import Iterable

LONGEST = 4000  # characters of a line
MOST = 100  # lines that are said of mistakes, and then how many more there are


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
        text = "an error that cannot say what it is"
    text = " ".join(text[: 2 * LONGEST].split())
    return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]} ...")


def described(error: BaseException) -> str:
    """The same with the error's type, as a traceback ends."""
    return f"{type(error).__name__}: {one_line(error)}"


def _shortened(text: str) -> str:
    """Its beginning and its end, which mostly says what is wrong."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


class UserError(Exception):
    """A mistake in what the user gave us (file, option, data). The command line prints its lines and exits with 2."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        texts = [problems] if isinstance(problems, str) else problems
        self.problems = [printable(_shortened(text)) for text in texts]
        super().__init__("\n".join(self.problems))
