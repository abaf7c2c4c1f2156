"""The errors that users see. Each prints as one line a problem, without a traceback."""

from collections.abc import Iterable


def _line(text: str) -> str:
    """One line that every terminal can show: file names may hold newlines, and bytes that are no text."""
    printable = text.encode("utf-8", "backslashreplace").decode()
    return printable.replace("\n", "\\n").replace("\r", "\\r")


def one_line(error: BaseException) -> str:
    """What an error says, on one line; it may be nothing."""
    return " ".join(str(error).split())


def described(error: BaseException) -> str:
    """The same with the error's type, as a traceback ends."""
    return f"{type(error).__name__}: {one_line(error)}"


class UserError(Exception):
    """A mistake in what the user gave us (file, option, data). The command line prints its lines and exits with 2."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [_line(text) for text in ([problems] if isinstance(problems, str) else problems)]
        super().__init__("\n".join(self.problems))
