"""sem_bench: what do Simplicial Embeddings do for a self-supervised method?"""

from sem_bench.analysis import load
from sem_bench.report.row import Row

__all__ = ["Row", "load"]
