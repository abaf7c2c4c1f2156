"""Several devices in one training, with processes on the CPU: the numbers of one, and an end whatever happens."""

import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from sem_bench.base import world
from sem_bench.base.companions import DeathError, ElsewhereError, together
from sem_bench.base.limits import Limits
from sem_bench.base.world import PeerError
from sem_bench.cli import main
from sem_bench.nets.global_batch_norm import GlobalBatchNorm, make_global
from sem_bench.runs.estimate import need
from sem_bench.runs.order import Event, Figure, Order
from sem_bench.runs.plan import read_plan
from sem_bench.runs.worker import work
from sem_bench.training import device_check, dry_run
from sem_bench.training.job import PretrainJob
from sem_bench.training.views import ViewPlan, Views
from tests.helpers.commands import FRAGILE, fragile, process
from tests.helpers.methods import TRAINED, pretrain_job
from tests.helpers.own import CONV_PY, CONV_YAML
from tests.helpers.toy import TAU, method_card, replace_text, write, write_toy

# With float64, sums in another order differ by some 1e-16 of their size; three steps make 1e-12 of it at most.
TOLERANCE = 1e-9
KINDS = "{none: {}, sem: {L: 4, V: 3}, gumbel: {L: 4, V: 3}, linear: {L: 4, V: 3}}"
ARMS = f"""
name: arms
seeds: [0]
grid:
  - methods: [{", ".join(TRAINED)}]
    embeddings: {KINDS}
    backbones: [conv]
    datasets: [toy]
  - methods: [simclr, moco, byol, simsiam]
    embeddings: {KINDS}
    backbones: [conv]
    datasets: [toy]
    ip: {{passes: 2}}
  - methods: [byol, dino]
    embeddings: {{none: {{}}, sem: {{L: 4, V: 3}}}}
    backbones: [resnet10w16s2]
    datasets: [toy]
pretrain: {{recipe: quick, epochs: 2, batch_size: 50}}
"""


def arms(text: str) -> dict[str, device_check.Arm]:
    """The pretrainings of a suite, by their slugs."""
    write(Path(), "backbones/conv.yaml", CONV_YAML)
    write(Path(), "backbones/conv.py", CONV_PY)
    write(Path(), "arms.yaml", text)
    jobs = read_plan(Path("arms.yaml")).unique()
    return {job.slug: (job.config, job.method_code, job.parts) for job in jobs if isinstance(job.config, PretrainJob)}


def test_three_steps_of_several_processes_are_those_of_one(folder: Path) -> None:
    """Loss, parameters and buffers, for every method and embedding, also within IP-IRM, and for a deep backbone."""
    found = arms(ARMS)
    assert len(found) == 4 * len(TRAINED) + 4 * 4 + 2 * 2
    alone = [device_check.left_by_steps(arm) for arm in found.values()]
    check_alike(found, alone, device_check.on_devices(list(found.values())))
    some = {slug: arm for slug, arm in found.items() if slug.startswith(("byol-sem", "dino-none"))}
    assert len(some) == 4
    three = device_check.on_devices(list(some.values()), 3)
    check_alike(some, [one for slug, one in zip(found, alone, strict=True) if slug in some], three)


def check_alike(slugs: Iterable[str], alone: list[device_check.Left], shared: list[device_check.Left]) -> None:
    for slug, one, several in zip(slugs, alone, shared, strict=True):
        assert one.keys() == several.keys()
        name, gap = device_check.difference(one, several)
        assert gap < TOLERANCE, (slug, name, gap)


MINE = '''
import torch
from torch import nn

from sem_bench.method import Method, as_one, gather


class Mine(Method):
    """Views alike, with the batch's mean taken out, and noise on top."""

    def __init__(self, encoder):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.out_dim, 8)

    def forward(self, batch):
        outputs = [self.head(self.encoder(view)) for view in batch.views]
        noisy = [as_one(lambda rows: rows + torch.randn_like(rows), output) for output in outputs]
        return tuple(output - gather(output).mean(0) for output in noisy)

    def loss(self, first, second):
        return ((first - second) ** 2).mean() - first.std(0).mean()
'''


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("", "", "ok"),
        ("gather(output)", "output", "on two devices "),
        ("self.head(self.encoder(view))", "self.head(self.encoder(view).float())", "ok"),
        (
            "as_one(lambda rows: rows + torch.randn_like(rows), output)",
            "output + torch.randn_like(output)",
            "on two dev",
        ),
        ("return tuple(", "return torch.ones(()), *(", "it fails on two devices: ValueError: forward gives () for 6"),
    ],
)
def test_doctor_finds_what_is_not_shared(
    folder: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, expected: str
) -> None:
    assert right in MINE
    text = MINE.replace(right, wrong) if right else MINE
    if "torch.ones" in wrong:
        text = text.replace("def loss(self, first", "def loss(self, one, first")
    write(folder, "methods/mine.py", text)
    write(folder, "methods/mine.yaml", method_card("Mine"))
    replace_text(folder / "suite.yaml", "[simclr]", "[mine]")
    replace_text(folder / "suite.yaml", "{none: {}, sem: {L: 4, V: 3}}", "{none: {}}")
    assert main(["doctor", "suite.yaml"]) == (0 if expected == "ok" else 2)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("method")]
    assert line.startswith(f"method       mine none: {expected}"), line


def test_batch_norm_with_the_statistics_of_all_is_torchs() -> None:
    """Alone it is torch's own, with its gradient, on maps and vectors."""
    for norm, shape in ((torch.nn.BatchNorm1d(3), (6, 3)), (torch.nn.BatchNorm2d(3, momentum=None), (4, 3, 5, 2))):
        images = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(2)]
        network = torch.nn.Sequential(norm.double())
        with torch.no_grad():
            for parameter in norm.parameters():
                parameter.uniform_(0.5, 2)
        expected = [network(x) for x in images]
        wanted = torch.autograd.grad(sum((y**3).sum() for y in expected), images)
        kept = {name: value.clone() for name, value in norm.named_buffers()}
        norm.reset_running_stats()
        make_global(network)
        assert isinstance(network[0], GlobalBatchNorm)
        found = [network(x) for x in images]
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.autograd.grad(sum((y**3).sum() for y in found), images), wanted)
        torch.testing.assert_close(dict(network[0].named_buffers()), kept)
        torch.testing.assert_close(network.eval()(images[0]), norm.eval()(images[0]))


def test_batch_norm_of_timm_keeps_its_activation() -> None:
    layers = pytest.importorskip("timm.layers")
    images = torch.randn(4, 3, 5, 2)
    for norm in (layers.BatchNormAct2d(3), layers.BatchNormAct2d(3, act_layer=torch.nn.SiLU, inplace=False)):
        expected = norm(images)
        network = torch.nn.Sequential(norm)
        names = list(network.state_dict())
        norm.reset_running_stats()
        make_global(network)
        torch.testing.assert_close(network(images), expected)
        assert isinstance(network[0], GlobalBatchNorm) and list(network.state_dict()) == names


def test_a_batch_norm_in_two_places_is_one() -> None:
    norm = torch.nn.BatchNorm1d(3)
    network = torch.nn.Sequential(norm, torch.nn.ReLU(), norm)
    make_global(network)
    assert isinstance(network[2], GlobalBatchNorm) and network[0] is network[2]


class _Special(torch.nn.BatchNorm2d):
    """Of somebody else."""


def test_a_batch_norm_of_others_is_refused() -> None:
    with pytest.raises(ValueError, match="_Special is a BatchNorm that is not known to work on several devices"):
        make_global(torch.nn.Sequential(_Special(3)))


# --- companions that fail; each is another process, so it needs functions of this module ---


def wait_for_all() -> None:
    world.total(torch.zeros(1))


def fail() -> None:
    wait_for_all()
    raise RuntimeError("it broke\non two lines")


def die() -> None:
    wait_for_all()
    os.kill(os.getpid(), signal.SIGKILL)


def stand_still() -> None:
    wait_for_all()
    os.kill(os.getpid(), signal.SIGSTOP)


def fail_at_the_end() -> None:
    for _ in range(3):
        wait_for_all()
    raise RuntimeError("it broke\non two lines")


def fail_at_length() -> None:
    wait_for_all()
    raise RuntimeError("it broke\non two lines" + "x" * 10**6)


def leave() -> None:
    wait_for_all()
    os._exit(0)


def leave_at_the_end() -> None:
    for _ in range(3):
        wait_for_all()
    os._exit(0)


@pytest.mark.parametrize(
    ("companion", "error", "text"),
    [
        (fail_at_the_end, ElsewhereError, r"on device 2 of 2: RuntimeError: it broke on two lines"),
        (fail_at_length, ElsewhereError, r"on device 2 of 2: RuntimeError: it broke on two lines"),
        (leave, DeathError, r"the process of device 2 of 2 died \(exit code 0\)"),
        (leave_at_the_end, DeathError, r"the process of device 2 of 2 died \(exit code 0\)"),
        (fail, ElsewhereError, r"on device 2 of 2: RuntimeError: it broke on two lines"),
        (die, DeathError, r"the process of device 2 of 2 died \(killed; was memory short\?\)"),
        (stand_still, PeerError, "another device does not answer"),
    ],
)
def test_what_befalls_one_process_ends_all(companion: object, error: type[Exception], text: str) -> None:
    began = time.monotonic()
    with pytest.raises(error, match=text) as caught, together(2, companion, patience=3.0):  # type: ignore[arg-type]
        wait_for_all()
        began = time.monotonic()
        wait_for_all()
        wait_for_all()
    assert time.monotonic() - began < 20
    assert world.size() == 1
    if error is ElsewhereError and companion is not fail_at_length:
        assert 'raise RuntimeError("it broke' in caught.value.__notes__[0]


def test_an_error_here_ends_the_others() -> None:
    with pytest.raises(ZeroDivisionError), together(3, wait_for_all):
        raise ZeroDivisionError
    assert world.size() == 1


# --- through the command line ---

# A method with queues, centres or targets of its own would show a state that a checkpoint loses.
PART = ["--only", "pretrain/dino-sem", "--set", "grid.methods=[dino]", "--set", "pretrain.epochs=10"]


def pretrained(folder: Path, results: str) -> dict[str, Any]:
    (path,) = folder.glob(f"{results}/pretrain/*/result.json")
    result: dict[str, Any] = json.loads(path.read_text())
    return result


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of one pretraining on one device and on two."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_toy(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for devices in ("1", "2"):
            assert main(["run", "suite.yaml", "--results", devices, "--devices", devices, *PART]) == 0
    return folder


def test_a_run_on_two_devices(undisturbed: Path) -> None:
    """The same digest, nearly the same numbers, and a file that says how it was made."""
    one, two = pretrained(undisturbed, "1"), pretrained(undisturbed, "2")
    assert one["digest"] == two["digest"]
    assert one["config"] == two["config"]
    assert one["metrics"]["steps"] == two["metrics"]["steps"]
    assert one["metrics"]["loss"] == pytest.approx(two["metrics"]["loss"], rel=0.1)
    assert two["provenance"]["devices"] == 2 and "devices" not in one["provenance"]


@pytest.mark.parametrize(
    ("number", "death"),
    [
        (1, "the process of device 2 of 2 died (killed; was memory short?); it is tried once more"),
        (0, "its worker died (killed; was memory short?); it is tried once more"),
    ],
)
def test_a_killed_device_costs_the_steps_since_the_checkpoint(
    folder: Path, undisturbed: Path, number: int, death: str
) -> None:
    """The job ends and is tried again by itself."""
    run = process(folder, "run", "suite.yaml", *PART, "--devices", "2")
    assert run.stderr is not None
    os.kill(processes_of(run.pid, folder)[number], signal.SIGKILL)
    began = time.monotonic()
    assert any(death in line for line in run.stderr)
    assert time.monotonic() - began < 30
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    assert pretrained(folder, "results")["metrics"] == pretrained(undisturbed, "2")["metrics"]


def processes_of(pid: int, folder: Path) -> tuple[int, int]:
    """The worker of a run and the process of its second device, once there is a checkpoint."""
    import psutil

    while not list(folder.glob("results/pretrain/*/checkpoint.pt")):
        assert psutil.Process(pid).is_running()
        time.sleep(0.05)
    workers = psutil.Process(pid).children()
    (worker,) = [child for child in workers if "spawn_main" in " ".join(child.cmdline())]
    (companion,) = [child for child in worker.children() if "spawn_main" in " ".join(child.cmdline())]
    return worker.pid, companion.pid


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [("2", "1"), ("1", "2")])
def test_a_checkpoint_goes_on_with_another_number_of_devices(
    folder: Path, capsys: pytest.CaptureFixture[str], first: str, then: str
) -> None:
    arguments = ["run", "suite.yaml", "--only", "pretrain/simclr-sem", "--set", "pretrain.epochs=20"]
    run = process(folder, *arguments, "--devices", first)
    while not list(folder.glob("results/pretrain/*/checkpoint.pt")):
        assert run.poll() is None
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130 and "Traceback" not in errors, errors
    (checkpoint,) = folder.glob("results/pretrain/*/checkpoint.pt")
    step = torch.load(checkpoint, weights_only=True)["step"]
    assert 0 < step < 80
    assert main([*arguments, "--devices", then]) == 0
    log = checkpoint.with_name("log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log[1:]] == [str(epoch) for epoch in range(1, 21)]
    assert pretrained(folder, "results")["metrics"]["steps"] == 80
    assert pretrained(folder, "results")["provenance"].get("devices", 1) == int(then)


def test_a_pretraining_on_two_devices_can_be_pruned(folder: Path) -> None:
    """One process asks, and both end; the checkpoint stays."""
    figures: list[float] = []

    def tell(event: Event) -> bool:
        if isinstance(event, Figure):
            figures.append(event.value)
        return not isinstance(event, Figure)

    order = two_devices(watch="sem_bench.sweep.pruner_measures:neighbours_accuracy")
    assert work(order, tell).status == "pruned" and len(figures) == 1
    assert list(folder.glob("results/pretrain/*/checkpoint.pt"))


def two_devices(**settings: Any) -> Order:
    """The order for the first pretraining of suite.yaml."""
    job, limits = read_plan(Path("suite.yaml")).unique()[0], Limits(threads=1, devices=2)
    return Order.of(job, Path("results"), device="cpu", limits=limits, need=need(job, limits), **settings)


def test_a_device_that_hangs_is_one_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time that one waits for another; here five seconds."""
    monkeypatch.setattr("sem_bench.runs.worker.together", partial(together, patience=5.0))
    hang = "import time\nfrom sem_bench.base import world\nif world.rank() == 1:\n    time.sleep(1000)"
    write(folder, "methods/fragile.py", fragile(loss=hang))
    write(folder, "methods/fragile.yaml", FRAGILE)
    replace_text(folder / "suite.yaml", "[simclr]", "[fragile]")
    began = time.monotonic()
    outcome = work(two_devices(), lambda event: True)
    assert outcome.status == "failed" and "PeerError: another device does not answer" in outcome.summary
    assert time.monotonic() - began < 90  # most of it for the start of a process on a busy machine


@pytest.mark.slow
def test_a_sweep_on_two_devices(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One trial at a time on both; what follows it takes one each."""
    write(folder, "sweeps/heat.yaml", TAU)
    arguments = ["sweep", "heat", "--suite", "suite.yaml", "--trials", "1", "--set", "pretrain.epochs=1"]
    assert main([*arguments, "--devices", "2"]) == 0
    assert "2 devices, 2 for a pretraining" in capsys.readouterr().err
    results = [json.loads(path.read_text()) for path in folder.glob("results/*/*/result.json")]
    devices = {result["kind"]: result["provenance"].get("devices") for result in results}
    assert devices == {"pretrain": 2, "probe": None}


def test_accumulated_batches_are_no_larger_batch(folder: Path) -> None:
    """BatchNorm and the loss see half of the images: other numbers, already after one step."""
    (arm,) = (arm for slug, arm in arms(ARMS).items() if slug.startswith("simclr-none"))
    job, code, parts = arm
    job, parts = dry_run.shortened(job, parts)
    left = []
    for batch, accumulate in ((12, 1), (6, 2)):
        training = job.training.model_copy(update={"batch_size": batch, "accumulate": accumulate})
        own = job.model_copy(update={"training": training})
        with Views(ViewPlan.of(own), dry_run.noise(16), torch.device("cpu"), last=3) as views:
            state, step = dry_run.started(own, code, views, parts)
            step()
        left.append(state.method.state_dict())
    name, gap = device_check.difference(*left)
    assert gap > 1e-3, name


def test_an_error_of_a_method_is_one_failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = MINE.replace(
        "def loss(self", "def loss(self, *_):\n        raise RuntimeError('it broke')\n\n    def lost(self"
    )
    write(folder, "methods/mine.py", text)
    write(folder, "methods/mine.yaml", method_card("Mine"))
    replace_text(folder / "suite.yaml", "[simclr]", "[mine]")
    assert main(["run", "suite.yaml", "--only", "pretrain/mine-none", "--devices", "2"]) == 1
    errors = capsys.readouterr().err
    assert "RuntimeError: it broke" in errors and "tried once more" not in errors and "Traceback" not in errors
    (error,) = folder.glob("results/pretrain/*/error.txt")
    assert "it broke" in error.read_text()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--devices", "4"], "--devices 4 does not divide the batch of 50 of pretrain/simclr-none-"),
        (["--devices", "0"], "argument --devices"),
        (["--devices", "2", "--jobs-per-device", "2"], "--devices and --jobs-per-device exclude each other"),
    ],
)
def test_bad_numbers_of_devices(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    try:
        code = main(["run", "suite.yaml", *arguments])
    except SystemExit as stop:
        code = int(str(stop.code))
    errors = capsys.readouterr().err
    assert code == 2 and text in errors and "Traceback" not in errors
    assert not (folder / "results/pretrain").exists()


@pytest.mark.parametrize("streamed", [False, True])
def test_each_process_makes_the_views_of_its_own_rows(monkeypatch: pytest.MonkeyPatch, streamed: bool) -> None:
    """As they are in the whole batch, to the bit; of images on disk no others are read."""
    noise = dry_run.noise(24)
    read: list[int] = []

    def reader(row: int) -> Any:
        read.append(row)
        return noise.read(row)

    split = replace(noise, images=None, read=reader) if streamed else noise
    plan = ViewPlan.of(pretrain_job())
    plan = replace(plan, batch_size=12)
    batches = {}
    for size, rank in ((1, 0), (3, 0), (3, 1), (3, 2)):
        monkeypatch.setattr(world, "size", lambda size=size: size)
        monkeypatch.setattr(world, "rank", lambda rank=rank: rank)
        read.clear()
        with Views(plan, split, torch.device("cpu"), last=4) as views:
            batches[size, rank] = [views.batch(number) for number in range(4)]
        assert not streamed or sorted(read) == sorted(
            int(row) for batch in batches[size, rank] for row in batch.indices
        )
    for number, whole in enumerate(batches[1, 0]):
        parts = [batches[3, rank][number] for rank in range(3)]
        assert torch.equal(torch.cat([part.indices for part in parts]), whole.indices)
        for view, expected in enumerate(whole.views):
            assert torch.equal(torch.cat([part.views[view] for part in parts]), expected)
