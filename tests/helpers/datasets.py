"""Data sets of a user's folder, and how whoever reads them sees them."""

from pathlib import Path

import numpy as np
from PIL import Image

from sem_bench.config.cards import Library
from sem_bench.data.card import Normalisation, dataset_card
from sem_bench.data.dataset import DataSet
from sem_bench.data.described import Data, ShiftedData
from tests.helpers.toy import write

UNLABELLED = """
summary: anything
source: {type: folder, path: snaps}
splits: {train: 40}
image_size: 16
normalise: {mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.4]}
licence: none needed
"""


def write_unlabelled(folder: Path) -> None:
    """The data set snaps: 40 images of noise without labels, at two depths."""
    write(folder, "datasets/snaps.yaml", UNLABELLED)
    rng = np.random.default_rng(0)
    for i in range(40):
        path = folder / f"data/snaps/train/{'a/b' if i % 2 else 'c'}/{i}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(path)


def dataset(folder: Path, name: str) -> DataSet:
    """A data set of a user's folder."""
    library = Library(folder)
    return DataSet(dataset_card(library, name), library, folder / "data")


def described(found: DataSet) -> Data:
    """A data set as whoever reads it sees it; a shifted one that stands alone as itself."""
    card = found.card
    if "train" in card.splits:
        return found.labelled() if card.labelled else found.training()
    assert card.classes is not None and card.image_size is not None
    return ShiftedData(
        name=found.name,
        source=card.source,
        code="",
        image_size=card.image_size,
        normalise=Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        test=card.splits["test"],
        classes=card.classes,
    )
