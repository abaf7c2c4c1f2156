"""`report`: one page that holds what the JSON holds, loads nothing, obeys nobody's names, and says what is missing."""

import base64
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import sem_bench
from sem_bench.analysis import text_tables
from sem_bench.cli import main
from sem_bench.report.page.curves import curves
from sem_bench.report.page.render import HERE
from sem_bench.report.page.svg import inlined
from sem_bench.runs.record_file import opened
from tests.helpers.pages import Element, read
from tests.helpers.places import REPOSITORY
from tests.helpers.results import SEM, Tree, figure

RECORDS = REPOSITORY / "docs/records"
LOADS = ("src", "srcset", "href", "xlink:href", "action", "formaction", "data", "poster", "background", "ping")


def reported(results: Path, folder: Path, *options: str) -> Element:
    """The page of a results folder."""
    assert main(["report", str(results), *options, "--out", str(folder / "page.html")]) == 0
    return read((folder / "page.html").read_text())


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Element]:
    """The page of a record, written once."""
    return cache(lambda record: reported(RECORDS / record, tmp_path_factory.mktemp(record)))


Kept = Callable[[str], Element]


def small(root: Path, name: str = "quick") -> Tree:
    """BYOL with and without SEM, three seeds."""
    tree = Tree(root, name)
    tree.arm([50, 51, 52])
    tree.arm([53, 54.5, 55], "sem")
    return tree


def test_it_begins_with_the_answer_and_says_what_it_is_of(kept: Kept) -> None:
    page = kept("quick")
    (summary,) = sem_bench.load(RECORDS / "quick").summary()
    sections = page.all("section")
    assert sections[0].attributes["id"] == "answer"
    assert [one.text for one in sections[0].all("li")] == summary.sentences
    assert page.all("h1")[0].text == "quick" and "188 jobs: 188 done" in page.all("header")[0].text
    assert "missing" not in {one.attributes.get("id") for one in sections}


@pytest.mark.parametrize("record", ["quick", "byol_photographs", "eight_methods", "sweeps_photographs"])
def test_tables_are_those_of_the_table_command(record: str, kept: Kept) -> None:
    """Cell by cell, whatever the width of a terminal."""
    page = kept(record)
    results = sem_bench.load(RECORDS / record)
    expected = text_tables(results, results.layouts)
    assert len(expected) > 0
    for number, table in enumerate(expected, 1):
        section = page.named(f"table{number}")
        (shown,) = section.all("table")
        assert shown.all("caption")[0].text == table.title
        assert shown.cells == [[" ".join(cell.text.split()) for cell in line] for line in table.body]
        heads = [head.text for head in shown.all("thead")[0].all("th")]
        assert [head.partition(" of ")[0] for head in heads] == table.columns
        assert len(section.all("ol")) == bool(table.notes) and f"--table {table.name}" in section.text


def test_intervals_stand_small_and_the_better_one_of_a_pair_is_underlined(kept: Kept) -> None:
    section = kept("byol_photographs").named("table1")
    small = [one.text for one in section.all("small")]
    assert "± 0.6" in small and "[+2.1, +4.7]" in small and all(text[0] in "±[({" for text in small)
    bold = {one.text for one in section.all("b")}
    assert "+3.4" in bold and not any("[" in text for text in bold)
    better = [one.text for one in section.all("span") if one.attributes.get("class") == "better"]
    assert "52.4" in better and "48.9" not in better
    assert any(line.text.startswith("underlined: the better one") for line in section.all("li"))
    transfer = kept("sweeps_photographs").named("table1")
    assert transfer.all("span") == [one for one in transfer.all("span") if one.attributes.get("class") != "better"]


@pytest.mark.parametrize("record", ["quick", "byol_photographs"])
def test_every_number_of_the_json_is_among_those_of_its_arm(
    record: str, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the digits of its table."""
    names = ("table", "labels", "column", "metric", "of", "tau_d", "mean", "sd", "n", "gain", "low", "high")
    shown = set()
    for arm in (one for one in kept(record).all("details") if one.attributes.get("class") == "arm"):
        settings = dict(zip((one.text for one in arm.all("dt")), (one.text for one in arm.all("dd")), strict=True))
        heads = [head.text for head in arm.all("table")[0].all("thead")[0].all("th")]
        for cells in arm.all("table")[0].cells:
            line = dict(zip(heads, cells, strict=True))
            shown.add((settings["method"], settings["embedding.label"], *(line.get(name, "") for name in names)))
    digits = {layout.name: layout.digits for layout in sem_bench.load(RECORDS / record).layouts}
    capsys.readouterr()
    assert main(["table", str(RECORDS / record), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) > 200
    for row in rows:
        places = digits[row["table"]]
        number = {name: "" if row[name] is None else f"{row[name]:.{places}f}" for name in ("mean", "std")}
        gain = {name: as_gain(row[name], places) for name in ("gain", "gain_low", "gain_high")}
        tau = "" if row["tau_d"] is None else f"{row['tau_d']:g}"
        place = (row["table"], f"{100 * row['fraction']:g}%", row["column"], row["metric"], row["representation"], tau)
        values = (number["mean"] or "—", number["std"], str(row["n"]), *gain.values())
        assert (row["method"], row["embedding"], *place, *values) in shown


def as_gain(value: float | None, places: int) -> str:
    """What rounds to 0 has no sign."""
    text = "" if value is None else f"{value:+.{places}f}"
    return text[1:] if text and float(text) == 0 else text


def test_a_page_can_be_read_aloud_and_its_links_lead_somewhere(kept: Kept) -> None:
    page = kept("byol_photographs")
    (html,) = page.all("html")
    assert html.attributes["lang"] == "en" and len(page.all("h1")) == 1
    levels = [int(one.tag[1]) for one in page.all("h1", "h2", "h3", "h4", "h5")]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    anchors = [one.attributes["id"] for one in page.all() if "id" in one.attributes]
    assert len(anchors) == len(set(anchors)) > 100
    for one in page.all():
        wanted = [one.attributes[name] for name in ("aria-labelledby",) if name in one.attributes]
        href = one.attributes.get("href", one.attributes.get("xlink:href", ""))
        wanted += [href[1:]] if href.startswith("#") else []
        assert set(wanted) <= set(anchors), one
    tables = [one for one in page.all("table") if one.attributes["class"] == "sortable"]
    assert len(tables) > 10 and all(len(one.all("caption")) == 1 for one in tables)
    for head in page.all("th"):
        assert head.attributes.get("scope") in ("col", "row")
    assert len(page.all("svg")) == 6
    assert all(one.attributes["role"] == "img" and one.all("title")[0].text for one in page.all("svg"))


def test_nothing_is_loaded(kept: Kept) -> None:
    page = kept("quick")
    used = [(name, value) for one in page.all() for name, value in one.attributes.items() if name in LOADS]
    assert len(used) > 50
    assert [one for one in used if not one[1].startswith(("#", "data:"))] == []
    styles = [*(one.text for one in page.all("style")), *(one.attributes.get("style", "") for one in page.all())]
    assert not any("@import" in style or re.search(r"url\((?!#)", style) for style in styles)
    (script,) = page.all("script")
    assert "src" not in script.attributes
    (policy,) = (one.attributes["content"] for one in page.all("meta") if "http-equiv" in one.attributes)
    digest = base64.b64encode(hashlib.sha256(str(script.children[0]).encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy


EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


def test_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "results", EVIL.replace("/", "|"))
    config = SEM | {"note": EVIL}
    place: dict[str, Any] = {"dataset": f"<svg onload=alert(3)>{EVIL}"}
    tree.arm([50, 51, 52], **place)
    tree.arm([53, 54, 55], f"mine {EVIL}", embedding_config=config, **place)
    evil = figure(1.0, "sem", notes=[f"a note {EVIL}"])
    tree.job([evil], seed=3, embedding="other", config={"fraction": 1.0, EVIL: EVIL}, **place)
    (folder,) = tree.arm([None], "failed", **place)
    (folder / "error.txt").write_text(f"Traceback\n\nValueError: {EVIL}\n")
    tree.write()
    page = reported(tmp_path / "results", tmp_path)
    assert len(page.all("script")) == 1 and page.all("img") == []
    assert not any(name.startswith("on") for one in page.all() for name in one.attributes)
    for words in (f"mine {EVIL}", f"<svg onload=alert(3)>{EVIL}", f"ValueError: {EVIL}", f"a note {EVIL}"):
        assert words in page.text
    drawn = [one.text for one in page.all("svg")]
    assert drawn and any("<script>" in text for text in drawn)


def test_a_suite_that_still_runs_shows_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    tree = small(tmp_path / "results")
    (folder,) = tree.arm([None], "sem", method="simclr")
    tree.arm([40], method="simclr")
    (folder / "error.txt").write_text("Traceback (most recent call last):\n\nValueError: the loss is nan\n")
    tree.arm([None, None], "linear")
    tree.write()
    page = reported(tmp_path / "results", tmp_path)
    assert "20 jobs: 17 done, 1 failed, 2 missing" in page.all("header")[0].text
    lines = page.named("lacking").all("table")[0].cells
    assert lines == [
        ["simclr", "sem (L=64, V=8)", "resnet10w16s2", "shapes", "probe", "1 failed", "0"],
        ["byol", "linear (L=64, V=8)", "resnet10w16s2", "shapes", "probe", "2 missing", "0, 1"],
    ]
    assert "ValueError: the loss is nan" in page.named("arms").text
    assert any("54.2 ± 1.0" in cell for line in page.named("table1").all("table")[0].cells for cell in line)


def test_a_suite_without_any_result_has_a_page(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "results")
    tree.arm([50], "sem")
    tree.write()
    shutil.rmtree(tmp_path / "results/probe")
    shutil.rmtree(tmp_path / "results/pretrain")
    page = reported(tmp_path / "results", tmp_path)
    assert "2 jobs: 2 missing" in page.text and "results are missing" in page.named("answer").text


def test_the_same_results_give_the_same_page(tmp_path: Path) -> None:
    """Drawn anew, or with the figures that lie beside the tables."""
    small(tmp_path / "results").write()
    path, folder = tmp_path / "results/tables/quick.html", tmp_path / "results/tables/quick"
    assert main(["report", str(tmp_path / "results")]) == 0
    drawn = path.read_bytes()
    assert main(["table", str(tmp_path / "results"), "--out", str(folder)]) == 0
    assert (folder / "gains.svg").exists()
    assert main(["report", str(tmp_path / "results")]) == 0
    assert path.read_bytes() == drawn
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".")] == []


def test_configuration_and_provenance_are_there_for_every_seed(kept: Kept) -> None:
    page = kept("byol_photographs")
    runs = [one for one in page.all("details") if one.attributes.get("class") == "runs"]
    assert {"pretrain 3 done", "probe 100pc 3 done", "knn 3 done"} <= {one.all("summary")[0].text for one in runs}
    (probe,) = (one for one in page.named("arm2").all("details") if one.all("summary")[0].text.startswith("probe 1pc"))
    with opened(RECORDS / "byol_photographs") as there:
        result = next((there.root / "probe").glob("byol-linear256x8-*-s1-1pc-*/result.json"))
        made = json.loads(result.read_text())
    facts = {line[0]: line[1:] for line in probe.all("table")[0].cells}
    assert facts["commit"][1] == made["provenance"]["commit"]
    assert facts["versions.torch"][1] == made["provenance"]["versions"]["torch"]
    assert facts["job"][1] == f"probe/{result.parent.name}"
    names = dict(zip((one.text for one in probe.all("dt")), (one.text for one in probe.all("dd")), strict=True))
    assert names["fraction"] == "0.01" and "seed" not in names and names["data.image_size"] == "32"


def test_published_numbers_stand_beside_measured_ones(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "results", "paper")
    place: dict[str, Any] = {"backbone": "resnet18", "dataset": "cifar100", "recipe": "cifar_resnet18", "epochs": 1000}
    tree.arm([70.0, 71.0], **place)
    tree.write()
    (line,) = reported(tmp_path / "results", tmp_path).named("published").all("table")[0].cells
    assert line[:5] == ["byol", "none", "resnet18", "cifar100", "100%"]
    measured, published, table, apart = line[5:]
    assert (
        measured == "70.5"
        and table.startswith("table 1")
        and float(apart) == pytest.approx(70.5 - float(published), abs=0.06)
    )


def test_a_thousand_jobs_take_seconds(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "results")
    for number in range(50):
        tree.arm([50.0 + number % 7 + seed for seed in range(5)], method=f"method{number}")
        tree.arm([52.0 + number % 5 + seed for seed in range(5)], "sem", method=f"method{number}")
    tree.write()
    assert len(tree.jobs) == 1000
    start = time.process_time()
    page = reported(tmp_path / "results", tmp_path)
    assert time.process_time() - start < 10  # a third of it on an idle core
    assert "1,000 jobs: 1000 done" in page.text and (tmp_path / "page.html").stat().st_size < 5_000_000


def test_curves_of_training(tmp_path: Path) -> None:
    logs = [tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "absent.csv"]
    logs[0].write_text("epoch,loss,lr\n1,4.0,1\n2,3.0,1\n3,2.0,1\n")
    logs[1].write_text("epoch,loss\n1,4.0\nbroken\n2,nan\n3,3.0\n")
    problems: list[str] = []
    (curve,) = curves(dict.fromkeys(logs), problems)
    assert problems == []
    assert (curve.name, curve.low, curve.high, curve.epochs) == ("loss", "2", "4", 3)
    assert curve.lines == ["0.0,0.0 120.0,40.0 240.0,80.0", "0.0,0.0 240.0,40.0"]
    tree = small(tmp_path / "results")
    tree.write()
    for folder in (tmp_path / "results/pretrain").iterdir():
        shutil.copy(logs[0], folder / "log.csv")
    shown = reported(tmp_path / "results", tmp_path).named("arm1").all("polyline")
    assert [one.attributes["points"] for one in shown] == 3 * [curve.lines[0]]


def test_a_figure_from_elsewhere_loads_and_runs_nothing() -> None:
    text = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" onload="x()">
    <title>Gains</title><style>* {fill: red}</style><script>x()</script><foreignObject><p>x</p></foreignObject>
    <defs><clipPath id="a"/></defs><g clip-path="url(#a)" style="fill: url(https://x.org/y)" onclick="x()">
    <use xlink:href="#a"/><use xlink:href="https://x.org/z#a"/><image href="https://x.org/i.png"/></g>
    <a xlink:href="javascript:x()"><text>kept?</text></a><text>a &lt;b&gt;</text></svg>"""
    title, svg = inlined(text, "f1-")
    assert title == "Gains" and "x.org" not in svg and "x()" not in svg and "style" not in svg and "<p>" not in svg
    assert 'id="f1-a"' in svg and 'clip-path="url(#f1-a)"' in svg and 'href="#f1-a"' in svg and "a &lt;b&gt;" in svg


def test_colours_have_contrast_in_light_and_in_dark() -> None:
    """At least 4.5 to 1 (WCAG AA) for every text on every ground."""
    style = (HERE / "style.css").read_text()
    schemes = [dict(re.findall(r"--(\w+): (#\w+);", part)) for part in re.findall(r":root \{(.*?)\}", style, re.S)[:2]]
    for scheme in schemes:
        assert len(scheme) == 7
        for text in ("ink", "quiet", "link", "bad"):
            for ground in ("paper", "panel"):
                light, dark = sorted((luminance(scheme[text]), luminance(scheme[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) > 4.5, (text, ground)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small(tmp_path / "results").write()
    results = str(tmp_path / "results")
    for arguments, line in (
        ([str(tmp_path / "nowhere")], f"{tmp_path}/nowhere: no such folder; `run SUITE --results {tmp_path}/nowhere`"),
        ([results, "--suite", "quik"], f"--suite quik: not in {results}; did you mean 'quick'?"),
        ([results, "--out", str(tmp_path)], f"{tmp_path}: Is a directory"),
    ):
        assert main(["report", *arguments]) == 2
        output = capsys.readouterr()
        assert output.out == "" and output.err.startswith(line) and len(output.err.splitlines()) == 1


def test_the_command_says_where_the_page_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small(tmp_path / "results").write()
    assert main(["report", str(tmp_path / "results"), "--suite", "quick"]) == 0
    path = tmp_path / "results/tables/quick.html"
    assert capsys.readouterr().out == f"{path}\n" and path.read_text().startswith("<!doctype html>")
