"""How fast the parts are: beside other libraries (peer) and beside what the machine could do at best (floor).

    python benchmarks/run.py [--only NAME ...] [--case TEXT] [--device cpu|cuda] [--repeats N] [--threads N]
                             [--quick] [--json]
    python benchmarks/run.py --show FILE ... [--only NAME ...]      # the tables of runs kept with --json

The contestants of a case take turns, warm-up apart; medians. ratio_vs_peer: times as fast as the fastest peer;
ratio_vs_floor: the share of the floor's speed that is reached. docs/performance.md says what each benchmark is.
"""

# ruff: noqa: T201

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from sem_bench.errors import UserError, one_line

NAMES = ("pretrain", "shares", "sem", "optimizer", "probe", "knn", "decode", "suite")
HEADERS = ("case", "who", "threads", "seconds", "±", "images/s", "x peer", "of floor", "note")


def measured(names: Sequence[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of the benchmarks of these names; each is also told on stderr when it is there."""
    os.environ.setdefault("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")  # what compiling costs is measured, too
    from importlib import import_module

    import torch

    from benchmarks.paired import Options, measure
    from sem_bench.base.device import choose_device

    options = Options(
        device=choose_device(arguments.device),
        threads=arguments.threads or torch.get_num_threads(),
        repeats=arguments.repeats or (2 if arguments.quick else 5),
        quick=arguments.quick,
        case=arguments.case,
    )
    rows = []
    for name in names:
        for case in import_module(f"benchmarks.cases.{name}").cases(options):
            if not options.wants(case.case):
                case.close()
                continue
            try:
                found = measure(name, case, options)
            except Exception as error:  # the other cases are measured all the same
                print(f"{name}, {case.case}: {type(error).__name__}: {one_line(error)}", file=sys.stderr, flush=True)
                continue
            rows += found
            print(tabulate(lines(found), tablefmt="plain"), file=sys.stderr, flush=True)
    return rows


def lines(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The cells of a table, under HEADERS."""
    found = []
    for row in rows:
        cells = [row["case"], row["who"], str(row["threads"])]
        cells += [_number(row["median_s"]), "" if row["spread"] is None else f"{100 * row['spread']:.0f} %"]
        cells += [_number(row["images_per_s"]), _ratio(row["ratio_vs_peer"]), _ratio(row["ratio_vs_floor"])]
        found.append([*cells, row["note"]])
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The table of each benchmark, for GitHub."""
    parts = []
    for name in dict.fromkeys(row["name"] for row in rows):
        own = lines([row for row in rows if row["name"] == name])
        shown = [i for i in range(len(HEADERS)) if any(line[i] for line in own)]
        cells = [[line[i] for i in shown] for line in own]
        align = ["right" if 2 <= i <= 7 else "left" for i in shown]
        headers = [HEADERS[i] for i in shown]
        parts.append(f"### {name}\n\n" + tabulate(cells, headers, "github", disable_numparse=True, colalign=align))
    return "\n\n".join(parts)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _count(text: str) -> int:
    """At least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _kept(path: Path) -> list[dict[str, Any]]:
    """The rows of a list. Raises UserError where the file is none."""
    try:
        rows = json.loads(path.read_text())
        lines(rows)
        assert all("name" in row for row in rows)
    except (OSError, ValueError, TypeError, KeyError, AssertionError) as error:
        why = error.strerror if isinstance(error, OSError) else "not what --json wrote"
        raise UserError(f"--show {path}: {why}") from None
    return list(rows)


def main(given: Sequence[str] | None = None) -> int:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=NAMES, default=list(NAMES))
    parser.add_argument("--case", metavar="TEXT", default="", help="only cases whose name contains it")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=_count, metavar="N", help="turns of each case; default: 5")
    parser.add_argument("--threads", type=_count, metavar="N", help="that compute; default: as torch has them")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, two turns: does it run?")
    parser.add_argument("--json", action="store_true", help="a list of rows instead of tables")
    parser.add_argument(
        "--show", type=Path, nargs="+", metavar="FILE", help="print the rows of such lists; measure nothing"
    )
    arguments = parser.parse_args(given)
    names = [name for name in NAMES if name in arguments.only]
    warnings.filterwarnings("ignore", module="lightly|sklearn|torch")
    try:
        if arguments.show:
            known = [row for path in arguments.show for row in _kept(path)]
            rows = [row for name in names for row in known if row["name"] == name and arguments.case in row["case"]]
        else:
            rows = measured(names, arguments)
        if not rows:
            raise UserError(f"--case {arguments.case!r}: no case of {', '.join(names)} has it in its name")
    except UserError as error:
        parser.error(str(error))
    print(json.dumps(rows, indent=1) if arguments.json else table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
