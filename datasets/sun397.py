"""SUN397 by its own lists: Training_NN.txt and Testing_NN.txt say /a/abbey/sun_xyz.jpg, the class and the image."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from sem_bench.errors import UserError
from sem_bench.validation import did_you_mean


def load(
    split: str, *, count: int, image_size: int, root: Path, classes: Sequence[str], partition: int = 1
) -> tuple[list[Path], list[int]]:
    """The files and labels of a split of one of the ten partitions; a class is its path without the first letter."""
    names = {"train": "Training", "test": "Testing"}
    listing = root / "SUN397" / f"{names[split]}_{partition:02}.txt"
    if not listing.is_file():
        raise UserError(f"{listing}: no such file; it is in Partitions.zip")
    label = {name: number for number, name in enumerate(classes)}
    files, labels = [], []
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        parts = PurePosixPath(line.strip()).parts  # "/", "a", "abbey", "sun_xyz.jpg"
        name = "_".join(parts[2:-1])
        if name not in label:
            raise UserError(f"{listing}:{number}: no class of the card: {name!r}{did_you_mean(name, label)}")
        files.append(root / "SUN397" / PurePosixPath(*parts[1:]))
        labels.append(label[name])
    return files, labels
