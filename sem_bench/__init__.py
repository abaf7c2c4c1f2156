"""sem_bench: what do Simplicial Embeddings do for a self-supervised method?

For notebooks: `run` runs a suite, `load` gives the rows of a results folder, `load_encoder` a trained encoder,
`features` what it makes of its suite's images. Authors of parts import their contract: `sem_bench.method`, `.encoder`,
`.embedding`, `.backbone`, `.evaluation`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sem_bench.analysis import load
    from sem_bench.cli.run import run
    from sem_bench.report.row import Row
    from sem_bench.trained.encoder import load_encoder
    from sem_bench.trained.features import features

__all__ = ["Row", "__version__", "features", "load", "load_encoder", "run"]
__version__ = "0.1.0"

_PLACES = {
    "Row": "report.row",
    "load": "analysis",
    "run": "cli.run",
    "load_encoder": "trained.encoder",
    "features": "trained.features",
}


def __getattr__(name: str) -> Any:
    """What is imported where it is asked for: the command line starts with this module."""
    if name in _PLACES:
        return getattr(import_module(f"sem_bench.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'sem_bench' has no attribute {name!r}")
