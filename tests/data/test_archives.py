"""Archives: what is unpacked, what is refused, and that nothing stays behind."""

import bz2
import fcntl
import io
import os
import random
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sem_bench.base.files import file_digest
from sem_bench.data.archives import unpack
from sem_bench.errors import UserError
from tests.helpers.places import REPOSITORY

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MODES: dict[str, Any] = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}
TREE = {"train/red/1.png": b"one", "train/red/2.png": b"", "test/blue/1.png": b"three" * 1000, "README": b"text"}
Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the current one, so that messages show short paths."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def pack(path: Path, content: Files) -> Path:
    """An archive of those names, just as they are spelled; a name that ends in / is a folder."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, data in content.items():
                zipped.writestr(zipfile.ZipInfo(name), data)
    else:
        with tarfile.open(path, MODES["".join(path.suffixes)]) as tar:
            for name, data in content.items():
                tar.addfile(member(name, size=len(data)), io.BytesIO(data))
    return path


def member(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """The head of a member of a tar."""
    info = tarfile.TarInfo(name.rstrip("/"))
    info.size, info.linkname, info.type = size, target, tarfile.DIRTYPE if name.endswith("/") else kind
    return info


def tree(folder: Path) -> dict[str, bytes]:
    """The files below, and the empty folders with a / at the end."""
    return {
        path.relative_to(folder).as_posix() + ("/" if path.is_dir() else ""): b""
        if path.is_dir()
        else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() or not any(path.iterdir())
    }


def refused(archive: Path) -> str:
    """The one line with which an archive is refused, after which nothing has changed."""
    before = sorted(Path.cwd().parent.rglob("*"))
    with pytest.raises(UserError) as caught:
        unpack(archive, Path.cwd() / "data")
    assert sorted(Path.cwd().parent.rglob("*")) == before
    assert len(caught.value.problems) == 1 and "\n" not in caught.value.problems[0]
    return caught.value.problems[0]


# --- what is unpacked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("top", ["", "photos/", "./", "./photos/"])
def test_every_kind_with_and_without_a_folder_around(here: Path, ending: str, top: str) -> None:
    unpack(pack(here / f"photos{ending}", {top + name: data for name, data in TREE.items()}), here / "new/data")
    assert tree(here / "new/data") == TREE
    assert [path.name for path in (here / "new").iterdir()] == ["data"]


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
@pytest.mark.parametrize(
    ("packed", "unpacked"),
    [
        ({"a.png": b"1"}, {"a.png": b"1"}),
        ({"a/b/c.png": b"1"}, {"b/c.png": b"1"}),  # one level, no more
        ({"a/": b"", "a/b/": b"", "a/c": b"1"}, {"b/": b"", "c": b"1"}),
        ({"a/x": b"1", "b/x": b"2"}, {"a/x": b"1", "b/x": b"2"}),
        ({"a/x": b"1", "b/": b""}, {"a/x": b"1", "b/": b""}),
        ({"a/x": b"1", "a/": b"", "a/./": b""}, {"x": b"1"}),
        ({"a/x": b"1", "__MACOSX/a/._x": b"2", "a/.DS_Store": b"3", ".DS_Store": b"4"}, {"x": b"1"}),
        ({"a\\b\\x": b"1", "a/b/y": b"2"}, {"b/x": b"1", "b/y": b"2"}),
        (
            {"a/b": b"1", "a/b c/x": b"2", "a/b.c": b"3", "a/..b": b"4"},
            {"b": b"1", "b c/x": b"2", "b.c": b"3", "..b": b"4"},
        ),
        ({"a/ü": b"1", "a/-rf": b"2", "a/x\ny": b"3"}, {"ü": b"1", "-rf": b"2", "x\ny": b"3"}),
        ({}, {}),
    ],
)
def test_what_lies_where(here: Path, ending: str, packed: Files, unpacked: Files) -> None:
    unpack(pack(here / f"x{ending}", packed), here / "data")
    assert tree(here / "data") == unpacked


def test_a_zip_in_the_old_way_of_windows(here: Path) -> None:
    unpack(pack(here / "x.zip", {"a\\": b"", "a\\b\\": b"", "a\\c\\x": b"1"}), here / "data")
    assert tree(here / "data") == {"b/": b"", "c/x": b"1"}


PARTS = st.text("ab.é", min_size=1, max_size=3).filter(lambda part: part.strip("."))


@settings(max_examples=40, deadline=None)
@given(
    content=st.dictionaries(st.lists(PARTS, min_size=1, max_size=3).map("/".join), st.binary(max_size=50), max_size=6),
    ending=st.sampled_from([".zip", ".tar.gz"]),
)
def test_any_tree_comes_back(content: Files, ending: str) -> None:
    files = {name: data for name, data in content.items() if not any(other.startswith(name + "/") for other in content)}
    with tempfile.TemporaryDirectory() as folder:
        packed = {"top/": b"", **{f"top/{name}": data for name, data in files.items()}}
        unpack(pack(Path(folder, f"x{ending}"), packed), Path(folder, "data"))
        assert tree(Path(folder, "data")) == files


@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_no_permission_comes_out_of_an_archive(here: Path, ending: str) -> None:
    if ending == ".zip":
        info = zipfile.ZipInfo("x")
        info.external_attr = (stat.S_IFREG | 0o6777) << 16
        with zipfile.ZipFile(here / "x.zip", "w") as zipped:
            zipped.writestr(info, b"1")
    else:
        head = member("x", size=1)
        head.mode, head.uid = 0o6777, 12345
        with tarfile.open(here / "x.tar", "w") as tar:
            tar.addfile(head, io.BytesIO(b"1"))
    unpack(here / f"x{ending}", here / "data")
    (here / "own").write_bytes(b"1")
    ours, own = (here / "data/x").stat(), (here / "own").stat()
    assert (ours.st_mode, ours.st_uid) == (own.st_mode, own.st_uid)


# --- what is refused -------------------------------------------------------------------------------------------------

OUTSIDE = [
    "../x",
    "a/../../x",
    "a/..",
    "/x",
    "//x",
    "C:/x",
    "c:x",
    "..\\x",
    "a\\..\\x",
    "\\x",
    "C:\\x",
    "__MACOSX/../x",
]


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_outside(here: Path, ending: str, name: str) -> None:
    archive = pack(here / f"x{ending}", {"a/good": b"1", name: b"2"})
    assert refused(archive) == f"x{ending}: member {name!r} would lie outside the folder"


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
@pytest.mark.parametrize("name", [".", "./.", "a/" * 64 + "x", "a/" * 30_000 + "x"])
def test_names_of_no_use(here: Path, ending: str, name: str) -> None:
    line = refused(pack(here / f"x{ending}", {name: b"1"}))
    assert line.startswith(f"x{ending}: member {name[:1000]!r}"[:1000]) and line.endswith(" has no usable name")
    assert len(line) < 4100


def test_a_name_with_a_null(here: Path) -> None:
    head = member("x")
    head.pax_headers = {"path": "a\0b"}
    with tarfile.open(here / "x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(head)
    assert refused(here / "x.tar") == "x.tar: member 'a\\x00b' has no usable name"


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["a/x", "a/./x"], "member 'a/./x' is there twice"),
        (["a/x", "a//x"], "member 'a//x' is there twice"),
        (["a\\x", "a/x"], "member 'a/x' is there twice"),
        (["a/x", "a/x/"], "member 'a/x/' is there twice"),
        (["a/x/", "a/x"], "member 'a/x' is there twice"),
        (["a/x", "a/x.y", "a/x/y/z"], "member 'a/x' is a file and a folder"),
        (["a/x/y/z", "a/x y", "a/x"], "member 'a/x' is a file and a folder"),
        (["a", "a/b"], "member 'a' is a file and a folder"),
    ],
)
def test_two_members_in_one_place(here: Path, ending: str, names: list[str], line: str) -> None:
    if ending != ".zip":
        line = line.replace("/'", "'")  # a tar names its folders without the / at the end
    assert refused(pack(here / f"x{ending}", dict.fromkeys(names, b""))) == f"x{ending}: {line}"


def test_the_same_name_twice(here: Path) -> None:
    with tarfile.open(here / "x.tar", "w") as tar:
        tar.addfile(member("x"))
        tar.addfile(member("x"))
    assert refused(here / "x.tar") == "x.tar: member 'x' is there twice"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"?"]
)
def test_special_members_of_a_tar(here: Path, kind: bytes) -> None:
    with tarfile.open(here / "x.tar", "w") as tar:
        tar.addfile(member("a/good"))
        tar.addfile(member("a/bad", kind=kind, target="/etc/passwd"))
    assert refused(here / "x.tar") == "x.tar: member 'a/bad' is a link or device"


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_special_members_of_a_zip(here: Path, mode: int) -> None:
    info = zipfile.ZipInfo("a/bad")
    info.external_attr = (mode | 0o777) << 16
    with zipfile.ZipFile(here / "x.zip", "w") as zipped:
        zipped.writestr("a/good", b"1")
        zipped.writestr(info, b"/etc/passwd")
    assert refused(here / "x.zip") == "x.zip: member 'a/bad' is a link or device"


def test_an_encrypted_zip(here: Path) -> None:
    archive = pack(here / "x.zip", {"a": b"1"})
    data = bytearray(archive.read_bytes())
    data[6] |= 1  # the flags of the member itself
    data[data.index(b"PK\1\2") + 8] |= 1  # and in the list at the end
    archive.write_bytes(data)
    assert refused(archive) == "x.zip: member 'a' is encrypted"


def test_a_compression_that_python_does_not_know(here: Path) -> None:
    archive = pack(here / "x.zip", {"a": b"1"})
    data = bytearray(archive.read_bytes())
    data[8] = data[data.index(b"PK\1\2") + 10] = 9
    archive.write_bytes(data)
    assert refused(archive).startswith("x.zip: packed in a way that Python does not know (")


# --- bombs and damage ------------------------------------------------------------------------------------------------


def bomb_zip(here: Path) -> Path:
    with zipfile.ZipFile(here / "x.zip", "w") as zipped:
        zipped.writestr("a", b"1")
        zipped.writestr("b", b"1")
        for info in zipped.filelist:
            info.file_size = 10**18
    return here / "x.zip"


def bomb_tar(here: Path) -> Path:
    (here / "x.tar").write_bytes(member("a", size=10**18).tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    return here / "x.tar"


def zeros(here: Path, ending: str) -> Path:
    """A gigabyte that is a megabyte, one of many as small."""
    packed = here / f"x{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.writestr("a", bytes(10**6))
            zipped.filelist[0].file_size = 10**9 + 10**6
    else:
        heads = b"".join(member(f"{i}").tobuf(tarfile.GNU_FORMAT) for i in range(2000))
        packed.write_bytes(bz2.compress(member("a", size=10**9).tobuf(tarfile.GNU_FORMAT) + heads))
    return packed


@pytest.mark.parametrize("ending", [".zip", ".tar.bz2"])
def test_much_larger_than_the_archive(here: Path, ending: str) -> None:
    line = refused(zeros(here, ending))
    assert line.startswith(f"x{ending}: unpacks to more than ") and line.endswith(" times its size, as no data do")


@pytest.mark.parametrize("bomb", [bomb_zip, bomb_tar])
def test_more_than_the_disk_holds(here: Path, bomb: Callable[[Path], Path]) -> None:
    archive = bomb(here)
    line = refused(archive)
    assert line.startswith(f"{archive.name}: larger than the ") and line.endswith(" GB that are free in .")


DAMAGED = "damaged, cut short, or not what its name says"


@pytest.mark.parametrize("ending", ENDINGS)
def test_cut_short_anywhere(here: Path, ending: str) -> None:
    """Noise does not shrink, so that most cuts are in the middle of data; a tar is also cut between two members."""
    noise = random.Random(0).randbytes(512 * 9)
    whole = pack(here / f"x{ending}", {f"a/{i}": noise[i * 1024 :] for i in range(4)}).read_bytes()
    end = len(whole.rstrip(b"\0")) if ending == ".tar" else len(whole) - 1
    for length in {0, 1, end, *range(0, end, 512)}:
        (here / f"x{ending}").write_bytes(whole[:length])
        assert refused(here / f"x{ending}") == f"x{ending}: {DAMAGED}"


@pytest.mark.parametrize("ending", [".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_one_byte_of_the_data_is_wrong(here: Path, ending: str) -> None:
    archive = pack(here / f"x{ending}", {"a": b"1", "b": random.Random(0).randbytes(5000)})
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 255
    archive.write_bytes(data)
    assert refused(archive) == f"x{ending}: {DAMAGED}"


def test_a_spoilt_header_in_the_middle_of_a_tar_is_no_end(here: Path) -> None:
    archive = pack(here / "x.tar", {"a": b"1" * 512, "b": b"2", "c": b"3"})
    data = bytearray(archive.read_bytes())
    data[1024] ^= 1  # the name of b, so that its sum is wrong
    archive.write_bytes(data)
    assert refused(archive) == f"x.tar: {DAMAGED}"


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("content", [b"", b"hello", bytes(2000), b"PK\3\4" + bytes(100), b"PK\5\6" + b"\xff" * 18])
def test_not_what_the_name_says(here: Path, ending: str, content: bytes) -> None:
    (here / f"x{ending}").write_bytes(content)
    if ending == ".tar" and content == bytes(2000):  # this is an empty tar
        unpack(here / "x.tar", here / "data")
        assert tree(here / "data") == {}
    else:
        assert refused(here / f"x{ending}") == f"x{ending}: {DAMAGED}"


def test_absent_unknown_and_already_there(here: Path) -> None:
    assert refused(here / "sub/x.zip") == "sub/x.zip: no such file"
    (here / "folder.zip").mkdir()
    assert refused(here / "folder.zip") == "folder.zip: no such file"
    (here / "x.rar").write_bytes(b"1")
    endings = ".zip, .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz"
    assert refused(here / "x.rar") == f"x.rar: not an archive; the name of one ends in {endings}"
    archive = pack(here / "x.zip", TREE).rename(here / "X.ZIP")
    (here / "data").mkdir()
    assert refused(archive) == "data: exists already; X.ZIP is unpacked into a new folder only"
    (here / "data").rmdir()
    unpack(archive, here / "data")
    assert tree(here / "data") == TREE


# --- kills and other processes ---------------------------------------------------------------------------------------


def test_a_kill_leaves_nothing_and_the_next_one_clears(here: Path) -> None:
    archive = pack(here / "x.tar.gz", TREE)
    code = """if True:
        import pathlib, shutil, time
        from sem_bench.data.archives import unpack
        shutil.copyfileobj = lambda source, file, size: time.sleep(60)
        unpack(pathlib.Path("x.tar.gz"), pathlib.Path("data"))
        """
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=here, env=environment)
    deadline = time.monotonic() + 60
    while not list(here.glob(".data.unpacking/*/*/*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (here / "data").exists() and (here / ".data.unpacking").is_dir()
    (here / ".data.unpacking/left").write_bytes(b"")
    unpack(archive, here / "data")
    assert tree(here / "data") == TREE
    assert sorted(path.name for path in here.iterdir()) == ["data", "x.tar.gz"]


def test_the_second_of_two_waits_and_takes_what_the_first_made(here: Path) -> None:
    archive = pack(here / "x.zip", TREE)
    second = threading.Thread(target=unpack, args=(archive, here / "data"))
    with (here / ".data.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # for which only an exclusive one waits
        second.start()
        second.join(0.1)
        assert second.is_alive() and not (here / "data").exists()
        (here / "data").mkdir()  # as the first one does at its end
        (here / ".data.lock").unlink()
    second.join(10)
    assert not second.is_alive()
    assert tree(here / "data") == {} and sorted(path.name for path in here.iterdir()) == ["data", "x.zip"]


def test_a_checksum_tells_what_a_plain_tar_does_not(here: Path) -> None:
    archive = pack(here / "x.tar", {"a": b"one", "b": b"two"})
    sha256 = file_digest(archive)
    damaged = archive.read_bytes().replace(b"one", b"ode")
    archive.write_bytes(damaged)
    with pytest.raises(UserError, match=f"x.tar: not the archive of the card, whose SHA-256 is {sha256}, but "):
        unpack(archive, here / "data", sha256)
    assert not (here / "data").exists()
    unpack(archive, here / "data", file_digest(archive))
    assert (here / "data/a").read_bytes() == b"ode"
