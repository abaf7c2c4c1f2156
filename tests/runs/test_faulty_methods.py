"""Methods of a user that fail in every way: each is said in a line, the others go on, and the program ends."""

import re
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from PIL import Image

from sem_bench.cli import main
from sem_bench.errors import MUTE
from tests.helpers.commands import ended, fragile, process
from tests.helpers.toy import SUITE, TOY_PY, TOY_YAML, method_card, write

IMPORTS = "import multiprocessing\nimport sys\nimport threading\nimport time\n\nimport torch\n"
VOTES = SUITE[: SUITE.index("  probe:")] + "  knn: {k: 5}\n"
ALONE = VOTES.replace("{none: {}, sem: {L: 4, V: 3}}", "{none: {}}").replace("epochs: 2", "epochs: 1")
ALONE = ALONE.replace("[toy]\n", "[toy]\n  images: {train: 50, test: 20}\n")
SHORT = "out of memory with batches of 50; by the estimate batch_size 25 fits, with accumulate 2 for as many images"
FAILING = {  # lines of its loss -> what is said of the job
    "raises": ('raise RuntimeError("it broke")', "RuntimeError: it broke"),
    "own": ('raise type("Own", (BaseException,), {})("mine")', "Own: mine"),
    "mute": (
        'raise type("Mute", (Exception,), {"__str__": lambda self: 1 / 0})()',
        f"Mute: {MUTE}",
    ),
    "muter": (
        'raise type("Muter", (Exception,), {"__str__": lambda self: sys.exit(1)})()',
        f"Muter: {MUTE}",
    ),
    **{
        name: (f'raise type("Odd", ({base},), {{"{asked}": lambda *given: {answer}}})()', f"Odd: {MUTE}")
        for name, base, asked, answer in (
            ("hides", "Exception", "__getattribute__", "1 / 0"),
            ("leaves", "BaseException", "__getattribute__", "sys.exit(7)"),
            ("poses", "Exception", "__getattribute__", "given[0].__class__"),
        )
    },
    "bytes": ('raise FileNotFoundError("data/caf\\udce9.png")', "FileNotFoundError: data/caf"),
    "exits": ("sys.exit(3)", "SystemExit: 3"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
    "recurses": ("self.loss(first, second)", "RecursionError: maximum recursion depth exceeded"),
    "nan": ('return (first * float("nan")).mean()', "FloatingPointError: the loss is nan in epoch 0, step 0 of 1"),
    "inf": ('return first.sum() * 0 + float("inf")', "FloatingPointError: the loss is inf in epoch 0, step 0"),
    "nothing": ("return None", "gives a NoneType"),
    "number": ("return 1.5", "gives a float"),
    "matrix": ("return (first - second) ** 2", "gives a tensor of shape (50, "),
    "constant": ("return torch.tensor(1.0)", "does not require grad"),
    "cpu": ("torch.empty(10**13)", SHORT),
    "gpu": ('raise torch.OutOfMemoryError("CUDA out of memory.")', SHORT),
    "python": ("bytearray(10**16)", SHORT),
}
INFINITE = "return (first.sum() - first.sum().detach()).sqrt()"  # its gradient; the loss is 0
COUNTS = 'self.step = getattr(self, "step", 0) + 1\n'
GROWING = {  # likewise, of the steps 0 and 1
    "explodes": (
        "return ((first - second) ** 2).mean() * 1e30",
        "FloatingPointError: the loss is nan in epoch 0, step 1 of 2; it was ",
    ),
    "infinite": (INFINITE, "FloatingPointError: the loss is nan in epoch 0, step 1 of 2; it was 0 in the step before"),
    "last": (
        f"{COUNTS}if self.step == 2:\n    {INFINITE}",
        "is not finite after epoch 0, step 1 of 2: was its gradient",
    ),
}
LEAVING = {  # what does no harm to the job
    "prints": 'print("of mine\\n" * 1000)',
    "forks": "os.fork()",
    "threads": 'if not hasattr(self, "left"):\n    self.left = threading.Thread(target=time.sleep, args=(600,))\n'
    "    self.left.start()",
    "processes": 'if not hasattr(Fragile, "left"):\n'
    '    Fragile.left = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))\n'
    "    Fragile.left.start()",
}


def own_method(folder: Path, name: str, loss: str, **changes: str) -> None:
    """A user's method whose loss begins with these lines."""
    write(folder, f"methods/{name}.py", IMPORTS + dedent(fragile(loss=loss, **changes)))
    write(folder, f"methods/{name}.yaml", method_card("Fragile"))


def _failed(line: str) -> str:
    """The method whose pretraining failed, as a line says it."""
    found = re.match(r"\[\d+/\d+\] pretrain (\w+)-none\S*: failed in", line)
    return found[1] if found else ""


def test_each_is_said_in_a_line_and_the_others_go_on(folder: Path) -> None:
    for name, (loss, _) in FAILING.items():
        own_method(folder, name, loss)
    for name, loss in LEAVING.items():
        own_method(folder, name, loss)
    names = [*LEAVING, *FAILING]
    write(folder, "suite.yaml", ALONE.replace("[simclr]", f"[{', '.join([*names, 'simclr'])}]"))
    code, output, errors = ended(folder, "run", "suite.yaml")
    end = time.time()
    assert code == 1 and "Traceback" not in errors and "of mine" not in output
    failed = {_failed(line): line for line in errors.splitlines()}
    assert not {name: failed.get(name) for name, (_, text) in FAILING.items() if text not in failed.get(name, "")}
    done = 2 * (len(LEAVING) + 1)
    assert f"{done} done, 0 reused, {len(FAILING)} failed, {len(FAILING)} blocked" in errors
    written = max(path.stat().st_mtime for path in Path("results/tables").rglob("*"))
    assert end - written < 5, "threads and processes that are left keep the program from its end"


def test_a_forked_process_writes_nothing_into_a_finished_job(folder: Path) -> None:
    """It comes back late, and would write the log of its own training over the one that was summed."""
    own_method(folder, "forks", 'if not os.fork():\n    time.sleep(1.5)\n    Path("late").touch()')
    write(folder, "suite.yaml", ALONE.replace("[simclr]", "[forks]"))
    assert main(["run", "suite.yaml", "--only", "pretrain/"]) == 0
    while not Path("late").exists():
        time.sleep(0.05)
    time.sleep(0.5)
    assert main(["verify", "results"]) == 0


def test_a_gradient_that_overflows_is_said_with_its_step(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, (loss, _) in GROWING.items():
        own_method(folder, name, loss)
    suite = ALONE.replace("[simclr]", f"[{', '.join([*GROWING, 'simclr'])}]").replace(
        "batch_size: 50", "batch_size: 25"
    )
    write(folder, "suite.yaml", suite)
    assert main(["run", "suite.yaml"]) == 1
    output, errors = capsys.readouterr()
    failed = {_failed(line): line for line in errors.splitlines()}
    assert not {name: failed.get(name) for name, (_, text) in GROWING.items() if text not in failed.get(name, "")}
    assert f"2 done, 0 reused, {len(GROWING)} failed, {len(GROWING)} blocked" in errors and "nan" not in output


def test_a_job_without_progress_is_named(folder: Path) -> None:
    own_method(folder, "loops", 'while not Path("stop").exists():\n    time.sleep(0.05)')
    write(folder, "suite.yaml", ALONE.replace("[simclr]", "[loops]"))
    run = process(folder, "run", "suite.yaml", code="from sem_bench.runs import silence; silence.LONG = 0.6")
    assert run.stderr is not None
    said = next(line for line in run.stderr if "no progress" in line)
    assert re.fullmatch(r"pretrain/loops-none\S*: no progress for 0\.0[1-9]\d* min\n", said)
    Path("stop").touch()
    assert run.communicate(timeout=60) and run.returncode == 0


def test_a_job_without_end_is_ended(folder: Path) -> None:
    """With --patience, or after a day. Code that never gives Python's lock back ends with its process."""
    own_method(folder, "loops", "while True:\n    try:\n        time.sleep(0.05)\n    except Exception:\n        pass")
    own_method(folder, "counts", "import itertools\nsum(itertools.count())")
    write(folder, "suite.yaml", ALONE.replace("[simclr]", "[loops, counts, simclr]"))
    code = "from sem_bench.runs import silence; silence.GRACE = 1.0"
    run = process(folder, "run", "suite.yaml", "--patience", "0.1", "--only", "loops", "simclr", code=code)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 1
    assert (
        "StuckError: no progress for 0.1 min (--patience)" in errors
        and "2 done, 0 reused, 1 failed, 1 blocked" in errors
    )
    day = f"{code}\nimport sys, sem_bench.cli; sys.modules['sem_bench.cli.parser'].DAY = 0.1"
    run = process(folder, "run", "suite.yaml", "--only", "counts", code=day)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 1 and "Timeout" in errors and "counts.py" in errors


def test_a_job_without_end_in_another_thread_ends_its_process(folder: Path) -> None:
    """As executors may start it that are not ours."""
    code = """
        import threading, time
        from sem_bench.runs import silence
        silence.GRACE = 0.2
        def work():
            with silence.Silence("job", 0.2):
                time.sleep(60)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    """
    ending, _, errors = ended(folder, code=dedent(code))
    assert ending == 1 and "Timeout" in errors and "in work" in errors


def test_data_that_never_load_are_a_line(folder: Path) -> None:
    """In the look at the data, before any job."""
    wait = "import time\n    while True:\n        time.sleep(0.05)\n    return pixels"
    write(folder, "datasets/toy.py", TOY_PY.replace("return pixels", wait))
    write(folder, "suite.yaml", ALONE)
    code, _, errors = ended(folder, "run", "suite.yaml", "--patience", "0.05")
    assert code == 2 and errors.count("\n") == 1
    assert "load('train'): StuckError: no progress for 0.05 min (--patience)" in errors


def test_a_file_that_is_never_read_ends_the_wait(folder: Path) -> None:
    """A pipe stands for a file on a drive that hangs; it appears once the images are listed."""
    colours = np.random.default_rng(0).integers(0, 255, (4, 3))
    for split, count in (("train", 20), ("test", 5)):
        for name, colour in zip(("red", "green", "blue", "grey"), colours, strict=True):
            place = folder / "data" / "pictures" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = np.full((16, 16, 3), colour, np.uint8) + np.uint8(number)
                Image.fromarray(pixels).save(place / f"{number}.png")
    card = TOY_YAML.replace("type: python", "type: folder, path: pictures")
    write(folder, "datasets/pictures.yaml", card.replace("{train: 200, test: 80}", "{train: 80, test: 20}"))
    own_method(folder, "hangs", "", step="pass")
    code = (folder / "methods/hangs.py").read_text()
    swap = 'path = Path("data/pictures/train/red/7.png")\n        path.unlink()\n        os.mkfifo(path)\n'
    begin = "super().__init__(encoder)\n"
    assert begin in code
    write(folder, "methods/hangs.py", code.replace(begin, f"{begin}        {swap}"))
    suite = (
        ALONE.replace("[simclr]", "[hangs]")
        .replace("[toy]\n  images: {train: 50, test: 20}", "[pictures]")
        .replace("batch_size: 50", "batch_size: 20")
    )
    write(folder, "suite.yaml", suite)
    short = "from sem_bench.data import threads; threads.PATIENCE = 0.9"
    run = ended(folder, "run", "suite.yaml", "--memory", "1e-6", "--workers", "2", code=short)
    assert run[0] == 1 and "HungError: no image was read for 0.015 min: data/pictures/train/red/7.png" in run[2]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_worker_process_fails_alike(folder: Path, jobs: str) -> None:
    """What is said does not depend on where a job runs."""
    names = ("exits", "cpu", "hides")
    for name in names:
        own_method(folder, name, FAILING[name][0])
    write(folder, "suite.yaml", ALONE.replace("[simclr]", f"[{', '.join(names)}, simclr]"))
    code, _, errors = ended(folder, "run", "suite.yaml", "--jobs", jobs)
    assert code == 1 and all(FAILING[name][1] in errors for name in names)
    assert "2 done, 0 reused, 3 failed, 3 blocked" in errors and "Traceback" not in errors
