"""Jobs: the nodes of a plan.

A job is known by its digest: the kind, the stage's version, the configuration that matters to the stage and the digests
of its inputs. Nothing else enters: no order, time, machine, device, label or suite name. Two arms or two suites that
need the same pretraining share it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from sem_bench.base.digest import code_digest, digest
from sem_bench.config.fields import Model, resolved
from sem_bench.data.dataset import Place
from sem_bench.data.described import Data
from sem_bench.evaluation import Cost, Evaluation, NetCost, Stage
from sem_bench.nets.encoder_parts import EncoderParts

FEATURES = 1024  # of a backbone of which nothing is known


@dataclass(frozen=True)
class Cell:
    """Where a job stands in the suite's tables, in the suite's own words."""

    method: str
    embedding: str  # the suite's label
    embedding_config: dict[str, Any]
    ip: dict[str, Any] | None
    backbone: str
    dataset: str
    recipe: str
    epochs: int
    seed: int
    external: bool = False  # trained elsewhere: the seed changes nothing but the evaluation
    baseline: str = ""  # digest of the pretraining that an embedding stands on which is never trained


@dataclass(frozen=True)
class Job:
    """A node of the plan."""

    stage: Stage[Any]
    slug: str
    config: Model
    inputs: dict[str, str]  # role -> digest
    cell: Cell
    method_code: Path  # the .py to load
    place: Place  # of the data set that it reads
    parts: EncoderParts  # what its encoder is built of
    weights: Path | None = None  # the checkpoint of an external encoder

    @property
    def kind(self) -> str:
        """The name of its stage."""
        return self.stage.name

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal digits. The code of a user's own stage counts."""
        return job_digest(self.stage, self.config, self.inputs)

    @property
    def needs(self) -> list[Path]:
        """Files that must be there beside the data."""
        own = [self.weights] if self.weights is not None else []
        return own + list(self.stage.needs(self.config, self.place))

    @property
    def features(self) -> int:
        """The width of h, or what it usually is."""
        return _features(self.parts)

    @cached_property
    def cost(self) -> Cost:
        """What it takes, as its stage counts it."""
        return cost(self.stage, self.config, self.parts, self.inputs)

    def absent(self) -> list[Path]:
        """What must be on disk and is not."""
        return self.place.absent() + [path for path in self.needs if not path.is_file()]

    def manifest_entry(self) -> dict[str, Any]:
        """The job as results/suites/NAME.json holds it."""
        entry: dict[str, Any] = {"kind": self.kind, "slug": self.slug, "digest": self.digest, "inputs": self.inputs}
        known = {name: getattr(self.config, name, None) for name in ("fraction", "fractions", "columns", "metric")}
        known["metric"] = known["metric"] or getattr(data_of(self), "multi_label", None)
        entry |= vars(self.cell) | {name: value for name, value in known.items() if value is not None}
        entry |= {"representation": self.parts.representation, "marker": self.parts.marker}
        if isinstance(self.stage, Evaluation):
            entry["owes"] = self.stage.owes(entry)
        return entry


def cost(stage: Stage[Any], config: Model, parts: EncoderParts, inputs: Mapping[str, str]) -> Cost:
    """What a job of a stage takes, as the stage counts it."""
    features, embedding = _features(parts), parts.embedding.out_dim or 0
    attached = not isinstance(stage, Evaluation) and bool(inputs)
    return stage.cost(config, NetCost(features, embedding or features, embedding, parts.cost, attached))


def _features(parts: EncoderParts) -> int:
    return parts.backbone.out_dim or FEATURES


def job_digest(stage: Stage[Any], config: Model, inputs: Mapping[str, str]) -> str:
    """The digest of a job of a stage."""
    code = {} if stage.source is None else {"code": code_digest(stage.source)}
    content = {"kind": stage.name, "version": stage.version, "config": resolved(config), "inputs": inputs}
    return digest(content | code)


def named(job: Job, texts: Sequence[str]) -> bool:
    """Whether KIND/SLUG contains one of the texts."""
    return any(text in f"{job.kind}/{job.slug}" for text in texts)


class Configured(Protocol):
    """A job, or an order to do one."""

    @property
    def config(self) -> Model:
        """All that its stage depends on."""


def data_of(job: Configured) -> Data:
    """The data set that a job reads."""
    data: Data = job.config.data  # type: ignore[attr-defined]
    return data
