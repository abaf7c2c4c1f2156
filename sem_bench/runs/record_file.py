"""A record as one file: the results behind a suite's tables, in a .tar.xz with a SHA-256 of all that it holds.

Whoever reads a results folder reads a record with `opened`: it is unpacked into a private folder for as long as that
takes. The bytes of a record depend on its content alone, so that the same results give the same file.
"""

import io
import lzma
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sem_bench.base.files import left_behind, write_atomic
from sem_bench.data.archives import unpack
from sem_bench.errors import UserError

ENDING = ".tar.xz"


def record_file(path: Path) -> Path:
    """The file of a record that is named with or without its ending."""
    return path if path.name.endswith(ENDING) else path.with_name(path.name + ENDING)


@dataclass(frozen=True)
class Opened:
    """Results: where they lie, and what the user calls them."""

    root: Path
    name: Path

    @property
    def packed(self) -> bool:
        """Whether they are a record, in one file."""
        return self.root != self.name

    def named(self, text: str) -> str:
        """A message about them, with the user's name in place of the private folder's."""
        return text.replace(str(self.root), str(self.name)) if self.packed else text


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """A results folder, or a record, which is unpacked meanwhile.

    Raises UserError in one line for a file that is damaged or not to be trusted; a path to nothing is given as it is.
    """
    file = path if path.is_dir() or path.is_file() else record_file(path)
    if path.is_dir() or not file.is_file() or not file.name.endswith(ENDING):
        yield Opened(path, path)
        return
    with tempfile.TemporaryDirectory(prefix="sem-bench-") as private:
        found = Opened(Path(private) / "record", file)
        try:
            unpack(file, found.root, keep=("suites",))
            yield found
        except UserError as error:
            raise UserError([found.named(problem) for problem in error.problems]) from None


def pack(folder: Path, file: Path) -> None:
    """Write all files below a folder as a record, atomically. What dead processes left of such is cleared away."""
    for path in left_behind(file.parent):
        path.unlink(missing_ok=True)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())  # without owner and time
            member.size = path.stat().st_size
            with path.open("rb") as source:
                tar.addfile(member, source)
    write_atomic(file, lzma.compress(content.getvalue(), check=lzma.CHECK_SHA256, preset=9))
