"""Checkpoints: a training that goes on, a finished one, those of earlier versions, and files that are neither."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sem_bench.base.seals import DamagedError
from sem_bench.training import parameter_groups
from sem_bench.training.checkpoint import Finished, LogRow, TrainingState, Unfinished, load
from sem_bench.training.health import Health
from tests.helpers.methods import build, pretrain_job

CPU = torch.device("cpu")
ROW = LogRow(1, 2.5, 0.1, 3.0, 100.0, 0.25, 0.9, 12.0, None)


def state() -> TrainingState:
    method = build("simclr")
    return TrainingState(method, parameter_groups.build(method, pretrain_job().training), "images")


def finished(**changes: Any) -> Finished:
    own: dict[str, Any] = {
        "data": "images",
        "step": 7,
        "seconds": 3.0,
        "log": [ROW],
        "health": Health(1.0, 20.0, None),
        "parameters": 5,
        "notes": ["a note"],
        "imported": None,
        "encoder": {"weight": torch.ones(2)},
    }
    return Finished(**own | changes)


def test_a_training_goes_on_from_what_it_left(tmp_path: Path) -> None:
    mine = state()
    mine.step, mine.seconds, mine.losses, mine.log = 4, 2.0, [0.5], [ROW]
    mine.save(tmp_path / "checkpoint.pt")
    found = load(tmp_path / "checkpoint.pt", "images", CPU)
    assert isinstance(found, Unfinished)
    other = state()
    other.restore(found.state)
    assert (other.step, other.seconds, other.losses, other.log) == (4, 2.0, [0.5], [ROW])
    assert other.log[0].health == Health(0.9, 12.0, None)
    for name, value in mine.method.state_dict().items():
        assert torch.equal(value, other.method.state_dict()[name])


@pytest.mark.parametrize("imported", [None, Health(0.5, 2.0, 0.1)])
def test_a_finished_one_is_read_as_it_was_written(tmp_path: Path, imported: Health | None) -> None:
    mine = finished(imported=imported)
    mine.save(tmp_path / "checkpoint.pt")
    found = load(tmp_path / "checkpoint.pt", "images", CPU)
    assert isinstance(found, Finished)
    assert torch.equal(found.encoder["weight"], torch.ones(2))
    for name in ("data", "step", "seconds", "log", "health", "parameters", "notes", "imported"):
        assert getattr(found, name) == getattr(mine, name), name


def test_the_health_at_the_end_is_that_of_the_last_epoch_else_of_imported_weights() -> None:
    imported = Health(0.5, 2.0, 0.1)
    assert finished(imported=imported).end == ROW.health
    assert finished(log=[], imported=imported).end == imported
    assert finished(log=[]).end == Health(1.0, 20.0, None)


def test_what_is_no_checkpoint_of_these_images_is_none(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    assert load(path, "images", CPU) is None
    finished().save(path)
    assert load(path, "other images", CPU) is None


def test_what_is_not_what_was_written_is_never_trusted(tmp_path: Path) -> None:
    """Cut off anywhere, any bit flipped, of another job, or a state that somebody else saved."""
    path = tmp_path / "checkpoint.pt"
    finished().save(path)
    whole = path.read_bytes()
    flipped = [whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :] for at in range(0, len(whole), 97)]
    for content in [whole[:end] for end in (0, 10, len(whole) // 2, len(whole) - 1)] + flipped + [b"hello"]:
        path.write_bytes(content)
        with pytest.raises(DamagedError):
            load(path, "images", CPU)
    path.write_bytes(whole)
    with pytest.raises(DamagedError, match="of another job"):
        load(path, "images", CPU, "another")
    torch.save({"data": "images", "encoder": {}}, path)
    with pytest.raises(DamagedError, match="no checksum"):
        load(path, "images", CPU)
    wrong: list[dict[str, Any]] = [
        {"step": "x"},
        {"step": -1},
        {"step": 10**6},
        {"losses": 3, "log": 5},
        {"method": {}},
    ]
    for faulty in wrong:
        mine = state()
        mine.save(path)
        found = load(path, "images", CPU)
        assert isinstance(found, Unfinished)
        with pytest.raises(DamagedError):
            state().resume(found.state | faulty, path, 20)
