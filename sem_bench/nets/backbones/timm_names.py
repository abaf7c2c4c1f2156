"""The names of timm's models, without importing timm or torch: a plan is checked before anything heavy is loaded."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from sem_bench.config.validation import did_you_mean

PREFIX = "timm/"  # of a backbone's name: timm/vit_tiny_patch16_224
_REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)


def installed() -> bool:
    """Whether there is a timm to import."""
    return find_spec("timm") is not None


@cache
def names() -> list[str]:
    """All its models, in order; none where it is not installed. Read from its source (27 ms; importing takes 1 s)."""
    spec = find_spec("timm")
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or [] for file in Path(folder, "models").glob("*.py")]
    return sorted({name for file in files for name in _REGISTERED.findall(file.read_text(encoding="utf-8"))})


def problem(name: str) -> str:
    """Why a model cannot be built, with or without `PREFIX`, in one line; "" where it can."""
    model, dot, tag = name.removeprefix(PREFIX).partition(".")
    if not installed():
        return "needs timm: pip install 'sem-bench[timm]'"
    if model not in names():
        hint = did_you_mean(model, names())
        return f"timm has no model {model!r}{hint if hint.startswith('; did') else ''}"  # else: all of its names
    if dot:
        return f"write {PREFIX}{model}: the tag {tag!r} stands for weights, and those are given by `method: external`"
    return ""
