"""The features of a trained encoder on its suite's data, as arrays."""

from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from sem_bench.base.files import read_json
from sem_bench.config.cards import Library
from sem_bench.config.validation import did_you_mean
from sem_bench.errors import UserError
from sem_bench.evaluations.measures.features import of_split
from sem_bench.report.row import ARM, FLOOR
from sem_bench.runs.arm import Arm
from sem_bench.runs.plan import EXTERNAL, arms_of
from sem_bench.runs.suite import suite_model
from sem_bench.trained.encoder import device_of, trained
from sem_bench.trained.find import Found, in_results
from sem_bench.training.card import method_card
from sem_bench.workspace import Workspace

SplitName = Literal["train", "test"]


class Features(NamedTuple):
    """Of the N images of a split, in its order."""

    h: npt.NDArray[np.floating]  # (N, d) float32; float16 where that is larger than the memory that was given
    labels: npt.NDArray[np.int64]  # (N,) positions in the classes of the data set's card; -1: it has none


def features(
    results: str | Path,
    *,
    arm: str | None = None,
    split: SplitName = "test",
    seed: int | None = None,
    suite: str | None = None,
    data: str | Path = "data",
    cards: str | Path = ".",
    device: str = "auto",
    memory: float = 2.0,
    workers: int = 1,
) -> Features:
    """h of the images that the suite evaluates on, as its probe reads them, and their labels.

    From the cache of the results folder, or computed and kept there. `arm`, `seed` and `suite` as for `load_encoder`;
    `data` is the folder of the data, `cards` that of the suite, with cards of your own; `memory` (GiB) bounds the
    images, and the features, that are held in memory; `workers` threads read images.

    Raises UserError where an arm, seed or split is not known, the checkpoint cannot be read, or data are absent.
    """
    if split not in get_args(SplitName):
        raise UserError(f"split {split!r}{did_you_mean(str(split), get_args(SplitName))}")
    found = in_results(Path(results), arm=arm, seed=seed, suite=suite)
    where = planned(found, Path(cards), Path(data))
    if absent := where.evaluated.place.absent():
        raise UserError([f"no data for {found.job.dataset!r}: {path} is absent" for path in absent])
    _, encoder = trained(found.folder, Path(cards))
    chosen = device_of(device)
    workspace = Workspace(
        folder=found.folder,
        inputs={found.job.kind: found.folder},
        method_code=where.method.code,
        place=where.evaluated.place,
        parts=where.parts,
        cache=(found.root / "cache").absolute(),
        device=chosen,
        memory=int(memory * 2**30),
        workers=workers,
    )
    described = where.images()
    if split not in described.counts:
        raise UserError(f"{where.evaluated.name}: no {split} images with labels; split 'train' has all its images")
    images = workspace.load(described, split)
    h = of_split(encoder.to(chosen), described, images, workspace, name=split)
    return Features(h.cpu().numpy(), images.labels.numpy())


def planned(found: Found, cards: Path, data: Path) -> Arm:
    """The arm of a pretraining, planned anew: it knows its data. Raises UserError where the cards have changed."""
    path, library = found.root / "suites" / f"{found.manifest.name}.json", Library(cards)
    asked: dict[str, Any] = read_json(path)["suite"]
    grids = [{key: value for key, value in grid.items() if value is not None} for grid in asked["grid"]]
    suite = suite_model({}).model_validate(asked | {"grid": grids, "evaluate": {}, "sweeps": []})
    try:
        arms = arms_of(suite, library, data)
        if found.job.method == FLOOR:
            arms = [arm.floor(method_card(library, EXTERNAL)) for arm in arms]
        wanted = [getattr(found.job, name) for name in ARM]
        for arm in arms:
            cell = arm.cell(found.job.seed)
            if [getattr(cell, name) for name in ARM] == wanted:
                return arm
    except KeyError as error:
        raise UserError(f"{error.args[0]!r} is not in {cards}; `cards` names the folder of the suite") from None
    raise UserError(f"{found.arm}: the cards in {cards} are not those of the run")
