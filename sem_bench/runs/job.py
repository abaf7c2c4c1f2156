"""Jobs: the nodes of a plan.

A job is known by its digest: the kind, the stage's version, the configuration that matters to the stage and the digests
of its inputs. Nothing else enters: no order, time, machine, device, label or suite name. Two arms or two suites that
need the same pretraining share it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sem_bench.base.digest import digest
from sem_bench.config.fields import Model, resolved
from sem_bench.data.dataset import Place
from sem_bench.data.described import Data
from sem_bench.evaluations.augmented import AugmentedJob
from sem_bench.evaluations.entropy import EntropyJob
from sem_bench.evaluations.expressivity import ExpressivityJob
from sem_bench.evaluations.knn import KnnJob
from sem_bench.evaluations.probe import ProbeJob
from sem_bench.evaluations.relevance import RelevanceJob
from sem_bench.evaluations.robustness import RobustnessJob
from sem_bench.evaluations.transfer import TransferJob
from sem_bench.nets.parts import EncoderParts
from sem_bench.training.job import PretrainJob


@dataclass(frozen=True)
class Stage:
    """A kind of job. Raise `version` whenever the same configuration would give other results."""

    version: int
    config: type[Model]


# The code of a stage is the module of this name in sem_bench/stages/.
STAGES = {
    "pretrain": Stage(1, PretrainJob),
    "probe": Stage(1, ProbeJob),
    "knn": Stage(1, KnnJob),
    "augmented": Stage(1, AugmentedJob),
    "robustness": Stage(1, RobustnessJob),
    "transfer": Stage(1, TransferJob),
    "relevance": Stage(1, RelevanceJob),
    "entropy": Stage(1, EntropyJob),
    "expressivity": Stage(1, ExpressivityJob),
}


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

    kind: str
    slug: str
    config: Model
    inputs: dict[str, str]  # role -> digest
    cell: Cell
    method_code: Path  # the .py to load
    place: Place  # of the data set that it reads
    parts: EncoderParts  # what its encoder is built of
    weights: Path | None = None  # the checkpoint of an external encoder

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal digits."""
        content = {
            "kind": self.kind,
            "version": STAGES[self.kind].version,
            "config": resolved(self.config),
            "inputs": self.inputs,
        }
        return digest(content)

    def absent(self) -> list[Path]:
        """What must be on disk and is not."""
        own = [self.weights] if self.weights is not None else []
        if isinstance(self.config, ProbeJob) and self.config.subset is not None:
            own.append(self.place.subset(self.config.fraction))
        return self.place.absent() + [path for path in own if not path.is_file()]

    def manifest_entry(self) -> dict[str, Any]:
        """The job as results/suites/NAME.json holds it."""
        entry = {"kind": self.kind, "slug": self.slug, "digest": self.digest, "inputs": self.inputs}
        known = {name: getattr(self.config, name, None) for name in ("fraction", "fractions", "columns", "metric")}
        entry |= vars(self.cell) | {"representation": self.parts.representation, "marker": self.parts.marker}
        return entry | {name: value for name, value in known.items() if value is not None}


def named(job: Job, texts: Sequence[str]) -> bool:
    """Whether KIND/SLUG contains one of the texts."""
    return any(text in f"{job.kind}/{job.slug}" for text in texts)


def data_of(job: Job) -> Data:
    """The data set that a job reads."""
    data: Data = job.config.data  # type: ignore[attr-defined]
    return data
