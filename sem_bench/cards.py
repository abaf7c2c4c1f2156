"""Cards: the YAML files that declare methods, data sets and sweeps, and the Python files beside them.

A card NAME.yaml is looked for in `methods/`, `datasets/` or `sweeps/` next to the suite first, then among the installed
ones. Code is loaded by path, under a name of its own: `methods` and `datasets` are import names that others use.
"""

import ast
import importlib.util
import re
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from sem_bench.config import CorruptedSource, DatasetCard, MethodCard, Model, PythonSource, Sweep
from sem_bench.config.data import check_superclasses
from sem_bench.digest import code_digest, digest
from sem_bench.errors import UserError
from sem_bench.files import BUILTIN, shown
from sem_bench.strict_yaml import Document, read
from sem_bench.validation import at, did_you_mean, validate

SMALLEST = 32  # pixels that imagecorruptions can work on
FOLDERS = {"method": "methods", "dataset": "datasets", "sweep": "sweeps"}
C = TypeVar("C", bound=Model)


@dataclass(frozen=True)
class Card(Generic[C]):
    """A card that was read and checked."""

    name: str
    content: C
    document: Document
    path: Path  # of the YAML file

    @cached_property
    def code(self) -> Path:
        """The .py beside the card: NAME.py, unless the card names another."""
        source = getattr(self.content, "source", None)
        name = source.code if isinstance(source, PythonSource) else None
        return self.path.with_name(name or f"{self.name}.py")

    @cached_property
    def code_digest(self) -> str:
        """The hash of the code's syntax tree; of all files that it uses, where it names some."""
        source = getattr(self.content, "source", None)
        others = source.uses if isinstance(source, PythonSource) else []
        if not others:
            return code_digest(self.code)
        return digest([code_digest(path) for path in (self.code, *map(self.path.with_name, others))])


class Library:
    """All cards that a suite in `folder` can name."""

    def __init__(self, folder: Path) -> None:
        self.roots = list(dict.fromkeys([folder.resolve(), BUILTIN.resolve()]))
        self._methods: dict[str, Card[MethodCard]] = {}
        self._datasets: dict[str, Card[DatasetCard]] = {}

    def names(self, kind: str) -> list[str]:
        """The names of all cards of a kind ("method", "dataset", "sweep")."""
        return sorted(
            {path.stem for root in self.roots for path in (root / FOLDERS[kind]).glob("*.yaml") if path.exists()}
        )

    def method(self, name: str) -> Card[MethodCard]:
        """The card of a method. Raises UserError for a faulty one, KeyError for an unknown one."""
        if name not in self._methods:
            card = self._read("method", name, MethodCard)
            _check_method(card)
            _check_limits(card)
            self._methods[name] = card
        return self._methods[name]

    def dataset(self, name: str) -> Card[DatasetCard]:
        """The card of a data set. Raises UserError for a faulty one, KeyError for an unknown one."""
        if name not in self._datasets:
            self._datasets[name] = self._with_classes(self._read("dataset", name, DatasetCard))
            try:  # it stands there already, for a data set and its corrupted shift look at each other
                _check_dataset(self._datasets[name], self)
            except UserError:
                del self._datasets[name]
                raise
        return self._datasets[name]

    def _with_classes(self, card: Card[DatasetCard]) -> Card[DatasetCard]:
        """The card with the classes of the one that it names."""
        name, here = card.content.classes_of, ("classes_of",)
        if name is None:
            return card
        try:
            other = card if name == card.name else self._read("dataset", name, DatasetCard)
        except KeyError:
            text = f"unknown dataset {name!r}{did_you_mean(name, self.names('dataset'))}"
            raise UserError(at(card.document, here, text)) from None
        if other.content.classes is None:
            raise UserError(at(card.document, here, f"{name!r} lists no classes of its own"))
        try:
            if card.content.superclasses:
                check_superclasses(card.content.superclasses, other.content.classes)
        except ValueError as error:
            raise UserError(at(card.document, ("superclasses",), str(error))) from None
        return replace(card, content=card.content.model_copy(update={"classes": other.content.classes}))

    def sweep(self, name: str) -> Card[Sweep]:
        """The card of a sweep. Raises UserError for a faulty one, KeyError for an unknown one."""
        return self._read("sweep", name, Sweep)

    def find(self, kind: str, name: str) -> Path | None:
        """The file of a card, or None."""
        paths = (root / FOLDERS[kind] / f"{name}.yaml" for root in self.roots)
        return next((path for path in paths if path.exists()), None)

    def _read(self, kind: str, name: str, model: type[C]) -> Card[C]:
        if (path := self.find(kind, name)) is None:
            raise KeyError(name)
        document = read(shown(path))
        return Card(name, validate(model, document), document, path)


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


def defines(card: Card[MethodCard], function: str) -> bool:
    """Whether the class of a method has a function of that name itself."""
    node = _definitions(card, ast.ClassDef)[card.content.class_name]
    assert isinstance(node, ast.ClassDef)
    return any(isinstance(part, ast.FunctionDef) and part.name == function for part in node.body)


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


def _check_limits(card: Card[MethodCard]) -> None:
    """Every recipe's parameters lie where the card says that they make sense."""
    content, problems = card.content, []
    for key, (low, high) in content.limits.items():
        own = {name: recipe.parameters[key] for name, recipe in content.recipes.items() if key in recipe.parameters}
        if not own:
            problems.append(at(card.document, ("limits", key), f"no recipe has a parameter {key!r}"))
        for name, value in own.items():
            if isinstance(value, bool | str) or not low <= value <= high:
                text = f"{key} must lie from {low:g} to {high:g}, found {value}"
                problems.append(at(card.document, ("recipes", name, "parameters", key), text))
    if problems:
        raise UserError(problems)


def _check_dataset(card: Card[DatasetCard], library: Library) -> None:
    """What the card refers to is there: code, paths, a class of torchvision, other cards. Data are not looked at."""
    source, here = card.content.source, ("source",)
    if source.type == "python":
        for name in source.uses:
            if not card.path.with_name(name).is_file():
                raise UserError(at(card.document, (*here, "uses"), f"{shown(card.path.with_name(name))} is missing"))
        if "load" not in _definitions(card, ast.FunctionDef):
            raise UserError(at(card.document, here, f"{shown(card.code)} has no function 'load'"))
    elif source.type in ("folder", "npy", "npz") and not source.path:
        raise UserError(at(card.document, here, "missing key 'path' in source"))
    elif source.type == "torchvision" and source.class_name not in (known := _torchvision_classes()):
        text = f"torchvision has no data set {source.class_name!r}{did_you_mean(source.class_name, known)}"
        raise UserError(at(card.document, (*here, "class"), text))
    elif source.type == "corrupted":
        _check_base(card, source, library)
        if source.using != "sem_bench" and importlib.util.find_spec(source.using) is None:
            text = f"{source.using} is not installed: pip install 'sem-bench[corrupt]'"
            raise UserError(at(card.document, (*here, "using"), text))
    for key, name in card.content.shifts.items():
        _check_shift(card, key, name, library)


def _torchvision_classes() -> list[str]:
    """The names that torchvision.datasets exports, without the seconds that its import takes."""
    package = importlib.util.find_spec("torchvision")
    assert package is not None and package.origin is not None
    text = (Path(package.origin).parent / "datasets" / "__init__.py").read_text()
    return re.findall(r'"(\w+)"', text[text.index("__all__") :])


def _check_base(card: Card[DatasetCard], source: CorruptedSource, library: Library) -> None:
    name, place = source.of, ("source", "of")
    try:
        base = library.dataset(name).content
    except KeyError:
        text = f"unknown dataset {name!r}{did_you_mean(name, library.names('dataset'))}"
        raise UserError(at(card.document, place, text)) from None
    if not base.labelled:
        raise UserError(at(card.document, place, f"{name!r} has no labelled test images to corrupt"))
    if source.using == "imagecorruptions" and (base.image_size or 0) < SMALLEST:
        text = f"{name!r} has images of {base.image_size} px; imagecorruptions needs {SMALLEST}"
        raise UserError(at(card.document, place, text))


def _check_shift(card: Card[DatasetCard], key: str, name: str, library: Library) -> None:
    place, base = ("shifts", key), card.content
    if library.find("dataset", name) is None:
        text = f"unknown dataset {name!r}{did_you_mean(name, library.names('dataset'))}"
        raise UserError(at(card.document, place, text))
    if name == card.name:
        raise UserError(at(card.document, place, f"{name!r} is no shift of itself"))
    other = library.dataset(name).content
    if other.source.type == "corrupted":
        if other.source.of != card.name:
            raise UserError(at(card.document, place, f"{name!r} is made of {other.source.of!r}"))
        return
    strange = [one for one in other.classes or [] if one not in (base.classes or [])]
    if strange:
        text = f"{name!r} has a class {strange[0]!r} that {card.name!r} lacks"
        raise UserError(at(card.document, place, text + did_you_mean(strange[0], base.classes or [])))
    if "test" not in other.splits or other.image_size != base.image_size:
        text = f"{name!r} needs a test split and images of {base.image_size} px, as {card.name!r}"
        raise UserError(at(card.document, place, text))
