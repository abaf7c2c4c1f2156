"""From a suite file to the jobs that it means, or to every mistake in it and in the cards that it names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sem_bench import profiles
from sem_bench.arms import Arm
from sem_bench.assignments import assign
from sem_bench.cards import Library
from sem_bench.config import BACKBONES, Grid, Suite
from sem_bench.dataset import DataSet
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
    datasets: list[DataSet]

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


def read_plan(path: Path, assignments: Sequence[str] = (), *, data: Path = Path("data")) -> Plan:
    """The plan of a suite file, after its profile and `--set` assignments; `data` is the folder of the users' data.

    Raises UserError with every mistake of every file.
    """
    if not path.exists() and not path.is_absolute() and (BUILTIN / path).exists():
        path = BUILTIN / path
    written, library = read(path), Library(path.parent)
    chosen, others = profiles.split(assignments)
    document, problems = assign(profiles.with_profile(written, chosen), others)
    suite, found = _checked(document, library)
    problems += found
    for name in profiles.others(written, chosen):  # nobody would see their mistakes before choosing them
        problems += _checked(profiles.with_profile(written, name), library)[1]
    if problems or suite is None:
        raise UserError(sorted(set(problems), key=problems.index))
    names = [name for grid in suite.grid for name in (*grid.datasets, grid.evaluate_on) if name is not None]
    datasets = {name: DataSet(library.dataset(name), library, data) for name in names}
    return Plan(suite, list(_jobs(suite, library, datasets)), list(datasets.values()))


def _checked(document: Document, library: Library) -> tuple[Suite | None, list[str]]:
    """The suite, and everything that is wrong with it and with the cards that it names."""
    problems = _unknown_names(document, library)
    try:
        suite = validate(Suite, document)
    except UserError as error:
        return None, problems + error.problems
    if not problems:
        problems = _recipe_problems(suite, document, library)
    return suite, problems or _data_problems(suite, document, library)


def _jobs(suite: Suite, library: Library, datasets: Mapping[str, DataSet]) -> Iterator[Job]:
    for seed in suite.seeds:
        for grid in suite.grid:
            for name in grid.datasets:
                dataset, evaluated = datasets[name], datasets[grid.evaluate_on or name]
                for backbone in grid.backbones:
                    for method in map(library.method, grid.methods):
                        for label, embedding in grid.embeddings.items():
                            arm = Arm(suite, method, label, embedding, backbone, dataset, evaluated, grid.images)
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
            ("evaluate_on", "dataset", library.dataset),
            ("backbones", "backbone", None),
        ):
            names = grid.get(key)
            for i, name in enumerate(names if isinstance(names, list) else [names]):
                if not isinstance(name, str):
                    continue
                known = list(BACKBONES) if load is None else library.names(kind)
                if name not in known:
                    here = (*location, key, i) if isinstance(names, list) else (*location, key)
                    problems.append(at(document, here, f"unknown {kind} {name!r}{did_you_mean(name, known)}"))
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
    return problems


def _data_problems(suite: Suite, document: Document, library: Library) -> list[str]:
    """What each grid wants of its data sets, and they cannot give."""
    problems = []
    for (here, _), grid in zip(_grids(document.data), suite.grid, strict=True):
        for j, name in enumerate(grid.datasets):
            for key, text in _mismatches(suite, grid, name, library):
                place = ("pretrain", key) if key == "batch_size" else (*here, *key.split("."))
                problems.append(at(document, (*here, "datasets", j) if key == "datasets" else place, text))
    return problems


def _mismatches(suite: Suite, grid: Grid, name: str, library: Library) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) for pretraining on a data set and evaluating as the grid says."""
    card = library.dataset(name).content
    target = grid.evaluate_on or name
    evaluated = library.dataset(target).content
    if "train" not in card.splits:
        yield "datasets", f"{name!r} is a shifted test set: it has no train split"
        return
    stages = [stage for stage, settings in suite.evaluate if settings is not None]
    if stages and not evaluated.labelled:
        where = "evaluate_on" if grid.evaluate_on else "datasets"
        hint = "" if grid.evaluate_on else "; `evaluate_on` names the data set to evaluate on"
        yield where, f"{target!r} has no labelled train and test images, which {stages[0]} needs{hint}"
        return
    if card.image_size != evaluated.image_size:
        yield "evaluate_on", f"{target!r} has images of {evaluated.image_size} px, {name!r} of {card.image_size} px"
    labelling = [method for method in grid.methods if library.method(method).content.labels]
    if labelling and card.classes is None:
        yield "datasets", f"{labelling[0]} reads labels, which {name!r} does not have"
    limits, counts = grid.images, card.splits["train"]
    pretrain = limits.pretrain or (limits.train if target == name else None)
    for key, limit, available, of in (
        ("pretrain", limits.pretrain, counts, name),
        ("train", limits.train, evaluated.splits.get("train", 0), target),
        ("test", limits.test, evaluated.splits.get("test", 0), target),
    ):
        if limit is not None and limit > available:
            split = "test" if key == "test" else "training"
            yield f"images.{key}", f"grid.images.{key}: {limit}, but {of!r} has {available} {split} images"
    for key, limit in (("train", limits.train), ("test", limits.test)):
        if limit is not None and limit < len(evaluated.classes or []):
            yield f"images.{key}", f"grid.images.{key}: {limit} images for {len(evaluated.classes or [])} classes"
    for method in grid.methods:
        size = suite.pretrain.batch_size or library.method(method).content.recipes[suite.pretrain.recipe].batch_size
        count = min(pretrain or counts, counts)
        if size > count:
            yield "batch_size", f"{method}'s batch of {size} is larger than the {count} training images of {name!r}"
