"""The scripts of docs/slurm as they stand, with real processes for the nodes and stand-ins for SLURM's own commands."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sem_bench.cli import main
from tests.helpers.commands import FRAGILE, WAITING
from tests.helpers.places import REPOSITORY
from tests.helpers.results import numbers
from tests.helpers.toy import SUITE, write

SCRIPTS = REPOSITORY / "docs/slurm"
SHARED = SUITE.replace("[simclr]", "[fragile]").replace("[1.0, 0.1]", "[0.05]")


def slurm(folder: Path) -> dict[str, str]:
    """An environment in which `scontrol` notes what it is asked, `srun` runs a command here, and python is this one."""
    names = '[ "$1" != show ] || printf "first\\nsecond\\n"'
    commands = {
        "scontrol": f'#!/bin/bash\necho "$@" >> {folder}/scontrol.txt\n{names}\n',
        "srun": '#!/bin/bash\nwhile [[ "$1" == --* ]]; do shift; done\nexec "$@"\n',
        "python": f'#!/bin/bash\nexec {sys.executable} "$@"\n',
        "ray": f'#!/bin/bash\nexec {Path(sys.executable).parent / "ray"} "$@"\n',
    }
    for name, text in commands.items():
        write(folder, f"bin/{name}", text).chmod(0o755)
    return {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}


def node(folder: Path, script: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """A batch script as SLURM starts it."""
    return subprocess.Popen(
        ["bash", str(SCRIPTS / script), "suite.yaml", *arguments],
        cwd=folder,
        env=slurm(folder) | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_an_array_of_runs_one_of_which_is_preempted(folder: Path) -> None:
    write(folder, "methods/fragile.py", WAITING)
    write(folder, "methods/fragile.yaml", FRAGILE)
    write(folder, "suite.yaml", SHARED)
    go = write(folder, "go", "")
    assert main(["run", "suite.yaml", "--results", "serial"]) == 0
    go.unlink()
    tasks = [node(folder, "array.sh", SLURM_ARRAY_JOB_ID="71", SLURM_ARRAY_TASK_ID=str(i)) for i in (1, 2)]
    while len(list(folder.glob("results/pretrain/*/checkpoint.pt"))) < 2:
        assert [task.poll() for task in tasks] == [None, None]
        time.sleep(0.05)
    tasks[0].send_signal(signal.SIGTERM)
    go.touch()
    said = tasks[0].communicate(timeout=60)[0]
    assert tasks[0].returncode == 143 and "all that is done is kept" in said, said
    assert (folder / "scontrol.txt").read_text() == "requeue 71_1\n"
    again = node(folder, "array.sh", SLURM_ARRAY_JOB_ID="71", SLURM_ARRAY_TASK_ID="1")  # as the requeued task
    outputs = [task.communicate(timeout=240)[0] for task in (tasks[1], again)]
    assert [tasks[1].returncode, again.returncode] == [0, 0], outputs
    assert numbers(folder / "results") == numbers(folder / "serial")
    assert (folder / "scontrol.txt").read_text() == "requeue 71_1\n"  # who is done is not put back


@pytest.mark.slow
def test_a_run_of_an_array_with_two_devices(folder: Path) -> None:
    run = node(folder, "array.sh", "--only", "pretrain/simclr-none", "--set", "pretrain.epochs=1", DEVICES="2")
    said = run.communicate(timeout=240)[0]
    assert run.returncode == 0 and "2 devices, 2 for a pretraining" in said, said
    (result,) = folder.glob("results/pretrain/*/result.json")
    assert json.loads(result.read_text())["provenance"]["devices"] == 2


@pytest.mark.skipif(not os.environ.get("SEM_BENCH_TEST_RAY"), reason="starts Ray: SEM_BENCH_TEST_RAY=1")
def test_whole_nodes_through_ray(folder: Path) -> None:
    """Two processes stand for two nodes of a core each."""
    write(folder, "suite.yaml", SUITE)
    assert main(["run", "suite.yaml", "--results", "serial"]) == 0
    job = str(os.getpid())  # the port follows from it
    run = node(
        folder, "ray.sh", SLURM_JOB_ID=job, SLURM_JOB_NODELIST="node[1-2]", SLURM_CPUS_ON_NODE="1", OMP_NUM_THREADS="1"
    )
    try:
        said = run.communicate(timeout=120)[0]
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        raise AssertionError(run.communicate()[0]) from None
    assert run.returncode == 0, said
    assert "8 done, 0 reused, 0 failed, 0 blocked" in said and "2 jobs at a time, 1 thread each" in said
    assert numbers(folder / "results") == numbers(folder / "serial")
    assert (folder / "scontrol.txt").read_text() == "show hostnames node[1-2]\n"
