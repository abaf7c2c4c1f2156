"""Differences between readings of the same seed, in parts that add up exactly: rows and text of a table of contrasts.

The arithmetic is that of fractions, in which differences and means are not rounded: so the parts of a line add up to
its total. In print each part is the difference of two rounded sums, and they add up too.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from sem_bench.base.digest import canonical_json
from sem_bench.report.gains import (
    ENOUGH,
    Cell,
    Pooled,
    crossed,
    holm,
    interval,
    p_value,
    seeds_text,
    unlike_settings,
)
from sem_bench.report.layout import Contrast, Reading, Table
from sem_bench.report.row import ARM, METHOD, TABLE, Row, embedding_key, grouped, one_size, seeds_said
from sem_bench.report.text_table import DOT, HOLE, SURVIVES, TextCell, TextTable, excludes_zero, signed

BOLD = "the interval excludes 0, of at least 3 seeds, and of 3 methods where they are pooled"
DIFFERENCE = "difference"  # the representation of rows that hold one
Seeds = dict[int, Fraction]


@dataclass(frozen=True)
class Difference:
    """One contrast of one arm. Without seeds a hole; `why` says so."""

    seeds: Seeds
    of: float | None = None  # the mean of each side
    less: float | None = None
    notes: tuple[str, ...] = ()
    why: str = ""


Line = list[tuple[Row, Seeds]]  # the contrasts of an arm


def contrast_rows(cells: Sequence[Cell], tables: Mapping[str, Table]) -> list[Row]:
    """A row for each contrast of each arm that has a temperature, and of several methods together; in points.

    `mean` is the difference, paired by seed, and `gain` the same with its interval. A contrast whose arms the suite
    lacks has no row; one of missing results is a hole.
    """
    found: list[Row] = []
    for table in {table.name: table for table in tables.values() if table.contrasts}.values():
        own = [cell for cell in cells if cell.row.table == table.name]
        for place in _parted(own, (*TABLE, "column", "fraction")):
            lines: list[Line] = []
            for part in _parted(place, METHOD):
                arms = _parted([cell for cell in part if "tau" in cell.row.embedding_config], ARM)
                lines += filter(None, (list(_line(table, arm, part)) for arm in arms))
            found += [row for line in [*lines, *_pooled(lines)] for row, _ in line]
    return found


def _parted(cells: Sequence[Cell], names: Sequence[str]) -> list[list[Cell]]:
    parts: dict[str, list[Cell]] = {}
    for cell in cells:
        parts.setdefault(cell.row.key(names), []).append(cell)
    return list(parts.values())


def _line(table: Table, arm: Sequence[Cell], beside: Sequence[Cell]) -> Iterator[tuple[Row, Seeds]]:
    first = arm[0].row
    control = [cell for cell in beside if _controls(cell.row, first)]
    sides = {"own": list(arm), "baseline": [cell for cell in beside if cell.row.baseline], "control": control}
    layer = next((cell.row.extra["layer"] for cell in arm if cell.row.extra.get("layer")), None)
    for contrast in table.contrasts:
        if sides[contrast.of.arm] and sides[contrast.less.arm]:
            one = _difference(_side(sides, contrast.of, layer), _side(sides, contrast.less, layer))
            yield _row(first, contrast, one), one.seeds


def _controls(row: Row, of: Row) -> bool:
    """Whether it is of an arm that is as wide without a softmax: z of the same L and V."""
    sizes = [[one.embedding_config.get(name) for name in ("L", "V")] for one in (row, of)]
    return row.main == "z" and sizes[0] == sizes[1]


def _side(sides: Mapping[str, Sequence[Cell]], reading: Reading, layer: Any) -> Cell | str:
    """The one cell that holds a reading; else what there is to say."""
    cells = sides[reading.arm]
    named = [cell for cell in cells if cell.row.extra.get("reads") == reading.reads]
    if reading.arm == "baseline":  # it may have fresh layers of several sizes
        named = [cell for cell in named if cell.row.extra.get("layer") in (None, layer)]
    if len(named) == 1:
        return named[0]
    if named:
        return f"several results of {reading.reads!r}"
    return next((cell.absent for cell in cells if cell.absent), f"no {reading.reads!r} of the {reading.arm} arm")


def _difference(of: Cell | str, less: Cell | str) -> Difference:
    for cell in (of, less):
        if isinstance(cell, str):
            return Difference({}, why=cell)
        if cell.absent:
            return Difference({}, why=cell.absent)
    assert isinstance(of, Cell) and isinstance(less, Cell)
    if of.external or less.external:
        return Difference({}, why="external encoders are no pair")
    common = sorted(of.values.keys() & less.values.keys())
    if unlike := unlike_settings(of, less, common):
        return Difference({}, why=unlike)
    if not common:
        return Difference({}, why="no seed paired")
    whole = len(common) == len(of.values) == len(less.values)
    return Difference(
        {seed: Fraction(of.values[seed]) - Fraction(less.values[seed]) for seed in common},
        of=statistics.fmean(of.values[seed] for seed in common),
        less=statistics.fmean(less.values[seed] for seed in common),
        notes=(
            *dict.fromkeys(of.row.figure_notes + less.row.figure_notes),
            *[f"only {seeds_text(common)} paired"] * (not whole),
        ),
    )


def _row(arm: Row, contrast: Contrast, one: Difference) -> Row:
    plain = replace(arm, metric=contrast.name, representation=DIFFERENCE, main=DIFFERENCE, tau_d=None, choices="")
    values = [float(value) for value in one.seeds.values()]
    around = Pooled(*interval(values), p_value(values), len(values))
    notes = [one.why] if one.why else list(one.notes)
    return _filled(plain, one.seeds, around, notes=notes, of=one.of, less=one.less)


def _pooled(lines: Sequence[Line]) -> Iterator[Line]:
    """A line for each embedding that several methods have."""
    key = embedding_key(row for line in lines for row, _ in line)
    alike: dict[str, list[Line]] = {}
    for line in lines:
        first = line[0][0]
        alike.setdefault(canonical_json([key(first), first.ip]), []).append(line)
    for part in alike.values():
        metrics = dict.fromkeys(row.metric for line in part for row, _ in line) if len(part) > 1 else ()
        yield [
            _pooled_row(found, len(part))
            for metric in metrics
            if len(found := [one for line in part for one in line if one[0].metric == metric]) > 1
        ]


def _pooled_row(found: Line, methods: int) -> tuple[Row, Seeds]:
    """The mean over those of the methods that have the arms of one contrast. A hole among them makes it a hole."""
    first = found[0][0]
    common = set.intersection(*(set(seeds) for _, seeds in found))
    seeds = {seed: sum((one[seed] for _, one in found), Fraction(0)) / len(found) for seed in sorted(common)}
    values = [[float(one[seed]) for seed in seeds] for _, one in found]
    around = crossed(values) if len(seeds) >= ENOUGH else Pooled()
    alike = len({row.key(["embedding_config"]) for row, _ in found}) == 1
    notes = [] if alike else ["temperatures as each method's recipe has them"]
    notes += [] if seeds else ["results are missing"]
    notes += [f"of {len(found)} methods: the others have no such arm"] * (len(found) < methods)
    settings = sorted({row.setting for row, _ in found})
    notes += [f"pools {' and '.join(settings)}"] * (len(settings) > 1)
    digests = [digest for row, _ in found for digest in row.digests]
    of, less = ([row.extra[side] for row, _ in found] for side in ("of", "less"))
    row = replace(first, method=f"pooled ({methods})", digests=digests)
    sides = {"of": statistics.fmean(of), "less": statistics.fmean(less)} if seeds else {"of": None, "less": None}
    filled = _filled(row, seeds, around, notes=notes, **sides)
    return replace(filled, extra=filled.extra | {"methods": len(found)}), seeds


def _filled(row: Row, seeds: Seeds, around: Pooled, *, notes: list[str], of: float | None, less: float | None) -> Row:
    """A row with its numbers: the mean is exact until it becomes a float."""
    values = [float(value) for value in seeds.values()]
    mean = float(mean_of(seeds)) if seeds else None
    return replace(
        row,
        mean=mean,
        std=statistics.stdev(values) if len(values) > 1 else None,
        n=len(values),
        gain=mean,
        gain_low=around.low,
        gain_high=around.high,
        gain_p=around.p,
        gain_by_seed=[[seed, float(value)] for seed, value in seeds.items()],
        notes=notes,
        extra={"of": of, "less": less},
    )


def mean_of(seeds: Seeds) -> Fraction:
    """The exact mean over seeds."""
    return sum(seeds.values(), Fraction(0)) / len(seeds)


# --- the table for reading ---


def contrast_table(layout: Table, rows: Sequence[Row], heading: str, what: str) -> TextTable:
    """A line for each arm and one for the methods together, a column for each contrast that one of them has."""
    lines = grouped(rows, lambda row: row.key(ARM))
    there = {row.metric for row in rows}
    shown = [contrast for contrast in layout.contrasts if contrast.name in there]
    tested = [row.gain_p for row in rows if row.gain_p is not None]
    survives = holm(tested)
    notes: dict[str, int] = {}
    body, size = [], one_size(rows)
    for line in lines.values():
        found = {row.metric: row for row in line}
        printed = printed_means(layout, found)
        short = line[0].embedding if size else None
        cells = [TextCell(line[0].method_label), TextCell(line[0].embedding_label, short=short)]
        cells += [_cell(found.get(contrast.name), printed, layout.digits, notes, survives) for contrast in shown]
        body.append(cells)
    around = ", with 95 % intervals" * any(row.gain_low is not None for row in rows)
    legend = [
        f"n = {seeds_said(rows)}; {layout.unit}, paired by seed{around}",
        layout.legend,
    ]
    columns = [f"{contrast.name}: {contrast.legend}" for contrast in shown]
    legend += columns
    brief = [f"n = {seeds_said(rows)}; {layout.unit}, paired by seed", layout.legend]
    if tested:
        legend.append(f"bold: {BOLD}")
        legend.append(f"{len(tested)} comparisons; *: survives Holm's correction over all of them at 5 %")
        brief[:1] = [f"{DOT}: {BOLD}", brief[0], legend[-1]]
    pooled = sum(line[0].method.startswith("pooled") for line in lines.values())
    if pooled:
        legend.append("pooled (k): mean of k methods; its interval is for new methods and new seeds of their kind")
    if any(row.mean is None for row in rows):
        legend.append(f"{HOLE}: results are missing; no difference stands on a part of its seeds")
        brief.insert(1 if tested else 0, legend[-1])
    return TextTable(
        title=f"{heading}: {what}",
        columns=["method", "embedding", *(contrast.name for contrast in shown)],
        groups=[0, 0, *range(1, 1 + len(shown))],
        body=body,
        legend=legend,
        notes=list(notes),
        name=layout.name,
        what=what,
        size=size,
        brief=brief + columns,
        about=layout.legend,
        gains=tuple(range(2, 2 + len(shown))),
        pooled=pooled,
    )


def printed_means(layout: Table, found: Mapping[str, Row]) -> dict[str, float]:
    """The means of a line as they are printed: the parts add up to the total.

    Each is the difference of two sums that are rounded, from the first part on.
    """
    means = {name: row.mean for name, row in found.items() if row.mean is not None}
    rounded = {name: round(mean, layout.digits) for name, mean in means.items()}
    (total,) = [contrast.name for contrast in layout.contrasts if contrast.role == "total"] or [""]
    parts = [contrast.name for contrast in layout.contrasts if contrast.role == "part"]
    if total in means and all(name in means for name in parts):
        level = Fraction(0)
        for name in parts:
            before, level = level, level + Fraction(means[name])
            end = means[total] if name == parts[-1] else float(level)
            start = round(float(before), layout.digits)
            rounded[name] = round(round(end, layout.digits) - start, layout.digits)
    return rounded


def _cell(
    row: Row | None, printed: Mapping[str, float], digits: int, notes: dict[str, int], survives: float
) -> TextCell:
    if row is None:
        return TextCell()
    marks = tuple(notes.setdefault(note, len(notes) + 1) for note in row.notes)
    if row.mean is None:
        return TextCell(HOLE, marks=marks)
    low, high = row.gain_low, row.gain_high
    enough = min(row.n, row.extra.get("methods", ENOUGH)) >= ENOUGH
    star = SURVIVES * (enough and row.gain_p is not None and row.gain_p <= survives)
    text, short = (signed(printed[row.metric], *ends, digits) + star for ends in ((low, high), (None, None)))
    return TextCell(text, bold=enough and excludes_zero(low, high), marks=marks, short=short)
