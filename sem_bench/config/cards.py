"""Cards: the YAML files that declare methods, data sets and sweeps, and the Python files beside them.

A card NAME.yaml is looked for in `methods/`, `datasets/` or `sweeps/` next to the suite first, then among the installed
ones. Code is loaded by path, under a name of its own: `methods` and `datasets` are import names that others use.
"""

import ast
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from sem_bench.base.digest import code_digest, digest
from sem_bench.base.files import BUILTIN, shown
from sem_bench.config.fields import Model
from sem_bench.config.strict_yaml import YamlDocument, read
from sem_bench.config.validation import at, validate
from sem_bench.errors import UserError

FOLDERS = {"method": "methods", "dataset": "datasets", "sweep": "sweeps", "evaluation": "evaluations"}


class CardModel(Model):
    """What a card says."""

    @property
    def main_code(self) -> str | None:
        """The Python file beside the card, where it is not NAME.py."""
        return None

    @property
    def more_code(self) -> list[str]:
        """Other Python files beside the card that the main one loads."""
        return []


C = TypeVar("C", bound=CardModel)


@dataclass(frozen=True)
class Card(Generic[C]):
    """A card that was read and checked."""

    name: str
    content: C
    document: YamlDocument
    path: Path  # of the YAML file

    @cached_property
    def code(self) -> Path:
        """The .py beside the card: NAME.py, unless the card names another."""
        return self.path.with_name(self.content.main_code or f"{self.name}.py")

    @cached_property
    def code_digest(self) -> str:
        """The hash of the code's syntax tree; of all files that it uses, where it names some."""
        if not self.content.more_code:
            return code_digest(self.code)
        return digest([code_digest(path) for path in (self.code, *map(self.path.with_name, self.content.more_code))])


class Library:
    """All cards that a suite in `folder` can name; the owner of a kind reads and checks its cards."""

    def __init__(self, folder: Path) -> None:
        self.roots = list(dict.fromkeys([folder.resolve(), BUILTIN.resolve()]))
        self._cards: dict[tuple[str, str], Card[Any]] = {}

    def names(self, kind: str) -> list[str]:
        """The names of all cards of a kind ("method", "dataset", "sweep")."""
        return sorted(
            {path.stem for root in self.roots for path in (root / FOLDERS[kind]).glob("*.yaml") if path.exists()}
        )

    def find(self, kind: str, name: str) -> Path | None:
        """The file of a card, or None."""
        paths = (root / FOLDERS[kind] / f"{name}.yaml" for root in self.roots)
        return next((path for path in paths if path.exists()), None)

    def code(self, kind: str) -> list[Path]:
        """The Python files of a kind that has no cards, the nearest of each name."""
        found = [path for root in reversed(self.roots) for path in sorted((root / FOLDERS[kind]).glob("*.py"))]
        return list({path.stem: path for path in found}.values())

    def read(self, kind: str, name: str, model: type[C]) -> Card[C]:
        """A card as it stands in its file. Raises UserError for a faulty one, KeyError for an unknown one."""
        if (path := self.find(kind, name)) is None:
            raise KeyError(name)
        document = read(shown(path))
        return Card(name, validate(model, document), document, path)

    def checked(
        self,
        kind: str,
        name: str,
        model: type[C],
        *,
        complete: Callable[[Card[C]], Card[C]] = lambda card: card,
        check: Callable[[Card[C]], None] = lambda card: None,
    ) -> Card[C]:
        """A card, completed from others and checked; read once. Raises UserError and KeyError as `read`."""
        if (kind, name) not in self._cards:
            self._cards[kind, name] = complete(self.read(kind, name, model))
            try:  # it stands there already, for a data set and its corrupted shift look at each other
                check(self._cards[kind, name])
            except UserError:
                del self._cards[kind, name]
                raise
        return self._cards[kind, name]


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


def definitions(card: Card[C], kinds: type[ast.stmt] | tuple[type[ast.stmt], ...]) -> dict[str, ast.stmt]:
    """The definitions of some kinds at the top of a card's code, by name. Raises UserError where it is missing."""
    if not card.code.is_file():
        raise UserError(at(card.document, (), f"the code {shown(card.code)} is missing"))
    card.code_digest  # noqa: B018 - says where a syntax error is
    tree = ast.parse(card.code.read_bytes())
    return {node.name: node for node in tree.body if isinstance(node, kinds)}  # type: ignore[attr-defined]
