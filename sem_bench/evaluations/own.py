"""A user's own evaluation: read from its file, and guarded. What it does wrong is one line that names the file."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from sem_bench.base import interrupts
from sem_bench.base.files import shown
from sem_bench.config.cards import FOLDERS, load_code
from sem_bench.config.fields import Model
from sem_bench.config.validation import did_you_mean
from sem_bench.errors import UserError, described, plainly
from sem_bench.evaluation import AnyEvaluation, Cost, Evaluation, Planned, Stage
from sem_bench.report.layout import Table

RESERVED = {"pretrain", "suites", "sweeps", "tables", "cache"}  # folders of results


def classes(module: ModuleType) -> list[type[AnyEvaluation]]:
    """The evaluations that a module defines itself."""
    found = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Evaluation)]
    return [one for one in found if one.__module__ == module.__name__]


def of_file(path: Path) -> AnyEvaluation:
    """The evaluation of a user's file. Raises UserError where it is faulty."""
    try:
        module = plainly(load_code, path)
        found = classes(module)
        if len(found) != 1:
            raise UserError(f"expected one subclass of Evaluation, found {len(found)}")
        if problem := _problem(found[0], path.stem):
            raise UserError(problem)
        evaluation = found[0]()
    except UserError as error:
        raise UserError(f"{shown(path)}: {error.problems[0]}") from None
    except BaseException as error:
        interrupts.pass_on(error)
        raise UserError(f"{shown(path)}:{_line(error, path)}: {_said(error)}") from None
    evaluation.source = path
    for name, check in HOOKS.items():
        setattr(evaluation, name, _guarded(getattr(evaluation, name), path, name, functools.partial(check, evaluation)))
    return evaluation


def _problem(kind: type[AnyEvaluation], stem: str) -> str:
    """What is wrong with a class; "" where nothing is."""
    wanted = {"name": str, "summary": str, "Settings": type, "Job": type, "table": Table}
    if lacking := [name for name, type_ in wanted.items() if not isinstance(getattr(kind, name, None), type_)]:
        return f"{kind.__name__} lacks {', '.join(lacking)}"
    if lacking := [name for name in ("jobs", "run") if getattr(kind, name) in (Evaluation.jobs, Stage.run)]:
        return f"{kind.__name__} lacks {', '.join(lacking)}"
    for name in ("Settings", "Job"):
        if not issubclass(getattr(kind, name), Model):
            return f"{kind.__name__}.{name} is no subclass of Model"
    if "data" not in kind.Job.model_fields:
        return f"{kind.Job.__name__} lacks `data`, the images that the job reads"
    if kind.name != stem:
        return f"its name is {kind.name!r}, that of the file {stem!r}"
    if not (stem.isidentifier() and stem.isascii()) or stem in RESERVED or hasattr(BaseModel, stem):
        return f"{stem!r} cannot be the name of an evaluation"
    if kind.table.name == "sweep":
        return "'sweep' is the name of another table"
    for key, of in kind.names.items():
        if key not in kind.Settings.model_fields:
            return f"names: {key!r} is no setting{did_you_mean(key, kind.Settings.model_fields)}"
        if of not in FOLDERS:
            return f"names: {of!r} is no kind of card{did_you_mean(of, FOLDERS)}"
    return ""


# --- what it says before it runs ---


def _guarded(hook: Callable[..., Any], path: Path, name: str, check: Callable[[Any], Any]) -> Callable[..., Any]:
    """A hook whose errors, and answers of a wrong kind, are UserErrors of one line."""

    @functools.wraps(hook)
    def guarded(*arguments: Any) -> Any:
        try:
            return check(plainly(hook, *arguments))
        except UserError:
            raise
        except BaseException as error:
            interrupts.pass_on(error)
            raise UserError(f"{shown(path)}:{_line(error, path)}: {name}: {_said(error)}") from None

    return guarded


def _each(fits: Callable[[AnyEvaluation, Any], bool], what: str) -> Callable[[AnyEvaluation, Iterable[Any]], list[Any]]:
    def check(evaluation: AnyEvaluation, answer: Iterable[Any]) -> list[Any]:
        found = list(answer)
        if strange := [one for one in found if not fits(evaluation, one)]:
            raise TypeError(f"expected {what}, found {strange[0]!r}")
        return found

    return check


def _cost(_: AnyEvaluation, answer: Any) -> Cost:
    if not isinstance(answer, Cost) or not (math.isfinite(answer.seconds) and math.isfinite(answer.bytes)):
        raise TypeError(f"expected a Cost of finite numbers, found {answer!r}")
    return answer


def _is_problem(_: AnyEvaluation, one: Any) -> bool:
    return isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], tuple) and isinstance(one[1], str)


def _is_planned(evaluation: AnyEvaluation, one: Any) -> bool:
    return isinstance(one, Planned) and isinstance(one.job, evaluation.Job) and isinstance(one.inputs, Mapping)


def _is_key(_: AnyEvaluation, one: Any) -> bool:
    kinds = (str, int | float, str, str)
    return isinstance(one, tuple) and len(one) == 4 and all(map(isinstance, one, kinds))


HOOKS: dict[str, Callable[[AnyEvaluation, Any], Any]] = {
    "lacks": _each(lambda _, one: isinstance(one, str), "texts"),
    "problems": _each(_is_problem, "pairs of (keys, text)"),
    "jobs": _each(_is_planned, "a Planned with its Job"),
    "needs": _each(lambda _, one: isinstance(one, Path), "paths"),
    "owes": _each(_is_key, "tuples of (column, fraction, metric, representation)"),
    "cost": _cost,
    "sets": _each(lambda _, one: isinstance(one, tuple) and len(one) == 3, "(key, data, place)"),
    "draw": _each(lambda _, one: isinstance(one, tuple) and len(one) == 2, "(end of a file's name, figure)"),
}


# --- errors in a line ---


def _said(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{error.title}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"SyntaxError: {error.msg}" if isinstance(error, SyntaxError) else described(error)


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
