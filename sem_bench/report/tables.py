"""The tables as a reader sees them: a line for each arm, gains beside the figures, pooled gains below.

One TextTable per table, suite, data set, backbone, recipe and number of epochs. What a table looks like in a
format is the business of sem_bench.report.formats.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from sem_bench.base.digest import canonical_json
from sem_bench.report.contrasts import contrast_table
from sem_bench.report.gains import ENOUGH, Pooled, holm, pooled
from sem_bench.report.layout import FIXED_TAU, PRIMARY, Table
from sem_bench.report.row import (
    ARM,
    BASELINE,
    FLOOR,
    METHOD,
    TABLE,
    Row,
    at_fixed_tau,
    embedding_key,
    grouped,
    one_size,
    seeds_said,
    without_search,
)
from sem_bench.report.text_table import (
    DOT,
    HOLE,
    SURVIVES,
    TextCell,
    TextTable,
    excludes_zero,
    plus,
    rounded,
    signed,
)

GAIN = f"gain: arm - {BASELINE} of the same method, paired by seed"
INTERVAL = ", with its 95 % t-interval"
BOLD = "bold: this excludes 0, n >= 3, and the baseline beats the random backbone where there is one"
UNTRAINED = "random init"  # the random backbone, where there is little room
HOLES = f"{HOLE}: results are missing; no mean and no gain stands on a part of its seeds"
DOTTED = f"{DOT}: its 95 % interval excludes 0, n >= 3, and the baseline beats the random backbone if there is one"


def tables(rows: Iterable[Row], layouts: Iterable[Table], *, only: str | None = None) -> list[TextTable]:
    """Every table that has rows, or the one of that name."""
    rows = list(rows)
    by_name = {layout.name: layout for layout in layouts}
    ordered = sorted(by_name.values(), key=lambda layout: (layout.order, layout.name))
    return [table for layout in ordered if only in (None, layout.name) for table in _tables(layout, rows)]


def _tables(layout: Table, rows: Sequence[Row]) -> list[TextTable]:
    place = (*TABLE, *layout.group)
    metrics = [one.name for one in layout.contrasts or layout.metrics]
    taken = {*metrics, *(f"{name}{FIXED_TAU}" for name in metrics if layout.fixed)}
    own = (row for row in rows if row.table == layout.name and row.metric in taken)
    parts = grouped(own, lambda row: row.key(place))
    if beside := layout.beside:
        other = at_fixed_tau([row for row in rows if row.table == beside.table], [beside.metric])
        clean = [row for row in other if row.metric == beside.metric]
        for key, part in parts.items():
            parts[key] = [replace(row, column=beside.column) for row in clean if row.key(place) == key] + part
    if layout.contrasts:
        return [contrast_table(layout, part, part[-1].heading, _what(layout, part)) for part in parts.values()]
    chosen = without_search if layout.fixed else partial(at_fixed_tau, metrics=metrics)
    return [_Layout(layout, chosen(part)).table() for part in parts.values()]


def _what(layout: Table, rows: Sequence[Row]) -> str:
    probe = f", probe at {100 * rows[-1].fraction:g} %" if "fraction" in layout.group else ""
    return "" if layout.headline else f"{layout.name}{probe}"


ColumnKey = tuple[str, str, str]  # column, metric, representation
Line = dict[ColumnKey, Row]  # of one arm


class _Layout:
    """One table in the making."""

    def __init__(self, layout: Table, rows: Sequence[Row]) -> None:
        self.layout, self.rows = layout, rows
        order = [metric.name for metric in layout.metrics]
        found = dict.fromkeys((row.column, row.metric) for row in rows)
        first = list(dict.fromkeys(column for column, _ in found))
        by_metric = self.layout.by_metric
        places = {at: (first.index(at[0]), order.index(at[1])) for at in found}
        self.columns = sorted(found, key=lambda at: places[at][::-1] if by_metric else places[at])
        self.lines = _lines(rows, every=self.layout.every)
        whole = (PRIMARY, order[0])
        self.reference = whole if whole in self.columns else self.columns[0]
        self.embedded = any(not row.baseline for row in rows)
        self.published = {(row.column, row.metric) for row in rows if row.published}
        self.footnotes: dict[str, int] = {}
        self.bootstrapped = False
        self.size = one_size(rows)
        self.better = self._better()
        self.pools = [_Pool(lines, self._gained(lines)) for lines in self._alike()]
        self.gains = self._compared()
        self.bound = holm([p for p in self.gains if p is not None])

    def table(self) -> TextTable:
        columns, groups, gains = ["method", "embedding"], [0, 0], list[int]()
        for group, (column, metric) in enumerate(self.columns, 1):
            known = self.layout.metric(metric)
            columns.append(known.header.format(column=column))
            if self._has_gains(metric):
                gains.append(len(columns))
                columns.append("gain")
            columns += ["published"] * ((column, metric) in self.published)
            groups += [group] * (len(columns) - len(groups))
        last = [f"h {self.reference[0]}"] * (self.embedded and self.layout.headline)
        body = [self._arm(line) for line in self.lines]
        body += self._guess(width=len(columns) + len(last))
        pooled_lines = [self._pooled_line(pool, len(columns) + len(last)) for pool in self.pools]
        what = _what(self.layout, self.rows)
        title = self.rows[-1].heading + (f": {what}" if what else "")
        return TextTable(
            title=title,
            columns=columns + last,
            groups=groups + [len(self.columns) + 1] * len(last),
            body=body + pooled_lines,
            legend=self._legend(),
            notes=list(self.footnotes),
            name=self.layout.name,
            what=what,
            size=self.size,
            brief=self._brief(),
            about=next(iter(self._of_columns()), "").removeprefix(f"{self.layout.name}: "),
            gains=tuple(gains),
            pooled=len(pooled_lines),
        )

    def _arm(self, line: Line) -> list[TextCell]:
        row = next(iter(line.values()))
        main = row.representation if self.layout.every else row.main
        temperature = "" if row.tau_d is None else f" at {row.tau_d:g}"
        shared = self._shared_notes(line)
        cells = [
            TextCell(row.method_label, short=UNTRAINED if row.method == FLOOR else None),
            self._embedding(row, f"{main}{temperature}" if self.layout.every else "", self._marks(shared)),
        ]
        for column, metric in self.columns:
            shown = self._shown(line, column, metric)
            cells.append(self._figure(shown or _hole(line, column), said=shared))
            if self._has_gains(metric):
                cells.append(self._gain(shown))
            if (column, metric) in self.published:
                cells.append(self._published(shown))
        if self.embedded and self.layout.headline:
            cells.append(self._figure(line.get((*self.reference, "h")), paired=False, said=shared))
        return cells

    def _shared_notes(self, line: Line) -> list[str]:
        """What is to be said of all figures of an arm, and so once, beside its name: nothing where one is missing."""
        rows = [self._shown(line, column, metric) for column, metric in self.columns]
        there = [row for row in rows if row is not None and row.mean is not None]
        if len(there) < 2 or len(there) < len(rows):
            return []
        return [note for note in there[0].figure_notes if all(note in row.figure_notes for row in there)]

    def _embedding(self, row: Row, reads: str = "", marks: tuple[int, ...] = ()) -> TextCell:
        """The name of an embedding, and what is read of it. A compact table has its size in the caption."""
        text, short = (f"{name}: {reads}" if reads else name for name in (row.embedding_label, row.embedding))
        if reads.split(" at ")[0] == row.embedding:
            short = reads  # "sem at 0.1"
        return TextCell(text, marks=marks, short=short if self.size else None)

    def _better(self) -> set[int]:
        """The figures, by `id`, that are better than their baseline's; of a baseline, than those of all its arms."""
        found = set()
        for lines in _by_method(self.lines):
            shown = [(line, next(iter(line.values())).baseline) for line in lines]
            for column, metric in self.columns:
                if self._has_gains(metric):
                    arms = [self._shown(line, column, metric) for line, base in shown if not base]
                    bases = [self._shown(line, column, metric) for line, base in shown if base]
                    gains = [(row, row.gain) for row in arms if row is not None and row.gain is not None]
                    found |= {id(row) for row, gain in gains if gain > 0}
                    if gains and len(bases) == 1 and all(gain < 0 for _, gain in gains):
                        found |= {id(row) for row in bases if row is not None}
        return found

    def _figure(self, row: Row | None, *, paired: bool = True, said: Sequence[str] = ()) -> TextCell:
        if row is None:
            return TextCell()
        marks = self._marks(note for note in row.figure_notes if note not in said)
        if row.mean is None:
            return TextCell(HOLE, marks=marks)
        digits = self.layout.digits
        spread = "" if row.std is None else f" ± {row.std:.{digits}f}"
        chance = row.get(self.layout.chance)
        aside = self.layout.metric(row.metric).aside or self.layout.aside
        beside = "" if self.layout.chance and chance is None else aside.format_map(_Known(row.as_json()))
        mean = rounded(row.mean, digits)
        first = paired and self.layout.headline and (row.column, row.metric) == self.columns[0]
        return TextCell(
            f"{mean}{spread}{beside}",
            marks=marks,
            short=f"{mean}{spread if first else ''}",
            better=paired and id(row) in self.better,
        )

    def _gain(self, row: Row | None) -> TextCell:
        if row is None or row.baseline:
            return TextCell()
        marks, digits = self._marks(row.gain_notes), self.layout.digits
        if row.gain is None:
            return TextCell(HOLE, marks=marks)
        text = signed(row.gain, row.gain_low, row.gain_high, digits)
        if row.n == 1 and len(row.bootstrap) == 1:
            text += self._braces(*row.bootstrap[0][2:])
        # A note beside a gain says that only some seeds were paired, or that the baseline is no better than chance.
        bold = row.n >= ENOUGH and not row.gain_notes and excludes_zero(row.gain_low, row.gain_high)
        star = self._mark(None if row.gain_notes or row.n < ENOUGH else row.gain_p)
        return TextCell(text + star, bold=bold, marks=marks, short=f"{plus(row.gain, digits)}{star}")

    def _braces(self, low: float, high: float) -> str:
        self.bootstrapped = True
        return f" {{{plus(low, self.layout.digits)}, {plus(high, self.layout.digits)}}}"

    def _mark(self, p: float | None) -> str:
        """Behind a gain that survives the correction for the others of the table."""
        return SURVIVES if p is not None and p <= self.bound else ""

    def _compared(self) -> list[float | None]:
        """The p-value of each gain that the table shows; None where it has none."""
        of_arms = [
            row.gain_p
            for line in self.lines
            for column, metric in self.columns
            if self._has_gains(metric) and (row := self._shown(line, column, metric)) and row.gain is not None
        ]
        return of_arms + [gain.p for pool in self.pools for gain in pool.gains.values() if gain.mean is not None]

    def _has_gains(self, metric: str) -> bool:
        return self.embedded and self.layout.gains and self.layout.metric(metric).gain

    def _shown(self, line: Line, column: str, metric: str) -> Row | None:
        """The row of a line that stands in a column."""
        row = next(iter(line.values()))
        return line.get((column, metric, row.representation if self.layout.every else row.main))

    def _guess(self, *, width: int) -> list[list[TextCell]]:
        """A line of what guessing gives, where the number of classes is known."""
        found = {row.guess for row in self.rows if row.guess is not None}
        if len(found) != 1:
            return []
        line = [TextCell("chance"), TextCell("")]
        for column, metric in self.columns:
            line.append(TextCell(f"{next(iter(found)):.{self.layout.digits}f}"))
            line += [TextCell()] * (self._has_gains(metric) + ((column, metric) in self.published))
        return [line + [TextCell()] * (width - len(line))]

    def _published(self, row: Row | None) -> TextCell:
        found = row and row.published
        if not found:
            return TextCell()
        return TextCell(
            f"{found['value']} ({found['table']})",
            marks=self._marks([found["note"]] if found["note"] else []),
        )

    def _alike(self) -> list[list[Line]]:
        """The lines of each embedding that several methods have."""
        if not (self.embedded and self.layout.gains):
            return []
        key = embedding_key(self.rows)
        labels: dict[str, list[Line]] = {}
        for line in self.lines:
            row = next(iter(line.values()))
            if not row.baseline:
                labels.setdefault(canonical_json([key(row), row.ip]), []).append(line)
        return [lines for lines in labels.values() if len(lines) > 1]

    def _gained(self, lines: Sequence[Line]) -> dict[tuple[str, str], Pooled]:
        """The pooled gain of each column."""
        main = next(iter(lines[0].values())).main
        return {
            (column, metric): pooled([line.get((column, metric, main)) for line in lines])
            for column, metric in self.columns
            if self._has_gains(metric)
        }

    def _pooled_line(self, pool: "_Pool", width: int) -> list[TextCell]:
        row = next(iter(pool.lines[0].values()))
        alike = len({next(iter(line.values())).key(["embedding_config"]) for line in pool.lines}) == 1
        marks = () if alike else self._marks(["temperatures as each method's recipe has them"])
        name = replace(row, method=f"pooled ({len(pool.lines)})").method_label
        cells = [TextCell(name), self._embedding(row, marks=marks)]
        for at in self.columns:
            cells.append(TextCell())
            if at in pool.gains:
                cells.append(self._pooled_gain(pool.gains[at], [line.get((*at, row.main)) for line in pool.lines]))
            cells += [TextCell()] * (at in self.published)
        return cells + [TextCell()] * (width - len(cells))

    def _pooled_gain(self, gain: Pooled, rows: Sequence[Row | None]) -> TextCell:
        if gain.mean is None:
            return TextCell(HOLE)
        there = [row for row in rows if row is not None]
        settings = sorted({row.setting for row in there})
        notes = [f"pools {' and '.join(settings)}"] * (len(settings) > 1)
        notes += [note for row in there for note in row.gain_notes]
        text = signed(gain.mean, gain.low, gain.high, self.layout.digits)
        if images := _over_images(there):
            text += self._braces(*images)
        enough = min(gain.seeds, len(rows)) >= ENOUGH
        bold = enough and not any(row.gain_notes for row in there) and excludes_zero(gain.low, gain.high)
        short = f"{plus(gain.mean, self.layout.digits)}{self._mark(gain.p)}"
        return TextCell(text + self._mark(gain.p), bold=bold, marks=self._marks(notes), short=short)

    def _marks(self, notes: Iterable[str]) -> tuple[int, ...]:
        return tuple(sorted({self.footnotes.setdefault(note, len(self.footnotes) + 1) for note in notes}))

    @property
    def _unit(self) -> str:
        """That of the first column, where it has one of its own."""
        first = self.layout.metric(self.columns[0][1]) if self.columns else None
        return (first and first.unit) or self.layout.unit

    def _legend(self) -> list[str]:
        unit = self._unit and f"{self._unit}, "
        legend = [
            f"n = {seeds_said(self.rows)}; {unit}mean ± standard deviation over seeds",
            *filter(None, [self.layout.legend]),
        ]
        if any(self._has_gains(metric) for _, metric in self.columns):
            several = any(row.gain_low is not None for row in self.rows)
            legend += [GAIN + INTERVAL, BOLD] if several else [GAIN + "; one seed has no interval, and nothing is bold"]
            legend += self._statistics()
        for remark in self.layout.remarks:
            values = {value for row in self.rows if isinstance(value := _field(row, remark.field), int | float)}
            legend += [remark.text.format(value=value) for value in sorted(values)]
        shown = {metric for _, metric in self.columns}
        legend += [metric.legend for metric in self.layout.metrics if metric.legend and metric.name in shown]
        if self.bootstrapped:
            legend.append("in braces: how much hangs on the test images alone, none on seeds (paired 95 % bootstrap)")
        if self.embedded and self.layout.headline:
            legend.append("h: the backbone feature of the same network")
        if any(row.choices for row in self.rows):
            legend.append("tau_d is chosen for each seed and draw; the choices are in the notes of the JSON")
        if self.pools:
            legend += self._of_pools()
        if any(row.guess is not None for row in self.rows):
            legend.append("chance: a guess among the classes")
        if any(row.method == FLOOR for row in self.rows):
            legend.append("random backbone: the same network as nobody trained it, with the same probe")
        if self.published:
            legend.append("published: Lavoie et al. (arXiv 2204.00616), with the number of the table")
        if any(row.mean is None for row in self.rows):
            legend.append(HOLES)
        return legend

    def _brief(self) -> list[str]:
        """What a reader needs first; `_legend` says the rest."""
        gained = any(self._has_gains(metric) for _, metric in self.columns)
        several = gained and any(row.gain_low is not None for row in self.rows)
        count = seeds_said(self.rows)
        unit = self._unit + " ± sd" * (self.layout.headline and any(row.std is not None for row in self.rows))
        one = count == "1 seed"
        seeds = f"n = {count}" + ", so no interval" * (gained and one)
        gain = f"gain over {BASELINE} of the same method{', paired by seed' * (not one)}" if gained else ""
        lines = [DOTTED] * several + [HOLES] * any(row.mean is None for row in self.rows)
        lines.append("; ".join(filter(None, [seeds, unit, gain])))
        if several:
            return lines + self._statistics()[::-1] + self._of_columns()
        return lines + self._of_columns() + (self._statistics()[:1] if gained else [])

    def _of_columns(self) -> list[str]:
        """What the columns show."""
        shown = {metric for _, metric in self.columns}
        legends = [_brief(metric.legend) for metric in self.layout.metrics if metric.name in shown]
        return [line for line in (self.layout.legend, *legends) if line]

    def _statistics(self) -> list[str]:
        """Which gain is the primary one, how many there are, and which of them survive the correction for it."""
        lines = []
        if self.layout.headline and PRIMARY in {column for column, _ in self.columns}:
            lines.append(f"primary: the gain at {PRIMARY} of the labels with tau_d = tau; all others are secondary")
        elif self.gains:
            lines.append("all gains here are secondary")
        tested = sum(p is not None for p in self.gains)
        if self.gains:
            text = f"{len(self.gains)} gain{'s' * (len(self.gains) > 1)} in this table"
            over = "all" if tested == len(self.gains) else f"the {tested} with an interval"
            test = f"; {SURVIVES}: p < 0.05 after Holm's correction for {over}"
            lines.append(text + (test if tested else ", none of them tested: that takes seeds"))
        return lines

    def _of_pools(self) -> list[str]:
        text = "pooled (k): mean gain of k methods"
        if not any(gain.low is not None for pool in self.pools for gain in pool.gains.values()):
            return [text + "; methods share data, seed and images, so one seed gives no interval"]
        return [
            f"{text}; bold from {ENOUGH} methods and seeds on",
            "its 95 % interval is for new seeds and methods of this kind (both random, crossed), not for new data",
        ]


class _Known(dict[str, Any]):
    """The fields of a row; a dash for one that results of before do not have."""

    def __missing__(self, name: str) -> "_Absent":
        return _Absent()


class _Absent:
    def __format__(self, form: str) -> str:
        return HOLE


class _Pool(NamedTuple):
    """The lines of an embedding, and their pooled gain in each column (column, metric)."""

    lines: list[Line]
    gains: dict[tuple[str, str], Pooled]


def _over_images(rows: Sequence[Row]) -> tuple[float, float] | None:
    """What a pooled gain hangs on its test images: the ends of the paired bootstrap over all runs' predictions."""
    pairs = [pair for row in rows for pair in row.pairs]
    if not pairs or any(len(row.pairs) != len(row.gain_by_seed) for row in rows):
        return None
    from sem_bench.report.bootstrap import of_pairs

    found = of_pairs(pairs, seed=0)
    return found and found[1:]


def _brief(legend: str) -> str:
    """What a metric is, without what stands in brackets behind it: a compact table has no room for that."""
    return "; ".join(part for part in legend.split("; ") if not part.startswith("in brackets"))


def _field(row: Row, path: str) -> Any:
    """A field of a row, or FIELD.KEY of a mapping in it; None where it is not there."""
    name, *rest = path.split(".")
    value = row.get(name)
    for part in rest:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _hole(line: Line, column: str) -> Row | None:
    """The hole of an arm in a column, for its other figures there."""
    return next((row for (of, *_), row in line.items() if of == column and row.mean is None), None)


def _by_method(lines: Iterable[Line]) -> list[list[Line]]:
    """The lines of each method, with IP-IRM and without."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(next(iter(line.values())).key(METHOD), []).append(line)
    return list(found.values())


def _lines(rows: Iterable[Row], *, every: bool) -> list[Line]:
    """A line for each arm, the arms of a method together; more where its results differ in configuration.

    With `every` a line for each representation of an arm.
    """
    methods: dict[str, dict[tuple[str, int], Line]] = {}
    times = Counter[tuple[str, *ColumnKey]]()
    for row in rows:
        arm = row.key((*ARM, "representation", "tau_d") if every else ARM)
        place = (row.column, row.metric, row.representation)
        times[arm, *place] += 1
        methods.setdefault(row.key(METHOD), {}).setdefault((arm, times[arm, *place]), {})[place] = row
    return [line for arms in methods.values() for line in arms.values()]
