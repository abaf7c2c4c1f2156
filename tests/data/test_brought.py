"""Data as people bring them: tables, folders without a split, arrays in other forms, archives, junk and slips."""

import csv
import io
import shutil
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sem_bench
from sem_bench.cli import main
from sem_bench.config.cards import Library
from sem_bench.config.fields import SplitName
from sem_bench.data import loading
from sem_bench.data.card import dataset_card
from sem_bench.data.dataset import DataSet
from sem_bench.data.drawn_split import DrawnSplit, rows_of
from sem_bench.data.readers import image_files
from sem_bench.data.split import Split
from sem_bench.errors import UserError
from sem_bench.runs.record_file import opened
from tests.helpers.toy import write

pytestmark = pytest.mark.cases
COLOURS = {"cat": (200, 60, 60), "dog": (60, 60, 200)}


def card(source: str, *, train: int = 8, test: int = 4, classes: str = "[cat, dog]", more: str = "") -> None:
    text = f"""
summary: a case
source: {source}
splits: {{train: {train}, test: {test}}}
image_size: 8
classes: {classes}
normalise: {{mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
licence: ours
{more}
"""
    write(Path(), "datasets/mine.yaml", text)


def image(path: Path, colour: tuple[int, int, int] = (9, 9, 9), **settings: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path, **settings)
    return path


def load(name: str = "mine") -> dict[SplitName, Split]:
    library = Library(Path())
    found = DataSet(dataset_card(library, name), library, Path("data"))
    return loading.load_all(found.labelled(), found.place)


def refused() -> str:
    with pytest.raises(UserError) as caught:
        load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def colours_fit(split: Split) -> bool:
    """Whether each image has the colour of its label."""
    return all(
        split.read(row).getpixel((0, 0)) == list(COLOURS.values())[label] for row, label in enumerate(split.labels)
    )


# --- tables ---


def table(rows: list[list[str]], *, delimiter: str = ",", encoding: str = "utf-8") -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    Path("data").mkdir(exist_ok=True)
    Path("data/list.csv").write_bytes(text.getvalue().encode(encoding))


def pictures() -> list[tuple[str, str, str]]:
    """data/img/N.png, twelve of them: path, label and split of each."""
    rows = []
    for number in range(12):
        label, split = ("cat", "dog")[number % 2], "train" if number < 8 else "test"
        image(Path(f"data/img/{number}.png"), COLOURS[label])
        rows.append((f"img/{number}.png", label, split))
    return rows


Rows = list[list[str]]
# what the table holds, how it is written, and what the card says beside `type` and `path`
FORMS: dict[str, tuple[Callable[[Rows], Rows], dict[str, str], str]] = {
    "with a header": (lambda rows: [["filename", "label", "split"], *rows], {}, ""),
    "without": (lambda rows: rows, {}, ""),
    "tabs": (lambda rows: [["path", "class", "set"], *rows], {"delimiter": "\t"}, ""),
    "semicolons and a byte order mark": (
        lambda rows: [["image", "target", "subset"], *rows],
        {"delimiter": ";", "encoding": "utf-8-sig"},
        "",
    ),
    "numbers": (
        lambda rows: [["file", "y", "split"], *([path, str("cd".index(name[0])), split] for path, name, split in rows)],
        {},
        "",
    ),
    "numbers from 1": (
        lambda rows: [[path, str("cd".index(name[0]) + 1), split] for path, name, split in rows],
        {},
        ", first_label: 1",
    ),
    "other columns, another folder, no ending": (
        lambda rows: [["n", "who", "when"], *([path[4:-4], name, split] for path, name, split in rows)],
        {},
        ", images: img, ending: .png, columns: {path: n, label: who, split: when}",
    ),
    "columns by number": (
        lambda rows: [["x", name, split, path] for path, name, split in rows],
        {},
        ", columns: {path: 3, label: 1}",
    ),
    "other words": (
        lambda rows: [
            ["path", "label", "fold"],
            *([path, name, {"train": "0", "test": "1"}[split]] for path, name, split in rows),
        ],
        {},
        ', values: {train: "0", test: ["1", "2"]}',
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_tables(here: Path, form: str) -> None:
    content, written, words = FORMS[form]
    table(content(list(map(list, pictures()))), **written)
    card("{type: csv, path: list.csv" + words + "}")
    splits = load()
    assert {name: len(split) for name, split in splits.items()} == {"train": 8, "test": 4}
    assert all(map(colours_fit, splits.values()))
    assert splits["train"].labels.tolist() == [0, 1] * 4


def test_paths_of_windows(here: Path) -> None:
    table([["Filename", "Class", "split"], *([path.replace("/", "\\"), *rest] for path, *rest in pictures())])
    card("{type: csv, path: list.csv}")
    assert all(map(colours_fit, load().values()))


def lists(**files: Iterable[str]) -> None:
    """data/NAME.txt of such lines."""
    for name, lines in files.items():
        write(Path(), f"data/{name}.txt", "\n".join([*lines, ""]))


def test_a_list_for_each_split(here: Path) -> None:
    """As ImageNet's: a path and a number, some spaces between them."""
    lines = [f"{path}   {'cd'.index(label[0])}" for path, label, _ in pictures()]
    card('{type: csv, path: "t_{split}.txt", values: {test: dev}}')
    lists(t_train=lines[:8])
    assert refused() == "data/t_dev.txt: cannot be read: No such file or directory"
    lists(t_dev=[*lines[8:11], lines[0]])
    assert refused() == "data/t_train.txt:1: img/0.png is named a second time"
    lists(t_dev=lines[8:])
    splits = load()
    assert {name: len(split) for name, split in splits.items()} == {"train": 8, "test": 4}
    assert all(map(colours_fit, splits.values()))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("split: {test: 0.2}", "{split} in a name says them: choose one"),
        ("columns: {split: set}", "with '{split}' in its path no column and no `partition` says the split"),
        ("values: {test: [a, b]}", "source.values.test: with '{split}' in a name a split has one word"),
    ],
)
def test_a_table_for_each_split_says_it_alone(here: Path, words: str, said: str) -> None:
    card('{type: csv, path: "{split}.csv", ' + words + "}")
    assert said in refused()


def test_quotes_and_line_ends_of_windows(here: Path) -> None:
    rows = pictures()
    image(Path("data/img/a, b.png"), COLOURS["cat"])
    lines = ["path,label,split", '"img/a, b.png","cat","train"', *(",".join(row) for row in rows[1:])]
    Path("data/list.csv").write_bytes("\r\n".join([*lines, ""]).encode())
    card("{type: csv, path: list.csv}")
    assert all(map(colours_fit, load().values()))


def test_a_table_without_a_split_is_drawn(here: Path) -> None:
    table([["path", "label"], *([path, label] for path, label, _ in pictures())])
    card("{type: csv, path: list.csv}")
    assert refused() == (
        "data/list.csv: no column says the split: name it in `columns: {split: NAME}`, or write "
        "`split: {test: 0.2, seed: 0}` below `source` to draw it"
    )
    card("{type: csv, path: list.csv, split: {test: 0.3}}")
    splits = load()
    assert {name: sorted(split.labels.tolist()) for name, split in splits.items()} == {
        "train": [0] * 4 + [1] * 4,
        "test": [0] * 2 + [1] * 2,
    }
    assert all(map(colours_fit, splits.values()))


@pytest.mark.parametrize(
    ("source", "line", "said"),
    [
        ("", ["img/0.png", "cat", "train"], "data/list.csv:14: img/0.png is named a second time"),
        ("", ["img/99.png", "cat", "train"], "data/list.csv:14: data/img/99.png: no such image"),
        ("", ["img/new.png", "cta", "train"], "data/list.csv:14: no class 'cta'; did you mean 'cat'?"),
        ("", ["img/new.png", "2", "train"], "data/list.csv:14: label 2, but the card names 2 classes, 0 to 1; `first"),
        ("", ["img/new.png", "cat"], "data/list.csv:14: 2 columns; expected at least 3"),
        (
            "",
            ["img/new.png", "cat", "val"],
            "split 'val'; known are test, testing, train, training: `values: {train: [",
        ),
        ("", ["img/new.png", "cat", "train"], "data/list.csv: train: 9 images, but datasets/mine.yaml says train: 8"),
        (", columns: {label: lable}", ["img/new.png", "cat", "train"], "no column 'lable'; did you mean 'label'?"),
    ],
)
def test_mistakes_in_a_table(here: Path, source: str, line: list[str], said: str) -> None:
    image(Path("data/img/new.png"))
    table([["path", "label", "split"], *map(list, pictures()), line])
    card("{type: csv, path: list.csv" + source + "}")
    assert said in refused()


def test_long_tables_are_streamed(here: Path) -> None:
    """Of a table the rows of a split are kept, and eight bytes of every other line."""
    pictures()
    count = 50_000
    with Path("data/list.csv").open("w") as file:
        file.write("path,label,split\n")
        file.writelines(f"img/{n}.png,{('cat', 'dog')[n % 2]},{'train' if n < 8 else 'test'}\n" for n in range(12))
        file.writelines(f"other/folder/with/a/long/name/{n}.png,cat,later\n" for n in range(count))
    card("{type: csv, path: list.csv, values: {train: train, test: test}}")
    tracemalloc.start()
    splits = load()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert splits["train"].aside == "50,000 lines of other splits are left out" and all(
        map(colours_fit, splits.values())
    )
    assert peak < 60 * count + 2_000_000  # bytes: the text alone has 50 a line, its strings 100 and more
    with Path("data/list.csv").open("a") as file:
        file.write("img/3.png,dog,test\n")
    assert refused() == "data/list.csv:50014: img/3.png is named a second time"


# --- one folder ---


def one_folder(top: str = "data/mine", count: int = 9) -> None:
    for name, colour in COLOURS.items():
        for number in range(count):
            image(Path(f"{top}/{name}/{number}.png"), colour)


def test_a_folder_without_splits_is_drawn(here: Path) -> None:
    one_folder()
    card("{type: folder, path: mine, split: {test: 0.33}}", train=12, test=6)
    splits = load()
    names = {name: set(split.names or []) for name, split in splits.items()}
    assert len(names["train"] | names["test"]) == 18 and not names["train"] & names["test"]
    assert all(map(colours_fit, splits.values()))
    assert splits["test"].labels.tolist() == [0] * 3 + [1] * 3  # of each class its share
    first = splits["train"].fingerprint
    card("{type: folder, path: mine, split: {test: 0.33, seed: 1}}", train=12, test=6)
    assert load()["train"].fingerprint != first


def test_the_draw_is_the_same_for_everyone() -> None:
    """Kept here: another machine, library or order of files must not change it."""
    names = [f"{number}.png" for number in range(10)]
    drawn = rows_of("test", DrawnSplit(test=0.3), names, [0] * 10)
    assert [names[row] for row in drawn] == DRAWN
    backwards = rows_of("test", DrawnSplit(test=0.3), names[::-1], [0] * 10)
    assert {names[::-1][row] for row in backwards} == set(DRAWN)
    assert len(rows_of("test", DrawnSplit(test=0.01), names, [0] * 5 + [1] * 5)) == 2  # at least one of each class
    assert len(rows_of("train", DrawnSplit(test=0.99), names, [0] * 5 + [1] * 5)) == 2


DRAWN = ["1.png", "3.png", "5.png"]


def test_one_folder_for_both_splits_is_refused(here: Path) -> None:
    one_folder()
    card("{type: folder, path: mine, folders: {train: ., test: .}}")
    assert "train and test are both '.'; `split: {test: 0.2, seed: 0}` in their place draws them" in refused()
    card("{type: folder, path: mine}")
    assert refused().endswith(
        "data/mine has the folders of the classes: `split: {test: 0.2, seed: 0}` below `source` draws both"
    )


# --- archives and junk ---


def packed(members: dict[str, bytes], name: str) -> None:
    Path("data").mkdir(exist_ok=True)
    if name.endswith(".zip"):
        with zipfile.ZipFile(Path("data", name), "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
    else:
        with tarfile.open(Path("data", name), "w:gz") as tar:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def tree(top: str) -> dict[str, bytes]:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "png")
    splits = (("train", 4), ("test", 2))
    return {f"{top}{s}/{c}/{i}.png": buffer.getvalue() for s, count in splits for c in COLOURS for i in range(count)}


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize(
    ("top", "beside"),
    [
        ("mine/", {"README.md": b"x", "LICENSE": b"y"}),
        ("mine/", {"._mine": b"x", "mine/._train": b"y", "mine/train/cat/._0.png": b"z", "mine/train/.DS_Store": b""}),
        ("", {"__MACOSX/train/cat/._0.png": b"x", "README": b"y"}),
        ("mine/mine/", {}),
        ("a/b/", {"README": b"", "a/notes.txt": b""}),
        (
            "mine/",
            {"mine/train/cat/Thumbs.db": b"x", "mine/desktop.ini": b"y", "mine/train/.ipynb_checkpoints/0.png": b""},
        ),
    ],
)
def test_archives_however_wrapped(here: Path, name: str, top: str, beside: dict[str, bytes]) -> None:
    packed(tree(top) | beside, name)
    card(f"{{type: folder, path: mine, archive: {name}}}")
    assert {split: len(found) for split, found in load().items()} == {"train": 8, "test": 4}


def test_a_folder_that_lies_deeper_is_named(here: Path) -> None:
    for name, content in tree("inner/data2/").items():
        write(Path("data/mine"), name, "")
        Path("data/mine", name).write_bytes(content)
    card("{type: folder, path: mine}")
    assert refused().endswith("data/mine/inner/data2/train is there: write `path: mine/inner/data2`")
    card("{type: folder, path: mine/inner/data2}")
    assert len(load()["train"]) == 8


def plain() -> None:
    for name in tree(""):
        image(Path("data/mine", name), COLOURS[name.split("/")[1]])


def test_junk_beside_images_is_no_data(here: Path) -> None:
    plain()
    for name in ("train/__MACOSX/a.png", "train/.ipynb_checkpoints/b.png", "train/cat/._0.png", "train/@eaDir/c.png"):
        write(Path("data/mine"), name, "no image")
    for name in ("train/Thumbs.db", "train/desktop.ini", "train/README.md", "train/cat/notes.txt", ".DS_Store"):
        write(Path("data/mine"), name, "no image")
    card("{type: folder, path: mine}")
    splits = load()
    assert len(splits["train"]) == 8 and splits["train"].aside == ""


def test_files_without_an_ending_are_counted(here: Path) -> None:
    plain()
    for name in ("0000", "0001", "LICENSE"):
        write(Path("data/mine/train/cat"), name, "unread")
    card("{type: folder, path: mine}")
    assert load()["train"].aside == "2 files with other endings are not read: no ending (2)"


def test_files_that_are_passed_over_are_counted(here: Path) -> None:
    plain()
    for name in ("5.avif", "6.avif", "7.heic"):
        write(Path("data/mine/train/cat"), name, "unread")
    card("{type: folder, path: mine}")
    assert load()["train"].aside == "3 files with other endings are not read: .avif (2), .heic (1)"
    card("{type: folder, path: mine}", train=11)
    assert refused().endswith("says train: 11; 3 files with other endings are not read: .avif (2), .heic (1)")


def test_jpegs_by_their_other_endings(here: Path) -> None:
    plain()
    for name in ("5.jfif", "6.JPE"):
        image(Path("data/mine/train/cat", name), format="jpeg")
    card("{type: folder, path: mine}", train=10)
    assert len(load()["train"]) == 10


# --- images ---


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "not an image, but a pointer of Git LFS"),
        (b"<!DOCTYPE html><html></html>", "not an image, but a web page"),
        (b"", "not an image, but an empty file"),
        (b"\0\1\2", "not an image"),
    ],
)
def test_files_that_are_no_images_are_named(here: Path, content: bytes, said: str) -> None:
    plain()
    Path("data/mine/train/cat/1.png").write_bytes(content)
    card("{type: folder, path: mine}")
    assert said in refused()


def test_sixteen_bits(here: Path) -> None:
    plain()
    levels = np.array([[0, 128, 129, 256, 257, 65535, 32768, 65407]] * 8, np.uint16)
    Image.fromarray(levels).save("data/mine/train/cat/0.png")
    card("{type: folder, path: mine}")
    assert refused().endswith("write `bits: 16` below `source` in the card to scale 0 to 65535 to 0 to 255")
    card("{type: folder, path: mine, bits: 16}")
    pixels = np.asarray(load()["train"].read(0))
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 1, 1, 255, 128, 255] and (pixels == pixels[..., :1]).all()


def test_rotation_by_exif(here: Path) -> None:
    plain()
    note = Image.Exif()
    note[0x0112] = 6  # turn by a quarter
    left = Image.new("RGB", (8, 8), (250, 0, 0))
    left.paste((0, 0, 250), (4, 0, 8, 8))
    left.save("data/mine/train/cat/0.png", exif=note)
    card("{type: folder, path: mine}")
    assert load()["train"].read(0).getpixel((7, 0)) == (0, 0, 250)  # the note is ignored
    card("{type: folder, path: mine, exif: true}")
    turned = load()["train"].read(0)
    assert turned.getpixel((7, 0)) == (250, 0, 0) and turned.getpixel((0, 7)) == (0, 0, 250)


def test_an_image_above_a_limit(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain()
    card("{type: folder, path: mine, max_pixels: 64}")
    assert len(load()["train"]) == 8
    card("{type: folder, path: mine, max_pixels: 63}")
    assert "megapixels, above the limit of 0; tile or shrink it, or write `max_pixels: 64`" in refused()
    monkeypatch.setattr(image_files, "PIXELS", 60)
    card("{type: folder, path: mine}")
    assert "0 megapixels, above the limit of 0; tile or shrink it" in refused()
    card("{type: folder, path: mine, max_pixels: 64, exif: true}")
    assert len(load()["train"]) == 8


def test_images_that_are_cut_short(here: Path) -> None:
    plain()
    path = Path("data/mine/train/cat/9.jpg")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path, quality=90)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    card("{type: folder, path: mine}", train=9)
    assert "train/cat/9.jpg: damaged image (" in refused()
    card("{type: folder, path: mine, truncated: allow}", train=9)
    found = np.asarray(load()["train"].read(4))
    path.write_bytes(whole)
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image)[:24], found[:24]) and (found[-1] == found[-1, 0]).all()
    path.write_bytes(whole[:20])
    with pytest.raises(UserError, match=r"train/cat/9\.jpg: not an image"):
        load()["train"].read(4)


# --- arrays ---


def arrays() -> tuple[Any, Any]:
    images = np.zeros((12, 8, 8, 3), np.uint8)
    labels = np.arange(12) % 2
    images[:] = np.array(list(COLOURS.values()), np.uint8)[labels][:, None, None]
    return images, labels


def put(images: Any, labels: Any, names: tuple[str, str] = ("{}_images", "{}_labels")) -> None:
    Path("data").mkdir(exist_ok=True)
    parts = {"train": slice(0, 8), "test": slice(8, 12)}
    kept = {names[0].format(name): images[part] for name, part in parts.items()}
    np.savez("data/a.npz", **kept, **{names[1].format(name): labels[part] for name, part in parts.items()})


IMAGES, LABELS = arrays()
NAMES = np.array(list(COLOURS))


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES.transpose(0, 3, 1, 2), LABELS, ""),
        (np.concatenate([IMAGES, IMAGES[..., :1]], -1), LABELS, ""),
        (IMAGES / np.float32(255), LABELS, ", scale: 1"),
        (IMAGES.astype(np.float64), LABELS, ", scale: 255"),
        (IMAGES, LABELS[:, None], ""),
        (IMAGES, np.eye(2)[LABELS], ""),
        (IMAGES, np.eye(2, dtype=bool)[LABELS], ""),
        (IMAGES, NAMES[LABELS], ""),
        (IMAGES, NAMES.astype("S")[LABELS], ""),
        (IMAGES, LABELS + 1, ", first_label: 1"),
    ],
)
def test_arrays_in_other_forms(here: Path, images: Any, labels: Any, words: str) -> None:
    put(images, labels)
    card("{type: npz, path: a.npz" + words + "}")
    splits = load()
    assert all(map(colours_fit, splits.values())) and splits["train"].labels.tolist() == [0, 1] * 4


@pytest.mark.parametrize("axes", [lambda a: a, lambda a: a[..., None], lambda a: a[:, None]])
def test_grey_arrays(here: Path, axes: Callable[[Any], Any]) -> None:
    put(axes(IMAGES[..., 0]), LABELS)
    card("{type: npz, path: a.npz}")
    pixels = np.asarray(load()["train"].read(1))
    assert pixels.shape == (8, 8, 3) and (pixels == IMAGES[1, 0, 0, 0]).all()


def test_npy_files_in_other_forms(here: Path) -> None:
    Path("data/a").mkdir(parents=True)
    for name, part in {"train": slice(0, 8), "test": slice(8, 12)}.items():
        np.save(f"data/a/{name}_images.npy", (IMAGES / 255).transpose(0, 3, 1, 2)[part])
        np.save(f"data/a/{name}_labels.npy", NAMES[LABELS][part])
    card("{type: npy, path: a, scale: 1}")
    assert all(map(colours_fit, load().values()))


@pytest.mark.parametrize("names", [("x_{}", "y_{}"), ("X_{}", "y_{}"), ("{}_x", "{}_y"), ("images_{}", "labels_{}")])
def test_usual_names_of_arrays(here: Path, names: tuple[str, str]) -> None:
    put(IMAGES, LABELS, names)
    card("{type: npz, path: a.npz}")
    assert all(map(colours_fit, load().values()))


@pytest.mark.parametrize(
    ("images", "labels", "words", "said"),
    [
        (IMAGES / 255, LABELS, "", "go from 0.235294 to 0.784314: write `scale: 1` below `source` in the card"),
        (IMAGES * 1.0, LABELS, "", "go from 60 to 200: write `scale: 255` below `source`"),
        (IMAGES / 128 - 1, LABELS, "", "undo what normalised them"),
        (IMAGES * 1.0, LABELS, ", scale: 1", "image 0: values from 60 to 200; the card says `scale: 1`"),
        (IMAGES.astype(np.int64), LABELS, "", "images are int64 (8, 8, 8, 3); expected uint8; bytes from 0 to 255"),
        (IMAGES, LABELS + 1, "", "labels from 1 to 2: write `first_label: 1` below `source` in the card"),
        (IMAGES, np.ones((12, 2)), "", "labels (8, 2) are not one-hot: a row has not exactly one 1"),
        (IMAGES, np.array(["cat", "dgo"])[LABELS], "", "no class 'dgo'; did you mean 'dog'?"),
    ],
)
def test_arrays_that_need_a_word(here: Path, images: Any, labels: Any, words: str, said: str) -> None:
    put(images, labels)
    card("{type: npz, path: a.npz" + words + "}")
    assert said in refused()


# --- code beside the card ---

CODE = """
import numpy as np
from pathlib import Path
from PIL import Image

COLOURS = [(200, 60, 60), (60, 60, 200)]

def load(split, *, count, image_size, root):
    labels = [number % 2 for number in range(count)]
    first = 0 if split == "train" else 8
"""


@pytest.mark.parametrize(
    "end",
    [
        "return [str(root / f'img/{first + i}.png') for i in range(count)], labels",
        "return tuple(f'img/{first + i}.png' for i in range(count)), labels",
        "return np.array([f'img/{first + i}.png' for i in range(count)]), [['cat', 'dog'][i] for i in labels]",
        "return [Image.new('RGB', (9 + i, 8), COLOURS[i % 2]) for i in range(count)], labels",
        "import torch; x = torch.tensor(COLOURS, dtype=torch.uint8)[labels]\n"
        "    return x[:, :, None, None].expand(-1, 3, 8, 8), torch.tensor(labels)",
        "return Items(first, count), np.array(labels)",
        "return [{'image': Image.new('RGB', (9, 8), COLOURS[i % 2])} for i in range(count)], labels",
        "return [(root / f'img/{first + i}.png').read_bytes() for i in range(count)], labels",
        "return [np.full((9, 8, 3), COLOURS[i % 2], np.uint8) for i in range(count)], labels",
    ],
)
def test_what_code_naturally_gives(here: Path, end: str) -> None:
    pictures()
    items = """
class Items:
    def __init__(self, first, count):
        self.count = count
    def __len__(self):
        return self.count
    def __getitem__(self, row):
        return Image.new("RGB", (8, 10 + row), COLOURS[row % 2])
"""
    write(Path(), "datasets/mine.py", CODE + "    " + end + "\n" + items)
    card("{type: python}")
    assert load_code_fits()


def load_code_fits() -> bool:
    splits = load()
    return all(map(colours_fit, splits.values())) and splits["test"].labels.tolist() == [0, 1] * 2


# --- classes that are absent, or more ---


def test_a_class_without_a_test_image(here: Path) -> None:
    plain()
    for number in range(3):
        image(Path(f"data/mine/train/eel/{number}.png"))
    card("{type: folder, path: mine}", train=11, classes="[cat, dog, eel]")
    assert refused().endswith("where there is none, write `absent_in_test: [eel]` in the card")
    card("{type: folder, path: mine}", train=11, classes="[cat, dog, eel]", more="absent_in_test: [eel]")
    test = load()["test"]
    assert len(test) == 4 and test.aside == "without an image of eel"


def test_a_shifted_set_with_more_classes(here: Path) -> None:
    plain()
    for name, colour in {"zebra": (1, 1, 1), **COLOURS}.items():
        for number in range(3):
            image(Path(f"data/other/test/{name}/{number}.png"), colour)
    card("{type: folder, path: mine}", more="shifts: {v2: other}")
    other = """
summary: another
source: {type: folder, path: other}
splits: {test: 9}
image_size: 8
classes: [zebra, cat, dog]
licence: ours
"""
    write(Path(), "datasets/other.yaml", other)
    assert "has a class 'zebra' that 'mine' lacks" in refused()
    assert "`extra_classes: left out` in its card evaluates the others" in refused()
    write(Path(), "datasets/other.yaml", other + "extra_classes: left out\n")
    library = Library(Path())
    found = DataSet(dataset_card(library, "mine"), library, Path("data"))
    data, place = found.shift("v2")
    split = loading.load(data, "test", place)
    assert split.labels.tolist() == [0] * 3 + [1] * 3 and colours_fit(split)
    assert split.aside == "left out: 3 images of classes that the base set lacks: zebra"


def val_card(source: str, more: str = "") -> None:
    card(source, more=more)
    path = Path("datasets/mine.yaml")
    path.write_text(path.read_text().replace("{train: 8, test: 4}", "{train: 8, val: 2, test: 4}"))


@pytest.mark.parametrize("kind", ["folder", "csv", "npz", "drawn"])
def test_images_to_choose_on_are_a_split_of_their_own(here: Path, kind: str) -> None:
    counts = {"train": 4, "valid": 1, "test": 2}  # of each class
    lines = ["path,label,split"]
    for split, count in counts.items():
        for name, (red, green, blue) in COLOURS.items():
            for i in range(count):
                below = f"{name}/{i}{split}.png" if kind == "drawn" else f"{split}/{name}/{i}.png"
                image(Path("data/mine", below), (red + i, green, blue))
                lines.append(f"{below},{name},{split}")
    write(here, "data/mine/list.csv", "\n".join(lines))
    arrays: dict[str, Any] = {}
    for split, count in (("train", 8), ("val", 2), ("test", 4)):
        arrays[f"{split}_images"] = np.random.default_rng(count).integers(256, size=(count, 8, 8, 3)).astype(np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 2
    np.savez("data/mine.npz", **arrays)
    val_card(
        {
            "folder": "{type: folder, path: mine, folders: {val: valid}}",
            "csv": "{type: csv, path: mine/list.csv}",
            "npz": "{type: npz, path: mine.npz}",
            "drawn": "{type: folder, path: mine, split: {test: 0.3, val: 0.15}}",
        }[kind]
    )
    found = load()
    assert {name: len(split) for name, split in found.items()} == {"train": 8, "val": 2, "test": 4}
    assert sorted(found["val"].labels.tolist()) == [0, 1]
    assert len({split.fingerprint for split in found.values()}) == 3


def test_images_to_choose_on_may_lack_a_class(here: Path) -> None:
    for split, count in {"train": 4, "val": 2, "test": 2}.items():
        for name, colour in COLOURS.items():
            for i in range(count if split != "val" or name == "cat" else 0):
                image(Path(f"data/mine/{split}/{name}/{i}.png"), colour)
    val_card("{type: folder, path: mine}")
    assert load()["val"].aside == "without an image of dog"


@pytest.mark.parametrize(
    ("source", "splits", "said"),
    [
        ("{type: folder, path: mine}", "{train: 8, val: 2}", "splits: val chooses among probes, so it stands beside"),
        ("{type: folder, path: mine, split: {test: 0.2}}", "{train: 8, val: 2, test: 2}", "source: `val` stands in"),
        ("{type: folder, path: mine, split: {test: 0.2, val: 0.1}}", "{train: 8, test: 2}", "source: `val` stands in"),
        (
            "{type: folder, path: mine, split: {test: 0.5, val: 0.5}}",
            "{train: 8, test: 2}",
            "leave nothing to train on",
        ),
        ("{type: folder, path: mine, folders: {val: test}}", "{train: 8, val: 2, test: 2}", "val and test are both"),
    ],
)
def test_what_a_card_may_not_say_of_val(here: Path, source: str, splits: str, said: str) -> None:
    card(source)
    path = here / "datasets/mine.yaml"
    path.write_text(path.read_text().replace("{train: 8, test: 4}", splits))
    assert said in refused()


@pytest.mark.parametrize("kind", ["folder", "csv"])
def test_the_list_of_a_drawn_split_is_a_result(here: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["path,label"]
    for name, colour in COLOURS.items():
        for i in range(10):
            image(Path(f"data/mine/{name}/{i}.png"), colour)
            lines.append(f"{name}/{i}.png,{name}")
    write(here, "data/list.csv", "\n".join(lines))
    source = {"folder": "type: folder, path: mine", "csv": "type: csv, path: list.csv, images: mine"}[kind]
    card(f"{{{source}, split: {{test: 0.2, seed: 3}}}}", train=16, test=4)
    suite = """
name: mine
seeds: [0]
grid: {methods: [simclr], embeddings: {none: {}}, backbones: [resnet10w16s2], datasets: [mine]}
pretrain: {recipe: quick, epochs: 0, batch_size: 8}
evaluate: {knn: {k: 3}}
"""
    write(here, "suite.yaml", suite)
    assert main(["run", "suite.yaml"]) == 0
    (file,) = (here / "results/splits").iterdir()
    assert file.name == "mine-test0.2-seed3.csv"
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert [row["path"] for row in rows] == sorted(f"{name}/{i}.png" for name in COLOURS for i in range(10))
    names = [row["path"] for row in rows]
    labels = [int(name.startswith("dog")) for name in names]
    tested = [names[row] for row in rows_of("test", DrawnSplit(test=0.2, seed=3), names, labels)]
    assert [row["path"] for row in rows if row["split"] == "test"] == tested and len(tested) == 4
    before = file.read_bytes()
    assert main(["run", "suite.yaml", "--results", "again"]) == 0
    assert (here / "again/splits" / file.name).read_bytes() == before
    assert main(["verify", "results"]) == 0

    assert main(["record", "results", "kept"]) == 0
    expected = {row["path"]: row["split"] for row in rows}
    for place in ("results", "kept"):
        assert sem_bench.load(place).splits() == {"mine-test0.2-seed3": expected}
    assert main(["verify", "kept"]) == 0
    with opened(here / "kept") as there:
        shutil.copytree(there.root, "changed")
    listed = here / "changed/splits" / file.name
    assert listed.read_bytes() == before
    capsys.readouterr()
    for text, said in (
        (before.decode().replace(",test\n", ",train\n", 1), "17 train images, and results were made of 16"),
        (before.decode().replace("path,split", "a,b"), "no list of files, each once, with their splits"),
    ):
        listed.write_text(text)
        assert main(["verify", "changed"]) == 1
        assert said in capsys.readouterr().out


@pytest.mark.parametrize(("memory", "kept"), [(500, True), (300, False)])
def test_large_images_are_decoded_once_and_kept_within_memory(
    here: Path, monkeypatch: pytest.MonkeyPatch, memory: int, kept: bool
) -> None:
    """An image of 8 x 16 px has 384 bytes; here that is large. What is kept needs its file no more."""
    monkeypatch.setattr(loading, "LARGE", 128)
    for split, count in {"train": 4, "test": 2}.items():
        for name in COLOURS:
            for i in range(count):
                image(Path(f"data/mine/{split}/{name}/{i}.png"))
    big = here / "data/mine/train/cat/0.png"
    Image.effect_noise((8, 16), 90).convert("RGB").save(big)
    card("{type: folder, path: mine}")
    library = Library(Path())
    found = DataSet(dataset_card(library, "mine"), library, Path("data"))
    train = loading.load(found.labelled(), "train", found.place, memory=memory)
    assert train.images is None
    first = [train.read(row).tobytes() for row in range(8)]
    assert [train.read(row).tobytes() for row in range(8)] == first
    for file in (here / "data/mine/train").rglob("*.png"):
        file.unlink()
    with pytest.raises(UserError):
        train.read(1)
    if kept:
        assert train.read(0).tobytes() == first[0]
    else:
        with pytest.raises(UserError):
            train.read(0)
