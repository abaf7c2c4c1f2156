"""What the fields of a schema mean: the comments beside them in its source, for those who read no source."""

import ast
import inspect
import textwrap
import tokenize
from functools import cache
from io import StringIO

from pydantic import BaseModel


@cache
def meanings(model: type[BaseModel]) -> dict[str, str]:
    """The comment of each field that has one: behind it, or on lines of its own above it. Inherited ones count."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, BaseModel) and one is not BaseModel and one.__module__ != "pydantic.main":
            found |= _own(one)
    return found


def _own(model: type[BaseModel]) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(model))
    except (OSError, TypeError):  # made while the program runs
        return {}
    comments: dict[int, str] = {}
    alone: set[int] = set()  # lines that hold nothing else
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.lstrip("# ")
            alone |= {token.start[0]} if not token.line[: token.start[1]].strip() else set()
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for statement in body.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            first, last = statement.lineno, statement.end_lineno or statement.lineno
            while first - 1 in alone:
                first -= 1
            if text := " ".join(comments[line] for line in range(first, last + 1) if line in comments):
                found[statement.target.id] = text
    return found
