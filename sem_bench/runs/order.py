"""What passes between who plans jobs and who does them: plain data, which also another process or machine can read.

An `Order` says all that a worker needs for a job, an `Event` what it tells on the way, an `Outcome` how the job ended.
Results themselves are files.
"""

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from sem_bench.base.limits import Limits
from sem_bench.config.cards import shipped
from sem_bench.config.fields import Model, whole
from sem_bench.data.dataset import Place
from sem_bench.evaluation import Stage
from sem_bench.evaluations.own import of_file
from sem_bench.evaluations.registry import builtin
from sem_bench.nets.encoder_parts import EncoderParts
from sem_bench.runs.job import Job
from sem_bench.training.job import PRETRAIN


class Need(Model):
    """What a job takes of a machine, by all its processes."""

    threads: int = 1
    gpu: float = 0.0  # the share of one, or several
    memory: float = 0.0  # bytes
    devices: int = 1  # as many processes, that compute together


class Order(Model):
    """A job to do. Paths are as the user gave them: a worker shares the current folder and the files.

    What of it is an object in a `Job` is text and numbers here; `stage` and `config` make objects of it again.
    """

    kind: str
    slug: str
    digest: str
    settings: dict[str, Any]  # the whole configuration, also what no digest sees
    inputs: dict[str, str]  # role -> digest of a finished job

    # Code and files that the configuration names by their content alone.
    place: Place
    method_code: Path
    parts: EncoderParts  # what its encoder is built of
    weights: Path | None  # the checkpoint of an external encoder
    source: Path | None  # the file of a user's own evaluation

    root: Path  # the results folder
    device: str  # "auto", "cpu" or "cuda"
    limits: Limits
    need: Need = Need()
    afresh: bool = False  # do it though there is a result, and trust no cache
    since: int = 0  # with `afresh`: a result is good enough that was written later (ns, by the results folder's clock)
    gpus: tuple[str, ...] = ()  # of its other processes, as CUDA_VISIBLE_DEVICES names them; none: all see the same
    log: tuple[str, ...] = ()  # where the curves of a pretraining are shown beside log.csv (sem_bench.runs.loggers)
    watch: str | None = None  # what a pretraining measures after every epoch, "module:function" (workspace.Monitor)

    @classmethod
    def of(
        cls,
        job: Job,
        root: Path,
        *,
        device: str,
        limits: Limits,
        need: Need = Need(),  # noqa: B008 - frozen
        afresh: bool = False,
        since: int = 0,
        log: tuple[str, ...] = (),
        watch: str | None = None,
    ) -> Self:
        """The order to do a job for the results in `root`."""
        return cls(
            kind=job.kind,
            slug=job.slug,
            digest=job.digest,
            settings=whole(job.config),
            inputs=job.inputs,
            place=job.place,
            method_code=job.method_code,
            parts=job.parts,
            weights=job.weights,
            source=job.stage.source,
            root=root,
            device=device,
            limits=limits,
            need=need,
            afresh=afresh,
            since=since,
            log=log,
            watch=watch,
        )

    def as_json(self) -> str:
        """A text that says all of it."""
        return json.dumps(whole(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `as_json` wrote."""
        return cls.model_validate_json(text)

    def absent(self) -> list[Path]:
        """What of its code and files is not there, seen from here."""
        named = [path for path in (self.method_code, self.source, self.weights, *self._own_parts) if path is not None]
        return [path for path in named if not path.exists()] + self.place.absent()

    @cached_property
    def own_code(self) -> tuple[str, ...]:
        """The user's files whose code it runs, but for those of data sets."""
        trains = self.kind == PRETRAIN.name and not shipped("method", self.method_code)
        files = [self.method_code if trains else None, self.source, *self._own_parts]
        return tuple(sorted(str(path) for path in files if path is not None))

    @property
    def _own_parts(self) -> list[Path]:
        """The code of its embedding and backbone, where they are the user's."""
        return [Path(part.code) for part in (self.parts.embedding, self.parts.backbone) if part.own]

    @cached_property
    def stage(self) -> Stage[Any]:
        """What does it. Raises UserError where the user's own file is not what it was when the job was planned."""
        if self.source is not None:
            return of_file(self.source)
        return PRETRAIN if self.kind == PRETRAIN.name else builtin()[self.kind]

    @cached_property
    def config(self) -> Model:
        """The configuration as its stage knows it. Raises pydantic's error where the stage's fields have changed."""
        return self.stage.Job.model_validate_json(json.dumps(self.settings))


class Started(NamedTuple):
    """The job is this worker's, and begins."""


class Progress(NamedTuple):
    """How far a job is: `done` of `total` steps, and a few words."""

    done: int
    total: int
    note: str


class Figure(NamedTuple):
    """What an order's `watch` measured after an epoch. The answer says whether to go on."""

    epoch: int
    value: float


class Message(NamedTuple):
    """A line for the user."""

    text: str


Event = Started | Progress | Figure | Message
EVENTS: dict[str, Any] = {kind.__name__: kind for kind in (Started, Progress, Figure, Message)}
Tell = Callable[[Event], bool]  # False: end it now; only a `Figure` is answered so


class Outcome(NamedTuple):
    """How a job ended, or that it did not.

    "reused": another process had done it meanwhile; "pruned": a `Figure` was answered False; "held": another process
    works on it; "died": its worker died, and the job may be tried again.
    """

    status: Literal["done", "reused", "failed", "pruned", "held", "died"]
    summary: str = ""
