"""Studies that several drivers share, that outlive a killed one, in a journal file and in PostgreSQL."""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from sem_bench.cli import main
from tests.helpers.commands import process
from tests.helpers.toy import SUITE, method_card, write

CARD = """
summary: the temperature
methods: [simclr]
space:
  tau: {low: 0.03, high: 5, log: true}
objective: rankme
sampler: random
trials: 2
"""


@pytest.fixture
def sweeps(folder: Path) -> Path:
    """A user's folder with the sweep `heat`, whose trials take a second or two."""
    suite = SUITE.replace("epochs: 2, batch_size: 50", "epochs: 15, batch_size: 100")
    write(folder, "suite.yaml", suite.replace("tau: [0.3, 1.0]", "tau: [1.0]"))
    write(folder, "sweeps/heat.yaml", CARD)
    return folder


def trials(folder: Path) -> list[dict[str, Any]]:
    content = json.loads((folder / "results/sweeps/heat-tiny.json").read_text())
    found: list[dict[str, Any]] = content["studies"][0]["trials"]
    return found


def begun(text: str) -> list[str]:
    """The pretrainings that a driver's progress says it has done itself."""
    return re.findall(r"pretrain (\S+): done in", text)


def server_programs() -> Path | None:
    """The folder of PostgreSQL's programs: Debian's, or one on the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb")
    return debian[-1].parent if debian else Path(found).resolve().parent if found else None


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of this test's own."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'sem-bench[postgres]'")
    programs = server_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="postgres"))
    account: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **account}
    data = str(folder / "data")
    subprocess.run([str(programs / "initdb"), "-D", data, "-U", "me", "-A", "trust", "--no-sync"], check=True, **quiet)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
    server = subprocess.Popen([str(programs / "postgres"), "-D", data, "-p", str(port), *options], **quiet)
    try:
        for _ in range(200):
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, "the server has ended"
            time.sleep(0.1)
        ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(ready, **quiet).returncode:
            time.sleep(0.1)
        yield f"postgresql+psycopg://me:secret@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown
        server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("kind", ["journal", "postgres"])
def test_two_drivers_share_a_study(
    sweeps: Path, kind: str, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    where = [] if kind == "journal" else ["--storage", request.getfixturevalue("postgres")]
    call = ["sweep", "heat", "--trials", "4", "--set", "pretrain.epochs=20", *where]
    for module in (
        "sem_bench.runs.executors.here",
        "sem_bench.training.pretrain",
        "sem_bench.evaluations.probe",
        "sem_bench.sweep.driver",
    ):
        import_module(module)  # seconds, in which the other driver might do all trials
    other = process(sweeps, *call)
    while not list(sweeps.glob("results/pretrain/*/checkpoint.pt")):  # it has begun
        assert other.poll() is None
        time.sleep(0.05)
    assert main(call) == 0
    here = capsys.readouterr()
    there = other.communicate(timeout=60)
    assert other.returncode == 0, there
    assert here.out == there[0]
    found = trials(sweeps)
    assert [trial["state"] for trial in found] == ["complete"] * 4
    assert len({trial["params"]["tau"] for trial in found}) == 4
    mine, its = begun(here.err), begun(there[1])
    assert mine and its and len({*mine, *its}) == len(mine) + len(its) == 4 + 3  # no job twice; three other seeds


def test_a_killed_driver_loses_nothing(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = process(sweeps, "sweep", "heat")
    while not list(sweeps.glob("results/pretrain/*/checkpoint.pt")):
        assert run.poll() is None
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    journal = sweeps / "results/sweeps/heat-tiny.journal"
    with journal.open("a") as file:
        file.write('{"op_code": 6, "half')  # it was writing
    (checkpoint,) = sweeps.glob("results/pretrain/*/checkpoint.pt")
    assert not checkpoint.with_name("result.json").exists()
    assert main(["sweep", "heat"]) == 0
    assert [trial["state"] for trial in trials(sweeps)] == ["complete", "complete"]
    assert trials(sweeps)[0]["params"] == {"tau": 1}  # that of the trial that was killed
    assert checkpoint.with_name("result.json").exists()
    study = optuna.load_study(
        study_name="heat-tiny-simclr",
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(journal))),
    )
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert not [path for path in (sweeps / "results/sweeps/.drivers").iterdir() if path.suffix != ".lock"]
    capsys.readouterr()
    assert main(["sweep", "heat"]) == 0
    assert "0 done, " in capsys.readouterr().err


def test_a_journal_that_ends_anywhere_goes_on(sweeps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kill between any two of a driver's lines: the suite's own setting is still the first."""
    quick = ["sweep", "heat", "--set", "pretrain.epochs=0"]
    assert main(quick) == 0
    settings = [trial["params"] for trial in trials(sweeps)]
    journal = sweeps / "results/sweeps/heat-tiny.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert settings[0] == {"tau": 1} and len(lines) > 10
    for count in range(len(lines)):
        journal.write_bytes(b"".join(lines[:count]))
        assert main(quick) == 0, count
        assert [trial["params"] for trial in trials(sweeps)] == settings, count
    capsys.readouterr()


SLOW = """
import time

from sem_bench.method import Method


class Slow(Method):
    def forward(self, batch):
        return tuple(self.encoder(view) for view in batch.views)

    def loss(self, first, second):
        time.sleep(0.02)
        return ((first - second) ** 2).mean()
"""


def test_a_sweep_that_was_killed_is_as_one_that_was_not(sweeps: Path) -> None:
    """Its first trial does not compete with what it was before the kill, and the same settings follow."""
    write(sweeps, "methods/slow.py", SLOW)
    write(sweeps, "methods/slow.yaml", method_card("Slow"))
    card = CARD.replace("[simclr]", "[slow]").replace("trials: 2", "trials: 3\npruner: {type: halving, factor: 3}")
    write(sweeps, "sweeps/heat.yaml", card)
    call = ["sweep", "heat", "--set", "grid.methods=[slow]", "--set", "pretrain.epochs=8"]
    run = process(sweeps, *call)
    while not any(log.read_text().count("\n") > 3 for log in sweeps.glob("results/pretrain/*/log.csv")):
        assert run.poll() is None
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert not list(sweeps.glob("results/pretrain/*/result.json"))
    assert main(call) == 0 and main([*call, "--results", "unbroken"]) == 0
    mine = trials(sweeps)
    content = json.loads((sweeps / "unbroken/sweeps/heat-tiny.json").read_text())
    assert [trial["params"] for trial in mine] == [trial["params"] for trial in content["studies"][0]["trials"]]
    assert mine[0]["state"] == "complete"
