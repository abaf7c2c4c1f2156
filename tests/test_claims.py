"""docs/claims.md: every number stands where the document says."""

import re
from functools import cache

import pytest

import sem_bench
from sem_bench import analysis
from sem_bench.cli import main
from sem_bench.report.row import Row
from tests.helpers.places import REPOSITORY
from tests.helpers.records import PLACE, names

TEXT = (REPOSITORY / "docs/claims.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| ")]
COMMANDS = {row[0]: row[1].strip("`") for row in ROWS if re.fullmatch("[A-Z]", row[0])}
CLAIMS = [row for row in ROWS if len(row) == 4 and row[0] != "claim"]
PUBLISHED = "".join(path.read_text() for path in sorted((REPOSITORY / "results/published").glob("*.yaml")))
MEASURED = re.compile(r"`([-+]?\d[^`]*)`|\(([A-Z])(?:, table \w+)?\)")


@cache
def rows_of(record: str) -> list[Row]:
    return sem_bench.load(REPOSITORY / record)


def shown(record: str) -> set[str]:
    """What the rows of a record say, as the document writes it."""
    found = set()
    for row in rows_of(record):
        for digits in (1, 3):
            if row.mean is not None:
                found |= {f"{row.mean:.{digits}f}", f"{row.mean:.{digits}f} ± {row.std or 0:.{digits}f}"}
            if row.gain is not None:
                found.add(f"{row.gain:+.{digits}f}")
            if row.gain is not None and row.gain_low is not None and row.gain_high is not None:
                ends = f"[{row.gain_low:+.{digits}f}, {row.gain_high:+.{digits}f}]"
                found.add(f"{row.gain:+.{digits}f} {ends}")
    return found


@pytest.mark.parametrize("claim", CLAIMS, ids=[row[0][:50] for row in CLAIMS])
def test_measured_numbers_are_those_of_the_command(
    claim: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    waiting: list[str] = []
    for number, key in MEASURED.findall(claim[3]):
        if number:
            waiting.append(number)
            continue
        words = COMMANDS[key].split()[3:]
        assert words[0] == "table"
        assert main(words) == 0
        printed, said = capsys.readouterr().out, shown(words[1])
        assert [one for one in waiting if one not in said and one not in printed] == [], COMMANDS[key]
        waiting = []
    assert waiting == [], "numbers without a command"


def test_a_record_of_next_to_no_training_is_called_a_smoke_test() -> None:
    """Wherever its tables are shown, its suite's name is."""
    few = set()
    for name in names():
        for row in analysis.read(PLACE / name, all_suites=True).rows:
            images = re.search(r"\((\d+) train", row.dataset)
            if images and 0 < int(images[1]) * row.epochs < 3000:
                few.add((name, row.suite))
    assert len(few) == 2 and all(one.startswith("smoke_") for pair in few for one in pair)


def test_published_numbers_are_those_of_the_cards() -> None:
    decimals = {number for claim in CLAIMS for number in re.findall(r"\b\d+\.\d+\b", claim[2])}
    assert len(decimals) > 60
    assert [number for number in sorted(decimals) if not re.search(rf"\b{re.escape(number)}\b", PUBLISHED)] == []


def test_a_published_number_is_not_left_out() -> None:
    values = set(re.findall(r"(?<=: )\d+\.\d+(?=[,}])", PUBLISHED))
    assert values and sorted(value for value in values if value not in TEXT) == []
