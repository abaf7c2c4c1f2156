"""The evaluations that there are: a module each, in this package or in `evaluations/` next to a suite."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache

from sem_bench.base.files import shown
from sem_bench.config.cards import Library
from sem_bench.config.validation import did_you_mean
from sem_bench.errors import UserError
from sem_bench.evaluation import AnyEvaluation
from sem_bench.evaluations.own import classes, of_file


@cache
def builtin() -> dict[str, AnyEvaluation]:
    """Those of the package by name, in the order in which an arm is evaluated."""
    package = importlib.import_module(__package__ or "")
    modules = [
        importlib.import_module(f"{package.__name__}.{one.name}") for one in pkgutil.iter_modules(package.__path__)
    ]
    return _ordered(kind() for module in modules for kind in classes(module))


def evaluations(library: Library) -> dict[str, AnyEvaluation]:
    """Those that a suite can name. Raises UserError with a line for each that is faulty."""
    found, problems = sound(library)
    if problems:
        raise UserError(problems.values())
    return found


def sound(library: Library) -> tuple[dict[str, AnyEvaluation], dict[str, str]]:
    """The same without the faulty ones, and what is wrong with these, by name."""
    found, problems = dict(builtin()), dict[str, str]()
    for path in library.code("evaluation"):
        try:
            if path.stem in builtin():
                raise UserError(f"{shown(path)}: {path.stem!r} cannot be the name of an evaluation: it is one of ours")
            found[path.stem] = of_file(path)
        except UserError as error:
            problems[path.stem] = error.problems[0]
    for name, one in list(found.items()):
        if one.source is not None and (problem := _misfit(one, found)):
            problems[name] = f"{shown(one.source)}: {problem}"
            del found[name]
    return _ordered(found.values()), problems


def _misfit(own: AnyEvaluation, known: Mapping[str, AnyEvaluation]) -> str:
    """Why it does not go together with the others; "" where it does."""
    for name in own.reads:
        if name not in known:
            return f"it reads {name!r}, which is no evaluation{did_you_mean(name, known)}"
        if known[name].order >= own.order:
            return f"it reads {name!r}, so its order must be above {known[name].order}, and is {own.order}"
    for name, other in known.items():
        if other is not own and other.table.name == own.table.name and other.table != own.table:
            return f"table {own.table.name!r} is that of {name!r}: give it another name, or the same layout"
    return ""


def _ordered(found: Iterable[AnyEvaluation]) -> dict[str, AnyEvaluation]:
    return {one.name: one for one in sorted(found, key=lambda one: (one.order, one.name))}
