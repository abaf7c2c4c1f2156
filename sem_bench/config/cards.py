"""Cards: the YAML files that declare methods, data sets and sweeps, and the Python files beside them.

A card NAME.yaml is looked for in the folder of its kind (`methods/`, `embeddings/`, ...) next to the suite first, then
among those that come with the package. Code beside cards is loaded by path, under a name of its own: `methods` and
`datasets` are import names that others use. Code inside the package is imported as any module.
"""

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from sem_bench.base import process_state
from sem_bench.base.digest import code_digest, digest
from sem_bench.base.files import BUILTIN, PACKAGE, shown
from sem_bench.config.fields import Model
from sem_bench.config.strict_yaml import YamlDocument, read
from sem_bench.config.validation import at, did_you_mean, validate
from sem_bench.errors import UserError

FOLDERS = {
    "method": "methods",
    "dataset": "datasets",
    "sweep": "sweeps",
    "embedding": "embeddings",
    "backbone": "backbones",
    "evaluation": "evaluations",
}
SHIPPED = {kind: (BUILTIN / name).resolve() for kind, name in FOLDERS.items()} | {
    kind: (PACKAGE / "nets" / FOLDERS[kind]).resolve() for kind in ("embedding", "backbone")
}


def shipped(kind: str, path: Path) -> bool:
    """Whether a file of a kind of part is the package's own, and not the user's."""
    return path.resolve().is_relative_to(SHIPPED[kind])


@cache
def provided(kind: str) -> tuple[Path, ...]:
    """The folders of other installed packages that provide parts of a kind.

    An entry point of the group `sem_bench.methods`, `sem_bench.embeddings`, ... names a package; its folder is searched
    as the folder of that name next to a suite is. Raises UserError for one that names no package.
    """
    folders: list[Path] = []
    for point in entry_points(group=f"sem_bench.{FOLDERS[kind]}"):
        package, *below = point.value.split(".")
        spec = importlib.util.find_spec(package)  # of the first alone, for to find one below it would run it
        places = [Path(place, *below) for place in (spec and spec.submodule_search_locations) or ()]
        if not any(place.is_dir() for place in places):
            raise UserError(f"entry point {point.group}: {point.name} = {point.value}: there is no such package")
        folders += (place.resolve() for place in places if place.is_dir())
    return tuple(folders)


class Coded(Model):
    """What may have Python files beside its card."""

    @property
    def main_code(self) -> str | None:
        """The Python file beside the card, where it is not NAME.py."""
        return None

    @property
    def more_code(self) -> list[str]:
        """Other Python files beside the card that the main one loads."""
        return []


class CardModel(Coded):
    """What a card says."""


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

    @property
    def shipped(self) -> bool:
        """Whether it came with the package; else it is the user's own."""
        return self.path.parent in SHIPPED.values()

    def source(self, file: str | None = None) -> str:
        """What `load` takes to load the code, or another file beside the card."""
        path = self.code if file is None else self.path.with_name(file)
        if not path.is_relative_to(PACKAGE.resolve()):
            return str(path)
        return ".".join(path.relative_to(PACKAGE.resolve().parent).with_suffix("").parts)


class Library:
    """All cards that a suite in `folder` can name; the owner of a kind reads and checks its cards."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._cards: dict[tuple[str, str], Card[Any]] = {}

    def names(self, kind: str) -> list[str]:
        """The names of all cards of a kind, a key of `FOLDERS`."""
        return sorted({path.stem for folder in self._folders(kind) for path in folder.glob("*.yaml") if path.exists()})

    def find(self, kind: str, name: str) -> Path | None:
        """The file of a card, or None."""
        if name not in self.names(kind):  # it may be anything that a user wrote, "../a" too
            return None
        paths = (folder / f"{name}.yaml" for folder in self._folders(kind))
        return next((path for path in paths if path.exists()), None)

    def code(self, kind: str) -> list[Path]:
        """The Python files of a kind that has no cards, but for the package's own; the nearest of each name."""
        folders = (self._folder / FOLDERS[kind], *provided(kind))
        found = [path for folder in reversed(folders) for path in sorted(folder.glob("*.py"))]
        return list({path.stem: path for path in found if not path.stem.startswith("_")}.values())

    def _folders(self, kind: str) -> tuple[Path, ...]:
        """Where cards of a kind lie: next to the suite, in other installed packages, in ours; the first has a name."""
        return self._folder / FOLDERS[kind], *provided(kind), SHIPPED[kind]

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
    """Run a card's Python file as a module of its own; anew when it has changed.

    What it changes of the process is put back at once: a second job would not run it again.
    """
    text = importlib.util.decode_source(path.read_bytes())
    name = f"sem_bench_cards.{path.parent.name}.{path.stem}_{digest([str(path.resolve()), text])[:12]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickling look the module up here
        if re.search(r"^(import|from) torch", text, re.MULTILINE):
            import torch  # noqa: F401 - so that its state of before is known
        try:
            with process_state.kept():
                spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def load(source: str) -> ModuleType:
    """The code that `Card.source` names: a module of the package, or a file by its path."""
    return load_code(Path(source)) if source.endswith(".py") else importlib.import_module(source)


def definitions(card: Card[C], kinds: type[ast.stmt] | tuple[type[ast.stmt], ...]) -> dict[str, ast.stmt]:
    """The definitions of some kinds at the top of a card's code, by name. Raises UserError where it is missing."""
    if not card.code.is_file():
        raise UserError(at(card.document, (), f"the code {shown(card.code)} is missing"))
    card.code_digest  # noqa: B018 - says where a syntax error is
    tree = ast.parse(card.code.read_bytes())
    return {node.name: node for node in tree.body if isinstance(node, kinds)}  # type: ignore[attr-defined]


N = TypeVar("N", ast.ClassDef, ast.FunctionDef)


def definition(card: Card[C], key: str, name: str, kind: type[N]) -> N:
    """The class or function of a name that the card gives under a key. Raises UserError where there is none."""
    found = definitions(card, kind)
    if name not in found:
        what = "class" if kind is ast.ClassDef else "function"
        raise UserError(
            at(card.document, (key,), f"{shown(card.code)} has no {what} {name!r}{did_you_mean(name, found)}")
        )
    node = found[name]
    assert isinstance(node, kind)
    return node


def parameters_of(node: ast.ClassDef | ast.FunctionDef) -> dict[str, bool] | None:
    """The parameters of a function, or of a class after self and its first; by name, whether it is required.

    None where the syntax tree does not say it: a class that inherits its __init__, or **keywords.
    """
    given = 0
    if isinstance(node, ast.ClassDef):
        own = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        if not own:
            return None
        node, given = own[0], 2
    if node.args.kwarg is not None:
        return None
    plain, least = node.args.args, len(node.args.args) - len(node.args.defaults)
    taken = {a.arg: default is None for a, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)}
    return taken | {a.arg: i < least for i, a in enumerate(plain) if i >= given}
