"""A row of the tables, and what it says of its arm."""

from collections.abc import Callable, Iterable
from typing import Any

from sem_bench.base.digest import canonical_json

METHOD = ("method", "ip")
BASELINE = "none"  # the type of embedding that gains are counted from, a method without any
TAU_NOTE = "tau_d: "  # then the choices, where they differ
_MAIN = {
    "none": "h",
    "linear": "z",
    "sem": "sem",
    "gumbel": "sem",
    "untrained": "sem",
}  # what stands for an arm, by embedding type


Row = dict[str, Any]
FigureKey = tuple[str, float, str, str]  # column, fraction, metric, representation
ARM = ("method", "ip", "embedding", "embedding_config", "backbone", "dataset", "recipe", "epochs")


def embedding_type(row: Row) -> str:
    """none, linear, sem, gumbel or untrained."""
    return str(row["embedding_config"]["type"])


def embedding_key(rows: Iterable[Row]) -> Callable[[Row], str]:
    """What tells the embeddings of these rows apart: label and size, and the temperatures where a method has several.

    Recipes have temperatures of their own, so those of one label may differ from method to method.
    """

    def short(row: Row) -> str:
        settings = row["embedding_config"]
        return canonical_json([row["embedding"], settings["type"], settings.get("L"), settings.get("V")])

    def full(row: Row) -> str:
        return canonical_json([row["embedding"], row["embedding_config"]])

    configs: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        configs.setdefault((short(row), canonical_json([row[name] for name in METHOD])), set()).add(full(row))
    ambiguous = {key for (key, _), found in configs.items() if len(found) > 1}
    return lambda row: full(row) if short(row) in ambiguous else short(row)


def main_representation(row: Row) -> str:
    """Which representation stands for the arm of a row or job."""
    return _MAIN.get(embedding_type(row), embedding_type(row))
