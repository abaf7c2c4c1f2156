"""From a suite file to the jobs that it means, or to every mistake in it and in the cards that it names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from sem_bench.base.files import BUILTIN, file_digest
from sem_bench.config import profiles
from sem_bench.config.cards import Library
from sem_bench.config.overrides import assign
from sem_bench.config.strict_yaml import read
from sem_bench.config.validation import Document, at
from sem_bench.data.card import dataset_card
from sem_bench.data.dataset import DataSet, located
from sem_bench.errors import UserError
from sem_bench.evaluation import AnyEvaluation
from sem_bench.evaluations.registry import sound
from sem_bench.runs.arm import Arm
from sem_bench.runs.checks import checked, row_clashes
from sem_bench.runs.job import Job, named
from sem_bench.runs.suite import Grid, Suite
from sem_bench.training.card import method_card

EXTERNAL = "external"  # the method that trains nothing
MOST_JOBS = 50_000  # of a suite: planning that many takes some seconds


@dataclass(frozen=True)
class Plan:
    """A suite and its jobs, inputs before what needs them, seed by seed. The same job may stand in several cells."""

    suite: Suite
    jobs: list[Job]
    datasets: list[DataSet]
    arms: list[Arm]
    library: Library
    evaluations: Mapping[str, AnyEvaluation]

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
    path = suite_file(path)
    written, library = read(path), Library(path.parent)
    chosen, others = profiles.split(assignments)
    document, problems = assign(profiles.with_profile(written, chosen), others)
    known, faulty = sound(library)
    if wrong := [faulty[name] for name in _evaluated(written) if name in faulty]:
        raise UserError(wrong)
    suite, found = checked(document, library, known)
    problems += found
    for name in profiles.others(written, chosen):  # nobody would see their mistakes before choosing them
        problems += checked(profiles.with_profile(written, name), library, known)[1]
    if problems or suite is None:
        raise UserError(dict.fromkeys(problems))
    names = _datasets(suite)
    for evaluation in known.values():
        if (asked := suite.asked(evaluation.name)) is not None:
            names += [
                name for key, kind in evaluation.names.items() if kind == "dataset" for name in getattr(asked, key)
            ]
    datasets = {name: DataSet(dataset_card(library, name), library, data) for name in names}
    cells = sum(len(g.datasets) * len(g.backbones) * len(g.methods) * len(g.embeddings) for g in suite.grid)
    jobs: list[tuple[int, Job]] = []
    arms: list[tuple[int, Arm]] = []
    if not (large := cells * len(suite.seeds) > MOST_JOBS):
        arms = list(_arms(suite, library, datasets, known, data))
        for seed, (number, arm) in product(suite.seeds, arms + _floors(suite, library, arms)):
            jobs += ((number, job) for job in arm.jobs(seed))
            if large := len(jobs) > MOST_JOBS:
                break
    if large:
        text = f"{cells:,} cells with {len(suite.seeds):,} seeds are more than {MOST_JOBS:,} jobs; make several suites"
        raise UserError(at(document, ("grid",), text))
    if clashes := row_clashes(jobs, document):
        raise UserError(clashes)
    return Plan(suite, [job for _, job in jobs], list(datasets.values()), [arm for _, arm in arms], library, known)


def arms_of(suite: Suite, library: Library, data: Path) -> list[Arm]:
    """The arms of a suite without evaluations, for who looks for the data of one. External methods have no checkpoint.

    Raises KeyError where a card is absent.
    """
    datasets = {name: DataSet(dataset_card(library, name), library, data) for name in _datasets(suite)}
    return [arm for _, arm in _arms(suite, library, datasets, {}, data)]


def _datasets(suite: Suite) -> list[str]:
    """Those of its grids."""
    return [name for grid in suite.grid for name in (*grid.datasets, grid.evaluate_on) if name is not None]


def suite_file(path: Path) -> Path:
    """The user's file, or where there is none the package's of this path."""
    return BUILTIN / path if not path.exists() and not path.is_absolute() and (BUILTIN / path).exists() else path


def _evaluated(document: Document) -> list[str]:
    """What the suite or one of its profiles asks for below `evaluate`; from the raw file, and so perhaps anything."""
    data = document.data if isinstance(document.data, dict) else {}
    profiles = data.get("profiles")
    parts = [data, *(profiles.values() if isinstance(profiles, dict) else ())]
    asked = [part.get("evaluate") for part in parts if isinstance(part, dict)]
    return [str(name) for one in asked if isinstance(one, dict) for name in one]


def _checkpoint(grid: Grid, data: Path) -> tuple[Path | None, str | None]:
    """The file of external weights, and what a digest knows of it: its bytes, nothing while it is absent."""
    if grid.checkpoint is None:
        return None, None
    path = located(data, grid.checkpoint)
    return path, file_digest(path) if path.is_file() else ""


def _floors(suite: Suite, library: Library, arms: Sequence[tuple[int, Arm]]) -> list[tuple[int, Arm]]:
    """The random backbone of each table of comparison, where the suite wants it and compares."""
    if not suite.floor:
        return []
    nothing = method_card(library, EXTERNAL)
    first = {arm.comparison: (number, arm) for number, arm in reversed(arms)}
    floors = [(number, arm.floor(nothing)) for number, arm in reversed(first.values())]
    return [(number, arm) for number, arm in floors if any(suite.asked(name) is not None for name in arm.evaluations)]


def _arms(
    suite: Suite,
    library: Library,
    datasets: Mapping[str, DataSet],
    known: Mapping[str, AnyEvaluation],
    data: Path,
) -> Iterator[tuple[int, Arm]]:
    """Each with the number of its grid."""
    for number, grid in enumerate(suite.grid):
        weights, weights_digest = _checkpoint(grid, data)  # once: it may be gigabytes
        for name, backbone, method in product(grid.datasets, grid.backbones, grid.methods):
            for label, embedding in grid.embeddings.items():
                arm = Arm(
                    suite=suite,
                    grid=grid,
                    method=method_card(library, method),
                    label=label,
                    asked=embedding,
                    backbone=backbone,
                    dataset=datasets[name],
                    evaluated=datasets[grid.evaluate_on or name],
                    weights=weights,
                    weights_digest=weights_digest,
                    others=datasets,
                    evaluations=known,
                )
                yield number, arm
