"""`list`: what a suite can name."""

import argparse
from pathlib import Path

from tabulate import tabulate

from sem_bench.config.cards import Card, Library
from sem_bench.data.card import dataset_card
from sem_bench.evaluations.registry import evaluations
from sem_bench.nets.card import BackboneCard, absent_packages, backbone_cards, backbone_title, embedding_card
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
    elif what == "evaluations":
        lines = {name: evaluation.summary for name, evaluation in evaluations(library).items()}
    elif what == "datasets":
        lines = {name: dataset_card(library, name).content.summary for name in library.names("dataset")}
    else:
        lines = {name: sweep_card(library, name).content.summary for name in library.names("sweep")}
    return tabulate(list(lines.items()), tablefmt="plain") or f"no {what} yet"


def _backbone(card: Card[BackboneCard]) -> tuple[str, str]:
    absent = absent_packages(card.content)
    return backbone_title(card), card.content.summary + (f"; {absent}" if absent else "")


def command(options: argparse.Namespace) -> int:
    """Print it."""
    print(listing(options.what, Path()))  # noqa: T201
    return 0
