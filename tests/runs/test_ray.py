"""Jobs as tasks of Ray: what Ray does by itself that a run must not suffer from, and GPUs that are but counted."""

import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import psutil
import pytest

from sem_bench.base.files import read_json
from sem_bench.base.limits import Limits
from sem_bench.cli import main
from sem_bench.errors import UserError
from sem_bench.runs.executors import ray_node
from sem_bench.runs.executors.on_ray import OnRay
from sem_bench.runs.order import Need
from sem_bench.runs.pending import due
from sem_bench.runs.plan import read_plan
from sem_bench.runs.progress import reporter
from sem_bench.runs.schedule import Outcomes, Schedule
from sem_bench.runs.store import Store
from sem_bench.workspace import Monitor
from tests.helpers.commands import DEADLY, DEADLY_SUITE, FRAGILE, Running, ended, fragile, process
from tests.helpers.places import REPOSITORY
from tests.helpers.results import numbers
from tests.helpers.toy import SUITE, write

ray = import_module("ray")  # only now: on_ray says how Ray behaves when it is imported
pytestmark = pytest.mark.skipif(
    not os.environ.get("SEM_BENCH_TEST_RAY"),
    reason="starts Ray several times, which takes minutes: SEM_BENCH_TEST_RAY=1",
)
RAY = ["--executor", "ray", "--device", "cpu"]  # with GPUs each job there has a process of its own, which takes seconds


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster with two CPUs and two GPUs, which are but counted. This process is connected to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # as on a machine that has them
        patch.setenv("RAY_worker_niceness", "0")  # else other programs, such as other tests, come first
        try:
            ray.init("local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
        except Exception as error:
            pytest.skip(f"Ray does not start here: {error}")
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()
        os.environ.pop("RAY_AUTH_MODE", None)  # set by Ray, for processes that join


def on_ray(address: str | None = None, device: str = "auto", *, threads: int = 1, jobs: int | None = None) -> OnRay:
    """With results in ./results."""
    return OnRay(Path("results"), address, device, threads=threads, jobs=jobs)


def drive(
    executor: OnRay, monitor: Monitor | None = None, *, device: str = "auto", jobs_per_device: int = 1
) -> tuple[Outcomes, str]:
    """What becomes of the jobs of suite.yaml, and what is said of it."""
    jobs, store, said = read_plan(Path("suite.yaml")).unique(), Store(Path("results")), io.StringIO()
    with reporter(0, stream=said, live=False) as progress:
        schedule = Schedule(store, executor, progress, device, Limits(threads=1), jobs_per_device)
        outcomes = schedule.drive(jobs, due(jobs, store, Limits()), monitor=monitor)
    return outcomes, said.getvalue()


def test_a_killed_worker_changes_nothing_but_time(
    folder: Path, cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers are those of a run without Ray."""
    write(folder, "suite.yaml", SUITE.replace("epochs: 2", "epochs: 10"))
    assert main(["run", "suite.yaml", "--results", "serial", "--jobs", "1"]) == 0
    table = capsys.readouterr().out
    run = process(folder, "run", "suite.yaml", *RAY, "--address", cluster)
    os.kill(pretraining(run, folder, 1)[0], signal.SIGKILL)
    output, errors = run.communicate(timeout=120)
    assert run.returncode == 0 and errors.count("its worker died; it is tried once more") == 1, errors
    assert numbers(Path("results")) == numbers(Path("serial")) and len(numbers(Path("serial"))) == 8
    assert output == table and "2 jobs at a time, 1 thread each" in errors and "8 done" in errors
    assert not list(Path("results/cache").glob("ray-*"))


def test_two_devices_in_a_task_have_the_numbers_of_two_without_ray(folder: Path, cluster: str) -> None:
    arguments = ["run", "suite.yaml", "--only", "pretrain/", "--devices", "2"]
    assert main([*arguments, "--results", "serial"]) == 0
    assert main([*arguments, *RAY, "--address", cluster]) == 0
    assert numbers(Path("results")) == numbers(Path("serial")) and len(numbers(Path("serial"))) == 2
    provenance = [read_json(path)["provenance"] for path in folder.glob("results/pretrain/*/result.json")]
    assert [one["devices"] for one in provenance] == [2, 2]


def pretraining(run: Running, folder: Path, count: int) -> list[int]:
    """The processes that pretrain, once so many of them have a checkpoint."""
    while len(found := list(folder.glob("results/pretrain/*/checkpoint.pt"))) < count:
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)
    return [read_json(path.with_name("state.json"))["pid"] for path in found]


def test_a_figure_is_answered(folder: Path, cluster: str) -> None:
    asked: list[int] = []

    def hopeless(epoch: int, figure: float) -> bool:
        asked.append(epoch)
        return figure > 0

    executor, monitor = on_ray(device="cpu"), Monitor("sem_bench.sweep.pruner_measures:effective_rank_of_h", hopeless)
    try:
        pruned, said = drive(executor, monitor, device="cpu")
    finally:
        executor.stop()
    assert Counter(pruned.values()) == {"pruned": 2, "blocked": 6} and asked == [1, 1], said


RECORDING = fragile(
    loss="""
    seen = [os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS")]
    Path(f"seen-pretrain-{first.shape[1]}.json").write_text(json.dumps(seen))
    """
)
EVALUATION = '''
"""A note of where it is done."""

import json
import os
from pathlib import Path

from sem_bench.evaluation import Evaluation, LabelledData, Metric, Model, Planned, Table


class {name}Settings(Model):
    """Of nothing."""


class {name}Job(Model):
    """Of nothing but an encoder."""

    data: LabelledData


class {name}(Evaluation[{name}Settings, {name}Job]):
    name, summary, gpu = "{lower}", "notes where it is done", {gpu}
    Settings, Job = {name}Settings, {name}Job
    table = Table(name="{lower}", metrics=[Metric(name="{lower}", header="{lower}")], legend="nothing", unit="")

    def jobs(self, asked, arm, seed, before):
        if arm.embedding.type == "sem":
            yield Planned({name}Job(data=arm.labelled()))

    def run(self, job, workspace):
        seen = [os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS")]
        Path("seen-{lower}.json").write_text(json.dumps(seen))
        row = {{"column": "", "fraction": 1.0, "metric": "{lower}", "representation": "h", "value": 0.0, "notes": []}}
        return {{"rows": [row | {{"tau_d": None}}]}}
'''


def test_each_job_sees_its_share_of_the_gpus(folder: Path, cluster: str) -> None:
    """A job that needs none sees none, though the node's own environment names two; small ones share one."""
    write(folder, "methods/fragile.py", RECORDING)
    write(folder, "methods/fragile.yaml", FRAGILE)
    write(folder, "evaluations/without.py", EVALUATION.format(name="Without", lower="without", gpu="0.0"))
    write(folder, "evaluations/light.py", EVALUATION.format(name="Light", lower="light", gpu="0.25"))
    evaluate = "evaluate: {without: {}, light: {}}\n"
    write(folder, "suite.yaml", SUITE.partition("evaluate:")[0].replace("[simclr]", "[fragile]") + evaluate)
    executor = on_ray()
    try:
        outcomes, said = drive(executor, jobs_per_device=2)
    finally:
        executor.stop()
    assert Counter(outcomes.values()) == {"done": 4}, said
    seen = {path.stem: read_json(path) for path in folder.glob("seen-*.json")}
    assert {threads for _, _, threads in seen.values()} == {"1"}
    assert {name: gpus for name, (_, gpus, _) in seen.items()} == {
        "seen-pretrain-128": "0",
        "seen-pretrain-12": "0",
        "seen-light": "0",
        "seen-without": "",
    }
    assert len({pid for pid, _, _ in seen.values()}) == 4  # none that torch may have bound to another GPU


def test_deaths_are_tried_again_and_errors_are_not(
    folder: Path, cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "methods/fragile.py", DEADLY)
    write(folder, "methods/fragile.yaml", FRAGILE)
    write(folder, "suite.yaml", DEADLY_SUITE)
    assert main(["run", "suite.yaml", *RAY]) == 1
    found = capsys.readouterr()
    assert {path.name: path.read_text() for path in folder.glob("tries-*")} == {
        "tries-always": "xx",  # by the schedule: Ray itself would try three times more, each time
        "tries-once": "xx",
        "tries-error": "x",
    }
    assert found.err.count("its worker died; it is tried once more") == 2
    assert "4 done, 0 reused, 2 failed, 6 blocked" in found.err and "Traceback" not in found.err
    texts = {path.parent.name.split("-")[1]: path.read_text() for path in folder.glob("results/pretrain/*/error.txt")}
    assert texts["none"] == "its process died twice (its worker died); --rerun failed tries it again\n"
    assert "RuntimeError: it broke" in texts["sem2x3"] and len(texts) == 2
    assert "raylet" not in found.out  # Ray's own words about deaths would stand among the tables


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_stops_all_within_seconds(folder: Path, cluster: str, number: signal.Signals) -> None:
    """SIGINT, as a terminal sends it to all, in a cluster of the run's own; the others to a driver in a running one."""
    write(folder, "suite.yaml", SUITE.replace("epochs: 2", "epochs: 3000"))
    own = number == signal.SIGINT
    run = process(folder, "run", "suite.yaml", *RAY, *(["--jobs", "2"] if own else ["--address", cluster]))
    pids = pretraining(run, folder, 2)
    began = time.monotonic()
    os.killpg(run.pid, number) if own else run.send_signal(number)
    _, errors = run.communicate(timeout=60)
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() - began < 15
        time.sleep(0.05)
    assert "Traceback" not in errors
    if number != signal.SIGKILL:
        assert run.returncode == 128 + number and "all that is done is kept" in errors
        states = [read_json(path)["state"] for path in folder.glob("results/pretrain/*/state.json")]
        assert states == ["interrupted", "interrupted"]
        assert not list(folder.glob("results/pretrain/.locks/*"))


def test_what_no_node_can_do_is_refused_before_anything_starts(
    folder: Path, cluster: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray would wait for ever."""
    began = time.monotonic()
    monkeypatch.setenv("OMP_NUM_THREADS", "99")
    assert main(["run", "suite.yaml", "--executor", "ray", "--address", cluster]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "needs" in line]
    assert line.startswith("pretrain/simclr-") and "-toy-e2-s0 needs 99 CPUs, 1 GPUs and 0.9 GiB of memory; " in line
    assert "the largest node of the cluster has 2 CPUs, 2 GPUs and " in line
    executor = on_ray(cluster)
    needs = {Need(): "knn/small", Need(memory=10 * 2**40): "knn/large"}
    with pytest.raises(UserError, match=r"^knn/large needs 1 CPUs, 0 GPUs and 10,240.0 GiB of memory; the largest"):
        executor.check(needs, "auto")
    executor.stop()
    with pytest.raises(UserError, match="--device cuda: no node of the Ray cluster has a GPU"):
        on_ray(device="cuda").check({Need(): "knn/small"}, "cuda")
    assert time.monotonic() - began < 10 and not list(folder.glob("results/*/*/state.json"))


def test_slots_and_shares(folder: Path, cluster: str) -> None:
    """As many jobs at a time as the cluster can hold; six times a sixth of a GPU is one GPU, in Ray's units too."""
    for threads, jobs, slots in ((1, None, 2), (2, None, 1), (3, None, 1), (1, 1, 1), (1, 9, 2)):
        executor = on_ray(cluster, threads=threads, jobs=jobs)
        assert executor.slots == slots
        assert executor.gpus == 2 and on_ray(cluster, "cpu").gpus == 0
        executor.stop()
    executor = on_ray(cluster)
    executor.check({Need(): "knn/small"}, "auto")

    def share() -> float:
        return float(ray.get_runtime_context().get_assigned_resources()["GPU"])

    sixth = ray.remote(share).options(num_cpus=0, num_gpus=executor._asked(Need(gpu=1 / 6))["GPU"])
    assert 6 * ray.get(sixth.remote()) <= 1
    executor.stop()


def test_a_node_that_lacks_something_is_named(folder: Path, cluster: str) -> None:
    """Before anything starts, and where a job comes to a node that joined later."""
    for change, line in (
        (
            {"cwd": "/nowhere"},
            r"/nowhere is not there \(No such file or directory\); every node must see the run's ",
        ),
        ({"token": "results/cache/none"}, r"results is another folder there; every node must see the results$"),
        ({"version": "99"}, r"it has sem_bench \S+, and the run 99$"),
    ):
        before, later = on_ray(cluster), on_ray()
        assert before.slots == 2  # connected
        before._home |= change
        with pytest.raises(UserError, match=rf"^node \S+: {line}"):
            before.check({Need(): "knn/small"}, "auto")
        before.stop()
        later.check({Need(): "knn/small"}, "auto")
        later._home |= change
        with pytest.raises(UserError, match=rf"^node \S+: {line}"):
            drive(later, device="cpu")
        later.stop()
    assert not list(folder.glob("results/*/*/state.json"))


WITHOUT = """
import pickle, sys
for name in ("sem_bench", "torch"):
    sys.modules[name] = None  # as if it were not installed
do = pickle.load(sys.stdin.buffer)
print(do("{}", {"cwd": ".", "token": ".", "path": []}, None))
"""


def test_a_node_without_sem_bench_says_so(folder: Path) -> None:
    call = [sys.executable, "-c", WITHOUT]
    found = subprocess.run(call, input=ray.cloudpickle.dumps(ray_node.do), capture_output=True, check=True)
    assert b"import of sem_bench halted" in found.stdout
    assert b"sem_bench and what it imports must be installed there" in found.stdout


def test_a_run_in_a_harsh_environment(folder: Path) -> None:
    """Under `uv run`, where Ray would ship the folder; in a long TMPDIR, too long for its sockets; without memory left.

    Ray tries for ever what it killed for its memory, unless it is told not to.
    """
    temporary = folder / "a_folder_with_a_long_name" / "and_another_one"
    temporary.mkdir(parents=True)
    write(folder, "run", f"{sys.executable} -m sem_bench run suite.yaml --executor ray --jobs 2\nexit $?\n")
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "RAY_memory_usage_threshold": str(psutil.virtual_memory().percent / 200),
        "RAY_memory_monitor_refresh_ms": "100",
        "PYTHONPATH": str(REPOSITORY),
        "HOME": str(folder),
    }
    run = subprocess.run(
        ["uv", "run"], executable="/bin/bash", cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 1 and "2 failed, 6 blocked" in run.stderr, run.stderr
    texts = {path.read_text() for path in folder.glob("results/pretrain/*/error.txt")}
    assert any("its node ran out of memory" in text for text in texts), texts
    assert "raylet" not in run.stdout and "Token" not in run.stderr and "Traceback" not in run.stderr
    assert not (folder / ".ray").exists()  # a token there would change every cluster to come


def test_signals_are_handled_after_a_cluster_as_before(folder: Path) -> None:
    said = "import atexit, signal; atexit.register(lambda: print(signal.getsignal(signal.SIGTERM)))"
    code, output, errors = ended(folder, "run", "suite.yaml", *RAY, "--only", "pretrain/simclr-none", code=said)
    assert code == 0, errors
    assert "listen" in output.splitlines()[-1]  # of sem_bench.base.interrupts, and not the system's


def test_mistakes_of_options(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def line(*options: str) -> str:
        assert main(["run", "suite.yaml", *options]) == 2
        return capsys.readouterr().err

    assert line("--address", "auto") == "--address needs --executor ray\n"
    assert line(*RAY, "--address", "ray://host:10001").startswith("--address ray://host:10001: not through Ray Client")
    run = process(folder, "run", "suite.yaml", *RAY, "--address", "127.0.0.1:1")  # this process has a cluster
    assert run.communicate()[1] == "--address 127.0.0.1:1: nothing answers there (Connection refused)\n"
    assert run.returncode == 2
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "sem_bench.runs.executors.on_ray")
    assert line(*RAY) == "--executor ray: ray is not installed: pip install 'sem-bench[ray]'\n"
