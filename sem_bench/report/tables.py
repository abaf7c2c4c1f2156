"""The tables as a reader sees them: a line for each arm, gains beside the figures, pooled gains below.

One TextTable per table, suite, data set, backbone, recipe and number of epochs. What a table looks like in a
format is the business of sem_bench.report.formats.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sem_bench.base.digest import canonical_json
from sem_bench.report.contrasts import contrast_table
from sem_bench.report.gains import Interval, pooled
from sem_bench.report.layout import Table
from sem_bench.report.row import ARM, BASELINE, METHOD, TABLE, Row, embedding_key, grouped
from sem_bench.report.text_table import HOLE, TextCell, TextTable

GAIN = (
    f"gain: arm - {BASELINE} of the same method, paired by seed, with its 95 % t-interval; "
    "bold where this excludes 0 and n >= 3"
)


def tables(rows: Iterable[Row], layouts: Iterable[Table], *, only: str | None = None) -> list[TextTable]:
    """Every table that has rows, or the one of that name."""
    rows = list(rows)
    by_name = {layout.name: layout for layout in layouts}
    ordered = sorted(by_name.values(), key=lambda layout: (layout.order, layout.name))
    return [table for layout in ordered if only in (None, layout.name) for table in _tables(layout, rows)]


def _tables(layout: Table, rows: Sequence[Row]) -> list[TextTable]:
    place = (*TABLE, *layout.group)
    metrics = [one.name for one in layout.contrasts or layout.metrics]
    own = (row for row in rows if row.table == layout.name and row.metric in metrics)
    parts = grouped(own, lambda row: row.key(place))
    if beside := layout.beside:
        clean = [row for row in rows if (row.table, row.metric) == (beside.table, beside.metric)]
        for key, part in parts.items():
            parts[key] = [replace(row, column=beside.column) for row in clean if row.key(place) == key] + part
    if layout.contrasts:
        return [contrast_table(layout, part, _title(layout, part)) for part in parts.values()]
    return [_Layout(layout, part).table() for part in parts.values()]


def _title(layout: Table, rows: Sequence[Row]) -> str:
    row = rows[-1]
    probe = f", probe at {100 * row.fraction:g} %" if "fraction" in layout.group else ""
    return row.heading if layout.headline else f"{row.heading}: {layout.name}{probe}"


ColumnKey = tuple[str, str, str]  # column, metric, representation
Line = dict[ColumnKey, Row]  # of one arm


class _Layout:
    """One table in the making."""

    def __init__(self, layout: Table, rows: Sequence[Row]) -> None:
        self.layout, self.rows = layout, rows
        order = [metric.name for metric in layout.metrics]
        found = dict.fromkeys((row.column, row.metric) for row in rows)
        first = list(dict.fromkeys(column for column, _ in found))
        self.columns = sorted(found, key=lambda at: (first.index(at[0]), order.index(at[1])))
        self.lines = _lines(rows, every=self.layout.every)
        whole = ("100%", order[0])
        self.reference = whole if whole in self.columns else self.columns[0]
        self.embedded = any(not row.baseline for row in rows)
        self.published = {(row.column, row.metric) for row in rows if row.published}
        self.footnotes: dict[str, int] = {}
        self.bootstrapped = False

    def table(self) -> TextTable:
        gains = self.embedded and self.layout.gains
        columns, groups = ["method", "embedding"], [0, 0]
        for group, (column, metric) in enumerate(self.columns, 1):
            known = self.layout.metric(metric)
            columns += [known.header.format(column=column), *["gain"] * (gains and known.gain)]
            columns += ["published"] * ((column, metric) in self.published)
            groups += [group] * (len(columns) - len(groups))
        last = [f"h {self.reference[0]}"] * (self.embedded and self.layout.headline)
        body = [self._arm(line) for line in self.lines]
        pooled_lines = self._pooled(width=len(columns) + len(last)) if gains else []
        return TextTable(
            title=_title(self.layout, self.rows),
            columns=columns + last,
            groups=groups + [len(self.columns) + 1] * len(last),
            body=body + pooled_lines,
            legend=self._legend(pools=bool(pooled_lines)),
            notes=list(self.footnotes),
            name=self.layout.name,
        )

    def _arm(self, line: Line) -> list[TextCell]:
        row = next(iter(line.values()))
        main = row.representation if self.layout.every else row.main
        temperature = "" if row.tau_d is None else f" at {row.tau_d:g}"
        cells = [
            TextCell(row.method_label),
            TextCell(row.embedding_label + (f": {main}{temperature}" if self.layout.every else "")),
        ]
        for column, metric in self.columns:
            shown = line.get((column, metric, main))
            cells.append(self._figure(shown or _hole(line, column)))
            if self.embedded and self.layout.gains and self.layout.metric(metric).gain:
                cells.append(self._gain(shown))
            if (column, metric) in self.published:
                cells.append(self._published(shown))
        if self.embedded and self.layout.headline:
            cells.append(self._figure(line.get((*self.reference, "h"))))
        return cells

    def _figure(self, row: Row | None) -> TextCell:
        if row is None:
            return TextCell()
        marks = self._marks(row.figure_notes)
        if row.mean is None:
            return TextCell(HOLE, marks=marks)
        digits = self.layout.digits
        spread = "" if row.std is None else f" ± {row.std:.{digits}f}"
        chance = row.get(self.layout.chance)
        beside = "" if chance is None else self.layout.aside.format_map(row.as_json())
        return TextCell(f"{row.mean:.{digits}f}{spread}{beside}", marks=marks)

    def _gain(self, row: Row | None) -> TextCell:
        if row is None or row.baseline:
            return TextCell()
        marks = self._marks(row.gain_notes)
        if row.n == 1 and row.gain is not None and len(row.bootstrap) == 1:
            _, _, low, high = row.bootstrap[0]
            self.bootstrapped = True
            return TextCell(f"{row.gain:+.1f} {{{low:+.1f}, {high:+.1f}}}", marks=marks)
        # A note beside a gain says that only some seeds were paired: the row's n does not hold. Never bold.
        n = 0 if row.gain_notes else row.n
        return _gain((row.gain, row.gain_low, row.gain_high), n=n, digits=self.layout.digits, marks=marks)

    def _published(self, row: Row | None) -> TextCell:
        found = row and row.published
        if not found:
            return TextCell()
        return TextCell(
            f"{found['value']} ({found['table']})",
            marks=self._marks([found["note"]] if found["note"] else []),
        )

    def _pooled(self, *, width: int) -> list[list[TextCell]]:
        """A line for each embedding that several methods have."""
        key = embedding_key(self.rows)
        labels: dict[str, list[Line]] = {}
        for line in self.lines:
            row = next(iter(line.values()))
            if not row.baseline:
                labels.setdefault(canonical_json([key(row), row.ip]), []).append(line)
        return [self._pooled_line(lines, width) for lines in labels.values() if len(lines) > 1]

    def _pooled_line(self, lines: Sequence[Line], width: int) -> list[TextCell]:
        row = next(iter(lines[0].values()))
        alike = len({next(iter(line.values())).key(["embedding_config"]) for line in lines}) == 1
        marks = () if alike else self._marks(["temperatures as each method's recipe has them"])
        name = replace(row, method=f"pooled ({len(lines)})").method_label
        cells = [TextCell(name), TextCell(row.embedding_label, marks=marks)]
        for column, metric in self.columns:
            shown = [line.get((column, metric, row.main)) for line in lines]
            gains = pooled([one.gain if one else None for one in shown])
            cells.append(TextCell())
            if self.layout.metric(metric).gain:
                cells.append(_gain(gains, n=len(lines), digits=self.layout.digits))
            cells += [TextCell()] * ((column, metric) in self.published)
        return cells + [TextCell()] * (width - len(cells))

    def _marks(self, notes: Iterable[str]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self.footnotes.setdefault(note, len(self.footnotes) + 1) for note in notes))

    def _legend(self, *, pools: bool) -> list[str]:
        counts = sorted({row.n for row in self.rows if row.mean is not None})
        seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else "0"
        plural = "" if seeds == "1" else "s"
        unit = self.layout.unit and f"{self.layout.unit}, "
        legend = [
            f"n = {seeds} seed{plural}; {unit}mean ± standard deviation over seeds",
            *filter(None, [self.layout.legend]),
        ]
        if self.embedded and self.layout.gains:
            legend.append(GAIN)
        for remark in self.layout.remarks:
            values = {value for row in self.rows if isinstance(value := _field(row, remark.field), int | float)}
            legend += [remark.text.format(value=value) for value in sorted(values)]
        shown = {metric for _, metric in self.columns}
        legend += [metric.legend for metric in self.layout.metrics if metric.legend and metric.name in shown]
        if self.bootstrapped:
            legend.append(
                "in braces: one seed has no interval; how much hangs on its test images (paired 95 % bootstrap)"
            )
        if self.embedded and self.layout.headline:
            legend.append("h: the backbone feature of the same network")
        if any(row.choices for row in self.rows):
            legend.append("tau_d is chosen for each seed and draw; the choices are in the notes of the JSON")
        if pools:
            legend.append("pooled (k): mean gain of k methods, the methods as units; bold from k = 3 on")
        if self.published:
            legend.append("published: Lavoie et al. (arXiv 2204.00616), with the number of the table")
        if any(row.mean is None for row in self.rows):
            legend.append(f"{HOLE}: results are missing; no mean and no gain stands on a part of its seeds")
        return legend


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


def _gain(gain: Interval, *, n: int, digits: int = 1, marks: tuple[int, ...] = ()) -> TextCell:
    mean, low, high = gain
    if mean is None:
        return TextCell(HOLE, marks=marks)
    if low is None or high is None:
        return TextCell(f"{mean:+.{digits}f}", marks=marks)
    text = f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
    return TextCell(text, bold=n >= 3 and (low > 0 or high < 0), marks=marks)
