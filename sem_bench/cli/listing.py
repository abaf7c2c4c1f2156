"""`list`: what a suite can name."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from tabulate import tabulate

from sem_bench.config.cards import Card, Library
from sem_bench.data.card import dataset_card
from sem_bench.nets.card import BackboneCard, backbone_cards, backbone_title, embedding_card
from sem_bench.runs.sweep_card import sweep_card
from sem_bench.training.card import method_card


def listing(what: str, folder: Path) -> str:
    """The names of a kind, each with a line on what it is; cards in `folder` come before the installed ones."""
    library = Library(folder)
    if what == "backbones":
        lines = dict(_backbone(card) for card in backbone_cards(library))
    elif what == "embeddings":
        lines = {name: embedding_card(library, name).content.summary for name in library.names("embedding")}
    elif what == "methods":
        cards = {name: method_card(library, name).content for name in library.names("method")}
        lines = {name: f"{card.summary} (recipes: {', '.join(card.recipes)})" for name, card in cards.items()}
    elif what == "datasets":
        lines = {name: dataset_card(library, name).content.summary for name in library.names("dataset")}
    else:
        lines = {name: sweep_card(library, name).content.summary for name in library.names("sweep")}
    return tabulate(list(lines.items()), tablefmt="plain") or f"no {what} yet"


def _backbone(card: Card[BackboneCard]) -> tuple[str, str]:
    absent = [install for package, install in card.content.packages.items() if find_spec(package) is None]
    extra = f"; not installed: pip install {' '.join(absent)}" if absent else ""
    return backbone_title(card), card.content.summary + extra


def command(options: argparse.Namespace) -> int:
    """Print it."""

    print(listing(options.what, Path()))  # noqa: T201
    return 0
