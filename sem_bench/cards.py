"""Cards: the YAML files that declare methods and data sets, and the Python files beside them.

A card NAME.yaml is looked for in `methods/` or `datasets/` next to the suite first, then among the installed ones. Code
is loaded by path, under a name of its own: `methods` and `datasets` are import names that others use.
"""

import ast
import importlib.util
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from sem_bench.config import DatasetCard, MethodCard, Model
from sem_bench.digest import code_digest, digest
from sem_bench.errors import UserError
from sem_bench.files import BUILTIN, shown
from sem_bench.strict_yaml import Document, read
from sem_bench.validation import at, did_you_mean, validate

FOLDERS = {"method": "methods", "dataset": "datasets", "sweep": "sweeps"}
C = TypeVar("C", bound=Model)


@dataclass(frozen=True)
class Card(Generic[C]):
    """A card that was read and checked."""

    name: str
    content: C
    document: Document
    code: Path  # the .py beside the card

    @cached_property
    def code_digest(self) -> str:
        """The hash of the code's syntax tree."""
        return code_digest(self.code)


class Library:
    """All cards that a suite in `folder` can name."""

    def __init__(self, folder: Path) -> None:
        self.roots = list(dict.fromkeys([folder.resolve(), BUILTIN.resolve()]))
        self._methods: dict[str, Card[MethodCard]] = {}
        self._datasets: dict[str, Card[DatasetCard]] = {}

    def names(self, kind: str) -> list[str]:
        """The names of all cards of a kind ("method", "dataset")."""
        return sorted(
            {path.stem for root in self.roots for path in (root / FOLDERS[kind]).glob("*.yaml") if path.exists()}
        )

    def method(self, name: str) -> Card[MethodCard]:
        """The card of a method. Raises UserError for a faulty one, KeyError for an unknown one."""
        if name not in self._methods:
            self._methods[name] = self._read("method", name, MethodCard)
            _check_method(self._methods[name])
        return self._methods[name]

    def dataset(self, name: str) -> Card[DatasetCard]:
        """The card of a data set. Raises UserError for a faulty one, KeyError for an unknown one."""
        if name not in self._datasets:
            self._datasets[name] = self._read("dataset", name, DatasetCard)
            _check_dataset(self._datasets[name])
        return self._datasets[name]

    def _read(self, kind: str, name: str, model: type[C]) -> Card[C]:
        for root in self.roots:
            path = root / FOLDERS[kind] / f"{name}.yaml"
            if path.exists():
                document = read(shown(path))
                return Card(name, validate(model, document), document, path.with_suffix(".py"))
        raise KeyError(name)


def load_code(path: Path) -> ModuleType:
    """Run a card's Python file as a module of its own; anew when it has changed."""
    name = f"sem_bench_cards.{path.parent.name}.{path.stem}_{digest([str(path.resolve()), path.read_text()])[:12]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickling look the module up here
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _definitions(card: Card[C], kinds: type[ast.stmt] | tuple[type[ast.stmt], ...]) -> dict[str, ast.stmt]:
    if not card.code.is_file():
        raise UserError(at(card.document, (), f"the code {shown(card.code)} is missing"))
    card.code_digest  # noqa: B018 - says where a syntax error is
    tree = ast.parse(card.code.read_bytes())
    return {node.name: node for node in tree.body if isinstance(node, kinds)}  # type: ignore[attr-defined]


def _check_method(card: Card[MethodCard]) -> None:
    """The class exists, and every recipe gives just the parameters that it takes: found out without importing torch."""
    wanted = card.content.class_name
    classes = _definitions(card, ast.ClassDef)
    if wanted not in classes:
        text = f"{shown(card.code)} has no class {wanted!r}{did_you_mean(wanted, classes)}"
        raise UserError(at(card.document, ("class",), text))
    node = classes[wanted]
    assert isinstance(node, ast.ClassDef)
    init = next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None)
    if init is None or init.args.kwarg is not None:
        return
    taken = {a.arg: default is None for a, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)}
    plain = init.args.args[2:]  # after self and the encoder
    taken |= {a.arg: i < len(plain) - len(init.args.defaults) for i, a in enumerate(plain)}
    if card.content.labels:
        taken.pop("classes", None)  # comes from the data set
    problems = []
    for name, recipe in card.content.recipes.items():
        here = ("recipes", name, "parameters")
        for key in recipe.parameters:
            if key not in taken:
                text = f"{wanted} takes no parameter {key!r}{did_you_mean(key, taken)}"
                problems.append(at(card.document, (*here, key), text))
        for key, required in taken.items():
            if required and key not in recipe.parameters:
                problems.append(at(card.document, here, f"recipe {name!r} lacks {wanted}'s parameter {key!r}"))
    if problems:
        raise UserError(problems)


def _check_dataset(card: Card[DatasetCard]) -> None:
    functions = _definitions(card, ast.FunctionDef)
    if "load" not in functions:
        raise UserError(at(card.document, ("source",), f"{shown(card.code)} has no function 'load'"))
