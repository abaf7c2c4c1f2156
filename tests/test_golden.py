"""Golden files: what no change of structure may change. `python -m tests.test_golden` writes them anew.

Digests and slugs of every job of every suite and profile, the settings of every sweep, and every record's tables in all
formats, as hashes. A digest that changes makes every user's results void: raise a stage's version instead, and say so.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sem_bench import analysis
from sem_bench.base.digest import digest
from sem_bench.errors import UserError
from sem_bench.report import render
from sem_bench.runs.plan import read_plan
from sem_bench.runs.record_file import opened
from sem_bench.runs.store import Store
from sem_bench.sweep import subjects
from tests.helpers.places import REPOSITORY
from tests.helpers.records import names

GOLDEN = Path(__file__).with_name("golden.json")
NOWHERE = Path("/nowhere")  # no data: digests do not need them
ENTRY = (
    *("kind", "slug", "digest", "inputs", "seed", "external", "baseline"),
    *("method", "ip", "embedding", "embedding_config", "backbone", "dataset", "recipe", "epochs"),
    *("fraction", "fractions", "columns", "metric"),
)
FORMATS = ("github", "latex", "csv", "html", "json")


def suites() -> dict[str, str]:
    """The jobs of every suite and profile, as its manifest has them."""
    found = {}
    for path in (Path("suite.yaml"), *sorted(Path("suites").glob("*.yaml"))):
        for profile in (None, *yaml.safe_load(path.read_text()).get("profiles", {})):
            plan = read_plan(path, [] if profile is None else [f"profile={profile}"], data=NOWHERE)
            entries = [job.manifest_entry() for job in plan.jobs]
            kept = [{name: entry[name] for name in ENTRY if name in entry} for entry in entries]
            suite = plan.suite.model_dump(mode="json")
            found[f"{path}, profile {profile}"] = digest([kept, suite])
    return found


def sweeps() -> dict[str, str]:
    """The studies of every sweep on several suites: their settings, and the jobs of trials."""
    found = {}
    for path in sorted(Path("sweeps").glob("*.yaml")):
        for suite in (None, Path("suites/cifar10.yaml"), Path("suites/photographs.yaml")):
            options: dict[str, Any] = {"assignments": [], "data": NOWHERE, "trials": None, "methods": None}
            try:
                each = subjects.read(path.stem, suite=suite, **options).each
            except UserError as error:
                found[f"{path.stem} on {suite}"] = str(error)
                continue
            content = []
            for one in each:
                settings, params = one.settings(Store(NOWHERE)), one.example
                plain = one.arm.suite.model_dump(mode="json", exclude={"seeds", "sweeps"})
                jobs = [[job.slug, job.digest] for job in one.jobs(params)]
                ahead = [[job.digest for job in pattern] for pattern in one.ahead(3)]
                confirmed = [[seed, [job.digest for job in jobs]] for seed, jobs in one.confirmation(params)]
                content.append([one.name, settings, plain, one.own, one.tau_d, jobs, ahead, confirmed])
            found[f"{path.stem} on {suite}"] = digest(content)
    return found


def records() -> dict[str, str]:
    """Every table of every record in every format, and the names of their files."""
    found = {}
    for name in names():
        record = Path("docs/records", name)
        with opened(record) as there:
            of = sorted(path.stem for path in (there.root / "suites").glob("*.json"))
        for suite in of:
            read = analysis.read(record, suite=suite)
            rows, tables = read.rows, analysis.text_tables(read.rows, read.layouts)
            for one in FORMATS:
                text = render.render(tables, rows, one)
                found[f"{record.name}, {suite}, {one}"] = hashlib.sha256(text.encode()).hexdigest()
            files = sorted(path.name for path in render.files(Path(), rows, tables))
            found[f"{record.name}, {suite}, files"] = digest(files)
    return found


PARTS = {"suites": suites, "sweeps": sweeps, "records": records}


@pytest.mark.parametrize("part", PARTS)
def test_golden(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    golden, found = json.loads(GOLDEN.read_text())[part], PARTS[part]()
    changed = [name for name in golden.keys() | found.keys() if golden.get(name) != found.get(name)]
    assert not changed, sorted(changed)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({name: part() for name, part in PARTS.items()}, indent=1) + "\n")
