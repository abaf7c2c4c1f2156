"""From a suite file to the jobs that it means, or to every mistake in it and in the cards that it names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sem_bench.arms import Arm
from sem_bench.assignments import assign
from sem_bench.cards import Library
from sem_bench.config import BACKBONES, Suite
from sem_bench.errors import UserError
from sem_bench.files import BUILTIN
from sem_bench.jobs import Job, named
from sem_bench.strict_yaml import read
from sem_bench.validation import Document, at, did_you_mean, validate


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


def read_plan(path: Path, assignments: Sequence[str] = ()) -> Plan:
    """The plan of a suite file, after `--set` assignments. Raises UserError with every mistake of every file."""
    if not path.exists() and path.parent == Path() and (BUILTIN / path).exists():
        path = BUILTIN / path
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


def _jobs(suite: Suite, library: Library) -> Iterator[Job]:
    for seed in suite.seeds:
        for grid in suite.grid:
            for dataset in grid.datasets:
                for backbone in grid.backbones:
                    for method in grid.methods:
                        for label, embedding in grid.embeddings.items():
                            arm = Arm(
                                suite, library.method(method), label, embedding, backbone, library.dataset(dataset)
                            )
                            yield from arm.jobs(seed)


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
