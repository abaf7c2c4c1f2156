"""Every published data set: its card, its loader on a small tree in the published format, and damaged trees."""

import json
import pickle
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import yaml
from PIL import Image
from tabulate import tabulate

from sem_bench.cli import main
from sem_bench.config.cards import Library
from sem_bench.config.fields import SplitName
from sem_bench.data import loading
from sem_bench.data.card import dataset_card
from sem_bench.data.dataset import DataSet
from sem_bench.data.described import ShiftedData
from sem_bench.data.readers import open_split
from sem_bench.data.sources.corrupted import PUBLISHED_CORRUPTIONS
from sem_bench.data.sources.torchvision import TorchvisionSource
from sem_bench.data.split import Split
from sem_bench.errors import UserError
from sem_bench.evaluations.measures.shifted_sets import own_classes
from sem_bench.evaluations.robustness import RobustnessJob
from tests.helpers.datasets import dataset, described
from tests.helpers.places import REPOSITORY
from tests.helpers.published_trees import (
    DATASETS,
    WRITERS,
    card_of,
    colour,
    imagenet_family,
    sign,
    with_shifts,
    write_card,
    write_tree,
)
from tests.helpers.toy import SUITE, replace_text, write

INSTALLED = sorted(path.stem for path in DATASETS.glob("*.yaml"))
BASES = {"imagenet_v2": "imagenet", "imagenet_c": "imagenet", "cifar10_c": "cifar10", "cifar100_c": "cifar100"}


def read(folder: Path, name: str) -> dict[str, Split]:
    """All splits, every image read; of a corrupted set every kind."""
    found = dataset(folder, name)
    wanted = described(found)
    if isinstance(wanted, ShiftedData) and wanted.source.kinds:
        kinds = loading.all_corrupted(wanted, found.place)
        splits = {f"{k[0]} {k[1]}": s for k, s in zip(wanted.source.kinds, kinds, strict=True)}
    else:
        splits = {str(key): split for key, split in loading.load_all(wanted, found.place).items()}
    for split in splits.values():
        assert sum(len(part) for part in split.prepared()) == len(split)
    return splits


def refused(folder: Path, name: str) -> str:
    """The only line that a damaged tree gives."""
    loading._LOADED.clear()
    with pytest.raises(UserError) as raised:
        read(folder, name)
    assert len(raised.value.problems) == 1
    line: str = raised.value.problems[0]
    assert "\n" not in line and len(line) < 500
    return line


def tree(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its small tree; torchvision's checksums are those of the tree."""
    small = write_tree(folder, name, corruptions=["snow", "fog"]) if name.endswith("_c") else write_tree(folder, name)
    sign(monkeypatch, small.data)
    return small.data


def assert_right(split: Split, classes: Sequence[str]) -> None:
    """Every image has the colour of its class; `classes` are the names of the labels."""
    for image, label in zip(torch.cat(list(split.prepared())), split.labels.tolist(), strict=True):
        assert np.abs(image.double().mean((1, 2)).numpy() - colour(classes[label])).max() < 9, classes[label]


# --- loaders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
def test_a_tree_in_the_published_format(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(folder, name, monkeypatch)
    found = dataset(folder, name)
    splits = read(folder, name)
    assert len({split.fingerprint for split in splits.values()}) == len(splits)
    for key, split in splits.items():
        card_split = key if key in found.card.splits else "test"
        assert len(split) == found.card.splits[card_split]
        if found.card.classes is not None:
            assert set(split.labels.tolist()) == set(range(len(found.card.classes)))
            assert_right(split, found.card.classes)


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_decoded_on_opening(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(folder, name, monkeypatch)
    found = dataset(folder, name)

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(Image.Image, "load", opened)
    wanted = described(found)
    if wanted.source.kinds:
        assert isinstance(wanted, ShiftedData)
        wanted = loading.one_kind(wanted, wanted.source.kinds[0])
    for split, count in wanted.counts.items():
        here = open_split(wanted, split, found.place)
        assert here.count == count
        assert here.arrays is None or isinstance(here.arrays, np.memmap)


def test_numbered_folders_are_the_sorted_classes(folder: Path) -> None:
    """Of 12 classes, "10" sorts before "2"; and the base set's card may have another order."""
    wnids = card_of("imagenet")["classes"][:12]
    shuffled = [wnids[i] for i in np.random.default_rng(0).permutation(12)]
    write_tree(folder, "imagenet", classes=shuffled, train=1, test=1)
    write_tree(folder, "imagenet_v2", classes=shuffled, test=1)
    with_shifts(folder, "imagenet", {"v2": "imagenet_v2"})
    wanted, place = dataset(folder, "imagenet").shift("v2")
    assert_right(loading.load(wanted, "test", place), shuffled)


def test_shifted_sets_belong_to_their_base_by_class(folder: Path) -> None:
    imagenet_family(folder, classes=5)
    found = dataset(folder, "imagenet")
    base = found.labelled()
    assert (base.resize, base.image_size) == (18, 16)
    for key, count in (("v2", 5), ("r", 2), ("a", 2), ("c", 5)):
        wanted, place = found.shift(key)
        assert wanted.resize == (None if key == "c" else 18) and wanted.normalise == base.normalise
        job = RobustnessJob(data=wanted, shift=key, classes=base.classes, fraction=1.0)
        names = [base.classes[number] for number in own_classes(job).tolist()]
        assert len(names) == count
        if key == "c":
            splits = list(loading.all_corrupted(wanted, place))
            assert len(splits) == 75
        else:
            splits = [loading.load(wanted, "test", place)]
        for split in splits:
            assert_right(split, names)


def test_a_shift_with_a_class_of_its_own_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imagenet_family(folder)
    card = yaml.safe_load((folder / "datasets/imagenet_r.yaml").read_text())
    write_card(folder, "imagenet_r", card | {"classes": ["n01440764", "n01443538"]})
    write(folder, "suite.yaml", SUITE.replace("[toy]", "[imagenet]"))
    assert main(["plan", "suite.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'imagenet_r' has a class 'n01443538' that 'imagenet' lacks; did you mean 'n01443537'?" in line


def test_the_test_images_of_cifar_c_are_those_of_the_severity(folder: Path) -> None:
    small = write_tree(folder, "cifar10_c", corruptions=["snow", "fog"], severities=[5, 2])
    splits = read(folder, "cifar10_c")
    assert list(splits) == ["snow 5", "snow 2", "fog 5", "fog 2"]
    whole = np.load(small.data / "CIFAR-10-C/fog.npy")
    shown = torch.cat(list(splits["fog 2"].prepared())).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(shown, whole[6:12])


def test_files_with_equal_sizes_are_told_apart(folder: Path) -> None:
    """Arrays of one shape have one size, so these files are known by their content."""
    small = write_tree(folder, "cifar10_1")
    before = read(folder, "cifar10_1")["test"].fingerprint
    path = small.data / "cifar10.1/cifar10.1_v6_data.npy"
    np.save(path, 255 - np.load(path))
    loading._LOADED.clear()
    assert read(folder, "cifar10_1")["test"].fingerprint != before


def test_labels_of_a_list_are_a_part_of_the_data(folder: Path) -> None:
    small = write_tree(folder, "tiny_imagenet")
    before = read(folder, "tiny_imagenet")["test"].fingerprint
    path = small.data / "tiny-imagenet-200/val/val_annotations.txt"
    a, b = small.classes[:2]
    path.write_text(path.read_text().replace(a, "x").replace(b, a).replace("x", b))
    loading._LOADED.clear()
    assert read(folder, "tiny_imagenet")["test"].fingerprint != before


def test_caltech_is_drawn_once_for_everyone(folder: Path) -> None:
    write_tree(folder, "caltech101", classes=4, train=5, test=4)
    found = dataset(folder, "caltech101")
    drawn = {}
    splits: tuple[SplitName, ...] = ("train", "test")
    for split in splits:
        here = open_split(found.labelled(), split, found.place)
        drawn[split] = {here.read(row).tobytes() for row in range(here.count)}
        assert here.labels is not None
        assert np.bincount(here.labels).tolist() == [5 if split == "train" else 4] * 4
    assert not drawn["train"] & drawn["test"]
    # A class is drawn alike beside other classes: what is drawn depends on its name and its files alone.
    rest = write_tree(folder / "other", "caltech101", classes=["Faces", "BACKGROUND_Google"], train=5, test=4)
    library = Library(folder / "other")
    other = DataSet(dataset_card(library, "caltech101"), library, rest.data)
    again = open_split(other.labelled(), "train", other.place)
    assert again.count == 10 and {again.read(row).tobytes() for row in range(10)} < drawn["train"]


def test_an_archive_that_was_unpacked_may_go(folder: Path) -> None:
    write_tree(folder, "food101")
    found = dataset(folder, "food101")
    before = open_split(found.labelled(), "test", found.place).fingerprint
    for name in ("food-101.tar.gz", ".DS_Store"):
        (folder / "data/food101" / name).write_bytes(b"later")
        assert open_split(found.labelled(), "test", found.place).fingerprint == before
    (folder / "data/food101/notes.txt").write_bytes(b"new")
    assert open_split(found.labelled(), "test", found.place).fingerprint != before


def test_doctor_does_not_download(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The installed card lets torchvision fetch what is absent; a folder that is there but empty is looked at."""
    import torchvision.datasets.food101 as module

    def fetch(*_: object, **__: object) -> None:
        raise AssertionError("a download was begun")

    monkeypatch.setattr(module, "download_and_extract_archive", fetch)
    (folder / "data/food101").mkdir(parents=True)
    suite = (folder / "suite.yaml").read_text().replace("[toy]", "[food101]")
    write(folder, "suite.yaml", suite)
    assert main(["doctor", "suite.yaml"]) == 2
    output = capsys.readouterr().out
    assert "food101" in output and "FAULTY: " in output and "download was begun" not in output


def test_one_process_at_a_time_downloads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs that share their data and start together."""
    write_tree(folder, "food101")
    there, away = folder / "data/food101", folder / "elsewhere"
    there.rename(away)
    food, starts = torchvision.datasets.Food101, list[str]()

    def fetched(root: Path, split: str, download: bool) -> object:
        if download and not (there / "food-101").exists():
            starts.append(split)
            time.sleep(0.3)
            assert len(starts) == 1
            (away / "food-101").rename(there / "food-101")
        return food(root=root, split=split)

    monkeypatch.setattr(torchvision.datasets, "Food101", fetched)
    found = dataset(folder, "food101")
    data = found.labelled()
    assert isinstance(data.source, TorchvisionSource)
    data = data.model_copy(update={"source": data.source.model_copy(update={"download": True})})
    with ThreadPoolExecutor(2) as pool:
        opened = list(pool.map(lambda _: open_split(data, "test", found.place), range(2)))
    assert starts == ["test"] and opened[0].count == opened[1].count > 0


def test_of_a_thousand_classes_a_message_names_a_few(folder: Path) -> None:
    write_tree(folder, "imagenet_r", classes=card_of("imagenet_r")["classes"], test=1)
    (folder / "data/imagenet-r/elsewhere").mkdir()
    assert refused(folder, "imagenet_r").endswith(
        "elsewhere: no class of the card; there are 200, such as n01443537, n01484850, n01494475"
    )


def test_a_link_to_itself_is_one_line(folder: Path) -> None:
    write_tree(folder, "imagenet_r")
    link = folder / "data/imagenet-r" / card_of("imagenet_r")["classes"][0] / "self.jpg"
    link.symlink_to(link)
    assert refused(folder, "imagenet_r").endswith("self.jpg: a link to nothing")


# --- damaged trees ---------------------------------------------------------------------------------------------------


def cut(path: Path, bytes_: int = 40) -> None:
    path.write_bytes(path.read_bytes()[:-bytes_])


def first(top: Path, pattern: str) -> Path:
    return sorted(top.rglob(pattern))[0]


def shorter(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def relabelled(path: Path, key: str, label: int) -> None:
    batch = pickle.loads(path.read_bytes())
    batch[key] = [label] * len(batch[key])
    path.write_bytes(pickle.dumps(batch))


def car(path: Path, label: int) -> None:
    from scipy.io import loadmat, savemat

    notes = loadmat(path, squeeze_me=True)["annotations"]
    notes["class"][0] = label
    savemat(path, {"annotations": notes})


ONE = "n01440764"  # the first class of ImageNet
DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "imagenet: missing class": (
        "imagenet",
        lambda top: (top / f"imagenet/val/{ONE}").rename(top / ONE),
        f"data/imagenet/val: no folder for class '{ONE}'; did you mean",
    ),
    "imagenet: wrong wnid": (
        "imagenet",
        lambda top: (top / f"imagenet/train/{ONE}").rename(top / "imagenet/train/n01440765"),
        f"data/imagenet/train/n01440765: no class of the card; did you mean '{ONE}'?",
    ),
    "imagenet: wrong count": (
        "imagenet",
        lambda top: first(top / "imagenet/train", "*.JPEG").unlink(),
        "data/imagenet/train: 8 images, but datasets/imagenet.yaml says train: 9",
    ),
    "imagenet: corrupt image": (
        "imagenet",
        lambda top: cut(first(top / "imagenet/val", "*.JPEG")),
        "ILSVRC2012_val_00000001.JPEG: damaged image (image file is truncated",
    ),
    "imagenet_v2: missing class": (
        "imagenet_v2",
        lambda top: (top / "imagenetv2-matched-frequency-format-val/2").rename(top / "2"),
        "data/imagenetv2-matched-frequency-format-val: no folder for class '2'",
    ),
    "imagenet_v2: folders of wnids": (
        "imagenet_v2",
        lambda top: [
            (top / "imagenetv2-matched-frequency-format-val" / str(i)).rename(
                top / "imagenetv2-matched-frequency-format-val" / f"n0144076{i}"
            )
            for i in range(3)
        ],
        "data/imagenetv2-matched-frequency-format-val/n01440760: no class of the card; there is 0, 1, 2",
    ),
    "imagenet_r: missing class": (
        "imagenet_r",
        lambda top: first(top / "imagenet-r", "n0*").rename(top / "x"),
        "data/imagenet-r: no folder for class",
    ),
    "imagenet_a: corrupt image": (
        "imagenet_a",
        lambda top: first(top / "imagenet-a", "*.jpg").write_bytes(b"<html>"),
        "art_200.jpg: not an image",
    ),
    "imagenet_a: wrong count": (
        "imagenet_a",
        lambda top: first(top / "imagenet-a", "*.jpg").unlink(),
        "data/imagenet-a: 5 images, but datasets/imagenet_a.yaml says test: 6",
    ),
    "imagenet_c: missing severity": (
        "imagenet_c",
        lambda top: (top / "imagenet-c/fog/3").rename(top / "3"),
        "data/imagenet-c/fog/3: no such folder; datasets/imagenet_c.yaml needs it for its test images",
    ),
    "imagenet_c: wrong wnid": (
        "imagenet_c",
        lambda top: (top / f"imagenet-c/snow/5/{ONE}").rename(top / "imagenet-c/snow/5/n01440765"),
        "data/imagenet-c/snow/5/n01440765: no class of the card",
    ),
    "imagenet_c: another size": (
        "imagenet_c",
        lambda top: Image.new("RGB", (17, 16)).save(first(top / "imagenet-c/snow/1", "*.JPEG")),
        "ILSVRC2012_val_00000001.JPEG: 17 x 16 px; expected 16 x 16",
    ),
    "cifar10: truncated": (
        "cifar10",
        lambda top: cut(top / "cifar10/cifar-10-batches-py/data_batch_2"),
        "torchvision's CIFAR10, train: RuntimeError: Dataset not found or corrupted",
    ),
    "cifar10: missing class": (
        "cifar10",
        lambda top: relabelled(top / "cifar10/cifar-10-batches-py/test_batch", "labels", 1),
        "torchvision's CIFAR10, test: no image of class 'airplane'",
    ),
    "cifar100: wrong label": (
        "cifar100",
        lambda top: relabelled(top / "cifar100/cifar-100-python/test", "fine_labels", 3),
        "torchvision's CIFAR100, test: label 3, but the card names 3 classes, 0 to 2",
    ),
    "cifar10_1: truncated": (
        "cifar10_1",
        lambda top: cut(top / "cifar10.1/cifar10.1_v6_data.npy"),
        "data/cifar10.1/cifar10.1_v6_data.npy: damaged, or no .npy (",
    ),
    "cifar10_1: wrong count": (
        "cifar10_1",
        lambda top: shorter(top / "cifar10.1/cifar10.1_v6_data.npy"),
        "cifar10.1_v6_data.npy: 5 images, but datasets/cifar10_1.yaml says test: 6",
    ),
    "cifar10_1: wrong labels": (
        "cifar10_1",
        lambda top: shorter(top / "cifar10.1/cifar10.1_v6_labels.npy"),
        "cifar10.1_v6_data.npy: test: labels are int32 (5,); expected",
    ),
    "cifar10_c: missing file": (
        "cifar10_c",
        lambda top: (top / "CIFAR-10-C/fog.npy").unlink(),
        "data/CIFAR-10-C/fog.npy: no such file; datasets/cifar10_c.yaml needs it",
    ),
    "cifar10_c: truncated": (
        "cifar10_c",
        lambda top: shorter(top / "CIFAR-10-C/snow.npy"),
        "data/CIFAR-10-C/snow.npy: 29 images, but datasets/cifar10_c.yaml says test: 5 severities of 6",
    ),
    "cifar100_c: wrong label": (
        "cifar100_c",
        lambda top: np.save(top / "CIFAR-100-C/labels.npy", np.full(30, 7)),
        "snow.npy: severity 1: label 7, but the card names 3 classes, 0 to 2",
    ),
    "cifar100_c: no array": (
        "cifar100_c",
        lambda top: np.save(top / "CIFAR-100-C/snow.npy", np.float64(1)),
        "data/CIFAR-100-C/snow.npy: damaged, or no .npy (no array of images or labels)",
    ),
    "stl10: truncated": (
        "stl10",
        lambda top: cut(top / "stl10/stl10_binary/train_X.bin"),
        "torchvision's STL10, train: RuntimeError: Dataset not found or corrupted",
    ),
    "stl10: other classes": (
        "stl10",
        lambda top: replace_text(top / "stl10/stl10_binary/class_names.txt", "bird", "crow"),
        "torchvision's STL10, train: class 1 is 'crow', but the card says 'bird'",
    ),
    "stl10_unlabeled: truncated": (
        "stl10_unlabeled",
        lambda top: cut(top / "stl10/stl10_binary/unlabeled_X.bin"),
        "torchvision's STL10, train: RuntimeError: Dataset not found or corrupted",
    ),
    "tiny_imagenet: wrong wnid": (
        "tiny_imagenet",
        lambda top: replace_text(top / "tiny-imagenet-200/val/val_annotations.txt", "val_2.JPEG\tn", "val_2.JPEG\tm"),
        "data/tiny-imagenet-200/val/val_annotations.txt:3: no class of the card: 'm01",
    ),
    "tiny_imagenet: missing class": (
        "tiny_imagenet",
        lambda top: first(top / "tiny-imagenet-200/train", "n0*").rename(top / "x"),
        "data/tiny-imagenet-200/train/n01443537/images: no image of this class",
    ),
    "tiny_imagenet: missing image": (
        "tiny_imagenet",
        lambda top: (top / "tiny-imagenet-200/val/images/val_3.JPEG").unlink(),
        "data/tiny-imagenet-200/val/images/val_3.JPEG: no such image; datasets/tiny_imagenet.py: load('test') names it",
    ),
    "food101: missing class": (
        "food101",
        lambda top: (top / "food101/food-101/meta/train.json").write_text(
            json.dumps({"apple_pie": ["apple_pie/0"], "baklava": ["baklava/0"]})
        ),
        "torchvision's Food101, train: 2 classes, but the card names 3",
    ),
    "food101: corrupt image": (
        "food101",
        lambda top: cut(first(top / "food101", "200.jpg")),
        "Food101, test: data/food101/food-101/images/apple_pie/200.jpg: OSError: image file is truncated",
    ),
    "food101: missing image": (
        "food101",
        lambda top: first(top / "food101", "201.jpg").unlink(),
        "torchvision's Food101, test: data/food101/food-101/images/apple_pie/201.jpg is absent",
    ),
    "sun397: no list": (
        "sun397",
        lambda top: (top / "SUN397/Testing_01.txt").unlink(),
        "data/SUN397/Testing_01.txt: no such file; it is in Partitions.zip",
    ),
    "sun397: wrong class": (
        "sun397",
        lambda top: replace_text(top / "SUN397/Training_01.txt", "/a/abbey/sun_1.", "/a/abey/sun_1."),
        "data/SUN397/Training_01.txt:2: no class of the card: 'abey'; did you mean 'abbey'?",
    ),
    "sun397: missing image": (
        "sun397",
        lambda top: (top / "SUN397/a/apartment_building/outdoor/sun_200.jpg").unlink(),
        "data/SUN397/a/apartment_building/outdoor/sun_200.jpg: no such image; ",
    ),
    "sun397: twice": (
        "sun397",
        lambda top: replace_text(top / "SUN397/Training_01.txt", "/a/abbey/sun_1.", "/a/abbey/sun_0."),
        "data/SUN397/a/abbey/sun_0.jpg: named twice by datasets/sun397.py: load('train')",
    ),
    "dtd: other class in one of two lists": (  # torchvision numbers the classes of each list on its own
        "dtd",
        lambda top: replace_text(
            top / "dtd/dtd/dtd/labels/val1.txt", "banded/banded_0100.jpg", "blotchy/blotchy_0000.jpg"
        ),
        "torchvision's DTD, train: 2 classes, but the card names 3",
    ),
    "dtd: wrong count": (
        "dtd",
        lambda top: replace_text(top / "dtd/dtd/dtd/labels/val1.txt", "banded/banded_0100.jpg\n", ""),
        "torchvision's DTD, train: 2 classes, but the card names 3",
    ),
    "pets: other breed": (
        "pets",
        lambda top: replace_text(top / "pets/oxford-iiit-pet/annotations/test.txt", "American_Bulldog", "Bulldog"),
        "torchvision's OxfordIIITPet, test: class 1 is 'Bulldog', but the card says 'American Bulldog'",
    ),
    "pets: corrupt image": (
        "pets",
        lambda top: first(top / "pets", "*.jpg").write_text("no image"),
        "train: data/pets/oxford-iiit-pet/images/Abyssinian_0.jpg: UnidentifiedImageError",
    ),
    "flowers102: no labels": (
        "flowers102",
        lambda top: cut(top / "flowers102/flowers-102/setid.mat"),
        "torchvision's Flowers102, train: RuntimeError: Dataset not found or corrupted",
    ),
    "caltech101: missing class": (
        "caltech101",
        lambda top: (top / "caltech101/101_ObjectCategories/Faces").rename(top / "Faces"),
        "data/caltech101/101_ObjectCategories/Faces: 0 images; 3 for training and one more are needed",
    ),
    "caltech101: class too many": (
        "caltech101",
        lambda top: (top / "caltech101/101_ObjectCategories/Facs").mkdir(),
        "data/caltech101/101_ObjectCategories/Facs: no class of the card; did you mean 'Faces'?",
    ),
    "cars: wrong class": (
        "cars",
        lambda top: car(top / "cars/stanford_cars/devkit/cars_train_annos.mat", 4),
        "torchvision's StanfordCars, train: label 3, but the card names 3 classes, 0 to 2",
    ),
    "cars: missing image": (
        "cars",
        lambda top: (top / "cars/stanford_cars/cars_test/00002.jpg").unlink(),
        "torchvision's StanfordCars, test: data/cars/stanford_cars/cars_test/00002.jpg is absent",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_tree_is_refused_with_one_line(damage: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, spoil, expected = DAMAGE[damage]
    top = tree(folder, name, monkeypatch)
    spoil(top)
    if "corrupted" not in expected:  # else the checksum is what is wrong
        sign(monkeypatch, top)
    assert expected in refused(folder, name).replace(f"{folder}/", "")


def test_every_loader_is_damaged() -> None:
    assert {name for name, _, _ in DAMAGE.values()} == set(WRITERS)


# --- cards -----------------------------------------------------------------------------------------------------------

MINE = """
summary: birds
source: {type: folder, path: birds}
splits: {train: 4, test: 2}
image_size: 16
classes: [robin, wren]
superclasses: {birds: [robin, wren]}
shifts: {r: birds_r}
normalise: {mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
licence: ours
get: ask us
"""
MINE_R = """
summary: drawn birds
source: {type: folder, path: birds-r}
splits: {test: 2}
image_size: 16
classes: [wren, robin]
licence: ours
get: ask us
"""


@pytest.mark.parametrize("name", [*INSTALLED, "birds", "birds_r"])
def test_the_contract_of_every_card(name: str, folder: Path) -> None:
    """What the engine and a reader may expect of a card, ours or a user's."""
    write(folder, "datasets/birds.yaml", MINE)
    write(folder, "datasets/birds_r.yaml", MINE_R)
    library = Library(folder)
    card = dataset_card(library, name).content  # the schema, and that what it names is there
    assert card.summary and not card.summary.endswith(".") and card.licence
    drawn = card.source.type in ("python", "corrupted") and not card.files
    assert drawn or len(card.get) >= 6, "how to get the data"
    if card.source.made_of is not None:
        assert dataset_card(library, card.source.made_of).content.shifts.values() and not card.splits
        return
    assert set(card.splits) in ({"train"}, {"test"}, {"train", "test"})
    groups = [member for members in card.superclasses.values() for member in members]
    assert not groups or sorted(groups) == sorted(card.classes or [])
    if card.normalise is not None:
        assert all(0.1 < value < 0.9 for value in card.normalise.mean)
        assert all(0.1 < value < 0.4 for value in card.normalise.std)
    assert min(card.splits.values()) >= len(card.classes or ["any"])
    for shift in card.shifts.values():
        other = dataset_card(library, shift).content
        if other.source.type != "corrupted":
            assert set(other.classes or []) <= set(card.classes or []) and set(other.splits) == {"test"}
    assert set(card.reference_errors) <= {kind[0] for kind in card.source.kinds}


MARKS = ("<!-- installed sets: python tests/test_published_sets.py -->\n", "<!-- end of installed sets -->")


def overview() -> str:
    """The installed sets for docs/data.md: a table, then how to get each."""
    library = Library(REPOSITORY)
    rows, how = [], []
    for name in INSTALLED:
        card = dataset_card(library, name).content
        made = card.source.made_of is not None
        base = card if card.source.made_of is None else dataset_card(library, card.source.made_of).content
        train, test = 0 if made else base.splits.get("train", 0), base.splits.get("test", 0)
        kinds = f" x {len(card.source.kinds)}" if card.source.kinds else ""
        metric = "" if not base.classes else {"top1": "top-1", "mean_per_class": "mean per class"}[card.metric]
        shifts = ", ".join(f"{key}: {shift}" for key, shift in card.shifts.items())
        classes, groups = (f"{len(found):,}" if found else "" for found in (base.classes, card.superclasses))
        rows.append([name, f"{train:,} + {test:,}{kinds}", classes, base.image_size, metric, groups, shifts])
        if card.get:
            how += textwrap.wrap(
                f"- **{name}**: {card.get}", 124, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
            )
    headers = ["card", "images", "classes", "px", "metric", "superclasses", "shifts"]
    return tabulate(rows, headers=headers, tablefmt="github") + "\n\n" + "\n".join(how) + "\n"


def test_the_docs_list_every_installed_set() -> None:
    text = (REPOSITORY / "docs/data.md").read_text()
    before, _, rest = text.partition(MARKS[0])
    assert before and rest.partition(MARKS[1])[0] == overview()


def test_the_sizes_that_the_papers_state() -> None:
    library = Library(REPOSITORY)
    stated = {
        "imagenet": (1000, 1281167, 50000), "imagenet_v2": (1000, 0, 10000), "imagenet_r": (200, 0, 30000),
        "imagenet_a": (200, 0, 7500), "imagenet_c": (1000, 0, 50000), "cifar10": (10, 50000, 10000),
        "cifar100": (100, 50000, 10000), "cifar10_1": (10, 0, 2000), "cifar10_c": (10, 0, 10000),
        "cifar100_c": (100, 0, 10000), "stl10": (10, 5000, 8000), "stl10_unlabeled": (0, 100000, 0),
        "tiny_imagenet": (200, 100000, 10000), "food101": (101, 75750, 25250), "sun397": (397, 19850, 19850),
        "dtd": (47, 3760, 1880), "pets": (37, 3680, 3669), "flowers102": (102, 2040, 6149),
        "caltech101": (102, 3060, 6084), "cars": (196, 8144, 8041),
    }  # fmt: skip
    assert set(stated) == set(WRITERS)
    for name, expected in stated.items():
        card = dataset_card(library, name).content
        assert (len(card.classes or []), card.splits.get("train", 0), card.splits.get("test", 0)) == expected, name
    per_class = {name for name in stated if dataset_card(library, name).content.metric == "mean_per_class"}
    assert per_class == {"pets", "flowers102", "caltech101"}
    assert dataset_card(library, "imagenet").content.shifts.keys() == {"v2", "r", "a", "c"}
    assert dataset_card(library, "imagenet_c").content.source.kinds == [
        (name, severity) for name in PUBLISHED_CORRUPTIONS for severity in range(1, 6)
    ]
    errors = dataset_card(library, "imagenet_c").content.reference_errors
    assert errors.keys() == set(PUBLISHED_CORRUPTIONS)
    assert sum(errors.values()) / 15 == pytest.approx(0.788993, abs=1e-6)


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("classes_of: birds", "classes_of: brids", "unknown dataset 'brids'; did you mean 'birds'?"),
        ("classes_of: birds", "classes_of: birds_c", "'birds_c' lists no classes of its own"),
        ("classes_of: birds", "classes_of: birds\nclasses: [robin, wren]", "classes and classes_of say the same thing"),
        ("severities: [1, 3]", "", "corruptions and severities belong together"),
        ("[1, 3]", "[1, 6]", "severities[1]: should be less than or equal to 5, found 6"),
        ("{test: 2}", "{test: 2, train: 2}", "missing key 'normalise'"),
        ("size: 16", "size: 16\nresize: 18", "a corrupted set has test images only, and they are shown as they are"),
        ("image_size: 16", "image_size: 32", "'birds_c' needs a test split and images of 16 px, as 'birds'"),
        ("path: birds-c", "names: nubers, path: birds-c", "unknown names 'nubers'; did you mean 'numbers'?"),
        ("type: folder", "type: npy", "source.images: without '{corruption}' in it, all corruptions would be the same"),
    ],
)
def test_mistakes_in_cards_of_corrupted_sets(
    folder: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, expected: str
) -> None:
    card = """
        summary: the birds in fog
        source: {type: folder, path: birds-c, corruptions: [fog], severities: [1, 3]}
        splits: {test: 2}
        image_size: 16
        classes_of: birds
        licence: ours
        """
    assert right in card
    write(folder, "datasets/birds.yaml", MINE.replace("{r: birds_r}", "{c: birds_c}"))
    write(folder, "suite.yaml", SUITE.replace("[toy]", "[birds]").replace("batch_size: 50", "batch_size: 4"))
    write(folder, "datasets/birds_c.yaml", card)
    assert main(["plan", "suite.yaml"]) == 0
    capsys.readouterr()
    write(folder, "datasets/birds_c.yaml", card.replace(right, wrong.replace("\n", "\n        ")))
    assert main(["plan", "suite.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


if __name__ == "__main__":  # writes the list of docs/data.md anew
    document = REPOSITORY / "docs/data.md"
    before, mark, rest = document.read_text().partition(MARKS[0])
    assert mark, f"{document} has no {MARKS[0]}"
    sys.stdout.write(overview())
    document.write_text(before + mark + overview() + MARKS[1] + rest.partition(MARKS[1])[2])
