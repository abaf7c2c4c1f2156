"""Sources: each kind says everything of itself; fingerprints without pixels; places that cross a process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sem_bench.base.limits import Limits
from sem_bench.config.cards import Library
from sem_bench.config.fields import resolved, whole
from sem_bench.data import loading, sources
from sem_bench.data.card import dataset_card
from sem_bench.data.corruptions import KINDS
from sem_bench.data.dataset import Place
from sem_bench.data.described import Data, LabelledData
from sem_bench.data.sources.corrupted import CORRUPTIONS
from sem_bench.data.split import Split
from sem_bench.errors import UserError
from sem_bench.runs.job import data_of
from sem_bench.runs.plan import read_plan
from sem_bench.runs.store import Store
from sem_bench.runs.worker import refresh_fingerprints
from tests.helpers.datasets import dataset, described
from tests.helpers.places import REPOSITORY
from tests.helpers.published_trees import WRITERS, imagenet_family, sign, write_tree
from tests.helpers.toy import SUITE, TOY_PY, TOY_YAML, write

CARD = """
summary: coloured noise
source: {source}
splits: {{train: 8, test: 4}}
image_size: 16
classes: [red, green]
normalise: {{mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
licence: none needed
"""
MADE = """
summary: noise
source: {type: corrupted, of: toy, corruptions: [gaussian_noise, fog], severities: [1, 5]}
licence: none needed
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Nothing is kept from one test to another."""
    loading._LOADED.clear()
    loading._CORRUPTED.clear()
    yield
    loading._LOADED.clear()
    loading._CORRUPTED.clear()


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """No image may be decoded, and no split loaded."""

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(Image, "open", opened)
    monkeypatch.setattr(Image.Image, "load", opened)
    monkeypatch.setattr(loading, "_all_images", opened)


def loaded(data: Data, place: Place) -> dict[str, str]:
    """The fingerprints that loading gives."""
    loading._LOADED.clear()
    return {name: split.fingerprint for name, split in loading.load_all(data, place).items()}


# --- kinds -----------------------------------------------------------------------------------------------------------


def test_the_kinds_are_those_of_the_package() -> None:
    names = {one.model_fields["type"].annotation.__args__[0] for one in sources.KINDS}  # type: ignore[union-attr]
    packed = {"parquet", "huggingface", "webdataset", "hdf5", "lmdb"}
    assert names == {"python", "folder", "npy", "npz", "torchvision", "corrupted", "csv", "coco"} | packed


def test_a_new_kind_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
        from typing import Literal
        from sem_bench.data.sources.base import Source

        class TapeSource(Source):
            type: Literal["tape"]
        """
    write(tmp_path, "tape.py", text)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path)])
    kinds = {one.__name__ for one in sources.found()}
    sys.modules.pop("sem_bench.data.sources.tape")
    assert kinds == {one.__name__ for one in sources.KINDS} | {"TapeSource"}


def test_a_plan_needs_no_torch_and_no_numpy() -> None:
    code = "import sys, sem_bench.data.dataset; print({'torch', 'numpy', 'PIL', 'torchvision'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "set()"


def test_the_names_of_corruptions_are_those_of_the_functions() -> None:
    assert list(CORRUPTIONS) == list(KINDS)


def test_every_mistake_of_a_source_has_its_line(folder: Path) -> None:
    write(folder, "datasets/coded.yaml", CARD.format(source="{type: python, uses: [a.py, b.py]}"))
    with pytest.raises(UserError) as raised:
        dataset_card(Library(folder), "coded")
    assert raised.value.problems == [f"datasets/coded.yaml:2: datasets/{name}.py is missing" for name in "ab"]


# --- fingerprints ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
def test_fingerprints_are_those_of_loading(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_tree(folder, name, corruptions=["snow", "fog"]) if name.endswith("_c") else write_tree(folder, name)
    sign(monkeypatch, data.data)
    found = dataset(folder, name)
    wanted = described(found)
    variants: list[Data] = [wanted]
    if isinstance(wanted, LabelledData):
        variants.append(wanted.model_copy(update={"limit": wanted.train - 1, "test_limit": wanted.test - 1}))
    for one in variants:
        expected = loaded(one, found.place)
        loading._LOADED.clear()
        assert loading.fingerprints(one, found.place) == expected
        assert not loading._LOADED.size, "nothing was loaded"


@pytest.mark.parametrize("name", WRITERS)
def test_fingerprints_read_no_pixels(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    data = write_tree(folder, name, corruptions=["snow", "fog"]) if name.endswith("_c") else write_tree(folder, name)
    sign(monkeypatch, data.data)
    found = dataset(folder, name)
    request.getfixturevalue("unread")
    assert set(loading.fingerprints(described(found), found.place)) == set(found.card.splits)


@pytest.mark.parametrize("shift", ["v2", "r", "a", "c"])
def test_fingerprints_of_shifted_sets(shift: str, folder: Path, request: pytest.FixtureRequest) -> None:
    imagenet_family(folder, corruptions=["snow", "fog"], severities=[2, 5])
    wanted, place = dataset(folder, "imagenet").shift(shift)
    expected = loaded(wanted, place)
    request.getfixturevalue("unread")
    loading._LOADED.clear()
    assert loading.fingerprints(wanted, place) == expected


def toys(folder: Path) -> list[tuple[Data, Place]]:
    """The toy data: by code, in an .npz, in .npy, made of code."""
    write(folder, "datasets/toy_c.yaml", MADE)
    write(folder, "datasets/toy.yaml", TOY_YAML + "shifts: {c: toy_c}\n")
    write(folder, "datasets/toy.py", TOY_PY)
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, count in (("train", 8), ("test", 4)):
        arrays[f"{split}_images"] = rng.integers(0, 255, (count, 16, 16, 3), np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 2
    (folder / "data/npy").mkdir(parents=True)
    np.savez(folder / "data/arrays.npz", **arrays)
    for name, array in arrays.items():
        np.save(folder / f"data/npy/{name}.npy", array)
    write(folder, "datasets/one.yaml", CARD.format(source="{type: npz, path: arrays.npz}"))
    write(folder, "datasets/own.yaml", CARD.format(source="{type: npy, path: npy}"))
    sets = [dataset(folder, name) for name in ("toy", "one", "own")]
    return [(one.labelled(), one.place) for one in sets] + [sets[0].shift("c")]


def test_fingerprints_of_code_arrays_and_made_sets(folder: Path) -> None:
    for wanted, place in toys(folder):
        expected = loaded(wanted, place)
        loading._LOADED.clear()
        assert loading.fingerprints(wanted, place) == expected, wanted.name


def photos(folder: Path, *, test: int) -> None:
    """Black images in folders; where the counts of the splits are equal, the files are too."""
    card = CARD.format(source="{type: folder, path: photos}").replace("test: 4", f"test: {test}")
    write(folder, "datasets/photos.yaml", card)
    for split, count in (("train", 8), ("test", test)):
        for name in ("red", "green"):
            (folder / "data/photos" / split / name).mkdir(parents=True)
            for number in range(count // 2):
                Image.new("RGB", (16, 16)).save(folder / f"data/photos/{split}/{name}/{number}.png")


def test_a_run_learns_fingerprints_without_pixels(folder: Path, request: pytest.FixtureRequest) -> None:
    photos(folder, test=4)
    write(folder, "suite.yaml", SUITE.replace("[toy]", "[photos]").replace("batch_size: 50", "batch_size: 4"))
    jobs = read_plan(Path("suite.yaml")).unique()
    found = dataset(folder, "photos")
    expected = loaded(found.labelled(), found.place)
    request.getfixturevalue("unread")
    loading._LOADED.clear()
    store = Store(folder / "results")
    refresh_fingerprints(jobs, store, Limits())
    for job in jobs:
        assert store.fingerprints(job) == {split: expected[split] for split in data_of(job).counts}


def test_train_and_test_are_compared_without_pixels(folder: Path, request: pytest.FixtureRequest) -> None:
    write(
        folder, "datasets/photos.yaml", CARD.format(source="{type: folder, path: photos}").replace("test: 4", "test: 8")
    )
    for split in ("train", "test"):
        for name in ("red", "green"):
            (folder / "data/photos" / split / name).mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (16, 16)).save(folder / f"data/photos/{split}/{name}/{number}.png")
    found = dataset(folder, "photos")
    request.getfixturevalue("unread")
    with pytest.raises(UserError, match=r"photos.yaml: train and test are the same images"):
        loading.fingerprints(found.labelled(), found.place)


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_corrupted_sets_share_the_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, place = toys(folder)[-1]
    assert not isinstance(wanted, LabelledData)
    set_bytes = 4 * 80 * 3 * 16 * 16
    other = wanted.model_copy(update={"source": wanted.source.model_copy(update={"severities": [2, 3]})})
    for data in (wanted, other, wanted):
        found = list(loading.all_corrupted(data, place, memory=set_bytes))  # type: ignore[arg-type]
        assert all(split.images is not None for split in found)
        assert loading._CORRUPTED.size == set_bytes
    made: list[Split] = []
    prepared = loading._prepared
    monkeypatch.setattr(loading, "_prepared", lambda split: made.append(split) or prepared(split))  # type: ignore[func-returns-value]
    again = list(loading.all_corrupted(wanted, place, memory=set_bytes))  # type: ignore[arg-type]
    assert not made
    for split, kept in zip(again, found, strict=True):
        assert torch.equal(torch.cat(list(split.prepared())), torch.cat(list(kept.prepared())))
    list(loading.all_corrupted(wanted, place, memory=set_bytes - 1))  # type: ignore[arg-type]
    assert not made, "a set that does not fit as a whole is streamed"


# --- places ----------------------------------------------------------------------------------------------------------


def test_places_and_descriptions_cross_a_process(folder: Path) -> None:
    imagenet_family(folder, corruptions=["snow"], severities=[2])
    cases = toys(folder)
    cases += [dataset(folder, "imagenet").shift(key) for key in ("v2", "c")]
    cases += [(one.training(), one.place) for one in [dataset(folder, "imagenet")]]
    food = dataset(REPOSITORY, "food101")  # with leave to download
    cases.append((food.labelled(), food.place))
    for data, place in cases:
        text = json.dumps([whole(data), whole(place)])
        there = [json.dumps(one) for one in json.loads(text)]
        data_there, place_there = type(data).model_validate_json(there[0]), Place.model_validate_json(there[1])
        assert data_there == data and place_there == place
        assert resolved(data_there) == resolved(data)
        assert data_there.source == data.source and type(data_there.source) is type(data.source)
    assert cases[-1][0].source.offline() != cases[-1][0].source
