"""`--log`: the curves of pretrainings in TensorBoard, Weights & Biases and MLflow, also of those that are resumed."""

import csv
import sys
import time
from pathlib import Path

import pytest

from sem_bench.cli import main
from sem_bench.runs import loggers
from tests.helpers.commands import ended
from tests.helpers.toy import method_card, write

STOPS = '''
from pathlib import Path

from sem_bench.method import Method


class Stops(Method):
    """Trains, and fails amid the second epoch while there is a file `stop`."""

    def __init__(self, encoder):
        super().__init__(encoder)

    def forward(self, batch):
        return tuple(self.encoder(view) for view in batch.views)

    def loss(self, first, second):
        return ((first - second) ** 2).mean() + (first.mean() - 1) ** 2

    def after_step(self, step, total):
        if step == 5 and Path("stop").exists():
            raise RuntimeError("stopped")
'''
ROWS: list[dict[str, float]] = [{"epoch": n, "loss": 1 / n, "lr": 0.1, "effective_rank": 2.0} for n in (1, 2, 3)]
Points = list[tuple[int, float]]


def of_tensorboard(folder: Path) -> Points:
    """The curve of the loss."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    events = [event for path in sorted(folder.iterdir()) for event in EventFileLoader(str(path)).Load()]
    return [
        (event.step, float(value.tensor.float_val[0]))
        for event in events
        for value in event.summary.value
        if value.tag == "loss"
    ]


def log_twice(name: str, folder: Path, *, pause: float = 0) -> list[str]:
    """A training of two processes: the first is stopped after two epochs, the second begins with one of them."""
    training = loggers.Training("arm-s0", "ab" * 32, {"seed": 0, "data": {"name": "toy"}}, folder)
    said: list[str] = []
    for rows in (ROWS[:2], ROWS):
        time.sleep(pause)
        with loggers.opened([name], training, said.append) as log:
            for end in range(1, len(rows) + 1):
                log(rows[:end])
    return said


WANTED = [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    assert log_twice("tensorboard", tmp_path) == []
    assert of_tensorboard(tmp_path / "tensorboard" / "arm-s0-abababababab") == WANTED


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert log_twice("wandb", tmp_path, pause=1) == []  # it names its folders by the second
    until = time.monotonic() + 20  # its own process may write the end a moment later
    while len(of_wandb(tmp_path)) < len(WANTED) and time.monotonic() < until:
        time.sleep(0.1)
    assert of_wandb(tmp_path) == WANTED


def of_wandb(folder: Path) -> Points:
    """The curve of the loss, of all files of the run: records in LevelDB's format of logs, in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    points: Points = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-abababababab.wandb")):
        content, at, whole = path.read_bytes(), 7, b""
        while at + 7 <= len(content):
            if 2**15 - at % 2**15 < 7:  # no room for a header: the block is filled up
                at += 2**15 - at % 2**15
            length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
            whole += content[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # whole, or the last part
                record, whole = Record.FromString(whole), b""
                values = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
                points += [(record.history.step.num, float(values["loss"]))] if "loss" in values else []
    return points


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert log_twice("mlflow", tmp_path) == []
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow/mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("sem-bench").experiment_id])
    points = client.get_metric_history(run.info.run_id, "loss")
    assert sorted((one.step, one.value) for one in points) == WANTED
    assert (run.info.run_name, run.info.status, run.data.tags["sem_bench.digest"]) == ("arm-s0", "FINISHED", "ab" * 32)
    assert run.data.params == {"seed": "0", "data.name": "toy"}


def test_a_stopped_pretraining_goes_on_with_its_curve(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is drawn is log.csv."""
    pytest.importorskip("tensorboard")
    write(folder, "methods/stops.yaml", method_card("Stops").replace("epochs: 1", "epochs: 3"))
    write(folder, "methods/stops.py", STOPS)
    write(folder, "stop", "")
    arguments = [
        "run",
        "suite.yaml",
        "--set",
        "grid.methods=[stops]",
        "--set",
        "pretrain.epochs=3",
        "--only",
        "pretrain/",
    ]
    assert main([*arguments, "--log", "tensorboard"]) == 1
    (first,) = Path("results/logs/tensorboard").glob("stops-none-*")
    assert [step for step, _ in of_tensorboard(first)] == [1]
    Path("stop").unlink()
    assert main([*arguments, "--log", "tensorboard"]) == 0
    capsys.readouterr()
    for kind in ("none", "sem4x3"):
        (job,), (drawn,) = (
            list(Path(f"results/{place}").glob(f"stops-{kind}-*")) for place in ("pretrain", "logs/tensorboard")
        )
        assert job.name == drawn.name
        with (job / "log.csv").open() as file:
            rows = list(csv.DictReader(file))
        points = of_tensorboard(drawn)
        assert [step for step, _ in points] == [int(row["epoch"]) for row in rows]
        assert [loss for _, loss in points] == pytest.approx([float(row["loss"]) for row in rows], 1e-4)
        assert [row["epoch"] for row in rows] == ["1", "2", "3"]


def test_pretrainings_in_worker_processes_have_their_curves(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two at a time: each writes into a folder of its own."""
    pytest.importorskip("tensorboard")
    assert main(["run", "suite.yaml", "--only", "pretrain/", "--jobs", "2", "--log", "tensorboard"]) == 0
    said = capsys.readouterr().err
    assert "2 jobs at a time" in said and "2 done, 0 reused, 0 failed" in said and "left out" not in said
    jobs = {path.name for path in Path("results/pretrain").glob("simclr-*")}
    drawn = {path.name: of_tensorboard(path) for path in Path("results/logs/tensorboard").iterdir()}
    assert drawn.keys() == jobs and len(jobs) == 2
    for name, points in drawn.items():
        with Path("results/pretrain", name, "log.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [step for step, _ in points] == [1, 2]
        assert [loss for _, loss in points] == pytest.approx([float(row["loss"]) for row in rows], 1e-4)


@pytest.mark.parametrize("command", [["run", "suite.yaml"], ["sweep", "tau", "--suite", "suite.yaml"]])
def test_a_package_that_is_absent_is_said_before_anything_runs(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # as where the package is absent
    assert main([*command, "--log", "wandb"]) == 2
    assert capsys.readouterr().err == "--log wandb: wandb is not installed: pip install 'sem-bench[wandb]'\n"
    assert not Path("results").exists()


def test_a_logger_that_fails_is_left_out(tmp_path: Path) -> None:
    """The training goes on; a line says why."""
    pytest.importorskip("tensorboard")
    write(tmp_path, "tensorboard", "a file where the folder goes")
    (line, other) = log_twice("tensorboard", tmp_path)
    assert line.startswith("--log tensorboard: arm-s0: not logged there any more (") and other == line


def test_tables_do_not_wait_for_torch_or_loggers(folder: Path) -> None:
    code = "import sys, atexit; atexit.register(lambda: print(sorted({'torch', 'wandb', 'mlflow'} & set(sys.modules))))"
    returned, output, _ = ended(folder, "run", "--help", code=code, fresh=True)
    assert returned == 0 and "--log NAME" in output and output.splitlines()[-1] == "[]"
