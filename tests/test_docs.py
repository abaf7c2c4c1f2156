"""The output shown in the docs is what the commands print today. `python tests/test_docs.py` writes it anew."""

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.differences import main as differences
from benchmarks.run import main as benchmark
from sem_bench import analysis
from sem_bench.cli import main
from sem_bench.config.cards import Library, load_code
from sem_bench.data.card import dataset_card
from sem_bench.data.dataset import DataSet
from sem_bench.data.loading import load
from sem_bench.data.sources.python import PythonSource
from sem_bench.report.gains import interval
from sem_bench.runs.plan import read_plan
from sem_bench.runs.record_file import opened
from tests.helpers import shifted_shapes
from tests.helpers.documents import DOCUMENTS, FILES, PACKAGE, SHOWN, shown, with_files, written
from tests.helpers.places import REPOSITORY

SCRIPTS = {"benchmarks/run.py": benchmark, "benchmarks/differences.py": differences}


def output(command: str) -> str:
    """What a command prints, run from the repository's folder."""
    printed = io.StringIO()
    first, *rest = shlex.split(command)
    with contextlib.chdir(REPOSITORY), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        SCRIPTS.get(first, lambda words: main([first, *words]))(rest)
    return printed.getvalue().rstrip("\n") + "\n"


@pytest.mark.parametrize(("document", "command", "text"), shown(), ids=[f"{d}: {c}" for d, c, _ in shown()])
def test_shown_output(document: str, command: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    assert output(command) == text


def test_the_site_has_no_link_that_leads_nowhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    home = (tmp_path / "index.html").read_text()
    assert "Simplicial Embeddings" in home and 'href="protocol/"' in home
    loaded = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(https?:[^"]*)"', home)
    assert loaded == []


def test_shown_files() -> None:
    found = {match[2] for document in DOCUMENTS for match in FILES.finditer(document.read_text())}
    assert found == {"docs/slurm/array.sh", "docs/slurm/ray.sh"}
    for document in DOCUMENTS:
        assert with_files(document.read_text()) == document.read_text(), document.name


def test_the_readme_shows_the_main_things() -> None:
    commands = {command for document, command, _ in shown() if document == "README.md"}
    assert {
        "--help",
        "table docs/records/default --summary",
        "table docs/records/default --table comparison",
    } <= commands
    listed = {command for document, command, _ in shown() if document == "reference.md"}
    assert {f"list {kind}" for kind in ("methods", "datasets", "embeddings", "backbones", "evaluations")} <= listed


def test_the_method_in_the_docs_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = ("methods/repel", "embeddings/entmax", "backbones/conv")
    own = {f"{name}.{end}" for name in parts for end in ("py", "yaml")}
    assert written("extending.md", tmp_path) == own | {"evaluations/nmi.py", "suite.yaml", "mine.yaml", "own.yaml"}
    monkeypatch.chdir(tmp_path)
    few = ["--set", "grid.images={train: 400, test: 100}", "--only", "knn/repel"]
    assert main(["run", "suite.yaml", *few]) == 0
    assert "repel" in capsys.readouterr().out
    assert main(["doctor", "suite.yaml"]) == 0
    assert "repel sem: ok" in capsys.readouterr().out
    jobs = {(job.cell.method, job.cell.backbone) for job in read_plan(Path("mine.yaml")).jobs}
    assert jobs == {("external", "resnet18"), ("external", "resnet18p2")}


def test_the_cards_in_the_docs_are_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = written("data.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    library = Library(tmp_path)
    cards = {Path(name).stem for name in files if name.startswith("datasets/") and name.endswith(".yaml")}
    assert cards == {"birds", "snaps", "cells", "svhn", "dots", "birds_dusk", "birds_fog", "birds_c", "listed"}
    for name in cards:
        assert dataset_card(library, name).content.summary
    assert {job.cell.dataset for job in read_plan(Path("suite.yaml")).jobs} == {"snaps > birds"}
    dots = DataSet(dataset_card(library, "dots"), library, tmp_path)
    assert len(load(dots.labelled(), "test", dots.place)) == 100


def test_the_notebook_in_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n# notebook.py\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    (tmp_path / "docs").symlink_to(REPOSITORY / "docs")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    printed = capsys.readouterr().out
    said = re.search(r"^byol \+ sem: ([\d.]+) %, gain (\+[\d.]+ \[.*\])$", printed, re.MULTILINE)
    assert said is not None and printed.startswith(
        "linear (L=256, V=8), all labels, tau_d = tau: -0.6 [-2.9, +1.8] points"
    )
    assert "seed" in printed and (tmp_path / "gains.pdf").exists()
    table = output("table docs/records/byol_photographs --table comparison --format github")
    assert re.search(rf"\| sem \(L=256, V=8\) +\| {said[1]} .*\*\*{re.escape(said[2])}\*\*", table)


def test_each_fault_in_the_docs_has_its_test() -> None:
    """A row of docs/reliability.md names tests, by a part of their names, or files; `make faults` runs them."""
    text, made = (REPOSITORY / "docs/reliability.md").read_text(), (REPOSITORY / "Makefile").read_text()
    rows = 0
    for section in text.split("## What was tried")[1].split("\n## ")[0].split("\n### ")[1:]:
        heading, *lines = section.splitlines()
        for said in (line.strip("| ").rsplit("| ", 1)[1] for line in lines if re.match(r"\| (?!fault )", line)):
            files = re.findall(r"tests/[\w/]+\.py", f"{heading} {said}")
            assert files and all(re.search(rf"{file}\s", made) for file in files), files
            names = [
                name
                for file in files
                for name in re.findall(r"^def test_\w+", (REPOSITORY / file).read_text(), re.MULTILINE)
            ]
            assert all(any(part in name for name in names) for part in re.findall("`(\\w+)`", said)), said
            rows += 1
    assert rows > 40


def test_the_examples_of_the_api_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One after the other, with the suite of the tests: its arms are simclr/none and simclr/sem."""
    text = (REPOSITORY / "docs/api.md").read_text()
    steps = re.findall(r"^```python\n(.*?)^```|^    python -m sem_bench (export .*?)$", text, re.DOTALL | re.MULTILINE)
    assert [bool(command) for _, command in steps] == [False] * 6 + [True, False]
    names: dict[str, Any] = {}
    for code, command in steps:
        if command:
            assert main(shlex.split(command)) == 0
        else:
            exec(code, names)
    printed = capsys.readouterr().out
    assert "rows; 0 jobs failed\n" in printed and "simclr sem kNN sem " in printed
    (said,) = re.findall(r"print\(error\)  # (.*)", text)
    assert f"\n{said}\n" in printed
    vectors = names["probabilities"].unflatten(1, (3, 4)).sum(1)  # (8, V * L), V = 3, L = 4
    assert vectors.numpy() == pytest.approx(np.ones((8, 4)), abs=1e-5)
    assert names["accuracy"] > 0.9
    assert names["weights"].keys() >= {"backbone.network.0.weight", "embedding.linear.weight"}


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def results(record: str, kind: str) -> list[dict[str, Any]]:
    """The results of a kind in a record."""
    with opened(REPOSITORY / "docs/records" / record) as there:
        return [json.loads(path.read_text()) for path in sorted((there.root / kind).glob("*/result.json"))]


def calibration() -> list[str]:
    """The rows of the log's table of the calibration, from its record."""
    pretrained = {result["digest"]: result for result in results("calibration", "pretrain")}
    rows = []
    methods = sorted({result["config"]["method"]["name"] for result in pretrained.values()})
    for name, method, epochs in [("random backbone", "simclr", 0), *((method, method, 10) for method in methods)]:
        mine = {
            key: found for key, found in pretrained.items()
            if (found["config"]["method"]["name"], found["config"]["training"]["epochs"]) == (method, epochs)
        }  # fmt: skip
        probes = [r for r in results("calibration", "probe") if r["inputs"]["pretrain"] in mine]
        votes = [r for r in results("calibration", "knn") if r["inputs"]["pretrain"] in mine]
        first = [r["metrics"]["rows"][0] for r in probes if r["config"]["fraction"] == 1]
        figures = [[row["value"] for row in first], [row["superclass"] for row in first]]
        figures.append([r["metrics"]["rows"][0]["value"] for r in votes])
        seconds = mean(r["provenance"]["seconds"] for r in mine.values()) if epochs else 0
        cells = [f"{mean(values):.1f} ± {stdev(values):.1f}" for values in figures]
        rows.append(f"| {name} | {' | '.join(cells)} | {seconds:.0f} |")
    return rows


def speeds(record: str) -> list[str]:
    """A row for each arm: images a second (median of the seeds, slowest, fastest), seconds an epoch, augmentation."""
    arms: dict[tuple[str, str], list[dict[str, float]]] = {}
    for found in results(record, "pretrain"):
        arm = found["config"]["method"]["name"], found["config"]["embedding"]["type"]
        arms.setdefault(arm, []).append(found["provenance"]["speed"])
    rows = []
    for (method, embedding), seeds in sorted(arms.items()):
        images, seconds, share = (
            sorted(speed[key] for speed in seeds)
            for key in ("images_per_second", "seconds_per_epoch", "augmentation_share")
        )
        cells = f"{median(images):.0f} ({images[0]:.0f} to {images[-1]:.0f}) | {median(seconds):.1f}"
        rows.append(f"| {method} | {embedding} | {cells} | {100 * median(share):.1f} % |")
    return rows


def search() -> list[str]:
    """A row for each method: the validation accuracy of its baseline at each learning rate."""
    found: dict[str, dict[float, str]] = {}
    pretrained = {result["digest"]: result["config"] for result in results("search", "pretrain")}
    for probe in results("search", "probe"):
        settings = pretrained[probe["inputs"]["pretrain"]]
        name, lr = settings["method"]["name"], settings["training"]["optimizer"]["lr"]
        found.setdefault(name, {})[lr] = f"{probe['metrics']['rows'][0]['validation']:.1f}"
    rates = (0.1, 0.3, 1.0)
    cells = {name: " | ".join(lrs.get(lr, "diverged") for lr in rates) for name, lrs in sorted(found.items())}
    return [f"| {name} | {text} |" for name, text in cells.items()]


def over_untrained() -> list[str]:
    """What SEM has over its control, paired by seed, from the record of BYOL on photographs."""
    figures: dict[str, dict[str, dict[int, float]]] = {}
    arms = {found["digest"]: found["config"] for found in results("byol_photographs", "pretrain")}
    for kind in ("probe", "knn", "robustness", "transfer"):
        for found in results("byol_photographs", kind):
            arm, config = arms[found["inputs"]["pretrain"]], found["config"]
            fraction = f"{100 * config.get('fraction', 1.0):g} %"
            of = {"knn": "kNN", "robustness": f"corruptions, {fraction}", "transfer": config["data"]["name"]}
            for row in found["metrics"]["rows"]:
                if row["representation"] == "sem" and row["metric"] in ("top1", "knn_top1"):
                    seeds = figures.setdefault(of.get(kind, fraction), {}).setdefault(arm["embedding"]["type"], {})
                    seeds[arm["seed"]] = row["value"]
    rows = []
    for column, own in figures.items():
        gain, low, high = interval([own["sem"][seed] - value for seed, value in sorted(own["untrained"].items())])
        rows.append(f"| {column} | {gain:+.1f} [{low:+.1f}, {high:+.1f}] |")
    return rows


@pytest.mark.parametrize(
    "rows",
    [calibration, search, over_untrained, partial(speeds, "photographs")],
    ids=["calibration", "search", "over untrained", "speed of the photographs"],
)
def test_the_log_has_the_numbers_of_the_records(rows: Callable[[], list[str]]) -> None:
    log = (REPOSITORY / "docs/LOG.md").read_text().replace("*", "")  # marks what a recipe had then
    found = rows()
    assert found
    for row in found:
        assert row.replace("*", "") in log


def contact_sheet(path: Path) -> None:
    """What the default suite's images look like."""
    card = dataset_card(Library(REPOSITORY), "shapes")
    assert isinstance(card.content.source, PythonSource)
    load_code(card.code).contact_sheet(path, columns=8, zoom=1, **card.content.source.arguments)


def figure(path: Path, *, record: str, table: str, name: str, suite: str | None = None) -> None:
    """A figure that `run` or `sweep` writes beside a table, from a record."""
    rows = [row for row in analysis.read(REPOSITORY / "docs/records" / record, suite=suite).rows if row.table == table]
    with tempfile.TemporaryDirectory() as folder:
        analysis.draw(rows, Path(folder))
        path.write_bytes((Path(folder) / f"{name}.png").read_bytes())


def swept(path: Path, *, sweep: str, name: str) -> None:
    """A figure of a sweep on photographs."""
    figure(path, record="sweeps_photographs", table="sweep", name=name, suite=f"{sweep}-byol_photographs")


PICTURES: dict[str, Callable[[Path], None]] = {
    "shapes.png": contact_sheet,
    "shifts.png": shifted_shapes.contact_sheet,
    "gains.png": partial(figure, record="default", table="comparison", name="gains"),
    "decomposition.png": partial(
        figure, record="decomposition_cifar100", table="decomposition", name="decomposition-100pc"
    ),
    "sweep_tau_d.png": partial(swept, sweep="tau_d", name="sweep-tau_d-byol-tau_d"),
    "sweep_LV.png": partial(swept, sweep="LV_free", name="sweep-LV_free-byol-LV"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_what_is_drawn_today(name: str, tmp_path: Path) -> None:
    PICTURES[name](tmp_path / name)
    mine, shown = (np.asarray(Image.open(path)) for path in (tmp_path / name, REPOSITORY / "docs" / name))
    assert mine.shape == shown.shape
    assert np.abs(mine.astype(int) - shown).max() <= 2  # another processor may round differently


def rewrite() -> None:
    """Put today's output into the documents."""
    for name, draw in PICTURES.items():
        draw(REPOSITORY / "docs" / name)
    for document in DOCUMENTS:
        text = document.read_text()
        document.write_text(
            with_files(SHOWN.sub(lambda match: match[1] + output(match[2].removeprefix(PACKAGE)) + match[4], text))
        )


if __name__ == "__main__":
    import os

    os.environ["COLUMNS"] = "100"
    sys.path.insert(0, str(REPOSITORY))
    rewrite()
