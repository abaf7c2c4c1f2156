"""MLflow: the server of MLFLOW_TRACKING_URI, or else results/logs/mlflow/mlflow.db, for `mlflow ui`."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from sem_bench.report.page.arms import flat
from sem_bench.runs.loggers import Scalars, Training

EXPERIMENT = "sem-bench"  # unless MLFLOW_EXPERIMENT_NAME says another
TAG = "sem_bench.digest"


class Logger:
    """The run of the experiment that has the training's digest as a tag; it knows itself which epochs it has."""

    def __init__(self, training: Training) -> None:
        self.folder = (training.folder / "mlflow").absolute()
        self.server = os.environ.get("MLFLOW_TRACKING_URI")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(tracking_uri=self.server or f"sqlite:///{self.folder / 'mlflow.db'}")
        experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT)
        known = self.client.search_runs([experiment], f"tags.`{TAG}` = '{training.digest}'")
        if known:
            self.id = str(known[0].info.run_id)
            self.client.update_run(self.id, status="RUNNING")
        else:
            tags = {TAG: training.digest}
            self.id = str(self.client.create_run(experiment, tags=tags, run_name=training.slug).info.run_id)
            params = [Param(name, value) for name, value in flat(training.settings)]
            self.client.log_batch(self.id, params=params[:100])
        self.written = max((one.step for one in self.client.get_metric_history(self.id, "loss")), default=0)

    def _experiment(self, name: str) -> str:
        with suppress(MlflowException):  # it is there, perhaps since a moment ago
            files = None if self.server else (self.folder / "files").as_uri()
            return str(self.client.create_experiment(name, artifact_location=files))
        found = self.client.get_experiment_by_name(name)
        assert found is not None
        return str(found.experiment_id)

    def write(self, rows: Sequence[Scalars]) -> None:
        """As the protocol says."""
        now = int(1000 * time.time())
        metrics = [
            Metric(name, value, now, int(row["epoch"]))
            for row in rows[self.written :]
            for name, value in row.items()
            if name != "epoch"
        ]
        self.client.log_batch(self.id, metrics=metrics[:1000])
        self.written = max(self.written, len(rows))

    def close(self) -> None:
        """As the protocol says."""
        self.client.set_terminated(self.id)
