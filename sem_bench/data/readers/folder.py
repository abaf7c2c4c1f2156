"""Image files in folders: PATH/SPLIT/CLASS/FILE, or PATH/CORRUPTION/SEVERITY/CLASS/FILE."""

import stat
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from sem_bench.base.digest import digest
from sem_bench.base.files import files_below, lines_digest, no_file, shown
from sem_bench.config.fields import SplitName
from sem_bench.config.validation import did_you_mean
from sem_bench.data.archives import sweep, unpack
from sem_bench.data.dataset import Place, located
from sem_bench.data.described import Data
from sem_bench.data.readers.opened import Opened, said
from sem_bench.data.sources.folder import FolderSource
from sem_bench.data.threads import reading
from sem_bench.errors import UserError

PIXELS = 2 * 89_478_485  # of an image; Pillow refuses more, too, and from half of that on warns on standard error
Image.MAX_IMAGE_PIXELS = None
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif")


def open_folder(source: FolderSource, data: Data, split: SplitName, place: Place) -> Opened:
    """A split of a folder; an archive is unpacked first where the folder is absent."""
    top = located(place.root, source.path)
    if not top.exists() and place.archive is not None:
        try:
            unpack(place.archive, top, place.sha256)
        except UserError:
            if not top.exists():  # else another process was faster
                raise
    elif place.archive is not None:
        sweep(top)
    kind = source.kinds[:1]  # a corrupted set is opened one kind at a time
    folder = top.joinpath(*map(str, kind[0])) if kind else top / source.folders.get(split, split)
    if not folder.is_dir():
        raise UserError(f"{shown(folder)}: no such folder; {shown(place.card)} needs it for its {split} images")
    found = dict(sorted(_image_files(folder)))
    names = list(found)
    labels = None
    if place.classes is not None:
        index = _folders(place.classes, source)
        _check_folders(folder, list(index))
        labels = np.array([index[name.split("/", 1)[0]] for name in names], np.int64)
        present = set(labels.tolist())
        for name, label in index.items():
            if label not in present:
                raise UserError(f"{shown(folder / name)}: no image in the folder of this class")
    if not names:
        raise UserError(f"{shown(folder)}: no image; endings looked for: {' '.join(ENDINGS)}")
    return Opened(
        where=str(shown(folder)),
        count=len(names),
        labels=labels,
        read=partial(_of_size, data.image_size, folder, names) if kind else lambda row: read_image(folder / names[row]),
        fingerprint=digest([kind[0], listing_digest(found)]) if kind else listing_digest(found),
        names=names,
    )


def _folders(classes: Sequence[str], source: FolderSource) -> dict[str, int]:
    """The folder of each class, and its label. Numbers count through the sorted names, whatever order the card has."""
    label = {name: number for number, name in enumerate(classes)}
    if source.names == "classes":
        return label
    return {str(number): label[name] for number, name in enumerate(sorted(classes))}


def _of_size(size: int, folder: Path, names: Sequence[str], row: int) -> Image.Image:
    """An image of a corrupted set, which is published in the size that a network sees."""
    image = read_image(folder / names[row])
    if image.size != (size, size):
        raise UserError(f"{shown(folder / names[row])}: {image.width} x {image.height} px; expected {size} x {size}")
    return image


def listing_digest(files: Mapping[str, int]) -> str:
    """The fingerprint of files: their names and sizes."""
    return lines_digest(f"{name}\t{size}" for name, size in files.items())


def hidden(name: str) -> bool:
    """Whether a file, or a folder on the way to it, is hidden; `name` is its POSIX path from the top."""
    return any(part.startswith(".") for part in name.split("/"))


def _image_files(folder: Path) -> Iterator[tuple[str, int]]:
    """Images anywhere below the folder: POSIX path from there, and bytes. Hidden files and folders are left out."""
    for path, status in files_below(folder):
        name = Path(path).relative_to(folder)
        if name.suffix.lower() not in ENDINGS or hidden(name.as_posix()):
            continue
        if stat.S_ISLNK(status.st_mode):
            raise UserError(f"{shown(Path(path))}: a link to nothing")
        if why := no_file(Path(path), status):
            raise UserError(f"{shown(Path(path))}: {why}")
        yield name.as_posix(), status.st_size


def _check_folders(folder: Path, classes: Sequence[str]) -> None:
    """The folders are the classes, and no image lies beside them."""
    found = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    for name in found:
        if name not in classes:
            raise UserError(f"{shown(folder / name)}: no class of the card{did_you_mean(name, classes)}")
    for name in classes:
        if name not in found:
            raise UserError(f"{shown(folder)}: no folder for class {name!r}{_similar(name, found)}")
    for path in folder.iterdir():
        if path.suffix.lower() in ENDINGS and path.is_file():
            raise UserError(f"{shown(path)}: an image outside the folders of the classes")


def _similar(name: str, found: Sequence[str]) -> str:
    return did_you_mean(name, found) if found else ""


def read_image(path: Path) -> Image.Image:
    """An image file in RGB. Raises UserError where it is absent, no image, or damaged."""
    try:
        with reading(path), Image.open(path) as image:
            if image.width * image.height > PIXELS:
                raise UserError(f"{shown(path)}: {image.width} x {image.height} pixels, more than {PIXELS:,}")
            if image.mode.startswith(("I", "F")):
                raise UserError(f"{shown(path)}: more than 8 bits a channel (mode {image.mode}); convert it first")
            if image.mode == "P" and "transparency" in image.info:
                return image.convert("RGBA").convert("RGB")  # Pillow warns of the direct way
            return image.convert("RGB")
    except UnidentifiedImageError:
        raise UserError(f"{shown(path)}: not an image") from None
    except PermissionError:
        raise UserError(f"{shown(path)}: may not be read") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(f"{shown(path)}: damaged image ({said(error)})") from None
