"""The comparison as a reader sees it: a line for each arm, gains beside the figures, pooled gains below.

One TextTable per suite, data set, backbone, recipe and number of epochs. `rows` (sem_bench.pooling) gives
what is laid out here; what a table looks like in a format is render.py's business.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sem_bench.digest import canonical_json
from sem_bench.pooling import METHOD, TAU_NOTE, Interval, embedding_type, main_representation, pooled, rows
from sem_bench.records import ARM, Row

__all__ = ["HOLE", "TextCell", "TextTable", "comparison", "rows"]

HOLE = "—"
PROTOCOL = "probe: l2 logistic regression on frozen features; test read once"
GAIN = (
    "gain: arm - none of the same method, paired by seed, with its 95 % t-interval; "
    "bold where this excludes 0 and n >= 3"
)
_TABLE = ("suite", "dataset", "backbone", "recipe", "epochs")
_EMBEDDING = ("embedding", "embedding_config", "ip")
_METRICS = ("top1", "knn_top1")


@dataclass(frozen=True)
class TextCell:
    """A cell's text and the numbers of its footnotes."""

    text: str = ""
    bold: bool = False
    marks: tuple[int, ...] = ()


@dataclass(frozen=True)
class TextTable:
    """A table for reading. A format may split a wide one between groups of columns, repeating group 0."""

    title: str
    columns: list[str]
    groups: list[int]
    body: list[list[TextCell]]
    legend: list[str]
    notes: list[str]  # footnotes 1, 2, ...


def comparison(rows: Iterable[Row]) -> list[TextTable]:
    """The tables of the comparison's rows."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        if row["metric"] in _METRICS:
            parts.setdefault(_key(row, _TABLE), []).append(row)
    return [_Layout(part).table() for part in parts.values()]


Line = dict[tuple[str, str], Row]  # (column, representation) -> row of one arm


class _Layout:
    """One table in the making."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.columns = list(dict.fromkeys(row["column"] for row in rows))
        self.lines = _lines(rows)
        self.reference = "100%" if "100%" in self.columns else self.columns[0]
        self.embedded = any(embedding_type(row) != "none" for row in rows)
        self.published = any(row["published"] for row in rows)
        self.footnotes: dict[str, int] = {}

    def table(self) -> TextTable:
        columns, groups = ["method", "embedding"], [0, 0]
        for group, column in enumerate(self.columns, 1):
            columns += [column, "gain"] if self.embedded else [column]
            groups += [group] * (len(columns) - len(groups))
        last = [f"h {self.reference}"] * self.embedded + ["published"] * self.published
        body = [self._arm(line) for line in self.lines]
        pooled_lines = self._pooled(width=len(columns) + len(last))
        return TextTable(
            title="{suite}: {dataset}, {backbone}, recipe {recipe}, {epochs} epochs".format_map(self.rows[0]),
            columns=columns + last,
            groups=groups + [len(self.columns) + 1] * len(last),
            body=body + pooled_lines,
            legend=self._legend(pools=bool(pooled_lines)),
            notes=list(self.footnotes),
        )

    def _arm(self, line: Line) -> list[TextCell]:
        row = next(iter(line.values()))
        main = main_representation(row)
        cells = [TextCell(_method(row)), TextCell(_embedding(row))]
        for column in self.columns:
            shown = line.get((column, main))
            cells.append(self._figure(shown))
            if self.embedded:
                cells.append(self._gain(shown))
        if self.embedded:
            cells.append(self._figure(line.get((self.reference, "h"))))
        if self.published:
            cells.append(self._published(line.get((self.reference, main))))
        return cells

    def _figure(self, row: Row | None) -> TextCell:
        if row is None:
            return TextCell()
        marks = self._marks(note for note in row["notes"] if not _has_own_place(note))
        if row["mean"] is None:
            return TextCell(HOLE, marks=marks)
        spread = "" if row["std"] is None else f" ± {row['std']:.1f}"
        return TextCell(f"{row['mean']:.1f}{spread}", marks=marks)

    def _gain(self, row: Row | None) -> TextCell:
        if row is None or embedding_type(row) == "none":
            return TextCell()
        notes = [note for note in row["notes"] if note.endswith("gain")]
        # A note beside a gain says that only some seeds were paired: the row's n does not hold. Never bold.
        n = 0 if notes else row["n"]
        return _gain((row["gain"], row["gain_low"], row["gain_high"]), n=n, marks=self._marks(notes))

    def _published(self, row: Row | None) -> TextCell:
        found = row and row["published"]
        if not found:
            return TextCell()
        return TextCell(
            f"{found['value']} ({found['table']})",
            marks=self._marks([found["note"]] if found["note"] else []),
        )

    def _pooled(self, *, width: int) -> list[list[TextCell]]:
        """A line for each embedding that several methods have."""
        labels: dict[str, list[Line]] = {}
        for line in self.lines:
            row = next(iter(line.values()))
            if embedding_type(row) != "none":
                labels.setdefault(_key(row, _EMBEDDING), []).append(line)
        return [self._pooled_line(lines, width) for lines in labels.values() if len(lines) > 1]

    def _pooled_line(self, lines: Sequence[Line], width: int) -> list[TextCell]:
        row = next(iter(lines[0].values()))
        main = main_representation(row)
        cells = [TextCell(_method(row | {"method": f"pooled ({len(lines)})"})), TextCell(_embedding(row))]
        for column in self.columns:
            gains = [line[column, main]["gain"] if (column, main) in line else None for line in lines]
            cells += [TextCell(), _gain(pooled(gains), n=len(lines))]
        return cells + [TextCell()] * (width - len(cells))

    def _marks(self, notes: Iterable[str]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self.footnotes.setdefault(note, len(self.footnotes) + 1) for note in notes))

    def _legend(self, *, pools: bool) -> list[str]:
        counts = sorted({row["n"] for row in self.rows if row["mean"] is not None})
        seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else "0"
        plural = "" if seeds == "1" else "s"
        legend = [
            f"n = {seeds} seed{plural}; top-1 in percent, mean ± standard deviation over seeds",
            PROTOCOL,
        ]
        if self.embedded:
            legend += [GAIN, "h: the backbone feature of the same network"]
        if any(note.startswith(TAU_NOTE) for row in self.rows for note in row["notes"]):
            legend.append("tau_d is chosen for each seed and draw; the choices are in the notes of the JSON")
        if pools:
            legend.append("pooled (k): mean gain of k methods, the methods as units; bold from k = 3 on")
        if self.published:
            legend.append("published: Lavoie et al. (arXiv 2204.00616), with the number of the table")
        if any(row["mean"] is None for row in self.rows):
            legend.append(f"{HOLE}: results are missing; no mean and no gain stands on a part of its seeds")
        return legend


def _lines(rows: Iterable[Row]) -> list[Line]:
    """A line for each arm, the arms of a method together; more where its results differ in configuration."""
    methods: dict[str, dict[tuple[str, int], Line]] = {}
    times = Counter[tuple[str, str, str]]()
    for row in rows:
        arm, place = _key(row, ARM), (row["column"], row["representation"])
        times[arm, *place] += 1
        methods.setdefault(_key(row, METHOD), {}).setdefault((arm, times[arm, *place]), {})[place] = row
    return [line for arms in methods.values() for line in arms.values()]


def _gain(gain: Interval, *, n: int, marks: tuple[int, ...] = ()) -> TextCell:
    mean, low, high = gain
    if mean is None:
        return TextCell(HOLE, marks=marks)
    if low is None or high is None:
        return TextCell(f"{mean:+.1f}", marks=marks)
    return TextCell(f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]", bold=n >= 3 and (low > 0 or high < 0), marks=marks)


def _method(row: Row) -> str:
    return str(row["method"]) + (" + IP" if row["ip"] is not None else "")


def _embedding(row: Row) -> str:
    settings = [f"{name}={row['embedding_config'][name]}" for name in ("L", "V") if name in row["embedding_config"]]
    return str(row["embedding"]) + (f" ({', '.join(settings)})" if settings else "")


def _has_own_place(note: str) -> bool:
    """Whether a note stands at the gain, or in the legend, and not at the figure."""
    return note.endswith("gain") or note.startswith(TAU_NOTE)


def _key(row: Row, names: Iterable[str]) -> str:
    return canonical_json([row[name] for name in names])
