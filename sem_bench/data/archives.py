"""Archives, unpacked whole or not at all. A stranger made them: every member is checked before the first is written."""

import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from errno import EINVAL
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple

from sem_bench.base.files import file_digest, shown
from sem_bench.base.locks import Lock
from sem_bench.data.junk import junk
from sem_bench.errors import UserError

_TARS: dict[str, Any] = {".tar": "r:", ".tar.gz": "r:gz", ".tgz": "r:gz", ".tar.bz2": "r:bz2", ".tar.xz": "r:xz"}
ENDINGS = (".zip", *_TARS)
RATIO, BOMB = 100, 10**9  # images hardly shrink: so much larger unpacked, and of so many bytes, is a bomb
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError)


class _Member(NamedTuple):
    name: str  # as the archive spells it
    kind: str  # "file", "folder", or what it is instead
    size: int  # in bytes, unpacked
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, sha256: str | None = None, *, keep: Container[str] = ()) -> None:
    """Unpack a .zip, .tar, .tar.gz, .tgz, .tar.bz2 or .tar.xz into `folder`, which must not exist yet.

    A single folder around everything is left out unless its name is in `keep`, what systems leave beside it as well; a
    backslash in a name is a slash. A killed process leaves no
    `folder`, and the next one clears what it began; of two processes the second waits. Raises UserError with one line
    where the archive is absent, damaged, not that of the `sha256`, too large for the disk or not to be trusted, and
    where `folder` exists.
    """
    if not archive.is_file():
        raise UserError(f"{shown(archive)}: no such file")
    if not archive.name.lower().endswith(ENDINGS):
        raise UserError(f"{shown(archive)}: not an archive; the name of one ends in {', '.join(ENDINGS)}")
    if folder.exists():
        raise UserError(f"{shown(folder)}: exists already; {shown(archive)} is unpacked into a new folder only")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.unpacking")
    with _lock(folder):
        if folder.exists():  # the process that this one waited for has unpacked it
            return
        shutil.rmtree(temporary, ignore_errors=True)
        if sha256 is not None and (found := file_digest(archive)) != sha256:
            raise UserError(f"{shown(archive)}: not the archive of the card, whose SHA-256 is {sha256}, but {found}")
        try:
            with _members(archive) as members:
                _write(_checked(members, archive, folder.parent, keep), temporary)
            temporary.rename(folder)
        except NotImplementedError as error:
            raise UserError(f"{shown(archive)}: packed in a way that Python does not know ({error})") from None
        except (*_DAMAGE, ValueError, OverflowError, RuntimeError) as error:  # these at impossible numbers
            if isinstance(error, OSError) and (error.filename or error.errno not in (None, EINVAL)):
                raise  # from the disk; the readers name no file, and bz2 no number
            raise UserError(f"{shown(archive)}: damaged, cut short, or not what its name says") from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Clear away what a process left that was killed when `folder` was just there."""
    lock = _lock(folder)
    with suppress(OSError):  # whose folder may be read-only
        if lock.path.exists() and lock.take():
            lock.release()


def _lock(folder: Path) -> Lock:
    return Lock(folder.with_name(f".{folder.name}.lock"))


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    ending = next(ending for ending in ENDINGS if archive.name.lower().endswith(ending))
    if ending == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            yield _zip_members(zipped)
    else:
        with tarfile.open(archive, _TARS[ending]) as tar:
            yield _tar_members(tar)


def _zip_members(zipped: zipfile.ZipFile) -> Iterator[_Member]:
    for m in zipped.infolist():
        mode = stat.S_IFMT(m.external_attr >> 16)  # 0 where the archive was not made on Unix
        special = "" if mode in (0, stat.S_IFREG, stat.S_IFDIR) else "a link or device"
        kind = "encrypted" if m.flag_bits & 1 else "folder" if m.filename.endswith(("/", "\\")) else "file"
        yield _Member(m.filename, special or kind, m.file_size, partial(zipped.open, m))


def _tar_members(tar: tarfile.TarFile) -> Iterator[_Member]:
    for m in tar:
        kind = "file" if m.isreg() else "folder" if m.isdir() else "a link or device"
        yield _Member(m.name, kind, m.size, partial(tar.extractfile, m))
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes a spoilt header for the end
        raise tarfile.ReadError
    while tar.fileobj.read(1 << 20):  # to the end, where gzip, bz2 and xz check their sums
        pass


def _checked(
    members: Iterator[_Member], archive: Path, place: Path, keep: Container[str]
) -> dict[tuple[str, ...], _Member]:
    """What to write, by the parts of its path below the folder. Raises UserError where nothing must be written."""
    entries: dict[tuple[str, ...], _Member] = {}
    total, free, packed = 0, shutil.disk_usage(place).free, archive.stat().st_size
    for member in members:
        parts = tuple(part for part in re.split(r"[/\\]", member.name) if part not in ("", "."))
        problem = ""
        if member.kind not in ("file", "folder"):
            problem = f"is {member.kind}"
        elif member.name.startswith(("/", "\\")) or ".." in parts or re.match("[A-Za-z]:", member.name):
            problem = "would lie outside the folder"
        elif "\0" in member.name or len(parts) > 64 or not (parts or member.kind == "folder"):
            problem = "has no usable name"
        elif parts in entries and (entries[parts].kind, member.kind) != ("folder", "folder"):
            problem = "is there twice"
        if problem:
            raise UserError(f"{shown(archive)}: member {member.name!r} {problem}")
        total += member.size + tarfile.BLOCKSIZE  # an empty file takes room, too
        if total > free:  # now, not after the loop: the end of a bomb is far
            raise UserError(f"{shown(archive)}: larger than the {free / 1e9:.1f} GB that are free in {shown(place)}")
        if total > max(BOMB, RATIO * packed):
            times = total / max(1, packed)
            raise UserError(f"{shown(archive)}: unpacks to more than {times:,.0f} times its size, as no data do")
        if parts and "__MACOSX" not in parts and parts[-1] != ".DS_Store":
            entries[parts] = member
    for above, below in pairwise(sorted(entries)):  # what lies below a path comes right after it
        if entries[above].kind == "file" and below[: len(above)] == above:
            raise UserError(f"{shown(archive)}: member {entries[above].name!r} is a file and a folder")
    sound = {parts: member for parts, member in entries.items() if not junk(parts[0])} or entries
    tops = {parts[0] for parts in sound}
    around = len(tops) == 1 and all(m.kind == "folder" or p[1:] for p, m in sound.items())
    if not around or any(top in keep for top in tops):
        return entries
    return {parts[1:]: member for parts, member in sound.items()}


def _write(entries: dict[tuple[str, ...], _Member], target: Path) -> None:
    target.mkdir()
    for parts, member in entries.items():
        path = target.joinpath(*parts)
        (path if member.kind == "folder" else path.parent).mkdir(parents=True, exist_ok=True)
        if member.kind == "file" and (source := member.open()):
            with source, path.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
