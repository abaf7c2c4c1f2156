"""An encoder that was trained elsewhere."""

from sem_bench.method import Method


class External(Method):
    """Nothing but the encoder: the engine fills it from the grid's `checkpoint` (sem_bench.weights), in no epochs."""
