"""Nothing finished is lost: a run that is killed at any moment and started again ends as one that nobody disturbed.

A handful of moments; `make faults` tries 300. docs/reliability.md has the counts. SEM_BENCH_TEST_RAY=1 adds Ray.
"""

import os
import random
import shutil
import signal
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sem_bench.base.files import read_json
from tests.helpers.kills import WORKER, Command, Ended, Moment
from tests.helpers.results import numbers
from tests.helpers.toy import TAU, TOY_PY, TOY_YAML, overlap, write

COUNT = int(os.environ.get("SEM_BENCH_FAULTS") or 0)
PICTURES = (".png", ".svg", ".pdf")
PATIENCE = 10.0  # seconds from a signal to the end

ALL = """
name: tiny
seeds: [0]
grid:
  methods: [simclr]
  embeddings: {sem: {L: 4, V: 3}}
  backbones: [resnet10w16s2]
  datasets: [toy]
  images: {train: 100, test: 40}
pretrain: {recipe: quick, epochs: 3, batch_size: 50}
evaluate:
  probe: {fractions: [1.0], tau: [1.0], l2: [1e-2]}
  knn: {k: 5}
  robustness: {shifts: [c], images: 20}
  transfer: {datasets: [photos]}
  relevance: {top_k: [1], permutations: 5}
  entropy: {bins: 5}
  expressivity: {tau: [1.0], fractions: [0.5, 1.0]}
"""
PHOTOS = """
summary: coloured noise in an archive
source: {type: folder, path: photos, archive: photos.tar.gz}
splits: {train: 8, test: 8}
image_size: 16
classes: [dark, light]
normalise: {mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
licence: none needed
"""
CORRUPTED = """
summary: toy corrupted
source: {type: corrupted, of: toy, corruptions: [brightness], severities: [1]}
licence: none needed
"""


@dataclass(frozen=True)
class Variant:
    """A command that is killed."""

    arguments: Sequence[str]
    last: Sequence[str]  # the command that ends what was begun
    share: float  # of the full count
    few: Sequence[Moment] = ()  # the handful
    beside: bool = False  # whether another driver works in the folder
    like: str = ""  # another variant with the same numbers


KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
RUN, SERIAL, DEVICES = ["run", "suite.yaml"], ["--jobs", "1"], ["--devices", "2", "--only", "pretrain/"]
VARIANTS = {
    "serial": Variant(
        [*RUN, *SERIAL],
        [*RUN, *SERIAL],
        0.6,
        [
            Moment(KILL, "half checkpoint.pt", 300),
            Moment(TERM, "rename result.json", 1),
            Moment(INT, "half cache npy", 2),
        ],
    ),
    "rerun": Variant([*RUN, *SERIAL, "--rerun", "all", "--only", "knn/"], [*RUN, *SERIAL], 0.1),
    "drivers": Variant(
        [*RUN, *SERIAL], [*RUN, *SERIAL], 0.1, [Moment(KILL, "rename state.json", 2)], beside=True, like="serial"
    ),
    "jobs": Variant(
        [*RUN, "--jobs", "2"], [*RUN, *SERIAL], 1 / 30, [Moment(KILL, "half head.pt", 2, in_worker=True)], like="serial"
    ),
    "devices": Variant([*RUN, *DEVICES], [*RUN, *DEVICES], 1 / 30),
    "sweep": Variant(["sweep", "tau"], ["sweep", "tau"], 2 / 15, [Moment(KILL, "fsync sweeps journal", 3)]),
}
if os.environ.get("SEM_BENCH_TEST_RAY"):
    ray = [*RUN, "--executor", "ray", "--device", "cpu"]
    VARIANTS["ray"] = Variant(ray, [*RUN, *SERIAL], 1 / 50, [Moment(TERM, after=8.0)], like="serial")


def prepare(folder: Path) -> Path:
    """A user's folder with a suite of all stages, one of which reads an archive, and a sweep."""
    write(folder, "suite.yaml", ALL)
    write(folder, "datasets/toy.yaml", TOY_YAML + "shifts: {c: toy_c}\n")
    write(folder, "datasets/toy.py", TOY_PY)
    overlap(folder, "toy")
    write(folder, "datasets/toy_c.yaml", CORRUPTED)
    write(folder, "datasets/photos.yaml", PHOTOS)
    write(folder, "sweeps/tau.yaml", TAU.replace("tau_d: [0.1, 1, 10]", "tau_d: [1]"))
    generator = np.random.default_rng(0)
    for number in range(16):
        split, label = ("train", "test")[number % 2], number // 2 % 2
        path = folder / f"photos/{split}/{('dark', 'light')[label]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 120 + 130 * label, (16, 16, 3), dtype=np.uint8)).save(path)
    (folder / "data").mkdir()
    with tarfile.open(folder / "data/photos.tar.gz", "w:gz") as archive:
        archive.add(folder / "photos", "photos")
    shutil.rmtree(folder / "photos")
    return folder


def found(folder: Path) -> dict[str, Any]:
    """All that a run says in numbers: results, predictions, tables, trials.

    Trials without their number, which is another after a trial that was killed.
    """
    results = folder / "results"
    texts = [path for path in sorted(results.glob("tables/*/[!.]*")) if path.suffix not in PICTURES]
    tables = {path.name: path.read_bytes() for path in texts if path.stem != "sweep"}
    rows = [row | {"trial": None} for path in results.glob("tables/*/sweep.json") for row in read_json(path)]
    studies = [study for path in sorted(results.glob("sweeps/*.json")) for study in read_json(path)["studies"]]
    trials = [[(trial["params"], trial["value"]) for trial in study["trials"]] for study in studies]
    return {"numbers": numbers(results), "tables": tables, "sweep": rows, "trials": trials}


def strays(folder: Path) -> list[str]:
    """What nobody needs any more."""
    names = ("**/.*.tmp", "**/*.rerun", "**/*.unpacking", "**/.locks/*", "suites/.runs/*/*", "set-aside/*")
    left = [path for name in names for path in (folder / "results").glob(name)]
    return sorted(map(str, [*left, *(folder / "data").glob(".*")]))


@dataclass(frozen=True)
class Whole:
    """A variant's command that nobody disturbed."""

    before: Path  # a folder to begin with
    expected: dict[str, Any]  # what it leaves
    ended: Ended


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Whole]:
    """By variant."""

    @cache
    def of(name: str) -> Whole:
        before = prepare(tmp_path_factory.mktemp(name))
        Command(before, "list", "methods").end()  # the first waits until all is imported
        if name == "rerun":
            assert Command(before, *RUN, *SERIAL).end().code == 0
        folder = before.with_name(f"{before.name}-whole")
        shutil.copytree(before, folder)
        ended = Command(folder, *VARIANTS[name].arguments, moment=Moment()).end()
        assert ended.code == 0 and not strays(folder), ended.output
        return Whole(before, found(folder), ended)

    return of


def moments(name: str, count: int, whole: Ended) -> Iterator[Moment]:
    """Of four one is at any time, and three amid the steps of writes, each kind of file in turn."""
    order, steps = random.Random(name), sorted(whole.seen.items())
    order.shuffle(steps)
    for i in range(count):
        number = (KILL, TERM, INT)[i % 3]
        if i % 4 == 3 or not steps:
            yield Moment(number, after=order.uniform(0.0, whole.seconds))
            continue
        label, times = steps[i % len(steps)]
        in_worker = label.startswith(WORKER)
        alone = in_worker and number == KILL and order.random() < 0.5
        count = order.randint(1, times)
        yield Moment(number, label.removeprefix(WORKER), count, in_worker=in_worker, worker_only=alone)


@pytest.mark.parametrize("name", VARIANTS)
def test_killed_at_any_moment_the_numbers_stay_the_same(
    name: str, undisturbed: Callable[[str], Whole], tmp_path: Path
) -> None:
    variant = VARIANTS[name]
    count = round(COUNT * variant.share)
    if not count and not variant.few:
        pytest.skip("only in the full count: SEM_BENCH_FAULTS=300")
    whole = undisturbed(variant.like or name)
    chosen = moments(name, count, undisturbed(name).ended) if count else variant.few
    tally, slowest = Counter[str](), 0.0
    for number, moment in enumerate(chosen):
        ended = disturb(variant, moment, whole, tmp_path / str(number))
        where = "a worker " if moment.in_worker else ""
        tally[f"{where}{signal.Signals(moment.number).name}" if ended.struck else "too late"] += 1
        if ended.struck and moment.number != KILL:
            slowest = max(slowest, ended.seconds)
    print(f"\n{name}: {dict(sorted(tally.items()))}, {slowest:.1f} s at most from a signal to the end")  # noqa: T201


def disturb(variant: Variant, moment: Moment, whole: Whole, folder: Path) -> Ended:
    """Let a signal hit the command, and the command run again: all is as if nobody had disturbed it."""
    shutil.copytree(whole.before, folder)
    hit = Command(folder, *variant.arguments, moment=moment)
    other = [Command(folder, *variant.arguments)] if variant.beside else []
    ended = hit.end()
    for one in other:
        assert (beside := one.end()).code == 0, (moment, beside.output)
    expect(ended, moment, folder)
    last = Command(folder, *variant.last).end()
    assert last.code == 0, (moment, last.output)
    assert found(folder) == whole.expected, moment
    assert not strays(folder), (moment, strays(folder))
    shutil.rmtree(folder)
    return ended


def expect(ended: Ended, moment: Moment, folder: Path) -> None:
    """The right exit code, in time, with a word, and a checkpoint of each training that was on."""
    assert "Traceback" not in ended.output, (moment, ended.output)
    if not ended.struck or moment.worker_only:
        assert ended.code == 0, (moment, ended.output)
    elif moment.number == signal.SIGKILL:
        assert ended.code == -signal.SIGKILL
    else:
        early = ended.code == -TERM == -moment.number and not ended.output  # before it listened
        assert early or ended.code == 128 + moment.number, (moment, ended)
        assert early or "interrupted; all that is done is kept" in ended.output
        assert ended.seconds < PATIENCE, (moment, ended)
        for log in folder.glob("results/pretrain/*/log.csv"):
            assert log.with_name("checkpoint.pt").exists(), moment
