"""No code that numbers come from changes unnoticed: either its stage's version is raised, or somebody said why not.

`python -m tests.test_stage_versions` notes raised versions; with `--harmless "why"` it notes changes that leave every
number as it is. stage_versions.json holds the versions, what the code was (comments, layout and docstrings do not
count), and the reasons.

A stage's numbers come from its own module and from all that it imports of ours, but for SILENT. What another stage does
enters by the digest of an input, so its module is not followed. The methods' and data sets' own code is a part of their
jobs' digests.
"""

import argparse
import ast
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sem_bench.base.digest import code_digest
from sem_bench.evaluation import Stage
from sem_bench.evaluations.registry import builtin
from sem_bench.training.job import PRETRAIN
from tests.helpers.places import REPOSITORY

PACKAGE = REPOSITORY / "sem_bench"
FILE = Path(__file__).with_name("stage_versions.json")
SILENT = (  # packages and modules that give no number: what they read or choose is in a job's configuration
    *("report", "config", "runs", "errors", "evaluation"),
    *("base.bounded_cache", "base.digest", "base.files", "base.interrupts", "base.locks", "base.machine", "base.seals"),
    *("data.archives", "evaluations.comparison", "evaluations.measures.memory_sizes", "training.cost"),
)
BY_NAME = {  # whose modules are found by name: from where
    "nets.build": ("nets.embeddings", "nets.backbones"),
    "data.loading": ("data.sources",),
}
CALL = 'python -m tests.test_stage_versions --harmless "why"'


def stages() -> dict[str, Stage[Any]]:
    """All of ours, by name."""
    return {"pretrain": PRETRAIN, **builtin()}


@cache
def modules() -> dict[str, Path]:
    """Files by module, without the package's name."""
    found = {
        path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): path for path in PACKAGE.rglob("*.py")
    }
    return {name.removesuffix(".__init__"): path for name, path in found.items()}


@cache
def direct(module: str) -> frozenset[str]:
    """What a module imports of ours."""
    nodes = list(ast.walk(ast.parse(modules()[module].read_text())))
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    texts = {f"{node.module}.{name}" for node in froms for name in ("", *(alias.name for alias in node.names))}
    texts |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found = {text.removeprefix("sem_bench.").removesuffix(".") for text in texts}
    below = {one for package in BY_NAME.get(module, ()) for one in modules() if one.startswith(f"{package}.")}
    return frozenset((found | below) & modules().keys())


def read_by(stage: Stage[Any]) -> set[str]:
    """The modules that its numbers come from."""
    own = type(stage).__module__.removeprefix("sem_bench.")
    others = {type(one).__module__.removeprefix("sem_bench.") for one in stages().values()} - {own}
    seen, left = {own}, [own]
    while left:
        new = {one for one in direct(left.pop()) if not f"{one}.".startswith(tuple(f"{name}." for name in SILENT))}
        left += new - seen - others
        seen |= new - others
    return seen


@cache
def now() -> dict[str, Any]:
    """What is to be noted."""
    found = {name: read_by(stage) for name, stage in stages().items()}
    return {
        "versions": {name: stage.version for name, stage in stages().items()},
        "code": {name: code_digest(modules()[name])[:16] for name in sorted(set().union(*found.values()))},
    }


def unsaid(before: dict[str, Any]) -> list[str]:
    """A line for each stage whose code has changed, and neither its version nor that of the pretraining is higher."""
    versions, code = before["versions"], before["code"]
    raised = {name for name, version in now()["versions"].items() if version > versions.get(name, 0)}
    lines = []
    for name, stage in stages().items():
        changed = sorted(one for one in read_by(stage) if code.get(one) != now()["code"][one])
        if changed and not raised & {name, "pretrain"}:
            lines.append(f"{name}: {', '.join(changed)}")
    return lines


def test_code_that_numbers_come_from_does_not_change_unnoticed() -> None:
    before = json.loads(FILE.read_text())
    advice = f"changed. Raise the stage's `version` where numbers change, and say so in CHANGELOG.md; else: {CALL}"
    assert not (lines := unsaid(before)), "\n".join([*lines, advice])
    assert now() == {name: before[name] for name in now()}, "python -m tests.test_stage_versions notes what is raised"


def test_what_counts_as_a_change() -> None:
    """The module that changed is named for each stage that reads it, and for no other; a raised version is enough."""
    assert {"training.step", "nets.embeddings.sem", "data.augment", "data.readers.folder"} <= read_by(PRETRAIN)
    assert "training.step" not in read_by(stages()["probe"])
    code, versions = now()["code"], now()["versions"]
    solver = {"code": code | {"evaluations.measures.neighbours": "other"}, "versions": versions}
    assert [line for line in unsaid(solver) if line.startswith(("knn", "entropy", "pretrain"))] == [
        "knn: evaluations.measures.neighbours"
    ]
    assert not any(line.startswith("knn") for line in unsaid(solver | {"versions": versions | {"knn": 0}}))
    assert not unsaid(solver | {"versions": versions | {"pretrain": 0}})  # whatever stands on it is made again


def write(why: str | None) -> int:
    """Note what is now; returns the exit code."""
    before = json.loads(FILE.read_text()) if FILE.exists() else {"code": {}, "versions": {}, "harmless": []}
    lines, reasons = unsaid(before), before["harmless"]
    if lines and not why:
        print("\n".join([*lines, f"changed and not raised: raise `version`, or {CALL}"]))  # noqa: T201
        return 1
    if lines:
        changed = sorted({name for name in now()["code"] if before["code"].get(name) != now()["code"][name]})
        reasons = [*reasons, {"date": datetime.now(UTC).date().isoformat(), "why": why, "modules": changed}]
    FILE.write_text(json.dumps(now() | {"harmless": reasons}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--harmless", metavar="WHY", help="numbers stay as they were, because ...")
    raise SystemExit(write(parser.parse_args().harmless))
