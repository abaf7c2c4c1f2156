"""Files and folders as a first card sees and says them."""

from pathlib import Path

from sem_bench.data.junk import junk
from sem_bench.data.readers.image_files import ENDINGS


def entries(path: Path) -> list[Path]:
    """What lies in a folder, by name, but for junk."""
    return [one for one in sorted(path.iterdir()) if not junk(one.name)]


def subfolders(path: Path) -> list[Path]:
    """The folders in it."""
    return [one for one in entries(path) if one.is_dir()]


def has_image(path: Path) -> bool:
    """Whether an image lies anywhere below a folder."""
    return any(one.suffix.lower() in ENDINGS and not junk(one.relative_to(path).as_posix()) for one in path.rglob("*"))


def said(path: Path, root: Path) -> str:
    """As a card writes it: from the data folder where it lies there."""
    whole, top = path.resolve(), root.resolve()
    return whole.relative_to(top).as_posix() if whole.is_relative_to(top) else whole.as_posix()
