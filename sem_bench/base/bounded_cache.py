"""What was made last, as much as fits."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class BoundedCache(Generic[V]):
    """Values by key, for this process. The one that was asked for longest ago goes first."""

    def __init__(self, size: Callable[[V], int]) -> None:
        self._size = size
        self._values: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str, make: Callable[[], V], *, limit: int) -> V:
        """The value of a key, made where it is not kept; afterwards the sizes of all that are kept sum to `limit`.

        A value that is larger by itself is given and not kept.
        """
        if key not in self._values:
            self._values[key] = make()
        self._values.move_to_end(key)
        value, total = self._values[key], self.size
        while total > limit:
            total -= self._size(self._values.popitem(last=False)[1])
        return value

    @property
    def size(self) -> int:
        """The sizes of all that are kept, summed."""
        return sum(map(self._size, self._values.values()))

    def clear(self) -> None:
        """Forget all."""
        self._values.clear()
