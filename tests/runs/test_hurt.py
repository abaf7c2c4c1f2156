"""Jobs cannot hurt each other: one that kills its process, one that changes the process."""

import functools
import json
import os
import sys
from pathlib import Path

import pytest
import torch

from sem_bench.base import process_state
from sem_bench.base.files import read_json, write_json
from sem_bench.base.limits import Limits
from sem_bench.cli import main
from sem_bench.runs.deaths import UNSEEN
from sem_bench.runs.executors.processes import Processes
from sem_bench.runs.order import Order
from sem_bench.runs.plan import read_plan
from sem_bench.runs.store import Store
from tests.helpers.commands import ended, fragile, process
from tests.helpers.results import numbers
from tests.helpers.toy import SUITE, TOY_PY, TOY_YAML, method_card, write

VOTES = SUITE[: SUITE.index("  probe:")] + "  knn: {k: 5}\n"
KILLS = fragile(
    loss="""
    if first.shape[1] != 12 and Path("kill").exists():
        Path("kill").write_text(Path("kill").read_text() + "x")
        os.kill(os.getpid(), signal.SIGKILL)
    """
)


def own_method(folder: Path, name: str, code: str) -> None:
    """A user's method of class Fragile."""
    write(folder, f"methods/{name}.py", code)
    write(folder, f"methods/{name}.yaml", method_card("Fragile"))


def test_a_job_that_kills_its_process_stops_no_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One job at a time: the first death is the run's; the second, in a process of its own, is not."""
    own_method(folder, "fragile", KILLS)
    write(folder, "suite.yaml", VOTES.replace("[simclr]", "[fragile]"))
    write(folder, "kill", "")
    run = process(folder, "run", "suite.yaml")
    run.communicate(timeout=120)
    assert run.returncode == -9 and not list(folder.glob("results/*/*/error.txt"))
    assert main(["run", "suite.yaml"]) == 1
    errors = capsys.readouterr().err
    assert f"its process died ({UNSEEN}); it is tried once more" in errors
    assert f"its process died twice ({UNSEEN}; its worker died (killed; was memory short?)); --rerun failed" in errors
    assert "2 done, 0 reused, 1 failed, 1 blocked" in errors and "Traceback" not in errors
    assert len(list(folder.glob("results/pretrain/*/error.txt"))) == 1
    assert main(["run", "suite.yaml"]) == 1 and "0 done, 2 reused, 1 failed, 1 blocked" in capsys.readouterr().err
    assert Path("kill").read_text() == "xx"
    Path("kill").unlink()
    assert main(["run", "suite.yaml", "--rerun", "failed"]) == 0
    assert not list(folder.glob("results/*/*/deaths.json")) and not list(folder.glob("results/*/.locks/*"))


def test_which_deaths_count(folder: Path) -> None:
    store, (job, *_) = Store(Path("results")), read_plan(Path("suite.yaml")).unique()
    place = store.folder(job)
    store.write_state(place, "interrupted")  # by a signal, or by a worker whose driver was killed
    assert not store.suspect(job) and not store.count_unseen_death(job)
    store.write_state(place, "running", boot=f"{read_json(place / 'state.json')['boot'].split()[0]} another start")
    assert not store.suspect(job) and not store.count_unseen_death(job)
    for epoch in range(3):  # it gets further between its deaths
        write(place, "log.csv", "epoch\n" + "1\n" * epoch)
        store.write_state(place, "running")
        assert store.suspect(job) and store.count_unseen_death(job) and not store.given_up(job)
    assert store.suspect(job) and not store.count_unseen_death(job)
    with store.claim(job):
        assert not Store(Path("results")).suspect(job)  # another run works on it
    store.write_state(place, "running")
    assert store.count_unseen_death(job) and store.given_up(job) and not store.suspect(job)
    assert store.status(job) == "failed" and (place / "error.txt").read_text().startswith("its process died twice")
    write_json(place / "deaths.json", {"deaths": 7})  # by hand
    assert not store.suspect(job)


CHANGES = """
    torch.backends.mkldnn.enabled = False
    torch.set_num_threads(2)
    torch.manual_seed(7)
    numpy.random.seed(7)
    random.seed(7)
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("medium")
    torch.set_flush_denormal(True)
    torch.manual_seed = lambda seed: None
    torch.nn.modules.module.register_module_forward_hook(lambda module, given, output: None)
    sys.modules['torch.optim.optimizer'].register_optimizer_step_pre_hook(lambda *given: given[0].zero_grad())
    torch.optim.SGD.step = lambda self, closure=None: None
    torch.nn.Linear.__call__ = lambda self, given: self.forward(given) * 2
    torch.nn.modules.conv.Conv2d.forward = lambda self, given: self._conv_forward(given, -self.weight, self.bias)
    torch.nn.functional.normalize = lambda given, **how: given
    os.environ["OF_MINE"] = "x"
    warnings.simplefilter("error")
    logging.getLogger().setLevel("DEBUG")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o777)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(1, files[0] - 1), files[1]))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    sys.excepthook = print
    os.chdir("/")
"""


def changing() -> str:
    """A method that changes whatever it can, in its module, its constructor and its loss; printing as it goes."""
    lines = f"\ndef change():\n{CHANGES}    print('changed')\n\n\nchange()\ntorch.set_default_dtype(torch.float64)\n"
    imports = (
        "import logging\nimport random\nimport resource\nimport sys\nimport warnings\n\nimport numpy\nimport torch\n"
    )
    code = fragile(loss="change()")
    code = code.replace("import json\n", "import json\n" + imports).replace(
        "class Fragile", lines + "\n\nclass Fragile"
    )
    return code.replace("super().__init__(encoder)\n", "super().__init__(encoder)\n        change()\n")


def test_what_a_method_changes_of_the_process_is_put_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", VOTES)
    own_method(folder, "fragile", changing())
    both = ["run", "suite.yaml", "--set", "grid.methods=[fragile, simclr]"]
    assert main(["run", "suite.yaml", "--results", "alone"]) == 0
    capsys.readouterr()
    before = (torch.get_num_threads(), dict(os.environ), Path.cwd())
    assert main([*both, "--results", "serial"]) == 0
    assert (torch.get_num_threads(), dict(os.environ), Path.cwd()) == before
    said = capsys.readouterr()
    assert "changed" not in said.out and said.err.count("of the process; put back") == 2
    assert "classes of torch, hooks of torch" in said.err
    assert "the working folder" in said.err and "torch's threads" in said.err
    assert main([*both, "--results", "parallel", "--jobs", "2"]) == 0
    assert "changed" not in capsys.readouterr().out
    expected = numbers(folder / "alone")
    for results in ("serial", "parallel"):
        found = numbers(folder / results)
        assert expected and all(found[name] == value for name, value in expected.items())


def test_every_part_is_put_back_and_said() -> None:
    with process_state.kept() as changed:
        torch.set_default_dtype(torch.float64)
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
        torch.set_grad_enabled(False)
        sys.setrecursionlimit(5000)
        raised = torch.rand(1, device="cpu")
    assert set(changed) >= {
        "the limit of recursions",
        "torch's default dtype",
        "whether torch keeps gradients",
        "switches of torch.backends",
    }
    assert torch.rand(1).dtype == torch.float32 and torch.rand(1).requires_grad == raised.requires_grad
    paths = list(sys.path)
    with process_state.kept() as changed:
        sys.path[:] = ["mine"]
        sys.meta_path.clear()
    assert changed == ["sys.path", "sys.meta_path"] and sys.path == ["mine", *paths] and sys.meta_path
    sys.path[:] = paths
    with process_state.kept() as changed:
        pass
    assert not changed


def test_streams_that_a_method_closes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The next jobs are said, and the tables; in the process itself, where nothing stands between."""
    write(folder, "suite.yaml", VOTES.replace("[simclr]", "[fragile, simclr]"))
    own_method(folder, "fragile", fragile(loss="import sys; print('own'); sys.stdout.close(); sys.stderr.close()"))
    code, output, errors = ended(folder, "run", "suite.yaml", "--jobs", "1")
    assert code == 0 and "8 done, 0 reused" in errors and errors.count("own\n") > 2 and "tiny: toy" in output


INNOCENT = fragile(
    loss="""
    import pickle
    import torch
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    for kind in (torch.optim.SGD, torch.optim.AdamW, torch.optim.LBFGS):
        optimizer = kind(model.parameters(), lr=0.1)
        torch.optim.lr_scheduler.StepLR(optimizer, 1)
        optimizer.zero_grad()
    pickle.loads(pickle.dumps(model))
    """
)


def test_of_a_method_that_changes_nothing_nothing_is_said(folder: Path) -> None:
    """In a process of its own, for what torch imports late is imported once."""
    own_method(folder, "fragile", INNOCENT)
    write(folder, "suite.yaml", VOTES.replace("[simclr]", "[fragile, simclr]"))
    code, _, errors = ended(folder, "run", "suite.yaml", environment={"TORCHINDUCTOR_CACHE_DIR": None})
    assert code == 0 and "8 done" in errors and "put back" not in errors


@pytest.mark.parametrize(
    "change",
    [
        "torch.nn.modules.module.register_module_forward_hook(lambda module, given, output: output * 0.5)",
        "sys.modules['torch.optim.optimizer'].register_optimizer_step_pre_hook(lambda *given: given[0].zero_grad())",
        "torch.optim.SGD.step = lambda self, closure=None: None",
        "torch.optim.SGD.step = functools.wraps(torch.optim.SGD.step)(lambda self, closure=None: None)",
        "torch.optim.SGD = torch.optim.Adam",
        "del torch.optim.SGD.step",
        "torch.nn.Linear.__call__ = lambda self, given: given * 2",
        "torch.manual_seed = functools.wraps(torch.manual_seed)(lambda seed: None)",
    ],
)
def test_each_change_of_torch_is_put_back(change: str) -> None:
    def trained() -> torch.Tensor:
        torch.manual_seed(0)
        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        return model.weight.detach()

    before = trained()
    with process_state.kept() as changed:
        exec(change, {"torch": torch, "functools": functools, "sys": sys})
    assert len(changed) == 1 and "torch" in changed[0]
    assert torch.equal(trained(), before)


def other_data(folder: Path, line: str) -> None:
    """A suite of toy and a second data set, whose `load` begins with a line."""
    write(folder, "datasets/other.yaml", TOY_YAML)
    write(
        folder,
        "datasets/other.py",
        TOY_PY.replace("    rng =", f"    {line}\n    rng =").replace("import", "import os\nimport", 1),
    )
    write(
        folder,
        "suite.yaml",
        VOTES.replace("[toy]", "[other, toy]").replace("{none: {}, sem: {L: 4, V: 3}}", "{none: {}}"),
    )


def test_data_that_end_the_process_stop_no_other_jobs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other_data(folder, 'if not os.path.exists("well"): os._exit(3)')
    assert ended(folder, "run", "suite.yaml")[0] == 3
    assert main(["run", "suite.yaml"]) == 1
    errors = capsys.readouterr().err
    assert "2 done, 0 reused, 1 failed, 1 blocked" in errors and "Traceback" not in errors
    said = f"its process died twice (its code ended it, {UNSEEN}); --rerun failed tries it again"
    assert f"a look at the data 'other': {said}" in errors
    assert main(["run", "suite.yaml"]) == 1 and "0 done, 2 reused, 1 failed, 1 blocked" in capsys.readouterr().err
    write(folder, "well", "")
    assert main(["run", "suite.yaml", "--rerun", "failed"]) == 0 and "2 done, 2 reused" in capsys.readouterr().err
    assert not list(folder.glob("results/cache/data/*.look"))


def test_data_whose_code_raises_what_is_no_exception(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line, said in (
        ('raise type("Own", (BaseException,), {})("no")', "Own: no"),
        ("raise KeyboardInterrupt", "Keyb"),
        ('raise type("Own", (Exception,), {"__getattribute__": lambda *given: 1 / 0})()', "Own: an error that cannot"),
    ):
        other_data(folder, line)
        assert main(["run", "suite.yaml"]) == 2
        errors = capsys.readouterr().err
        assert errors.startswith("datasets/other.py:8: load('train'): " + said) and len(errors.splitlines()) == 1


def test_an_interrupt_while_data_are_read_ends_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other_data(folder, "import signal; os.kill(os.getpid(), signal.SIGINT)")
    for _ in range(3):  # and is no death
        assert main(["run", "suite.yaml"]) == 130
        assert capsys.readouterr().err == "interrupted; all that is done is kept\n"


SILENT = {  # changes that cannot be put back, since nobody looks at them
    "hooks": "torch.autograd.graph.saved_tensors_hooks(lambda t: t * 0.5 if t.is_floating_point() else t, lambda t: t)"
    ".__enter__()",
    "code": "torch.nn.functional.normalize.__code__ = "
    "(lambda input, p=2.0, dim=1, eps=1e-12, out=None: input).__code__",
}


@pytest.mark.parametrize("change", SILENT)
def test_a_worker_that_ran_own_code_runs_no_other(folder: Path, change: str) -> None:
    write(folder, "methods/mine.py", f"import torch\n{fragile(loss=SILENT[change])}")
    write(folder, "methods/mine.yaml", method_card("Fragile"))
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[mine, simclr]"))
    assert main(["run", "suite.yaml", "--only", "pretrain/simclr-none", "--results", "alone"]) == 0
    first, second = (
        job for job in read_plan(Path("suite.yaml")).jobs if job.kind == "pretrain" and job.cell.embedding == "none"
    )
    executor, limits = Processes(1, threads=1), Limits(threads=1)
    try:
        for job in (first, second):
            executor.start(Order.of(job, Path("results"), device="cpu", limits=limits), lambda event: True)
            assert [outcome.status for _, outcome in executor.wait()] == ["done"]
    finally:
        executor.stop()
    (alone,), (after,) = (list(folder.glob(f"{place}/pretrain/simclr*/result.json")) for place in ("alone", "results"))
    assert json.loads(alone.read_text())["metrics"] == json.loads(after.read_text())["metrics"]
