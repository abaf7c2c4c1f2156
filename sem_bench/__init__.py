"""sem_bench: what do Simplicial Embeddings do for a self-supervised method?"""
