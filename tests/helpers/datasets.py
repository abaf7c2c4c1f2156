"""Data sets of a user's folder, and how whoever reads them sees them."""

from pathlib import Path

from sem_bench.config.cards import Library
from sem_bench.data.card import Normalisation, dataset_card
from sem_bench.data.dataset import DataSet
from sem_bench.data.described import Data, ShiftedData


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
