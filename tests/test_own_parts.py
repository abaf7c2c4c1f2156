"""An embedding, a backbone and an evaluation from outside: nothing but new files, as docs/extending.md shows them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import sem_bench
from sem_bench.cli import main
from sem_bench.config.cards import Library, load_code, provided
from sem_bench.evaluations.registry import evaluations
from sem_bench.runs.plan import read_plan
from tests.helpers.commands import problems
from tests.helpers.documents import written
from tests.helpers.toy import SUITE, replace_text, write

FEW = ["--set", "grid.images={train: 400, test: 100}"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with the files that the document shows."""
    folder = tmp_path / "mine"
    folder.mkdir()
    written("extending.md", folder)
    monkeypatch.chdir(folder)
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_own_parts_are_treated_as_built_in_ones(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "entmax     1.5-entmax in the place of SEM's softmax" in said(capsys, "list", "embeddings")
    assert "conv two convolutions" in " ".join(said(capsys, "list", "backbones").split())
    assert "nmi            k-means clusters" in said(capsys, "list", "evaluations")
    text = said(capsys, "doctor", "own.yaml")
    assert "simclr entmax: ok" in text and "conv, 32 px" in text
    assert "nmi" in said(capsys, "plan", "own.yaml", *FEW)
    planned = json.loads(said(capsys, "plan", "own.yaml", *FEW, "--format", "json"))
    assert [job["kind"] for job in planned] == ["pretrain", "probe", "nmi"] * 2
    assert {(job["embedding"], job["backbone"]) for job in planned} == {("none", "conv"), ("entmax", "conv")}
    table = said(capsys, "run", "own.yaml", *FEW)
    assert "\nclusters: NMI, test " in table and "entmax: L=16, V=8" in table
    text = said(capsys, "table", "results", "--table", "clusters")
    assert "own: shapes (400 train, 100 test), conv, recipe quick, 2 epochs: clusters" in text
    assert "NMI, test" in text and "NMI in percent" in text and "entmax: L=16, V=8" in text
    rows = {(row.table, row.embedding): row for row in sem_bench.load("results") if row.representation != "h"}
    row = rows["clusters", "entmax"]
    assert (row.metric, row.representation, row.n) == ("nmi", "entmax", 1)
    assert row.mean is not None and row.gain is not None
    figures = own / "results/tables/own"
    assert (figures / "clusters.md").exists() and "entmax (L=16, V=8)" in (figures / "gains.svg").read_text()
    assert {job["status"] for job in json.loads(said(capsys, "plan", "own.yaml", *FEW, "--format", "json"))} == {"done"}

    said(capsys, "record", "results", "kept")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(own / "kept.tar.xz", elsewhere)
    monkeypatch.chdir(elsewhere)
    assert said(capsys, "table", "kept") == table  # where none of the code is
    assert "nmi" not in said(capsys, "list", "evaluations")


def test_code_and_digests(own: Path) -> None:
    def digests() -> list[str]:
        return [job.digest for job in read_plan(Path("own.yaml")).jobs]

    (pretrain, probe, nmi), before = digests()[:3], digests()
    path = own / "evaluations/nmi.py"
    path.write_text("# a comment\n" + path.read_text())
    assert digests() == before
    replace_text(path, "100 * normalized", "1000 * normalized")
    assert digests()[:2] == [pretrain, probe] and digests()[2] != nmi
    replace_text(own / "backbones/conv.py", "nn.ReLU(), nn.Ada", "nn.GELU(), nn.Ada")
    assert not set(digests()) & set(before)  # the baseline too


def test_entmax_rows_are_sparse_probability_vectors(own: Path) -> None:
    torch.manual_seed(0)
    embedding = load_code(own / "embeddings/entmax.py").Entmax(12, L=4, V=6, tau=0.5)
    parts = embedding(torch.randn(32, 12)).unflatten(1, (6, 4))
    assert torch.allclose(parts.sum(1), torch.ones(32, 4), atol=1e-5)
    assert (parts >= 0).all() and (parts == 0).float().mean() > 0.3
    assert (embedding(torch.randn(32, 12), 100.0) > 0).float().mean() > 0.95  # hot: near uniform


WRONG = {
    "syntax": ("class Nmi(", "class Nmi((", "evaluations/nmi.py:19: SyntaxError: invalid syntax"),
    "import": (
        "from sem_bench.evaluation import",
        "import no_such\nfrom sem_bench.evaluation import",
        "evaluations/nmi.py:1: ",
    ),
    "two": (
        "class NmiSettings(Model):",
        "class Other(Evaluation):\n    pass\n\n\nclass NmiSettings(Model):",
        "found 2",
    ),
    "name": ('"nmi", "k-means', '"mni", "k-means', "its name is 'mni', that of the file 'nmi'"),
    "lacks": ("Settings, Job = NmiSettings, NmiJob", "Settings = NmiSettings", "Nmi lacks Job"),
    "data": ("    data: LabelledData\n", "", "NmiJob lacks `data`, the images that the job reads"),
    "table": ("unit=", "units=", "evaluations/nmi.py:22: Table: units: Extra inputs are not permitted"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_evaluation_gets_a_line(mistake: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, line = WRONG[mistake]
    replace_text(own / "evaluations/nmi.py", old, new)
    (problem,) = problems(capsys, "own.yaml")
    assert problem.startswith("evaluations/nmi.py:") and line in problem


HOOKS = {
    "jobs": ("def jobs(self, asked, arm, seed, before):\n", "        raise ValueError('no luck')\n", "plan"),
    "problems": ("", "    def problems(self, asked, asking):\n        raise ValueError('no luck')\n\n", "plan"),
    "lacks": ("", "    def lacks(self, asked, others):\n        return others['no luck']\n\n", "plan"),
    "needs": ("", "    def needs(self, job, place):\n        return ['no luck']\n\n", "plan"),
    "cost": ("", "    def cost(self, job, net):\n        return 'no luck'\n\n", "plan"),
    "owes": ("", "    def owes(self, job):\n        return ['no luck']\n\n", "run"),
    "sets": ("", "    def sets(self, asked, arm):\n        return ['no luck']\n\n", "doctor"),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_fails_gets_a_line(hook: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    after, code, command = HOOKS[hook]
    after = after or '        unit="NMI in percent",\n    )\n\n'
    replace_text(own / "evaluations/nmi.py", after, after + code)
    assert main([command, "own.yaml", *(FEW if command != "doctor" else [])]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "no luck" in line]
    assert line.startswith("evaluations/nmi.py:") and f": {hook}: " in line


ROWS = {
    "nan": ('"value": value', '"value": float("nan")', "nan"),
    "no metric": ('"metric": "nmi", ', "", "metric"),
    "unknown metric": ('"metric": "nmi"', '"metric": "mni"', "no row has a metric of its table (nmi)"),
    "no dict": ('return {"rows": rows}', "return None", "rows"),
    "no rows": ('return {"rows": rows}', 'return {"rows": []}', "rows"),
}


@pytest.mark.parametrize("mistake", ROWS)
def test_wrong_rows_fail_their_job_alone(mistake: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, reason = ROWS[mistake]
    replace_text(own / "evaluations/nmi.py", old, new)
    few = [*FEW, "--set", "grid.embeddings={none: {}}", "--set", "pretrain.epochs=1"]
    assert main(["run", "own.yaml", *few]) == 1
    assert "clusters" in capsys.readouterr().out
    (error,) = Path("results").rglob("error.txt")
    assert error.parent.parent.name == "nmi" and reason in error.read_text().lower()
    assert len(list(Path("results").rglob("result.json"))) == 2


def test_figures_that_fail_leave_the_tables(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = '    figure = "mine"\n\n    def draw(self, rows, look):\n        raise ValueError("no luck")\n\n'
    replace_text(own / "evaluations/nmi.py", "    def jobs", draw + "    def jobs")
    assert main(["run", "own.yaml", *FEW, "--set", "pretrain.epochs=1"]) == 1
    output = capsys.readouterr()
    assert "NMI, test" in output.out
    assert [line for line in output.err.splitlines() if "draw: ValueError: no luck" in line]
    assert all((own / "results/tables/own" / name).exists() for name in ("clusters.md", "gains.svg"))


@pytest.mark.parametrize("name", ["pretrain", "suites", "model_dump", "knn"])
def test_a_name_that_is_taken_is_refused(name: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(own / "evaluations/nmi.py", own / f"evaluations/{name}.py")
    replace_text(own / f"evaluations/{name}.py", '"nmi", "k-means', f'"{name}", "k-means')
    assert main(["list", "evaluations"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"evaluations/{name}.py: '{name}' cannot be the name of an evaluation")


MISFITS = {
    "reads": ("    def jobs", '    reads = ("prob",)\n\n    def jobs', "which is no evaluation; did you mean 'probe'?"),
    "order": ("    def jobs", '    reads, order = ("probe",), 0\n\n    def jobs', "so its order must be above"),
    "table": ('name="clusters"', 'name="comparison"', "table 'comparison' is that of"),
}


@pytest.mark.parametrize("mistake", MISFITS)
def test_an_evaluation_must_fit_the_others(mistake: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, line = MISFITS[mistake]
    replace_text(own / "evaluations/nmi.py", old, new)
    (problem,) = problems(capsys, "own.yaml")
    assert problem.startswith("evaluations/nmi.py: ") and line in problem
    replace_text(own / "own.yaml", ", nmi: {repeats: 2}", "")
    assert main(["plan", "own.yaml"]) == 0  # it asks for no nmi


def test_none_is_our_embedding(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(own / "embeddings/entmax.yaml", own / "embeddings/none.yaml")
    (line,) = set(problems(capsys, "own.yaml"))
    assert line.startswith("embeddings/none.yaml") and "'none'" in line


def test_a_wrong_setting_of_an_own_evaluation(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = problems(capsys, "own.yaml", "--set", "evaluate.nmi.repeat=3")
    assert line == "--set evaluate.nmi.repeat=3: unknown key 'repeat' in evaluate.nmi; did you mean 'repeats'?"


PACKAGE = {
    "extra_parts/__init__.py": "raise RuntimeError('nothing of a package is run to find its parts')",
    "extra_parts-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: extra-parts\nVersion: 1.0\n",
    "extra_parts-1.0.dist-info/entry_points.txt": "".join(
        f"[sem_bench.{kind}]\nextra = parts_{kind}\n"
        for kind in ("methods", "embeddings", "backbones", "evaluations", "datasets")
    ),
}


@pytest.fixture
def package(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same parts in an installed package, as an installer leaves it, and an empty folder."""
    site, empty = tmp_path / "site", tmp_path / "empty"
    for name, text in PACKAGE.items():
        write(site, name, text)
    for kind in ("methods", "embeddings", "backbones", "evaluations"):
        shutil.copytree(own / kind, site / f"parts_{kind}")
        (site / f"parts_{kind}" / "__init__.py").write_text("")
    write(site, "parts_datasets/__init__.py", "")
    shutil.copytree(
        own, empty, ignore=lambda folder, names: [name for name in names if not name.endswith(".yaml") or "/" in name]
    )
    monkeypatch.chdir(empty)
    monkeypatch.syspath_prepend(str(site))
    provided.cache_clear()
    yield empty
    provided.cache_clear()


def test_an_installed_package_provides_parts(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("methods", "embeddings", "backbones", "evaluations"):
        shutil.rmtree(package / folder, ignore_errors=True)
    assert {"repel", "byol"} <= set(Library(package).names("method"))
    assert "entmax" in Library(package).names("embedding") and "conv" in Library(package).names("backbone")
    assert "nmi" in evaluations(Library(package))
    planned = read_plan(Path("own.yaml"))
    assert [job.kind for job in planned.jobs] == ["pretrain", "probe", "nmi"] * 2
    write(package, "evaluations/nmi.py", "raise ValueError('the first of a name')")
    (line,) = problems(capsys, "own.yaml")
    assert line == "evaluations/nmi.py:1: ValueError: the first of a name"


def test_an_entry_point_to_nowhere_gets_a_line(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "site/parts_evaluations")
    (line,) = problems(capsys, "own.yaml")
    assert line == "entry point sem_bench.evaluations: extra = parts_evaluations: there is no such package"


def test_the_doors_of_authors_stay() -> None:
    """What own parts import is a part of their digests."""
    from sem_bench import backbone, embedding, evaluation
    from sem_bench.evaluations.measures import features

    names = "Beside Cost Evaluation Fraction LabelledData Metric Model NetCost Planned Remark Search Seed ShiftedData"
    assert evaluation.__all__ == [*names.split(), "Table", "Temperature", "TrainingData"]
    assert all(hasattr(evaluation, name) for name in evaluation.__all__)
    assert callable(embedding.Embedding) and callable(backbone.Backbone) and callable(features.load)


def test_planning_with_own_parts_loads_no_torch(own: Path) -> None:
    code = (
        "import sys; from sem_bench.cli import main; assert main(['plan', 'own.yaml']) == 0; "
        "assert not {'torch', 'sklearn', 'scipy.stats'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_suite_that_asks_for_no_own_evaluation_dumps_as_before(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_plan(Path("suite.yaml")).suite.model_dump(mode="json")
    write(folder, "evaluations/nmi.py", (_document_code("evaluations/nmi.py", folder)))
    plan = read_plan(Path("suite.yaml"))
    assert "nmi" in plan.evaluations and plan.suite.model_dump(mode="json") == before
    assert SUITE.startswith("\nname: tiny")


def _document_code(name: str, folder: Path) -> str:
    place = folder / "document"
    place.mkdir()
    written("extending.md", place)
    return (place / name).read_text()
