"""Digests: what makes two jobs the same job.

A digest is the SHA-256 of canonical JSON: sorted keys, 1 and 1.0 alike, no NaN. The code of a method or data set enters
by the hash of its syntax tree, so comments, layout and docstrings do not count.
"""

import ast
import hashlib
import json
import math
from pathlib import Path
from typing import Any

from sem_bench.base.files import shown
from sem_bench.errors import UserError

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_AS_IT_IS = frozenset({str, int, bool, type(None)})  # what is canonical already; most of what there is


def canonical_json(value: object) -> str:
    """The one JSON text of a value. Raises ValueError on NaN, infinity, or what JSON cannot hold."""
    return _ENCODER.encode(_canonical(value))


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def code_digest(path: Path) -> str:
    """The hash of a Python file's syntax tree. Raises UserError where the file has a syntax error."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
        return digest(_tree(tree))
    except RecursionError:
        raise UserError(f"{shown(path)}: nested too deeply") from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise UserError(f"{shown(path)}:{line}: not valid Python: {getattr(error, 'msg', error)}") from None


def _canonical(value: object) -> object:
    if isinstance(value, dict):
        if not all(issubclass(kind, str) for kind in set(map(type, value))):
            raise ValueError(f"keys must be text: {list(value)}")
        return {key: item if type(item) in _AS_IT_IS else _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if type(item) in _AS_IT_IS else _canonical(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


def _tree(node: Any) -> Any:
    """A syntax tree as plain lists: no positions, no docstrings, no empty fields (these vary with Python)."""
    if isinstance(node, ast.AST):
        fields = {
            name: _tree(_without_docstring(node, name, value))
            for name, value in ast.iter_fields(node)
            if value is not None and value != [] and name not in ("kind", "type_comment", "ctx")
        }
        return [type(node).__name__, fields]
    if isinstance(node, list):
        return [_tree(item) for item in node]
    return node if isinstance(node, str | int | bool) else [type(node).__name__, repr(node)]


def _without_docstring(node: ast.AST, name: str, value: Any) -> Any:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if name == "body" and isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
        return value[1:]
    return value
