"""The evaluations that there are: a module each, in this package or in `evaluations/` next to a suite."""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from sem_bench.base.files import shown
from sem_bench.config.cards import Library, load_code
from sem_bench.config.fields import Model
from sem_bench.errors import UserError
from sem_bench.evaluation import Evaluation
from sem_bench.report.layout import Table

AnyEvaluation = Evaluation[Any, Any]


@cache
def builtin() -> dict[str, AnyEvaluation]:
    """Those of the package by name, in the order in which an arm is evaluated."""
    package = importlib.import_module(__package__ or "")
    modules = [
        importlib.import_module(f"{package.__name__}.{one.name}") for one in pkgutil.iter_modules(package.__path__)
    ]
    return _ordered(kind() for module in modules for kind in _classes(module))


def evaluations(library: Library) -> dict[str, AnyEvaluation]:
    """Those that a suite can name: its own first. Raises UserError with a line for each that is faulty."""
    found, problems = sound(library)
    if problems:
        raise UserError(problems)
    return found


def sound(library: Library) -> tuple[dict[str, AnyEvaluation], list[str]]:
    """The same without the faulty ones, and a line for each of these."""
    own, problems = [], []
    for path in library.code("evaluation"):
        try:
            own.append(of_file(path))
        except UserError as error:
            problems += error.problems
    return _ordered([*builtin().values(), *own]), problems


def _ordered(found: Iterator[AnyEvaluation] | list[AnyEvaluation]) -> dict[str, AnyEvaluation]:
    by_name = {one.name: one for one in found}  # the last of a name
    return {one.name: one for one in sorted(by_name.values(), key=lambda one: (one.order, one.name))}


def _classes(module: ModuleType) -> list[type[AnyEvaluation]]:
    """The evaluations that a module defines itself."""
    found = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Evaluation)]
    return [one for one in found if one.__module__ == module.__name__]


def of_file(path: Path) -> AnyEvaluation:
    """The evaluation of a user's file. Raises UserError where it is faulty."""
    try:
        module = load_code(path)
    except (Exception, SystemExit) as error:
        raise UserError(f"{shown(path)}:{_line(error, path)}: {_said(error)}") from None
    classes = _classes(module)
    if len(classes) != 1:
        raise UserError(f"{shown(path)}: expected one subclass of Evaluation, found {len(classes)}")
    kind = classes[0]
    wanted = {"name": str, "summary": str, "Settings": type, "Job": type, "table": Table}
    if lacking := [name for name, type_ in wanted.items() if not isinstance(getattr(kind, name, None), type_)]:
        raise UserError(f"{shown(path)}: {kind.__name__} lacks {', '.join(lacking)}")
    for name in ("Settings", "Job"):
        if not issubclass(getattr(kind, name), Model):
            raise UserError(f"{shown(path)}: {kind.__name__}.{name} is no subclass of Model")
    if "data" not in kind.Job.model_fields:
        raise UserError(f"{shown(path)}: {kind.Job.__name__} lacks `data`, the images that the job reads")
    evaluation = kind()
    if evaluation.name != path.stem:
        raise UserError(f"{shown(path)}: its name is {evaluation.name!r}, that of the file {path.stem!r}")
    evaluation.source = path
    return evaluation


def _said(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{error.title}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    text = str(error.msg if isinstance(error, SyntaxError) else error)
    return f"{type(error).__name__}: {' '.join(text.split())}"


def _line(error: BaseException, path: Path) -> int:
    """Where in a file an error came up."""
    if isinstance(error, SyntaxError):
        return error.lineno or 1
    lines, step = [1], error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == str(path):
            lines.append(step.tb_lineno)
        step = step.tb_next
    return lines[-1]
