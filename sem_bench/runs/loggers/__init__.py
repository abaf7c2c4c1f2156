"""Where the curves of pretrainings are shown beside log.csv: a module a place, each through that place's own package.

A run there is named by its job's digest, so that a resumed pretraining continues its curve and no epoch comes twice.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from sem_bench.errors import UserError, described

NAMES = ("tensorboard", "wandb", "mlflow")  # each a module here, a package to install, and an extra of ours
Scalars = Mapping[str, float]  # of an epoch: the columns of log.csv that have a value
Log = Callable[[Sequence[Scalars]], None]  # called after each epoch with all of them so far


@dataclass(frozen=True)
class Training:
    """The pretraining that is logged."""

    slug: str
    digest: str
    settings: dict[str, Any]  # its configuration
    folder: Path  # for the logger's files, of all trainings

    @property
    def key(self) -> str:
        """The run's name in every place: the beginning of the digest, as in the name of the job's folder."""
        return self.digest[:12]


class Logger(Protocol):
    """A module's `Logger(training)` is one."""

    def write(self, rows: Sequence[Scalars]) -> None:
        """All epochs so far; those that it has already are passed over."""

    def close(self) -> None:
        """Nothing more comes."""


def check(names: Sequence[str]) -> None:
    """Raise UserError where the package of one is not installed. Imports none."""
    for name in names:
        spec = find_spec(name)
        if spec is None or spec.origin is None:  # a folder of that name, which loggers like to leave, is no package
            raise UserError(f"--log {name}: {name} is not installed: pip install 'sem-bench[{name}]'")


@contextmanager
def opened(names: Sequence[str], training: Training, say: Callable[[str], object]) -> Iterator[Log]:
    """What writes to all of these places. One that fails is left out, and `say` hears of it: the training goes on."""
    loggers: dict[str, Logger] = {}

    @contextmanager
    def attempt(name: str) -> Iterator[None]:
        try:
            with warnings.catch_warnings(action="ignore"):  # of these packages about themselves
                yield
        except Exception as error:
            loggers.pop(name, None)
            say(f"--log {name}: {training.slug}: not logged there any more ({described(error)})")

    for name in names:
        with attempt(name):
            loggers[name] = importlib.import_module(f"{__name__}.{name}").Logger(training)

    def write(rows: Sequence[Scalars]) -> None:
        for name, logger in list(loggers.items()):
            with attempt(name):
                logger.write(rows)

    try:
        yield write
    finally:
        for name, logger in list(loggers.items()):
            with attempt(name):
                logger.close()
