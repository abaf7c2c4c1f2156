"""The errors that users see. Each prints as one line a problem, without a traceback."""

from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user gave us (file, option, data). The command line prints its lines and exits with 2."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))
