"""A suite with the chosen values, for `run`: `--export best.yaml`."""

from pathlib import Path
from typing import Any

import yaml

from sem_bench.config import Params, Suite
from sem_bench.files import read_json, write_atomic
from sem_bench.sweep.subjects import SEEDS, Subject, Subjects


def export(path: Path, subjects: Subjects, summary: Path) -> int:
    """Write the suite of the best settings that a sweep's summary names; returns for how many methods there is one.

    A grid for each method, with all embeddings of its own grid and the swept one as it was chosen.
    """
    found = {study["method"]: study["best"] for study in read_json(summary)["studies"] if study["best"]}
    chosen = [
        (subject, found[name]["params"]) for subject in subjects.each if (name := subject.arm.method.name) in found
    ]
    if chosen:
        suite = subjects.plan.suite
        content: dict[str, Any] = {"name": f"{subjects.name}-best"[:60], "seeds": list(SEEDS)}
        content["grid"] = [_grid(subject, params) for subject, params in chosen]
        content |= {key: _plain(suite)[key] for key in ("pretrain", "evaluate") if key in _plain(suite)}
        if tau_d := chosen[0][0].tau_d:
            content.setdefault("evaluate", {}).setdefault("probe", {})["tau"] = tau_d
        head = f"# The best of sweep {subjects.card.name} on suite {suite.name}, chosen on validation data.\n\n"
        style: dict[str, Any] = {"sort_keys": False, "default_flow_style": None, "allow_unicode": True, "width": 120}
        write_atomic(path, head + yaml.safe_dump(content, **style))
    return len(chosen)


def _grid(subject: Subject, params: Params) -> dict[str, Any]:
    arm = subject.arm
    grid = arm.grid.model_dump(mode="json", exclude_defaults=True)
    grid |= {"methods": [arm.method.name], "backbones": [arm.backbone], "datasets": [arm.dataset.name]}
    asked = {name: value for name, value in params.items() if name not in ("lr", "weight_decay")}
    grid["embeddings"][arm.label] |= asked
    if recipe := {name: value for name, value in params.items() if name not in asked}:
        grid["pretrain"] = grid.get("pretrain", {}) | recipe
    return grid


def _plain(suite: Suite) -> dict[str, Any]:
    return suite.model_dump(mode="json", exclude_defaults=True)
