"""`list`: what a suite can name, and what one of these names holds."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel
from tabulate import tabulate

from sem_bench.base import screen
from sem_bench.base.files import BUILTIN, shown
from sem_bench.cli.keys import in_a_line, keys, section
from sem_bench.config.cards import Card, Library
from sem_bench.config.validation import did_you_mean
from sem_bench.data.card import dataset_card
from sem_bench.errors import UserError
from sem_bench.evaluation import AnyEvaluation
from sem_bench.evaluations.registry import evaluations
from sem_bench.nets.card import BackboneCard, absent_packages, backbone_cards, backbone_title, embedding_card
from sem_bench.runs.sweep_card import sweep_card
from sem_bench.training.card import MethodCard, method_card

LONG = 12  # entries of a list or mapping from which on only the first are shown
FEW = 4
KINDS: dict[str, tuple[str, Callable[[Library, str], Card[Any]]]] = {
    "methods": ("method", method_card),
    "datasets": ("dataset", dataset_card),
    "embeddings": ("embedding", embedding_card),
    "sweeps": ("sweep", sweep_card),
}


def listing(what: str, folder: Path) -> str:
    """The names of a kind, each with a line on what it is; cards in `folder` come before the installed ones."""
    library = Library(folder)
    if what == "suites":
        lines = _suites(folder)
    elif what == "backbones":
        lines = dict(_backbone(card) for card in backbone_cards(library))
    elif what == "evaluations":
        lines = {name: evaluation.summary for name, evaluation in evaluations(library).items()}
    else:
        kind, read = KINDS[what]
        lines = {name: _line(read(library, name).content) for name in library.names(kind)}
    return screen.listed(lines.items()) or f"no {what} yet"


def described(what: str, name: str, folder: Path) -> str:
    """One of them: where its file lies, and what it says. Raises UserError for a name that there is not."""
    library = Library(folder)
    if what == "suites":
        raise UserError(f"list suites: `plan {name}` shows one")
    if what == "evaluations":
        return _evaluation(_of(evaluations(library), what, name))
    if what == "backbones":
        cards = {card.name: card for card in backbone_cards(library)}
        return _card(_of(cards, what, name))
    kind, read = KINDS[what]
    _of(dict.fromkeys(library.names(kind)), what, name)
    card = read(library, name)
    return _method(card) if what == "methods" else _card(card)


def _of(known: Mapping[str, Any], what: str, name: str) -> Any:
    if name not in known:
        raise UserError(f"list {what}: no {name!r}{did_you_mean(name, known)}")
    return known[name]


def _line(card: Any) -> str:
    recipes = f" (recipes: {', '.join(card.recipes)})" if isinstance(card, MethodCard) else ""
    return cast(str, card.summary) + recipes


def _backbone(card: Card[BackboneCard]) -> tuple[str, str]:
    absent = absent_packages(card.content)
    return backbone_title(card), card.content.summary + (f"; {absent}" if absent else "")


def _card(card: Card[Any], *, without: str = "") -> str:
    """Its file, and what stands there."""
    said = {key: value for key, value in cast(dict[str, object], card.document.data).items() if key != without}
    return f"{card.name}: {shown(card.path)}\n\n{_yaml(said)}"


def _method(card: Card[MethodCard]) -> str:
    """The card, with a line for each recipe."""
    recipes = [
        [name, one.epochs, one.batch_size * one.accumulate, one.optimizer.name, f"{one.optimizer.lr:g}"]
        for name, one in card.content.recipes.items()
    ]
    parameters = [[name, in_a_line(one.parameters)] for name, one in card.content.recipes.items()]
    table = tabulate(recipes, ["recipe", "epochs", "batch", "optimizer", "lr"], tablefmt="simple")
    rows = _ended(["recipe", "parameters"], parameters)
    sources = screen.listed((name, one.source) for name, one in card.content.recipes.items())
    return f"{_card(card, without='recipes')}\n\n{table}\n\n{rows}\n\nSources of the recipes:\n{sources}"


def _ended(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table whose last column is a text, which is wrapped."""
    padded = [[f"{header}  " for header in headers], *rows]  # as tabulate does it
    beside = sum(max(len(str(cell)) for cell in column) + 2 for column in list(zip(*padded, strict=True))[:-1])
    widths = [None] * (len(headers) - 1) + screen.shares(80, beside=beside)
    return tabulate(rows, headers, tablefmt="simple", maxcolwidths=widths)


def _evaluation(evaluation: AnyEvaluation) -> str:
    """What can be set below `evaluate`, as `list keys` says it."""
    where = f": {shown(evaluation.source)}" if evaluation.source is not None else ""
    settings = cast(type[BaseModel], evaluation.Settings)
    nothing = f"nothing to set: `evaluate: {{{evaluation.name}: {{}}}}`"
    return (
        f"{evaluation.name}{where}\n{evaluation.summary}\n\n{section(settings) if settings.model_fields else nothing}"
    )


def _suites(folder: Path) -> dict[str, str]:
    """The files that `run` and `plan` find, those of the folder first, each with the first sentence in it."""
    found: dict[str, str] = {}
    for place in (folder, BUILTIN):
        for path in (place / "suite.yaml", *sorted((place / "suites").glob("*.yaml"))):
            if path.is_file():
                comment = takewhile(lambda line: line.startswith("# "), path.read_text(errors="replace").splitlines())
                text = " ".join(line.removeprefix("# ") for line in comment)
                found.setdefault(str(path.relative_to(place)), re.split(r"(?<=[.?]) ", text)[0])
    return found


def _yaml(value: object) -> str:
    text = yaml.safe_dump(
        _short(value), sort_keys=False, allow_unicode=True, width=min(100, screen.width()), default_flow_style=None
    )
    return text.strip()


def _short(value: object) -> object:
    """Long lists and mappings by their first entries and their number."""
    if isinstance(value, dict):
        some = dict(list(value.items())[: FEW if len(value) > LONG else None])
        more = {"...": f"{len(value):,} in all"} if len(some) < len(value) else {}
        return {key: _short(one) for key, one in some.items()} | more
    if isinstance(value, list):
        shorter = [*value[:FEW], f"... {len(value):,} in all"] if len(value) > LONG else value
        return [_short(one) for one in shorter]
    return int(value) if isinstance(value, float) and value.is_integer() else value  # 1e6 is no 1000000.0


def command(options: argparse.Namespace) -> int:
    """Print it."""
    what, name, folder = options.what, options.name, Path()
    if what == "keys":
        text = keys(name, folder)
    else:
        text = listing(what, folder) if name is None else described(what, name, folder)
    print(text)  # noqa: T201
    return 0
