"""Records: what docs quote can be kept, reprinted and checked."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sem_bench.base.digest import digest
from sem_bench.cli import main
from sem_bench.config.fields import Model, resolved
from sem_bench.evaluation import Stage
from sem_bench.evaluations.registry import builtin
from sem_bench.training.job import PRETRAIN
from tests.helpers.documents import DOCUMENTS, shown
from tests.helpers.places import REPOSITORY
from tests.helpers.toy import SUITE, write

RECORDS = sorted(path for path in (REPOSITORY / "docs/records").iterdir() if path.is_dir())


def test_a_record_reprints_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml"]) == 0
    table = capsys.readouterr().out
    write(folder, "other.yaml", SUITE.replace("name: tiny", "name: other").replace("seeds: [0]", "seeds: [1]"))
    assert main(["run", "other.yaml", "--only", "knn/"]) == 0
    capsys.readouterr()
    assert main(["record", "results", "docs/kept", "--suite", "tiny"]) == 0
    assert capsys.readouterr().out == "docs/kept: the results of 8 jobs; `table docs/kept` prints them\n"
    files = [path for path in (folder / "docs/kept").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"result.json", "predictions.bin", "tiny.json"} and len(files) == 13
    assert main(["table", "docs/kept"]) == 0
    assert capsys.readouterr().out == table
    assert main(["record", "results", "docs/kept"]) == 2  # the last suite run is not whole
    line = capsys.readouterr().err
    assert line.startswith("results: 4 of 8 jobs of suite 'other' have no result, such as probe/simclr-none-")
    assert not (folder / "docs/kept/suites/other.json").exists()
    assert main(["record", "nowhere", "docs/kept"]) == 2
    assert capsys.readouterr().err.startswith("nowhere: no such folder")


def _digest(stage: Stage[Any], version: int, config: Model, inputs: dict[str, str]) -> str:
    """That of a version of a stage."""
    return digest({"kind": stage.name, "version": version, "config": resolved(config), "inputs": inputs})


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.name)
def test_the_records_of_the_docs_are_whole(record: Path) -> None:
    """Only manifests and results, a few kilobytes each; every job there, and its digest that of its configuration.

    Relevance says the features and neighbours of each class: with a hundred classes half a megabyte.
    """
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


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.name)
def test_the_docs_quote_every_record(record: Path) -> None:
    name = f"docs/records/{record.name}"
    if record.name != "search":  # of which the log has the validation accuracies, and test accuracies nobody read
        assert any(name in command.split() for _, command, _ in shown()), "numbers that test_docs.py compares"
    assert any(name in document.read_text() for document in DOCUMENTS if document.name == "LOG.md")
