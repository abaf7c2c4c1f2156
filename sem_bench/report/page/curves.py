"""How a pretraining went, epoch by epoch, from the log.csv that it leaves; records have none."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sem_bench.base.seals import DamagedError, open_summed
from sem_bench.report.page.content import Curve

WIDTH, HEIGHT = 240, 80
MOST = 200  # points of a line
LAST, HUGE = 1e9, 1e99
SHOWN = {
    "loss": "loss",
    "effective_rank": "effective rank of h",
    "feature_std": "spread of h",
    "simplex_entropy": "entropy of the simplices, share of log V",
}
Line = list[tuple[float, float]]  # epoch, value


def curves(logs: Mapping[Path, str | None], problems: list[str]) -> list[Curve]:
    """A curve for each column that logs have, with a line for each log; of one that changed a problem."""
    tables = [_read(path, sum_, problems) for path, sum_ in logs.items()]
    found = []
    for column, name in SHOWN.items():
        lines = [line for table in tables if len(line := list(_line(table, column))) > 1]
        if lines:
            found.append(_curve(name, lines))
    return found


def _read(path: Path, sum_: str | None, problems: list[str]) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        with open_summed(path, sum_) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
            return list(csv.DictReader(text))
    except DamagedError as error:
        problems.append(f"{path.parent.name}/{path.name}: {error.why}; its curves are left out")
    except (OSError, UnicodeDecodeError, csv.Error):
        pass
    return []


def _line(table: Sequence[Mapping[str, str]], column: str) -> Iterator[tuple[float, float]]:
    for row in table:
        with suppress(ValueError, TypeError):
            epoch, value = float(row.get("epoch") or ""), float(row.get(column) or "")
            if 1 <= epoch < LAST and abs(value) < HUGE:  # not where one of them is no number
                yield epoch, value


def _curve(name: str, lines: Sequence[Line]) -> Curve:
    values = [value for line in lines for _, value in line]
    last = max(epoch for line in lines for epoch, _ in line)
    low, high = min(values), max(values)
    wide, tall = max(last - 1, 1.0), max(high - low, 1e-12)

    def points(line: Line) -> str:
        chosen = line[:: math.ceil(len(line) / MOST)]
        return " ".join(
            f"{WIDTH * (epoch - 1) / wide:.1f},{HEIGHT * (high - value) / tall:.1f}" for epoch, value in chosen
        )

    return Curve(name, [points(line) for line in lines], f"{low:.3g}", f"{high:.3g}", int(last))
