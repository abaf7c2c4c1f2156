"""Nothing finished is lost: a run that is killed at any moment and started again ends as one that nobody disturbed.

A handful of moments; `make faults` tries 300. docs/reliability.md has the counts. SEM_BENCH_TEST_RAY=1 adds Ray.
"""

import json
import os
import random
import shutil
import signal
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sem_bench.base.files import read_json
from tests.helpers.kills import Command, Ended, Moment
from tests.helpers.results import numbers
from tests.helpers.toy import TAU, TOY_PY, TOY_YAML, overlap, write

COUNT = int(os.environ.get("SEM_BENCH_FAULTS") or 0)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
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
    share: float  # of the full count
    few: int  # of the handful
    in_worker: bool = False  # whether its worker's steps count, too
    beside: bool = False  # whether another driver works in the folder


VARIANTS = {
    "serial": Variant(["run", "suite.yaml", "--jobs", "1"], 0.4, 3),
    "rerun": Variant(["run", "suite.yaml", "--jobs", "1", "--rerun", "all", "--only", "knn/"], 0.1, 0),
    "jobs": Variant(["run", "suite.yaml", "--jobs", "2"], 0.15, 1, in_worker=True),
    "drivers": Variant(["run", "suite.yaml", "--jobs", "1"], 0.1, 1, beside=True),
    "devices": Variant(["run", "suite.yaml", "--devices", "2", "--only", "pretrain/"], 0.1, 1, in_worker=True),
    "sweep": Variant(["sweep", "tau"], 0.15, 1),
}


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
    """All that a run says in numbers: results, predictions, tables, trials."""
    results = folder / "results"
    tables = {path.name: path.read_bytes() for path in sorted(results.glob("tables/*/*")) if path.suffix != ".png"}
    studies = (read_json(path)["studies"] for path in sorted(results.glob("sweeps/*.json")))
    trials = [[(trial["params"], trial["value"]) for trial in one["trials"]] for study in studies for one in study]
    return {"numbers": numbers(results), "tables": tables, "trials": trials}


def strays(folder: Path) -> list[str]:
    """What nobody needs any more."""
    names = ("**/.*.tmp", "**/*.rerun", "**/*.unpacking", "**/.locks/*", "suites/.runs/*/*", "set-aside/*")
    left = [path for name in names for path in (folder / "results").glob(name)]
    return sorted(map(str, [*left, *(folder / "data").glob(".*")]))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a variant's command leaves and how it went, by variant; a folder to begin with."""

    @cache
    def of(name: str) -> tuple[dict[str, Any], Ended, dict[str, int], Path]:
        before = prepare(tmp_path_factory.mktemp(name))
        variant = VARIANTS[name]
        if name == "rerun":
            assert Command(before, "run", "suite.yaml", "--jobs", "1").end().code == 0
        folder = before.with_name(f"{before.name}-whole")
        shutil.copytree(before, folder)
        ended = Command(folder, *variant.arguments, moment=Moment()).end()
        assert ended.code == 0, ended.output
        assert not strays(folder)
        (folder / "seen.json").unlink()
        in_worker = {}
        if variant.in_worker:
            shutil.rmtree(folder)
            shutil.copytree(before, folder)
            again = Command(folder, *variant.arguments, moment=Moment(in_worker=True)).end()
            in_worker = dict(again.seen)
        return found(folder), ended, in_worker, before

    return of


def moments(name: str, count: int, ended: Ended, in_worker: dict[str, int]) -> list[Moment]:
    """Moments of each signal: of four, three amid the steps of writes, each kind of file in turn, and one at any time."""
    order, chosen = random.Random(f"{name} 1"), []
    steps = [(label, times, False) for label, times in ended.seen.items()]
    steps += [(label, times, True) for label, times in in_worker.items()]
    order.shuffle(steps)
    for i in range(count):
        number = SIGNALS[i % 3]
        if i % 4 == 3:
            chosen.append(Moment(number, after=order.uniform(0.0, ended.seconds)))
            continue
        label, times, worker = steps[i % len(steps)]
        alone = worker and number == signal.SIGKILL and order.random() < 0.5
        chosen.append(Moment(number, label, order.randint(1, times), in_worker=worker, worker_only=alone))
    return chosen


@pytest.mark.parametrize("name", VARIANTS)
def test_killed_at_any_moment_the_numbers_stay_the_same(name: str, undisturbed: Any, tmp_path: Path) -> None:
    variant = VARIANTS[name]
    count = round(COUNT * variant.share) if COUNT else variant.few
    expected, whole, in_worker, before = undisturbed(name) if count else ({}, None, {}, Path())
    tally: dict[str, int] = {}
    slowest = 0.0
    for number, moment in enumerate(moments(name, count, whole, in_worker) if count else ()):
        folder = tmp_path / str(number)
        shutil.copytree(before, folder)
        other = [Command(folder, *variant.arguments)] if variant.beside else []
        ended = Command(folder, *variant.arguments, moment=moment).end()
        for one in other:
            assert (beside := one.end()).code == 0, (moment, beside.output)
        sent = signal.Signals(moment.number).name if ended.struck else "too late"
        tally[sent] = tally.get(sent, 0) + 1
        expect(ended, moment, folder)
        slowest = max(slowest, ended.seconds) if ended.struck and moment.number != signal.SIGKILL else slowest
        last = Command(folder, *[word for word in variant.arguments if word not in ("--rerun", "all")]).end()
        assert last.code == 0, (moment, last.output)
        assert found(folder) == expected, moment
        assert not strays(folder), (moment, strays(folder))
        shutil.rmtree(folder)
    print(f"\n{name}: {json.dumps(tally)}, {slowest:.1f} s at most")  # noqa: T201 - `make faults` shows it


def expect(ended: Ended, moment: Moment, folder: Path) -> None:
    """The right exit code, in time, with a word, and a checkpoint of each training that was on."""
    assert "Traceback" not in ended.output, (moment, ended.output)
    if not ended.struck or moment.worker_only:
        assert ended.code == 0, (moment, ended.output)
    elif moment.number == signal.SIGKILL:
        assert ended.code == -signal.SIGKILL
    else:
        early = ended.code == -signal.SIGTERM == -moment.number and not ended.output  # before it listened
        assert early or ended.code == 128 + moment.number, (moment, ended)
        assert early or "interrupted; all that is done is kept" in ended.output
        assert ended.seconds < PATIENCE, (moment, ended)
        for log in folder.glob("results/pretrain/*/log.csv"):
            assert log.with_name("checkpoint.pt").exists(), moment
