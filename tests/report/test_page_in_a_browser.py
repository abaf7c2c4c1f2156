"""The page in a real Chromium, where there is one: SEM_BENCH_TEST_CHROMIUM=/usr/bin/chromium pytest THIS_FILE"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sem_bench.cli import main
from tests.helpers.chromium import PROGRAM, Page, browser
from tests.helpers.places import REPOSITORY

pytestmark = pytest.mark.skipif(not PROGRAM, reason="SEM_BENCH_TEST_CHROMIUM names no browser")
COLUMN = "[...document.querySelectorAll('#table1 tbody tr')].filter((r) => !r.hidden).map((r) => r.cells[%d].innerText)"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    assert main(["report", str(REPOSITORY / "docs/records/quick"), "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(chromium: Page, report: Path) -> Page:
    chromium.ask("Emulation.setScriptExecutionDisabled", value=False)
    chromium.looks()
    chromium.open(report)
    return chromium


def test_the_console_is_empty_and_nothing_is_asked_for(page: Page, report: Path) -> None:
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.said() == []
    asked = page.asked_for()
    assert report.resolve().as_uri() in asked
    assert [one for one in asked if not one.startswith(("data:", report.resolve().as_uri()))] == []


def test_a_column_sorts_up_down_and_back(page: Page) -> None:
    before = page.run(COLUMN % 2)
    click = "document.querySelectorAll('#table1 thead th')[2].querySelector('button').click()"
    page.run(click)
    up = page.run(COLUMN % 2)
    numbers = [float(text.split()[0]) for text in up if text]
    assert numbers == sorted(numbers) and up != before and up[-1] == ""  # what has no number stands last
    assert page.run("document.querySelectorAll('#table1 thead th')[2].ariaSort") == "ascending"
    page.run(click)
    down = page.run(COLUMN % 2)
    assert [float(text.split()[0]) for text in down if text] == numbers[::-1] and down[-1] == ""
    page.run(click)
    assert page.run(COLUMN % 2) == before


def test_the_filter_keeps_rows_with_all_words(page: Page) -> None:
    type_in = (
        "{ const i = document.querySelector('#table1 input'); i.value = %r; i.dispatchEvent(new Event('input')); }"
    )
    page.run(type_in % "sem byol")
    assert page.run(COLUMN % 0) == ["byol"] and page.run(COLUMN % 1) == ["sem (L=64, V=8)"]
    assert page.run("document.querySelector('#table1 [role=status]').innerText") == "1 of 14"
    page.run(type_in % "")
    assert len(page.run(COLUMN % 0)) == 14


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_only_boxes_scroll_sideways(page: Page, width: int) -> None:
    page.looks(width=width)
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.run("document.documentElement.scrollWidth") <= width


def test_light_dark_and_print(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.run(ground) == "rgb(255, 255, 255)"
    page.looks(dark=True)
    assert page.run(ground) == "rgb(22, 22, 26)"
    assert page.run("getComputedStyle(document.querySelector('.card')).backgroundColor") == "rgb(255, 255, 255)"
    page.looks(dark=True, media="print")
    assert page.run(ground) == "rgb(255, 255, 255)"
    assert page.run("getComputedStyle(document.querySelector('.filter')).display") == "none"


def test_without_javascript_it_holds_the_same(page: Page, report: Path) -> None:
    words = "document.getElementById('tables').innerText.replace(/Filter rows/g, '').split(/\\s+/).join(' ')"
    first = page.run(words)
    page.ask("Emulation.setScriptExecutionDisabled", value=True)
    page.open(report)
    assert page.run("document.querySelectorAll('input, button').length") == 0
    assert page.run(words) == first
