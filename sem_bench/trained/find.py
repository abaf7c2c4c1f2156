"""Which pretraining of a results folder is meant, and where it lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sem_bench.base.files import read_json
from sem_bench.config.validation import did_you_mean
from sem_bench.errors import UserError
from sem_bench.evaluations.registry import builtin
from sem_bench.report.file_models import JobEntry, ResultFile, validated
from sem_bench.report.job_folder import JobFolders, Look, checked
from sem_bench.report.results import Manifest, manifests
from sem_bench.runs.record_file import opened
from sem_bench.training.job import PRETRAIN

CHECKPOINT = PRETRAIN.outputs[0]


@dataclass(frozen=True)
class Found:
    """A finished pretraining of a suite."""

    root: Path  # the results folder
    folder: Path  # of the job
    manifest: Manifest
    job: JobEntry
    arm: str  # the name of its arm


def in_results(results: Path, *, arm: str | None = None, seed: int | None = None, suite: str | None = None) -> Found:
    """The pretraining of an arm and seed of the suite run last, or of `suite`.

    Without `arm` the suite has to have one arm alone, without `seed` it is its first. Raises UserError, which says what
    there is, for another name or seed, and where there is no result with a checkpoint.
    """
    with opened(results) as there:  # a record, which has no checkpoints, is told so
        return _found(there.root, arm, seed, suite)


def _found(results: Path, arm: str | None, seed: int | None, suite: str | None) -> Found:
    (manifest,) = manifests(results, suite=suite, all_suites=False, known=builtin())
    arms = arm_names([job for job in manifest.jobs if job.kind == PRETRAIN.name])
    if not arms:
        raise UserError(f"{results}: suite {manifest.name!r} has no pretraining")
    if arm is None and len(arms) > 1:
        raise UserError(f"{results}: which arm? There are {', '.join(arms)}")
    name = next(iter(arms)) if arm is None else arm
    if name not in arms:
        raise UserError(f"{results}: no arm {name!r}{did_you_mean(name, arms)}; there are {', '.join(arms)}")
    seeds = {job.seed: job for job in arms[name]}
    if seed is not None and seed not in seeds:
        raise UserError(f"{results}: {name} has no seed {seed}; there are {', '.join(map(str, seeds))}")
    job = arms[name][0] if seed is None else seeds[seed]
    look = JobFolders(results).look(job.kind, job.digest)
    return Found(results, _with_checkpoint(look, f"{results}: {name}, seed {job.seed}"), manifest, job, name)


def arm_names(jobs: Sequence[JobEntry]) -> dict[str, list[JobEntry]]:
    """The jobs of one kind by the name of their arm: METHOD/EMBEDDING, such as "byol/sem".

    Arms that share it have the backbone, data set, recipe and epochs behind it, as far as the suite has several.
    """
    arms: dict[str, list[JobEntry]] = {}
    for job in jobs:
        arms.setdefault(job.arm, []).append(job)
    firsts = [own[0] for own in arms.values()]
    rest = ("backbone", "dataset", "recipe", "epochs")
    varied = [name for name in rest if len({getattr(job, name) for job in firsts}) > 1]
    short = [_short(job) for job in firsts]
    named = {}
    for name, own in zip(short, arms.values(), strict=True):
        more = [str(getattr(own[0], one)) for one in varied] if short.count(name) > 1 else []
        named["/".join([name, *more])] = own
    return named


def _short(job: JobEntry) -> str:
    return f"{job.method}{'' if job.ip is None else '-ip'}/{job.embedding}"


def job_folder(folder: Path) -> Path:
    """The folder of a finished pretraining. Raises UserError where it is none."""
    file = validated(ResultFile, read_json(folder / "result.json"))
    if file is None:
        raise UserError(f"{folder}: no finished job; its result.json is absent or damaged")
    if file.kind != PRETRAIN.name:
        raise UserError(f"{folder}: a job of {file.kind}; encoders lie in the folders of {PRETRAIN.name}/")
    return _with_checkpoint(checked(folder, file.kind, file.digest, whole=False), str(folder))


def is_job_folder(path: Path) -> bool:
    """Whether a path is the folder of a job, and no results folder."""
    return any((path / name).is_file() for name in ("result.json", "config.json"))


def _with_checkpoint(look: Look, what: str) -> Path:
    if look.result is None:
        raise UserError(f"{what}: the pretraining is {look.absence}" + (f" ({look.why})" if look.why else ""))
    folder = look.result.folder
    if not (folder / CHECKPOINT).is_file():
        raise UserError(f"{what}: no {CHECKPOINT} in {folder}; a record keeps none, and `run` makes it again")
    return folder
