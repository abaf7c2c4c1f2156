"""An encoder that was trained elsewhere."""

from sem_bench.method import Method


class External(Method):
    """Nothing but the encoder, which the engine fills from the grid's `checkpoint` (nets/foreign_weights.py)."""
