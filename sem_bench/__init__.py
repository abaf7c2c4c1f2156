"""sem_bench: what do Simplicial Embeddings do for a self-supervised method?"""

from sem_bench.analysis import Row, load

__all__ = ["Row", "load"]
