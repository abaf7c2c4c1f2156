"""What results/sweeps/NAME.json holds, as summary.write wrote it. It is validated here, at the door."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sem_bench.base.files import read_json
from sem_bench.base.seals import SUM, holds
from sem_bench.config.fields import Name
from sem_bench.config.validation import known
from sem_bench.report.file_models import Exact, File, Listed, Plain, Said, validated
from sem_bench.sweep.objectives import OBJECTIVES


class Found(File):
    """A validation figure of a trial, at one of the temperatures."""

    tau_d: Exact | None
    value: Exact | None


class Trial(File):
    """One setting that was tried."""

    number: int
    state: Said
    params: dict[Name, Exact]
    tau_d: Exact | None
    search: list[Found]
    made_with: Plain = {}
    notes: list[Said]
    embedding_config: Plain
    digests: list[str]

    @property
    def tried(self) -> list[Found]:
        """Its figures; none of a trial that was pruned, failed or still runs."""
        return self.search if self.state == "complete" else []


class Best(File):
    """The chosen setting, and what it reaches on the test images with each seed."""

    number: int
    params: dict[Name, Exact]
    test: list[Exact]
    test_tau_d: list[Exact | None]


class Study(File):
    """One method's trials."""

    name: Said
    shared: str = ""  # of the settings that its trials have in common with those of other methods
    sampler: Plain
    own_first: bool = True
    pruner: Plain | None
    method: Said
    ip: Plain | None
    embedding: Said
    backbone: Said
    dataset: Said
    recipe: Said
    epochs: int
    representation: Said
    tau_d: list[Exact]
    trials: list[Trial]
    importance: dict[Name, Exact]
    importance_note: Said
    best: Best | None
    jobs: list[Listed]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        parameters = {frozenset(trial.params) for trial in self.trials if trial.tried}
        if len(parameters) > 1 or frozenset() in parameters:
            raise ValueError("complete trials have the same parameters")
        if self.pruner is not None and not isinstance(self.pruner.get("type"), str):
            raise ValueError("no type of the pruner")
        for trial in self.trials:
            sampler = self.sampler | trial.made_with
            if not isinstance(sampler.get("optuna"), str) or sampler.get("type") not in [*SAMPLERS]:
                raise ValueError("no such sampler")
        return self


class SweepFile(File):
    """What a sweep left."""

    version: Literal[1] = Field(alias="schema")
    suite: Said
    sweep: Said
    objective: Annotated[str, known(OBJECTIVES)]
    card: dict[str, Any]
    studies: list[Study]


SAMPLERS = {
    "tpe": "TPE, its first 10 trials at random",
    "qmc": "quasi-random (Sobol)",
    "random": "random",
    "grid": "grid",
}


def load(path: Path) -> SweepFile | None:
    """What a sweep left; None where the file is absent or damaged."""
    content = read_json(path)
    return validated(SweepFile, content) if holds(content) else None


def read(path: Path) -> dict[str, Any] | None:
    """The same as it stands in the file but for its sum, for who writes it anew."""
    content: dict[str, Any] = read_json(path)
    if validated(SweepFile, content) is None or not holds(content):
        return None
    return {name: value for name, value in content.items() if name != SUM}
