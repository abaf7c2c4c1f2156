"""A suite with the chosen values, for `run`: `--export best.yaml`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sem_bench.base.files import no_place, write_atomic
from sem_bench.errors import UserError
from sem_bench.evaluations.probe import Probe
from sem_bench.runs.sweep_card import Params
from sem_bench.sweep.subjects import SEEDS, Subject, Subjects
from sem_bench.sweep.summary_file import Best, load

HEAD = "# The best of sweep"


def check(path: Path) -> None:
    """Raises UserError where `export` could not write, or would write over what it did not make."""
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"--export {path}: {no_place(path) or error.strerror}") from None
    if path.is_dir():
        raise UserError(f"--export {path}: is a folder")
    if path.exists() and not path.read_bytes().startswith(HEAD.encode()):
        raise UserError(f"--export {path}: there is a file that no sweep wrote; another name keeps it")


def export(path: Path, subjects: Subjects, summary: Path) -> bool:
    """Write the suite of the best settings that a sweep's summary names; False where a method has none confirmed yet.

    A grid for each method, with all embeddings of its own grid and the swept one as it was chosen.
    """
    left = load(summary)
    known: dict[str, Best | None] = {study.name: study.best for study in left.studies} if left else {}
    chosen = [(subject, known.get(subject.name)) for subject in subjects.each]
    if not all(best and (best.test or not subject.labelled) for subject, best in chosen):
        return False
    suite = subjects.plan.suite
    plain = suite.model_dump(mode="json", exclude_defaults=True)
    content: dict[str, Any] = {"name": f"{subjects.name}-best"[:60], "seeds": list(SEEDS)}
    content["grid"] = [_grid(subject, best.params) for subject, best in chosen if best]
    content |= {key: plain[key] for key in ("pretrain", "evaluate") if key in plain}
    evaluate = content.setdefault("evaluate", {})
    temperatures = subjects.card.content.tau_d
    if temperatures and subjects.each[0].labelled:
        evaluate.setdefault(Probe.name, {})["tau"] = temperatures
    content["evaluate"] = _of_methods(evaluate, [subject.arm.method.name for subject in subjects.each])
    head = f"{HEAD} {subjects.card.name} on suite {suite.name}, chosen on validation data.\n\n"
    style: dict[str, Any] = {"sort_keys": False, "default_flow_style": None, "allow_unicode": True, "width": 120}
    write_atomic(path, head + yaml.safe_dump(content, **style))
    return True


def _of_methods(evaluate: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The evaluations, of these methods alone where one names its `methods`; without those that name no other."""
    kept = {}
    for kind, settings in evaluate.items():
        if wanted := settings.get("methods"):
            settings = settings | {"methods": [name for name in wanted if name in names]}
            if not settings["methods"]:
                continue
        kept[kind] = settings
    return kept


def _grid(subject: Subject, params: Params) -> dict[str, Any]:
    arm = subject.arm
    grid = arm.grid.model_dump(mode="json", exclude_defaults=True)
    grid |= {"methods": [arm.method.name], "backbones": [arm.backbone], "datasets": [arm.dataset.name]}
    asked = {name: value for name, value in params.items() if name not in ("lr", "weight_decay")}
    grid["embeddings"][arm.label] |= asked
    if recipe := {name: value for name, value in params.items() if name not in asked}:
        grid["pretrain"] = grid.get("pretrain", {}) | recipe
    return grid
