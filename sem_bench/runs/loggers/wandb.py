"""Weights & Biases: runs below results/logs/wandb/, for `wandb sync`; with WANDB_MODE=online they are sent at once."""

import os
from collections.abc import Sequence

import wandb

from sem_bench.base.files import read_json, write_json
from sem_bench.runs.loggers import Scalars, Training

PROJECT = "sem-bench"  # unless WANDB_PROJECT says another


class Logger:
    """The run's id is the key of the training. How many epochs it has lies beside it: offline nobody can ask for it."""

    def __init__(self, training: Training) -> None:
        self.count = training.folder / "wandb" / f"{training.key}.json"
        self.count.parent.mkdir(parents=True, exist_ok=True)
        known = read_json(self.count)
        self.written = known if isinstance(known, int) else 0
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=training.key,
            name=training.slug,
            dir=str(training.folder),
            config=training.settings,
            resume="allow",
            mode=None if os.environ.get("WANDB_MODE") else "offline",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )

    def write(self, rows: Sequence[Scalars]) -> None:
        """As the protocol says."""
        for row in rows[self.written :]:
            self.run.log({name: value for name, value in row.items() if name != "epoch"}, step=int(row["epoch"]))
        self.written = max(self.written, len(rows))
        write_json(self.count, self.written)

    def close(self) -> None:
        """As the protocol says."""
        self.run.finish()
