"""Image files in folders: PATH/SPLIT/CLASS/FILE, or PATH/CORRUPTION/SEVERITY/CLASS/FILE."""

import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from sem_bench.base.digest import digest
from sem_bench.base.files import files_below, lines_digest, no_file, shown
from sem_bench.config.fields import SplitName
from sem_bench.config.validation import did_you_mean
from sem_bench.data.archives import sweep, unpack
from sem_bench.data.dataset import Place, located
from sem_bench.data.described import Data
from sem_bench.data.drawn_split import rows_of
from sem_bench.data.junk import junk
from sem_bench.data.readers.image_files import ENDINGS, ending_passed_over, passed_over, read_image
from sem_bench.data.readers.opened import Opened
from sem_bench.data.sources.folder import FolderSource
from sem_bench.errors import UserError


def open_folder(source: FolderSource, data: Data, split: SplitName, place: Place) -> Opened:
    """A split of a folder; an archive is unpacked first where the folder is absent."""
    top = located(place.root, source.path)
    if not top.exists() and place.archive is not None:
        try:
            keep = [source.folders.get(name, name) for name in place.splits]
            unpack(place.archive, top, place.sha256, keep=keep)
        except UserError:
            if not top.exists():  # else another process was faster
                raise
    elif place.archive is not None:
        sweep(top)
    kind = source.kinds[:1]  # a corrupted set is opened one kind at a time
    below = "/".join(map(str, kind[0])) if kind else source.folders.get(split, "." if source.split else split)
    folder = top / below
    if not folder.is_dir():
        folder = _elsewhere(source, top, below, split, place)
    if source.split is not None:
        folder = _around_classes(folder, place)
    others: Counter[str] = Counter()
    found = dict(sorted(_image_files(folder, others)))
    names = list(found)
    labels = None
    if place.classes is not None:
        index = _folders(place.classes, source)
        _check_folders(folder, list(index), split, place)
        labels = np.array([index[name.split("/", 1)[0]] for name in names], np.int64)
        present = set(labels.tolist())
        for name, label in index.items():
            if label not in present and not _may_lack(place.classes[label], split, place):
                raise UserError(f"{shown(folder / name)}: no image in the folder of this class")
    if source.split is not None:
        rows = rows_of(split, source.split, names, [0] * len(names) if labels is None else labels.tolist())
        names, labels = [names[row] for row in rows], None if labels is None else labels[rows]
        found = {name: found[name] for name in names}
    if not names:
        text = f"{shown(folder)}: no image; endings looked for: {' '.join(ENDINGS)}"
        raise UserError("; ".join(filter(None, [text, passed_over(others)])))
    return Opened(
        where=str(shown(folder)),
        count=len(names),
        labels=labels,
        read=partial(_of_size if kind else _any_size, source, data.image_size, folder, names),
        fingerprint=digest([kind[0], listing_digest(found)]) if kind else listing_digest(found),
        names=names,
        aside=passed_over(others),
    )


def _around_classes(top: Path, place: Place) -> Path:
    """The folder with the folders of the classes: PATH, or the only folder in it, as in archives with a README."""
    while place.classes is not None and not any((top / name).is_dir() for name in place.classes):
        inside = [path for path in top.iterdir() if path.is_dir() and not junk(path.name)]
        if len(inside) != 1:
            break
        top = inside[0]
    return top


def _elsewhere(source: FolderSource, top: Path, below: str, split: SplitName, place: Place) -> Path:
    """The folder of a split where it does not lie right below PATH: deeper, as in an archive with a README in it.

    Taken where there is one such folder and an archive was unpacked; else a UserError says where it lies.
    """
    missing = f"{shown(top / below)}: no such folder; {shown(place.card)} needs it for its {split} images"
    places = [path for depth in range(1, 4) for path in sorted(top.glob("*/" * depth + below)) if path.is_dir()]
    found = [path for path in places if not junk(path.relative_to(top).as_posix())] if below != "." else []
    if len(found) == 1 and place.archive is not None:
        return found[0]
    if found:
        where = found[0].relative_to(place.root) if found[0].is_relative_to(place.root) else found[0]
        path = where.as_posix().removesuffix(f"/{below}")
        raise UserError(f"{missing}; {shown(found[0])} is there: write `path: {path}`")
    if place.classes is not None and not source.kinds and any((top / name).is_dir() for name in place.classes):
        missing += (
            f"; {shown(top)} has the folders of the classes: `split: {{test: 0.2, seed: 0}}` below `source` draws both"
        )
    raise UserError(missing)


def _folders(classes: Sequence[str], source: FolderSource) -> dict[str, int]:
    """The folder of each class, and its label. Numbers count through the sorted names, whatever order the card has."""
    label = {name: number for number, name in enumerate(classes)}
    if source.names == "classes":
        return label
    return {str(number): label[name] for number, name in enumerate(sorted(classes))}


def _any_size(source: FolderSource, _: int, folder: Path, names: Sequence[str], row: int) -> Image.Image:
    return read_image(folder / names[row], source)


def _of_size(source: FolderSource, size: int, folder: Path, names: Sequence[str], row: int) -> Image.Image:
    """An image of a corrupted set, which is published in the size that a network sees."""
    image = read_image(folder / names[row], source)
    if image.size != (size, size):
        raise UserError(f"{shown(folder / names[row])}: {image.width} x {image.height} px; expected {size} x {size}")
    return image


def listing_digest(files: Mapping[str, int]) -> str:
    """The fingerprint of files: their names and sizes."""
    return lines_digest(f"{name}\t{size}" for name, size in files.items())


def _image_files(folder: Path, others: Counter[str]) -> Iterator[tuple[str, int]]:
    """Images anywhere below the folder: POSIX path from there, and bytes. Junk is left out.

    `others` counts the endings of files that are not read though they may be images.
    """
    for path, status in files_below(folder):
        name = Path(path).relative_to(folder)
        if junk(name.as_posix()):
            continue
        if name.suffix.lower() not in ENDINGS:
            others.update(filter(None, [ending_passed_over(name.as_posix())]))
            continue
        if stat.S_ISLNK(status.st_mode):
            raise UserError(f"{shown(Path(path))}: a link to nothing")
        if why := no_file(Path(path), status):
            raise UserError(f"{shown(Path(path))}: {why}")
        yield name.as_posix(), status.st_size


def _may_lack(name: str, split: SplitName, place: Place) -> bool:
    return split == "val" or (split == "test" and name in place.absent_in_test)


def _check_folders(folder: Path, classes: Sequence[str], split: SplitName, place: Place) -> None:
    """The folders are the classes, and no image lies beside them."""
    found = sorted(path.name for path in folder.iterdir() if path.is_dir() and not junk(path.name))
    for name in found:
        if name not in classes:
            raise UserError(f"{shown(folder / name)}: no class of the card{did_you_mean(name, classes)}")
    for name in classes:
        if name not in found and not _may_lack(name, split, place):
            way = place.may_be_absent(split, [name])
            raise UserError(f"{shown(folder)}: no folder for class {name!r}{_similar(name, found)}{way}")
    for path in folder.iterdir():
        if path.suffix.lower() in ENDINGS and path.is_file() and not junk(path.name):
            raise UserError(f"{shown(path)}: an image outside the folders of the classes")


def _similar(name: str, found: Sequence[str]) -> str:
    return did_you_mean(name, found) if found else ""
