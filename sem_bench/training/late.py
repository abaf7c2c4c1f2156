"""Numbers that the host hears of late, so that it need not wait for the device in every step."""

import torch
from torch import Tensor


class Late:
    """A few numbers (n,) on their way from a device."""

    def __init__(self, numbers: Tensor) -> None:
        self._numbers = numbers.to("cpu", non_blocking=True)  # from a GPU into pinned memory
        self._arrived: torch.cuda.Event | None = None
        if numbers.device.type == "cuda":
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def read(self) -> list[float]:
        """Wait for them, where they are not there yet."""
        if self._arrived is not None:
            self._arrived.synchronize()
        found: list[float] = self._numbers.tolist()
        return found
