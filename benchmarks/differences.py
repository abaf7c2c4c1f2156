"""How far the numbers of one suite lie apart that was run several times, as with other threads or devices.

python benchmarks/differences.py RESULTS RESULTS ...    # results folders or records

For each two folders, over the jobs that both have: the mean size of a difference, the largest, and the mean difference
with its 95 % t-interval, which holds 0 where neither lies above the other.
"""

# ruff: noqa: T201

import json
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import t
from tabulate import tabulate

from sem_bench.runs.record_file import opened

Numbers = dict[tuple[str, str], dict[str, float]]
"""By kind and embedding, then by job: the loss of a pretraining, or the main number of an evaluation."""


def numbers(folder: Path) -> Numbers:
    """What a results folder or record says."""
    found: Numbers = {}
    with opened(folder) as there:
        jobs = {path: json.loads(path.read_text()) for path in sorted(there.root.glob("*/*/result.json"))}
    for path, job in jobs.items():
        rows = job["metrics"].get("rows")
        if rows is None:
            value = job["metrics"]["loss"]
        else:  # the arm's own representation comes last
            value = [row["value"] for row in rows if row["metric"] in ("top1", "knn_top1")][-1]
        if value is None:  # of the random backbone
            continue
        embedding = path.parent.name.split("-")[1]
        found.setdefault((job["kind"], embedding), {})[job["digest"]] = value
    return found


def line(one: dict[str, float], other: dict[str, float]) -> list[str]:
    """The cells of two folders for one kind and embedding."""
    gaps = [one[job] - other[job] for job in one.keys() & other.keys()]
    sizes = [abs(gap) for gap in gaps]
    around = t.ppf(0.975, len(gaps) - 1) * stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else float("nan")
    return [
        str(len(gaps)),
        f"{mean(sizes):.3f}",
        f"{max(sizes):.3f}",
        f"{mean(gaps):+.3f} [{mean(gaps) - around:+.3f}, {mean(gaps) + around:+.3f}]",
    ]


def main(given: Sequence[str]) -> int:
    """Print the table."""
    if len(given) < 2:
        print(__doc__)
        return 2
    known = {Path(folder).name: numbers(Path(folder)) for folder in given}
    cells = [
        [kind, embedding, f"{one} - {other}", *line(a[kind, embedding], b[kind, embedding])]
        for kind, embedding in next(iter(known.values()))
        for (one, a), (other, b) in combinations(known.items(), 2)
    ]
    headers = ("of", "arm", "folders", "jobs", "mean size", "largest", "mean [95 %]")
    print(tabulate(cells, headers, "github", disable_numparse=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
