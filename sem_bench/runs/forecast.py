"""How long jobs will take, from what they were thought to take and what others took: an estimate that does not jump."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

# The logarithms of real over estimated seconds spread by 0.4 among jobs of a kind, and by 0.5 among kinds and machines
# (docs/records). So many jobs, or kinds, weigh as much as what was thought before any was seen.
JOBS = 0.4**2 / 0.5**2
KINDS = (0.5**2 + 0.4**2 / 2) / 0.5**2


class Forecast:
    """What jobs take, of whose kinds some were `seen`: (kind, estimated seconds, real seconds) of each.

    A few jobs can be slow by chance, and one kind says little of another. So the ratio of a kind counts the less, the
    fewer of its jobs were seen, and that of the whole machine, the fewer kinds.
    """

    def __init__(self, seen: Iterable[tuple[str, float, float]]) -> None:
        estimated, real, count = defaultdict[str, float](float), defaultdict[str, float](float), Counter[str]()
        for kind, estimate, seconds in seen:
            if estimate > 0 and seconds > 0:
                estimated[kind] += estimate
                real[kind] += seconds
                count[kind] += 1
        ratios = {kind: math.log(real[kind] / estimated[kind]) for kind in count}
        self._machine = sum(ratios.values()) / (len(ratios) + KINDS)
        self._own = {
            kind: count[kind] / (count[kind] + JOBS) * (ratio - self._machine) for kind, ratio in ratios.items()
        }

    def seconds(self, kind: str, estimate: float) -> float:
        """Those of a job of that kind and estimate."""
        return estimate * math.exp(self._machine + self._own.get(kind, 0.0))
