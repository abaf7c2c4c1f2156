"""Tiny ImageNet as it is published: train/WNID/images, and val/images with val_annotations.txt for their classes."""

from collections.abc import Sequence
from pathlib import Path

from sem_bench.errors import UserError


def load(
    split: str, *, count: int, image_size: int, root: Path, classes: Sequence[str]
) -> tuple[list[Path], list[int]]:
    """The files and labels of a split; the validation images are the test images."""
    top = root / "tiny-imagenet-200"
    label = {name: number for number, name in enumerate(classes)}
    files: list[Path] = []
    labels: list[int] = []
    if split == "train":
        for folder in sorted((top / "train").iterdir()):
            if folder.is_dir() and folder.name not in label:
                raise UserError(f"{folder}: no class of the card")
        for name in classes:
            images = sorted((top / "train" / name / "images").glob("[!.]*.JPEG"))
            if not images:
                raise UserError(f"{top / 'train' / name / 'images'}: no image of this class")
            files += images
            labels += [label[name]] * len(images)
        return files, labels
    listing = top / "val" / "val_annotations.txt"
    if not listing.is_file():
        raise UserError(f"{listing}: no such file; it says the classes of val/images")
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), 1):
        name, wnid, *_ = [*line.split(), "", ""]
        if wnid not in label:
            raise UserError(f"{listing}:{number}: no class of the card: {wnid!r}")
        files.append(top / "val" / "images" / name)
        labels.append(label[wnid])
    return files, labels
