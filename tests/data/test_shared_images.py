"""Images that several processes of a run hold in memory once."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sem_bench.config.cards import Library
from sem_bench.data import loading, shared_images
from sem_bench.data.card import dataset_card
from sem_bench.data.dataset import DataSet
from sem_bench.data.shared_images import SharedFolder, share_in, shared
from tests.helpers.places import REPOSITORY
from tests.helpers.toy import write


@pytest.fixture
def lent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedFolder]:
    """A shared folder in use, for images of any size."""
    monkeypatch.setattr(shared_images, "LEAST", 0)
    folder = SharedFolder(tmp_path / "cache")
    folder.make()
    share_in(folder.path)
    yield folder
    share_in(None)
    folder.remove()


def test_the_first_process_makes_them_and_the_others_map_them(folder: Path, lent: SharedFolder) -> None:
    library = Library(folder)
    data = DataSet(dataset_card(library, "toy"), library, folder)
    loading._LOADED.clear()
    first = loading.load_all(data.labelled(), data.place)
    files = sorted(lent.path.iterdir())
    assert {path.stat().st_size - 128 for path in files} == {200 * 3 * 16 * 16, 80 * 3 * 16 * 16}
    loading._LOADED.clear()
    second = loading.load_all(data.labelled(), data.place)
    share_in(None)
    loading._LOADED.clear()
    alone = loading.load_all(data.labelled(), data.place)
    assert sorted(lent.path.iterdir()) == files
    for split in ("train", "test"):
        images = [found[split].images for found in (first, second, alone)]
        assert images[0] is not None and images[1] is not None and images[2] is not None
        assert torch.equal(images[0], images[2]) and torch.equal(images[1], images[2])
        assert first[split].fingerprint == second[split].fingerprint == alone[split].fingerprint


def test_they_are_made_once_and_small_ones_need_no_file(lent: SharedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make() -> torch.Tensor:
        made.append(1)
        return torch.full((2, 3, 4, 4), len(made), dtype=torch.uint8)

    for _ in range(3):
        images = shared("key", 96, make)
        assert images is not None and (images == 1).all()
        images += 1  # what a process writes is its own
    assert len(made) == 1 and shared("none", 96, lambda: None) is None
    monkeypatch.setattr(shared_images, "LEAST", 97)
    found = shared("key", 96, make)
    assert found is not None and (found == 2).all()
    assert len(list(lent.path.iterdir())) == 1


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    write(
        tmp_path,
        "leave.py",
        """
        import os
        from pathlib import Path
        from sem_bench.data.shared_images import SharedFolder

        SharedFolder(Path("cache")).make()
        os._exit(9)
        """,
    )
    for _ in range(2):
        subprocess.run([sys.executable, "leave.py"], cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)}, check=False)
    folders = [path for path in (tmp_path / "cache/shared").iterdir() if path.is_dir()]
    assert len(folders) == 1  # the second cleared away the first's
    mine, living = SharedFolder(tmp_path / "cache"), SharedFolder(tmp_path / "cache")
    living.make()
    mine.make()
    assert {path for path in mine.path.parent.iterdir() if path.is_dir()} == {mine.path, living.path}
    mine.remove()
    living.remove()
    assert not list((tmp_path / "cache/shared").iterdir())
