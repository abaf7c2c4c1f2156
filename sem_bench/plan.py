"""From a suite file to the jobs that it means.

A job is known by its digest: the kind, the stage's version, the configuration that matters to the stage and the digests
of its inputs. Nothing else enters: no order, time, machine, device, label or suite name. Two arms or two suites that
need the same pretraining share it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sem_bench import cards, config
from sem_bench.assignments import assign
from sem_bench.cards import Card, Library
from sem_bench.config import BACKBONES, DatasetCard, Embedding, MethodCard, Model, Suite
from sem_bench.digest import digest
from sem_bench.errors import UserError
from sem_bench.strict_yaml import read
from sem_bench.validation import Document, at, did_you_mean, validate


@dataclass(frozen=True)
class Stage:
    """A kind of job. Raise `version` whenever the same configuration would give other results."""

    version: int
    config: type[Model]


# The code of a stage is the module of this name in sem_bench/stages/.
STAGES = {
    "pretrain": Stage(1, config.PretrainJob),
    "probe": Stage(1, config.ProbeJob),
    "knn": Stage(1, config.KnnJob),
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


@dataclass(frozen=True)
class Job:
    """A node of the plan."""

    kind: str
    slug: str
    config: Model
    inputs: dict[str, str]  # role -> digest
    cell: Cell
    code: dict[str, Path]  # "method" and "dataset" -> the .py to load
    files: tuple[Path, ...] = ()  # what the data set needs on disk

    def absent_files(self) -> list[Path]:
        """The files of its data set that are not on disk."""
        return [file for file in self.files if not file.exists()]

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal digits."""
        content = {
            "kind": self.kind,
            "version": STAGES[self.kind].version,
            "config": config.resolved(self.config),
            "inputs": self.inputs,
        }
        return digest(content)

    def manifest_entry(self) -> dict[str, Any]:
        """The job as results/suites/NAME.json holds it."""
        entry = {"kind": self.kind, "slug": self.slug, "digest": self.digest, "inputs": self.inputs}
        fraction = getattr(self.config, "fraction", None)
        return entry | vars(self.cell) | ({} if fraction is None else {"fraction": fraction})


@dataclass(frozen=True)
class Plan:
    """A suite and its jobs, inputs before what needs them, seed by seed. The same job may stand in several cells."""

    suite: Suite
    jobs: list[Job]

    def unique(self) -> list[Job]:
        """Each job once."""
        return list({job.digest: job for job in self.jobs}.values())

    def only(self, texts: Sequence[str]) -> list[Job]:
        """The unique jobs that one of the texts names, with their inputs. Raises UserError when there is none."""
        jobs = {job.digest: job for job in self.unique()}
        wanted = {key for key, job in jobs.items() if named(job, texts)}
        if not wanted:
            example = self.jobs[0]
            shown = ", ".join(map(repr, texts))
            raise UserError(f"--only {shown}: no job's name contains it; a name is {example.kind}/{example.slug}")
        for job in reversed(jobs.values()):
            if job.digest in wanted:
                wanted.update(job.inputs.values())
        return [job for key, job in jobs.items() if key in wanted]


def named(job: Job, texts: Sequence[str]) -> bool:
    """Whether KIND/SLUG contains one of the texts."""
    return any(text in f"{job.kind}/{job.slug}" for text in texts)


def read_plan(path: Path, assignments: Sequence[str] = ()) -> Plan:
    """The plan of a suite file, after `--set` assignments. Raises UserError with every mistake of every file."""
    if not path.exists() and path.parent == Path() and (cards.BUILTIN / path).exists():
        path = cards.BUILTIN / path
    document, problems = assign(read(path), assignments)
    library = Library(path.parent)
    problems += _unknown_names(document, library)
    suite = None
    try:
        suite = validate(Suite, document)
    except UserError as error:
        problems += error.problems
    if suite is not None and not problems:
        problems += _recipe_problems(suite, document, library)
    if problems or suite is None:
        raise UserError(sorted(set(problems), key=problems.index))
    return Plan(suite, list(_jobs(suite, library)))


# --- checks that need the cards --------------------------------------------------------------------------------------


def _grids(data: object) -> list[tuple[tuple[str | int, ...], dict[str, Any]]]:
    grid = data.get("grid") if isinstance(data, dict) else None
    if isinstance(grid, dict):
        return [(("grid",), grid)]
    if isinstance(grid, list):
        return [(("grid", i), part) for i, part in enumerate(grid) if isinstance(part, dict)]
    return []


def _unknown_names(document: Document, library: Library) -> list[str]:
    """Mistakes in the grid's names and in the cards named; from the raw file, so that they come with all others."""
    problems: list[str] = []
    for location, grid in _grids(document.data):
        for key, kind, load in (
            ("methods", "method", library.method),
            ("datasets", "dataset", library.dataset),
            ("backbones", "backbone", None),
        ):
            names = grid.get(key)
            for i, name in enumerate(names if isinstance(names, list) else []):
                if not isinstance(name, str):
                    continue
                known = list(BACKBONES) if load is None else library.names(kind)
                if name not in known:
                    problems.append(
                        at(document, (*location, key, i), f"unknown {kind} {name!r}{did_you_mean(name, known)}")
                    )
                elif load is not None:
                    try:
                        load(name)
                    except UserError as error:
                        problems += error.problems
    return problems


def _recipe_problems(suite: Suite, document: Document, library: Library) -> list[str]:
    problems = []
    for name in sorted({name for grid in suite.grid for name in grid.methods}):
        recipes = library.method(name).content.recipes
        if suite.pretrain.recipe not in recipes:
            text = (
                f"method {name!r} has no recipe {suite.pretrain.recipe!r}{did_you_mean(suite.pretrain.recipe, recipes)}"
            )
            problems.append(at(document, ("pretrain", "recipe"), text))
    if problems:
        return problems
    for grid in suite.grid:
        for method in grid.methods:
            size = suite.pretrain.batch_size or library.method(method).content.recipes[suite.pretrain.recipe].batch_size
            for name in grid.datasets:
                count = library.dataset(name).content.splits["train"]
                if size > count:
                    text = f"{method}'s batch of {size} is larger than the {count} training images of {name!r}"
                    problems.append(at(document, ("pretrain", "batch_size"), text))
    return problems


# --- expansion -------------------------------------------------------------------------------------------------------


def _jobs(suite: Suite, library: Library) -> Iterator[Job]:
    for seed in suite.seeds:
        for grid in suite.grid:
            for dataset in grid.datasets:
                for backbone in grid.backbones:
                    for method in grid.methods:
                        for label, embedding in grid.embeddings.items():
                            arm = _Arm(
                                suite, library.method(method), label, embedding, backbone, library.dataset(dataset)
                            )
                            yield from arm.jobs(seed)


@dataclass(frozen=True)
class _Arm:
    """One row of the comparison."""

    suite: Suite
    method: Card[MethodCard]
    label: str
    asked: Embedding
    backbone: str
    dataset: Card[DatasetCard]

    def jobs(self, seed: int) -> Iterator[Job]:
        pretrain = self._job("pretrain", seed, self._pretraining(seed))
        yield pretrain
        inputs = {"pretrain": pretrain.digest}
        if settings := self.suite.evaluate.probe:
            for fraction in settings.fractions:
                probe = self._probe(settings, fraction, seed)
                yield self._job("probe", seed, probe, inputs, suffix=f"-{fraction * 100:g}pc")
        if knn := self.suite.evaluate.knn:
            tau = self.embedding.tau
            yield self._job(
                "knn", seed, config.KnnJob(data=self._labelled, tau=tau, k=knn.k, temperature=knn.temperature), inputs
            )

    @property
    def _recipe(self) -> config.Recipe:
        return self.method.content.recipes[self.suite.pretrain.recipe]

    @cached_property
    def training(self) -> config.Training:
        """The recipe with the suite's changes."""
        changes = self.suite.pretrain.model_dump(exclude={"recipe"}, exclude_none=True)
        values = self._recipe.model_dump(exclude={"source", "sem"})
        values["optimizer"] |= {key: changes.pop(key) for key in ("lr", "weight_decay") if key in changes}
        return config.Training.model_validate(values | changes)

    @cached_property
    def embedding(self) -> Embedding:
        """The embedding with its temperatures: from the suite, else from the recipe; tau_target at last from tau."""
        if self.asked.type != "sem":
            return self.asked
        recipe, asked = self._recipe.sem, self.asked
        tau = asked.tau or recipe.tau
        open_target = recipe.tau_target if asked.tau is None else None
        return asked.model_copy(update={"tau": tau, "tau_target": asked.tau_target or open_target or tau})

    def _pretraining(self, seed: int) -> config.PretrainJob:
        return config.PretrainJob(
            method=config.MethodRef(
                name=self.method.name,
                class_name=self.method.content.class_name,
                code=self.method.code_digest,
                labels=self.method.content.labels,
            ),
            training=self.training,
            embedding=self.embedding,
            backbone=self.backbone,
            data=config.TrainingData(**self._data),
            seed=seed,
        )

    def _probe(self, settings: config.ProbeSettings, fraction: float, seed: int) -> config.ProbeJob:
        """Both kinds of representation get the same number of candidates (docs/protocol.md)."""
        heated = self.embedding.type == "sem"
        return config.ProbeJob(
            data=self._labelled,
            fraction=fraction,
            tau=settings.tau if heated else [],
            fixed_tau=self.embedding.tau,
            l2=settings.l2,
            fixed_l2=finer(settings.l2, len(settings.tau) * len(settings.l2)),
            seed=seed,
        )

    @cached_property
    def _data(self) -> dict[str, Any]:
        card = self.dataset.content
        return {
            "name": self.dataset.name,
            "source": card.source,
            "code": self.dataset.code_digest,
            "train": card.splits["train"],
            "image_size": card.image_size,
            "normalise": card.normalise,
        }

    @cached_property
    def dataset_files(self) -> tuple[Path, ...]:
        """Where the card's files should be."""
        folder = self.dataset.code.parent.parent
        return tuple(folder / Path(name).expanduser() for name in self.dataset.content.files)

    @property
    def _labelled(self) -> config.LabelledData:
        card = self.dataset.content
        return config.LabelledData(
            **self._data, test=card.splits["test"], classes=card.classes, superclasses=card.superclasses
        )

    def _job(
        self, kind: str, seed: int, settings: Model, inputs: dict[str, str] | None = None, *, suffix: str = ""
    ) -> Job:
        slug = f"{self.method.name}-{_short(self.embedding)}-{self.backbone}-{self.dataset.name}"
        slug += f"-e{self.training.epochs}-s{seed}{suffix}"
        cell = Cell(
            method=self.method.name,
            embedding=self.label,
            embedding_config=self.embedding.model_dump(exclude_none=True),
            ip=None,
            backbone=self.backbone,
            dataset=self.dataset.name,
            recipe=self.suite.pretrain.recipe,
            epochs=self.training.epochs,
            seed=seed,
        )
        code = {"method": self.method.code, "dataset": self.dataset.code}
        return Job(kind, slug, settings, inputs or {}, cell, code, self.dataset_files)


def _short(embedding: Embedding) -> str:
    if embedding.type == "none":
        return "none"
    text = f"{embedding.type}{embedding.L}x{embedding.V}"
    if embedding.tau is not None:
        text += f"-t{embedding.tau:g}"
        if embedding.tau_target != embedding.tau:
            text += f"-tt{embedding.tau_target:g}"
    return text


def finer(grid: Sequence[float], count: int) -> list[float]:
    """`count` values, log-spaced over the range of a grid, so that each search has as many candidates."""
    low, high = min(grid), max(grid)
    if count == 1:
        return [low]
    if low == high:  # no range to fill: the same number of candidates is one value
        return [low]
    return [float(f"{low * (high / low) ** (i / (count - 1)):.6g}") for i in range(count)]
