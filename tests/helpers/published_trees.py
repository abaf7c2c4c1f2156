"""Small data sets on disk in the formats that the published ones have, and their cards made small.

`write_tree(folder, name)` writes data/... and datasets/NAME.yaml below a user's folder: the installed card with fewer
classes and images, its source as it is. The pictures of a class have a colour of their own, `colour(class)`, so that
a test sees whether an image came under the right name, whatever the order of folders and labels.
"""

import hashlib
import json
import pickle
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from PIL import Image

from tests.helpers.places import REPOSITORY

DATASETS = REPOSITORY / "datasets"
FAMILY = ("imagenet", "imagenet_v2", "imagenet_r", "imagenet_a", "imagenet_c")
TRAIN, TEST = 3, 2  # images of each class
Pixels = npt.NDArray[np.uint8]


def colour(name: str) -> npt.NDArray[np.float64]:
    """The mean colour of a class's pictures."""
    return np.random.default_rng(zlib.crc32(name.encode())).uniform(40, 215, 3)


def picture(name: str, number: int, height: int, width: int) -> Pixels:
    """One of its pictures (height, width, 3): the colour, with some noise."""
    noise = np.random.default_rng([zlib.crc32(name.encode()), number]).normal(0, 12, (height, width, 3))
    return (colour(name) + noise).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Small:
    """What a tree is to hold."""

    data: Path  # the data folder
    classes: list[str]
    size: int  # of an image, about
    train: int  # of each class
    test: int

    def images(self, split: str, each: int | None = None) -> list[tuple[str, int]]:
        """(class, number) of the images of a split; no two splits share a number."""
        first, count = {"train": (0, self.train), "val": (100, 1), "test": (200, self.test)}[split]
        return [(name, first + i) for name in self.classes for i in range(count if each is None else each)]

    def save(self, path: Path, name: str, number: int, *, exactly: bool = False) -> None:
        """A picture as a JPEG, of about the size, as photographs are, or exactly of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        more = (0, 0) if exactly else (number % 3, 2 + number % 2)
        pixels = picture(name, number, self.size + more[0], self.size + more[1])
        Image.fromarray(pixels).save(path, "JPEG", quality=95)

    def pixels(self, images: Sequence[tuple[str, int]]) -> Pixels:
        """Pictures (N, size, size, 3)."""
        return np.stack([picture(name, number, self.size, self.size) for name, number in images])

    def labels(self, images: Sequence[tuple[str, int]], first: int = 0) -> list[int]:
        """Their classes' numbers."""
        return [first + self.classes.index(name) for name, _ in images]


def imagenet(small: Small, card: dict[str, Any]) -> None:
    """imagenet/train/WNID/WNID_7.JPEG and imagenet/val/WNID/ILSVRC2012_val_00000007.JPEG."""
    for name, number in small.images("train"):
        small.save(small.data / f"imagenet/train/{name}/{name}_{number}.JPEG", name, number)
    for row, (name, number) in enumerate(small.images("test"), 1):
        small.save(small.data / f"imagenet/val/{name}/ILSVRC2012_val_{row:08}.JPEG", name, number)


def imagenet_v2(small: Small, card: dict[str, Any]) -> None:
    """Folders with the numbers of the sorted wnids."""
    for name, number in small.images("test"):
        folder = small.data / "imagenetv2-matched-frequency-format-val" / str(sorted(small.classes).index(name))
        small.save(folder / f"{hashlib.sha1(f'{name}{number}'.encode()).hexdigest()}.jpeg", name, number)


def folders(small: Small, card: dict[str, Any]) -> None:
    """imagenet-r/WNID/art_3.jpg, with the list that lies beside the folders."""
    top = small.data / card["source"]["path"]
    for name, number in small.images("test"):
        small.save(top / name / f"art_{number}.jpg", name, number)
    (top / "README.txt").write_text("\n".join(f"{name} something" for name in small.classes))


def imagenet_c(small: Small, card: dict[str, Any]) -> None:
    """imagenet-c/CORRUPTION/SEVERITY/WNID/*.JPEG, all of one size."""
    for corruption in card["source"]["corruptions"]:
        for severity in card["source"]["severities"]:
            for row, (name, number) in enumerate(small.images("test"), 1):
                folder = small.data / "imagenet-c" / corruption / str(severity) / name
                small.save(folder / f"ILSVRC2012_val_{row:08}.JPEG", name, number + severity, exactly=True)


def cifar_c(small: Small, card: dict[str, Any]) -> None:
    """CIFAR-10-C/fog.npy: five blocks, one for each severity, whatever severities the card reads."""
    top = small.data / card["source"]["path"]
    top.mkdir(parents=True)
    images = small.images("test")
    for k, corruption in enumerate(card["source"]["corruptions"]):
        blocks = [small.pixels([(name, number + 10 * s + k) for name, number in images]) for s in range(5)]
        np.save(top / f"{corruption}.npy", np.concatenate(blocks))
    np.save(top / "labels.npy", np.tile(small.labels(images), 5).astype(np.uint8))


def cifar10_1(small: Small, card: dict[str, Any]) -> None:
    """Two arrays."""
    (small.data / "cifar10.1").mkdir(parents=True)
    images = small.images("test")
    np.save(small.data / "cifar10.1/cifar10.1_v6_data.npy", small.pixels(images))
    np.save(small.data / "cifar10.1/cifar10.1_v6_labels.npy", np.array(small.labels(images), np.int32))


def cifar(small: Small, card: dict[str, Any]) -> None:
    """Pickled batches of rows of 3,072 numbers."""
    ten = card["source"]["class"] == "CIFAR10"
    top = small.data / card["source"]["path"] / ("cifar-10-batches-py" if ten else "cifar-100-python")
    top.mkdir(parents=True)
    key, meta = ("labels", "label_names") if ten else ("fine_labels", "fine_label_names")
    train = small.images("train")
    parts = {f"data_batch_{k + 1}": train[k::5] for k in range(5)} | {"test_batch": small.images("test")}
    if not ten:
        parts = {"train": train, "test": small.images("test")}
    for file, images in parts.items():
        rows = small.pixels(images).transpose(0, 3, 1, 2).reshape(len(images), -1)
        (top / file).write_bytes(pickle.dumps({"data": rows, key: small.labels(images)}))
    (top / ("batches.meta" if ten else "meta")).write_bytes(pickle.dumps({meta: small.classes}))


def stl10(small: Small, card: dict[str, Any]) -> None:
    """Binary files: channels, columns, rows; labels from 1. The images of 96 px are not to be had smaller."""
    top = small.data / "stl10/stl10_binary"
    top.mkdir(parents=True, exist_ok=True)
    for split, images in (("train", small.images("train")), ("test", small.images("test"))):
        (top / f"{split}_X.bin").write_bytes(small.pixels(images).transpose(0, 3, 2, 1).tobytes())
        (top / f"{split}_y.bin").write_bytes(np.array(small.labels(images, 1), np.uint8).tobytes())
    unlabelled = small.pixels([("anything", number) for number in range(4)])
    (top / "unlabeled_X.bin").write_bytes(unlabelled.transpose(0, 3, 2, 1).tobytes())
    (top / "class_names.txt").write_text("\n".join(small.classes) + "\n")


def tiny_imagenet(small: Small, card: dict[str, Any]) -> None:
    """train/WNID/images/WNID_7.JPEG beside its boxes; val/images and val_annotations.txt."""
    top = small.data / "tiny-imagenet-200"
    for name, number in small.images("train"):
        small.save(top / f"train/{name}/images/{name}_{number}.JPEG", name, number, exactly=True)
        (top / f"train/{name}/{name}_boxes.txt").write_text(f"{name}_{number}.JPEG\t0\t0\t9\t9\n")
    lines = []
    for row, (name, number) in enumerate(reversed(small.images("test"))):
        small.save(top / f"val/images/val_{row}.JPEG", name, number, exactly=True)
        lines.append(f"val_{row}.JPEG\t{name}\t0\t0\t62\t62\n")
    (top / "val/val_annotations.txt").write_text("".join(lines))


def food101(small: Small, card: dict[str, Any]) -> None:
    """Lists in JSON beside the images."""
    top = small.data / "food101/food-101"
    for split in ("train", "test"):
        listed: dict[str, list[str]] = {}
        for name, number in small.images(split):
            listed.setdefault(name, []).append(f"{name}/{number}")
            small.save(top / f"images/{name}/{number}.jpg", name, number)
        (top / "meta").mkdir(exist_ok=True)
        (top / f"meta/{split}.json").write_text(json.dumps(listed))


def sun397(small: Small, card: dict[str, Any]) -> None:
    """SUN397/a/abbey/sun_7.jpg and the lists of partition 1; a second word of a class is a folder of its own."""
    top = small.data / "SUN397"
    for split, file in (("train", "Training_01.txt"), ("test", "Testing_01.txt")):
        lines = []
        for name, number in small.images(split):
            path = f"/{name[0]}/{name.replace('_outdoor', '/outdoor')}/sun_{number}.jpg"
            small.save(Path(f"{top}{path}"), name, number)
            lines.append(path)
        (top / file).write_text("\n".join(lines) + "\n")


def dtd(small: Small, card: dict[str, Any]) -> None:
    """Lists of three splits; train and val are one here."""
    top = small.data / "dtd/dtd/dtd"
    (top / "labels").mkdir(parents=True)
    for split in ("train", "val", "test"):
        images = small.images(split, small.train - 1 if split == "train" else None)
        for name, number in images:
            small.save(top / f"images/{name}/{name}_{number:04}.jpg", name, number)
        (top / f"labels/{split}1.txt").write_text("".join(f"{name}/{name}_{i:04}.jpg\n" for name, i in images))


def pets(small: Small, card: dict[str, Any]) -> None:
    """images/Maine_Coon_7.jpg and lists with the class's number from 1."""
    top = small.data / "pets/oxford-iiit-pet"
    (top / "annotations").mkdir(parents=True)
    for split, file in (("train", "trainval.txt"), ("test", "test.txt")):
        lines = []
        for name, number in small.images(split):
            image = f"{name.replace(' ', '_')}_{number}"
            small.save(top / f"images/{image}.jpg", name, number)
            lines.append(f"{image} {small.classes.index(name) + 1} 1 1\n")
        (top / "annotations" / file).write_text("".join(lines))


def flowers102(small: Small, card: dict[str, Any]) -> None:
    """jpg/image_00007.jpg; MATLAB's files say the class and the split of each. torchvision wants all 102 classes."""
    from scipy.io import savemat

    top = small.data / "flowers102/flowers-102"
    rows, labels, splits = 0, list[int](), {}
    for split, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid")):
        images = small.images(split, 1)
        for row, (name, number) in enumerate(images, rows + 1):
            small.save(top / f"jpg/image_{row:05}.jpg", name, number)
        splits[key] = np.arange(rows + 1, rows + 1 + len(images))
        rows, labels = rows + len(images), labels + small.labels(images, 1)
    savemat(top / "imagelabels.mat", {"labels": np.array(labels)})
    savemat(top / "setid.mat", splits)


def caltech101(small: Small, card: dict[str, Any]) -> None:
    """101_ObjectCategories/CLASS/image_0007.jpg, without a split."""
    for name, number in small.images("train") + small.images("test"):
        small.save(small.data / f"caltech101/101_ObjectCategories/{name}/image_{number:04}.jpg", name, number)


def cars(small: Small, card: dict[str, Any]) -> None:
    """cars_train/00007.jpg, cars_test and annotations in MATLAB's files."""
    from scipy.io import savemat

    top = small.data / "cars/stanford_cars"
    (top / "devkit").mkdir(parents=True)
    for split, file in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        notes = []
        for row, (name, number) in enumerate(small.images(split), 1):
            small.save(top / f"cars_{split}/{row:05}.jpg", name, number)
            notes.append((f"{row:05}.jpg", small.classes.index(name) + 1))
        savemat(top / file, {"annotations": np.array(notes, dtype=[("fname", "O"), ("class", "O")])})
    savemat(top / "devkit/cars_meta.mat", {"class_names": np.array(small.classes, dtype=object)})


WRITERS: dict[str, Callable[[Small, dict[str, Any]], None]] = {
    "imagenet": imagenet, "imagenet_v2": imagenet_v2, "imagenet_r": folders, "imagenet_a": folders,
    "imagenet_c": imagenet_c, "cifar10": cifar, "cifar100": cifar, "cifar10_1": cifar10_1, "cifar10_c": cifar_c,
    "cifar100_c": cifar_c, "stl10": stl10, "stl10_unlabeled": stl10, "tiny_imagenet": tiny_imagenet,
    "food101": food101, "sun397": sun397, "dtd": dtd, "pets": pets, "flowers102": flowers102,
    "caltech101": caltech101, "cars": cars,
}  # fmt: skip
CIFAR, STL = ("cifar10", "cifar100", "cifar10_1", "cifar10_c", "cifar100_c"), ("stl10", "stl10_unlabeled")
FIXED = dict.fromkeys(CIFAR, 32) | dict.fromkeys(STL, 96)  # sizes that a format fixes
CHOSEN = {"sun397": ["abbey", "apartment_building_outdoor", "youth_hostel"]}  # one of them in a folder of a folder


def card_of(name: str) -> dict[str, Any]:
    """An installed card."""
    content: dict[str, Any] = yaml.safe_load((DATASETS / f"{name}.yaml").read_text())
    return content


def write_tree(
    folder: Path,
    name: str,
    *,
    classes: int | Sequence[str] = 3,
    size: int = 16,
    train: int = TRAIN,
    test: int = TEST,
    **source: Any,
) -> Small:
    """A published data set made small: its tree in folder/data, its card in folder/datasets.

    `classes` are so many of the card's, or these; `size` what a network sees, where the format does not fix it; `train`
    and `test` images of each class. `source` changes keys of the card's source, such as corruptions.
    """
    card = card_of(name)
    named = card if "classes" in card else card_of(card.get("classes_of", "stl10"))
    known = named["classes"]
    if name == "flowers102":
        classes, train, test = len(known), 2, 1
    some = CHOSEN.get(name, known)[:classes] if isinstance(classes, int) else list(classes)
    small = Small(folder / "data", some, FIXED.get(name, size), train, test)
    counts = {"train": 4 if name == "stl10_unlabeled" else train * len(some), "test": test * len(some)}
    card["source"] |= source
    card["source"].pop("download", None)  # a damaged tree is not to be fetched anew
    card.pop("subsets", None)
    card["splits"] = {split: counts[split] for split in card["splits"]}
    card["image_size"] = small.size
    if "resize" in card:
        card["resize"] = small.size + 2
    if "classes" in card or "classes_of" in card:
        card["classes"] = some
        card.pop("classes_of", None)
    if "superclasses" in card:
        groups = {group: [one for one in members if one in some] for group, members in card["superclasses"].items()}
        card["superclasses"] = {group: members for group, members in groups.items() if members}
    if name == "caltech101":
        card["source"]["arguments"] = {"per_class": train}
    card.pop("shifts", None)
    WRITERS[name](small, card)
    write_card(folder, name, card)
    return small


def write_card(folder: Path, name: str, card: dict[str, Any]) -> None:
    """A card of the user's, with the code beside it where the installed one has some."""
    (folder / "datasets").mkdir(parents=True, exist_ok=True)
    (folder / f"datasets/{name}.yaml").write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True))
    if card["source"]["type"] == "python" and (DATASETS / f"{name}.py").exists():
        shutil.copy(DATASETS / f"{name}.py", folder / f"datasets/{name}.py")


def with_shifts(folder: Path, name: str, shifts: dict[str, str]) -> None:
    """Name shifted sets in a card that was written."""
    path = folder / f"datasets/{name}.yaml"
    write_card(folder, name, yaml.safe_load(path.read_text()) | {"shifts": shifts})


def imagenet_family(
    folder: Path, *, classes: int = 4, size: int = 16, train: int = TRAIN, test: int = TEST, **corrupted: Any
) -> None:
    """ImageNet and its four shifted sets; r and a have two of the classes each. `corrupted`: keys of c's source."""
    names = write_tree(folder, "imagenet", classes=classes, size=size, train=train, test=test).classes
    write_tree(folder, "imagenet_v2", classes=names, size=size, test=test)
    write_tree(folder, "imagenet_r", classes=names[:2], size=size, test=test)
    write_tree(folder, "imagenet_a", classes=names[-2:], size=size, test=test)
    write_tree(folder, "imagenet_c", classes=names, size=size, test=test, **corrupted)
    with_shifts(folder, "imagenet", {key: f"imagenet_{key}" for key in ("v2", "r", "a", "c")})


def sign(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    """Let torchvision expect the checksums of the trees that are in the data folder."""
    from torchvision.datasets import CIFAR10, CIFAR100, STL10, Flowers102

    classes: list[tuple[Any, str]] = [(CIFAR10, "cifar10"), (CIFAR100, "cifar100"), (STL10, "stl10")]
    for class_, folder in classes:
        top = data / folder / class_.base_folder
        if top.is_dir():
            for key in ("train_list", "test_list"):
                signed = [[file, _md5(top / file)] for file, _ in getattr(class_, key)]
                monkeypatch.setattr(class_, key, signed)
            if class_ is not STL10:
                monkeypatch.setattr(class_, "meta", class_.meta | {"md5": _md5(top / class_.meta["filename"])})
    top = data / "flowers102/flowers-102"
    if top.is_dir():
        files = {key: (file, _md5(top / file)) for key, (file, _) in Flowers102._file_dict.items() if key != "image"}
        monkeypatch.setattr(Flowers102, "_file_dict", Flowers102._file_dict | files)


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()
