"""Records: what docs quote can be kept, reprinted and checked."""

import io
import json
import lzma
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sem_bench.base.digest import digest
from sem_bench.cli import main
from sem_bench.config.fields import Model, resolved
from sem_bench.evaluation import Stage
from sem_bench.evaluations.registry import builtin
from sem_bench.runs.record_file import ENDING, opened
from sem_bench.training.job import PRETRAIN
from tests.helpers.documents import DOCUMENTS, shown
from tests.helpers.records import RECORDS, names
from tests.helpers.toy import SUITE, write


def test_a_record_reprints_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml"]) == 0
    table = capsys.readouterr().out
    write(folder, "other.yaml", SUITE.replace("name: tiny", "name: other").replace("seeds: [0]", "seeds: [1]"))
    assert main(["run", "other.yaml", "--only", "knn/"]) == 0
    capsys.readouterr()
    assert main(["record", "results", "docs/kept", "--suite", "tiny"]) == 0
    name = "docs/kept.tar.xz"
    assert capsys.readouterr().out == f"{name}: the results of 8 jobs; `table {name}` prints them\n"
    assert [path.name for path in (folder / "docs").rglob("*")] == ["kept.tar.xz"]
    with tarfile.open(name) as tar:
        files = [Path(one) for one in tar.getnames()]
    assert {path.name for path in files} == {"result.json", "predictions.bin", "tiny.json"} and len(files) == 13
    for called in ("docs/kept", name):
        assert main(["table", called]) == 0
        assert capsys.readouterr().out == table
        assert main(["verify", called]) == 0
        assert capsys.readouterr().out.endswith(f"{name}: 8 results, 0 lines of what cannot be believed\n")
    assert main(["record", "results", "docs/kept"]) == 2  # the last suite run is not whole
    line = capsys.readouterr().err
    assert line.startswith("results: 4 of 8 jobs of suite 'other' have no result, such as probe/simclr-none-")
    assert main(["record", "nowhere", "docs/kept"]) == 2
    assert capsys.readouterr().err.startswith("nowhere: no such folder")


@pytest.fixture
def copy(folder: Path) -> Path:
    """The current folder, with finished results."""
    assert main(["run", "suite.yaml"]) == 0
    return folder


def test_a_record_has_the_same_bytes_each_time_and_takes_more_suites(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["record", "results", "one"]) == 0
    for path in (copy / "results").rglob("*.json"):
        path.touch()
    assert main(["record", "one", "again.tar.xz"]) == 0  # of a record, too
    content = Path("one.tar.xz").read_bytes()
    assert Path("again.tar.xz").read_bytes() == content
    with opened(Path("one")) as there:
        assert there.packed and there.root.stat().st_mode & 0o77 == 0o55
        assert there.root.parent.stat().st_mode & 0o77 == 0  # private
        shutil.copytree(there.root, "folder")
    assert not there.root.parent.exists()
    assert main(["record", "folder", "folder.tar.xz", "--all"]) == 0
    assert Path("folder.tar.xz").read_bytes() == content
    write(copy, "other.yaml", SUITE.replace("name: tiny", "name: other"))
    assert main(["run", "other.yaml"]) == 0
    assert main(["record", "results", "one"]) == 0
    capsys.readouterr()
    assert main(["table", "one", "--all"]) == 0
    said = capsys.readouterr().out
    assert "tiny: " in said and "other: " in said
    assert main(["report", "one"]) == 2
    line = "one.tar.xz: a record is one file; say where its page goes, as with --out other.html\n"
    assert capsys.readouterr().err == line
    assert main(["report", "one", "--out", "page.html"]) == 0
    assert "table one.tar.xz --suite other" in Path("page.html").read_text()


READERS = (["table"], ["table", "--summary"], ["report", "--out", "page.html"], ["verify"], ["record", "new"])


def hostile(path: Path, *members: tarfile.TarInfo) -> None:
    """A record with only such members."""
    with tarfile.open(path, "w:xz") as tar:
        for member in members:
            tar.addfile(member, None if not member.isreg() else io.BytesIO(bytes(member.size)))


def member(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """The head of a member."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, target
    return info


def bomb(path: Path) -> None:
    """A few kilobytes that say they are gigabytes."""
    with lzma.open(path, "wb") as file:
        file.write(member("suites/x.json", size=2**34).tobuf())
        file.write(bytes(2**20))


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "outside": (lambda path: hostile(path, member("../x")), "member '../x' would lie outside the folder"),
    "absolute": (lambda path: hostile(path, member("/x")), "member '/x' would lie outside the folder"),
    "a link": (
        lambda path: hostile(path, member("suites", kind=tarfile.SYMTYPE, target="/etc")),
        "member 'suites' is a link or device",
    ),
    "a pipe": (lambda path: hostile(path, member("p", kind=tarfile.FIFOTYPE)), "member 'p' is a link or device"),
    "a bomb": (bomb, ""),
    "no record": (lambda path: hostile(path, member("a/b")), "no suite was run here yet"),
    "no archive": (lambda path: path.write_bytes(b"text"), "damaged, cut short, or not what its name says"),
    "empty": (lambda path: path.write_bytes(b""), "damaged, cut short, or not what its name says"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_record_is_refused_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    make, why = HOSTILE[name]
    make(Path("bad.tar.xz"))
    before = sorted(tmp_path.rglob("*"))
    for first, *rest in READERS:
        assert main([first, "bad", *rest]) == (1 if (first, name) == ("verify", "no record") else 2)
        said = capsys.readouterr()
        (line,) = said.err.splitlines() or [one for one in said.out.splitlines() if why in one]
        assert "bad.tar.xz: " in line and why in line and str(private) not in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_changed_byte_is_seen(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever it is: the file has a SHA-256 of all that it holds."""
    assert main(["record", "results", "kept"]) == 0
    content = Path("kept.tar.xz").read_bytes()
    capsys.readouterr()
    for at in range(0, len(content), len(content) // 25):
        Path("kept.tar.xz").write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert main(["table", "kept"]) == 2
        assert capsys.readouterr().err == "kept.tar.xz: damaged, cut short, or not what its name says\n", at
    for cut in (10, len(content) // 2, len(content) - 1):
        Path("kept.tar.xz").write_bytes(content[:cut])
        assert main(["verify", "kept"]) == 2
    for option in ("--repair", "--prune"):
        Path("kept.tar.xz").write_bytes(content)
        capsys.readouterr()
        assert main(["verify", "kept", option]) == 2
        assert capsys.readouterr().err.startswith("kept.tar.xz: a record is one file; --repair and --prune are for")


def _digest(stage: Stage[Any], version: int, config: Model, inputs: dict[str, str]) -> str:
    """That of a version of a stage."""
    return digest({"kind": stage.name, "version": version, "config": resolved(config), "inputs": inputs})


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_the_records_of_the_docs_are_whole(path: Path) -> None:
    """One file each, with manifests and results, a few kilobytes a job; each digest is that of its configuration.

    Relevance says the features and neighbours of each class: with a hundred classes half a megabyte.
    """
    makes = f"`record {path} {path}{ENDING} --all` makes it of a folder"
    assert path.is_file() and path.name.endswith(ENDING) and path.stat().st_size < 2**22, makes
    with opened(path) as there:
        _check(there.root)


def _check(record: Path) -> None:
    files = [path.relative_to(record) for path in record.rglob("*") if path.is_file()]
    listed = ("suites", "sweeps")
    assert {path.name for path in files if path.parts[0] not in listed} <= {"result.json", "predictions.bin"}
    limits = {"suites": 2**30, "relevance": 2**20}
    assert all((record / path).stat().st_size < limits.get(path.parts[0], 2**17) for path in files)
    manifests = [json.loads(path.read_text()) for path in record.glob("suites/*.json")]
    studies = [study for path in record.glob("sweeps/*.json") for study in json.loads(path.read_text())["studies"]]
    wanted = {(job["kind"], job["digest"]) for part in (*manifests, *studies) for job in part["jobs"]}
    stages: dict[str, Stage[Any]] = {"pretrain": PRETRAIN, **builtin()}
    found = {}
    for path in record.glob("*/*/result.json"):
        result = json.loads(path.read_text())
        found[result["kind"], result["digest"]] = result
        assert path.parent.parent.name == result["kind"] and path.parent.name.endswith(result["digest"][:12])
        stage = stages[result["kind"]]
        try:
            config = stage.Job.model_validate(result["config"])
        except ValidationError:
            assert stage.version > 1, path  # its fields were others
            continue
        digests = {_digest(stage, version, config, result["inputs"]) for version in range(1, stage.version + 1)}
        assert result["digest"] in digests, path
    assert found.keys() == wanted


@pytest.mark.parametrize("record", names())
def test_the_docs_quote_every_record(record: str) -> None:
    name = f"docs/records/{record}"
    if record != "search":  # of which the log has the validation accuracies, and test accuracies nobody read
        assert any(name in command.split() for _, command, _ in shown()), "numbers that test_docs.py compares"
    assert any(name in document.read_text() for document in DOCUMENTS if document.name == "LOG.md")
