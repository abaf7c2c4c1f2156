"""`list`: what a suite can name."""

import argparse
from pathlib import Path

from tabulate import tabulate

from sem_bench.config.cards import Library
from sem_bench.data.card import dataset_card
from sem_bench.evaluations.registry import evaluations
from sem_bench.nets import timm_names
from sem_bench.nets.card import BACKBONES, EMBEDDINGS
from sem_bench.runs.sweep_card import sweep_card
from sem_bench.training.card import method_card


def listing(what: str, folder: Path) -> str:
    """The names of a kind, each with a line on what it is; cards in `folder` come before the installed ones."""
    library = Library(folder)
    if what == "backbones":
        extra = "" if timm_names.installed() else "; not installed: pip install 'sem-bench[timm]'"
        lines = BACKBONES | {f"{timm_names.PREFIX}NAME": f"any model of timm{extra}"}
    elif what == "embeddings":
        lines = EMBEDDINGS
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


def command(options: argparse.Namespace) -> int:
    """Print it."""

    print(listing(options.what, Path()))  # noqa: T201
    return 0
