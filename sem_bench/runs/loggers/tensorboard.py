"""TensorBoard: event files below results/logs/tensorboard/, a folder a pretraining."""

import shutil
from collections.abc import Sequence

from torch.utils.tensorboard import SummaryWriter

from sem_bench.runs.loggers import Scalars, Training


class Logger:
    """The folder is written anew by each process that trains, with the epochs of those before it."""

    def __init__(self, training: Training) -> None:
        self.folder = training.folder / "tensorboard" / f"{training.slug}-{training.key}"
        self.writer: SummaryWriter | None = None
        self.written = 0

    def write(self, rows: Sequence[Scalars]) -> None:
        """As the protocol says."""
        if self.writer is None:  # not before: what is there stays until there is more
            shutil.rmtree(self.folder, ignore_errors=True)
            self.writer = SummaryWriter(str(self.folder))
        for row in rows[self.written :]:
            for name, value in row.items():
                if name != "epoch":
                    self.writer.add_scalar(name, value, int(row["epoch"]))
        self.written = len(rows)
        self.writer.flush()

    def close(self) -> None:
        """As the protocol says."""
        if self.writer is not None:
            self.writer.close()
