"""Backbones that torch compiles, where a training is long enough for it to pay."""

from sem_bench.backbone import Backbone
from sem_bench.method import Method

LONG = 5000  # steps: compiling a backbone takes up to a minute (docs/performance.md), for training and for evaluation
BACKEND = "inductor"


def compile_backbones(method: Method, *, steps: int) -> bool:
    """Compile those of a training of LONG steps or more, of momentum branches too; returns whether it is that long.

    By the modules' own `compile`, so that names of weights stay. It happens at the first call, and rounds otherwise
    than without.
    """
    if steps < LONG:
        return False
    for module in method.modules():
        if isinstance(module, Backbone):
            module.compile(dynamic=False, backend=BACKEND)
    return True
