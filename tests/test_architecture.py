"""The house keeps its plan: imports point one way, and what code beside cards imports stays where it is."""

import ast
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import pytest

import sem_bench
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
    from sem_bench.method import Batch, Method, momentum_copy, still
    from sem_bench.validation import did_you_mean

    everything = (Batch, Encoder, Environment, Method, UserError, did_you_mean, info_nce, load_code, momentum_copy)
    assert all(map(callable, (*everything, regression, still)))
    code = [path for folder in ("methods", "datasets") for path in (REPOSITORY / folder).glob("*.py")]
    ours = {module for path in code for module in imported(path) if module.startswith("sem_bench")}
    assert ours <= {
        f"sem_bench.{name}" for name in ("cards", "encoder", "environments", "errors", "method", "validation")
    }


def test_the_public_surface() -> None:
    assert sem_bench.__all__ == ["Row", "__version__", "load"]
    assert sem_bench.__version__ == version("sem-bench") and callable(sem_bench.load)
    assert {field.name for field in fields(sem_bench.Row)} >= {"table", "method", "mean", "gain", "notes", "extra"}
    with pytest.raises(AttributeError, match="no attribute 'rows'"):
        sem_bench.rows  # noqa: B018
    assert (PACKAGE / "py.typed").exists()
