"""sem_bench: what do Simplicial Embeddings do for a self-supervised method?

`load` gives the rows of a results folder, for notebooks. Authors of parts import their contract: `sem_bench.method`,
`.embedding`, `.backbone`, `.evaluation`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sem_bench.analysis import load
    from sem_bench.report.row import Row

__all__ = ["Row", "__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`Row` and `load`, imported where they are asked for: the command line starts with this module."""
    if name in ("Row", "load"):
        from sem_bench import analysis

        return getattr(analysis, name)
    raise AttributeError(f"module 'sem_bench' has no attribute {name!r}")
