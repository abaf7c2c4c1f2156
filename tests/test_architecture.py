"""The house keeps its plan: imports point one way, and what code beside cards imports stays where it is."""

import ast
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import pytest

import sem_bench
from sem_bench.config.cards import Library
from sem_bench.data.sources import KINDS
from sem_bench.evaluations.registry import builtin
from tests.helpers.places import REPOSITORY

PACKAGE = REPOSITORY / "sem_bench"
FLOORS = [  # a module may import from its own package and from floors above it in this list
    {"errors", "base"},
    {"config"},
    {"cards", "validation"},
    {"report"},
    {"backbone", "embedding", "environments"},
    {"encoder"},
    {"method"},
    {"data"},
    {"nets"},
    {"workspace"},
    {"evaluation"},
    {"training"},
    {"evaluations"},
    {"runs"},
    {"sweep"},
    {"analysis"},
    {"trained"},
    {"cli"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def imported(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports anywhere: at its top, in functions, and for types alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "sem_bench":
            yield from (f"sem_bench.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_imports_point_one_way() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        own = path.relative_to(PACKAGE).with_suffix("").parts[0]
        for module in imported(path):
            package, _, rest = module.partition(".")
            other = rest.partition(".")[0]
            if package == "sem_bench" and other and own not in (other, "__init__", "__main__"):
                allowed = FLOOR[other] < FLOOR[own] or {own, other} == {"errors", "base"}
                wrong += [] if allowed else [f"{path.relative_to(REPOSITORY)} imports {module}"]
    assert not wrong, wrong


OWNERS: dict[str, list[str]] = {  # folder -> the names that may stand as text only there
    "evaluations": list(builtin()),
    "nets": [*Library(PACKAGE).names("embedding"), *Library(PACKAGE).names("backbone")],
    "data/sources": [get_args(kind.model_fields["type"].annotation)[0] for kind in KINDS],
}
ELSEWHERE: dict[str, set[str]] = {  # text that only looks like one of those names, and what cannot be otherwise
    "cli/doctor.py": {"torchvision"},  # a package
    "cli/parser.py": {"folder"},  # an argument
    "data/archives.py": {"folder"},  # what a member of an archive may be
    "data/first_source.py": {"folder", "npy", "npz"},  # the kinds that it writes cards of
    "data/first_tables.py": {"csv"},
    "report/formats/__init__.py": {"csv"},  # a format of tables
    "report/formats/csv.py": {"csv"},  # the same
    "runs/provenance.py": {"python", "torchvision"},  # whose versions are noted
    "report/row.py": {"none", "linear", "sem", "gumbel", "untrained"},  # manifests of before say no representation
    "report/figures/look.py": {"none", "linear", "sem", "gumbel", "untrained"},  # nor a marker
    "report/figures/write.py": {"none"},  # a word of matplotlib's
    "report/pooled_rows.py": {"none"},  # no tau_d
    "runs/arm.py": {"sem"},  # the key of recipes that has the temperatures
    "runs/sweep_card.py": {"sem", "none", "probe", "knn"},  # defaults of a card, names of objectives
    "sweep/objectives.py": {"probe", "knn", "rank"},  # names of objectives, and a column
    "training/dry_run.py": {"resnet10w16s2"},  # a small network to try methods on
}


def test_nothing_is_known_by_name_outside_its_owner() -> None:
    """So that an evaluation, embedding, backbone or source is added in its own file, and forgotten nowhere else."""
    owner = {name: folder for folder, names in OWNERS.items() for name in names}
    assert len(owner) > 20
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        here = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and text in owner and not here.startswith(owner[text]):
                found.add((here, text))
    assert found == {(path, name) for path, names in ELSEWHERE.items() for name in names}


def test_every_package_says_in_one_sentence_what_it_is() -> None:
    packages = [path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE]
    assert {path.parent.name for path in packages} >= {"base", "config", "report", "data", "nets", "training"}
    for path in packages:
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0]
        assert first.endswith((".", "?")), path


def test_the_document_shows_the_floors() -> None:
    text = (REPOSITORY / "docs/architecture.md").read_text()
    listed = [line.split()[0] for line in text.partition("```text\n")[2].partition("```")[0].splitlines()]
    floors = [FLOOR[name] for name in reversed(listed)]
    assert floors == sorted(floors)
    assert {*listed, "cards", "validation", "errors"} == FLOOR.keys()


def test_what_code_beside_cards_imports_stays() -> None:
    """Import lines are part of a method's digest: moving one of these would void every user's results."""
    from sem_bench.cards import load_code
    from sem_bench.encoder import Encoder
    from sem_bench.environments import Environment, info_nce, regression
    from sem_bench.errors import UserError
    from sem_bench.method import Batch, Method, momentum_copy, momentum_update, still
    from sem_bench.validation import did_you_mean

    everything = (Batch, Encoder, Environment, Method, UserError, did_you_mean, info_nce, load_code, momentum_copy)
    assert all(map(callable, (*everything, momentum_update, regression, still)))
    code = [path for folder in ("methods", "datasets") for path in (REPOSITORY / folder).glob("*.py")]
    ours = {module for path in code for module in imported(path) if module.startswith("sem_bench")}
    assert ours <= {
        f"sem_bench.{name}" for name in ("cards", "encoder", "environments", "errors", "method", "validation")
    }


def test_the_public_surface() -> None:
    assert sem_bench.__all__ == ["Row", "__version__", "features", "load", "load_encoder", "run"]
    assert sem_bench.__version__ == version("sem-bench")
    assert all(callable(getattr(sem_bench, name)) for name in sem_bench.__all__ if name != "__version__")
    assert {field.name for field in fields(sem_bench.Row)} >= {"table", "method", "mean", "gain", "notes", "extra"}
    with pytest.raises(AttributeError, match="no attribute 'rows'"):
        sem_bench.rows  # noqa: B018
    assert (PACKAGE / "py.typed").exists()
