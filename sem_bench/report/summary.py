"""What came out, in three to six sentences for each comparison of a suite, made from the rows of its tables.

A sentence says no more than its interval carries: without three seeds nothing is called a gain or a loss.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sem_bench.base.screen import wrapped
from sem_bench.report.gains import ENOUGH, NO_BETTER, Pooled, pooled
from sem_bench.report.layout import FIXED_TAU, PRIMARY, Table
from sem_bench.report.row import FLOOR, ONE_ENCODER, TABLE, Row, at_fixed_tau, embedding_key, grouped, seeds_said
from sem_bench.report.text_table import excludes_zero, plus, signed

EDGE = "on the edge of its grid"


@dataclass(frozen=True)
class Summary:
    """The sentences of one comparison, and what it is of."""

    heading: str
    sentences: list[str]

    def as_json(self) -> dict[str, object]:
        """As `table --summary --format json` has it."""
        return {"of": self.heading, "sentences": self.sentences}

    def as_text(self) -> str:
        """A line a sentence."""
        return "\n".join([wrapped(self.heading), *(wrapped(f"- {sentence}", indent=2) for sentence in self.sentences)])


def summaries(rows: Iterable[Row], layouts: Iterable[Table]) -> list[Summary]:
    """One for each suite, data set, backbone, recipe and length that has a comparison."""
    found, known = [], {layout.name: layout for layout in layouts}
    headline = next((layout for layout in known.values() if layout.headline), None)
    for part in grouped(rows, lambda row: row.key(TABLE)).values() if headline else ():
        assert headline is not None
        compared = [row for row in part if row.table == headline.name and row.representation == row.main]
        compared = at_fixed_tau(compared, [metric.name for metric in headline.metrics])
        if any(not row.baseline for row in compared):
            splits = [layout for layout in known.values() if layout.contrasts]
            found.append(Summary(part[0].heading, _sentences(compared, part, headline, splits)))
    return found


def _sentences(compared: Sequence[Row], part: Sequence[Row], headline: Table, splits: Sequence[Table]) -> list[str]:
    trained = [row for row in compared if row.method != FLOOR]
    arms = [row for row in trained if not row.baseline]
    by_embedding = grouped(arms, embedding_key(arms))
    methods = list(dict.fromkeys(row.method_label for row in trained))
    names = f"{len(methods)} method{'s' * (len(methods) > 1)} ({', '.join(methods)})"
    others = ", ".join(own[0].embedding_label for own in by_embedding.values())
    there = {row.metric for row in compared}
    fixed = [one for one in headline.metrics if one.name.endswith(FIXED_TAU)]
    primary = next((one for one in fixed if one.name in there), headline.metrics[0])
    measured = primary.unit.removesuffix(" in percent") or "top-1 accuracy"
    found = [f"{names}, {seeds_said(trained)}: {others} against none, by the {measured} of a linear probe."]
    for own in by_embedding.values():
        found += _gain(own, primary.name)
    for layout in splits:
        found += _split(layout, part)
    limits = _limits(trained, part)
    return found + ([f"Limits: {'; '.join(limits)}."] if limits else [])


def _gain(arms: Sequence[Row], primary: str) -> list[str]:
    """The gain of an embedding in the primary contrast; then those in the other columns."""
    label, searched = arms[0].embedding_label, primary.removesuffix(FIXED_TAU)
    columns = grouped(arms, lambda row: (row.metric, row.column))
    first = columns.pop((primary, PRIMARY), None)
    found = []
    if first is not None:
        mean = _mean(first)
        if mean is None or mean.mean is None:
            found.append(f"{label}: results are missing at all labels.")
        else:
            of = f" in the mean of {len(first)} methods" if len(first) > 1 else ""
            found.append(f"{label}, all labels, tau_d = tau: {_said(mean)} points{of}{_verdict(mean, first)}.")
    beside = []
    for (metric, column), own in columns.items():
        mean = _mean(own) if metric != searched or column == PRIMARY else None
        if mean is not None and mean.mean is not None:
            beside.append(f"{'all labels with tau_d searched' if metric == searched else column} {_said(mean)}")
    return found + ([f"{label}, elsewhere: {', '.join(beside)} points."] if beside else [])


def _mean(rows: Sequence[Row]) -> Pooled | None:
    """The gain of one method, or of several together; None without gains."""
    if all(row.gain is None for row in rows):
        return None
    if len(rows) == 1:
        return Pooled(rows[0].gain, rows[0].gain_low, rows[0].gain_high, rows[0].gain_p, len(rows[0].gain_by_seed))
    return pooled(rows)


def _said(gain: Pooled) -> str:
    assert gain.mean is not None
    return signed(gain.mean, gain.low, gain.high, 1)


def _verdict(gain: Pooled, rows: Sequence[Row]) -> str:
    """What the interval allows to say, and the methods at the ends."""
    gains = sorted((row.gain, row.method_label) for row in rows if row.gain is not None)
    ends = ""
    if len(gains) > 1:
        (low, worst), *_, (high, best) = gains
        ends = f", from {plus(low, 1)} ({worst}) to {plus(high, 1)} ({best})"
    if gain.low is None or gain.seeds < ENOUGH:
        few = "one seed" if gain.seeds == 1 else f"{gain.seeds} seeds"
        return f"{ends}; {few}: no conclusion"
    if not excludes_zero(gain.low, gain.high):
        return f"{ends}; the interval includes 0"
    if 1 < len(rows) < ENOUGH:
        return f"{ends}; the interval excludes 0, of {len(rows)} methods"
    return f"{ends}; the interval excludes 0"


def _split(layout: Table, part: Sequence[Row]) -> list[str]:
    """How gains split, where the arms for it exist: the methods together, or each of them."""
    rows = [row for row in part if row.table == layout.name and row.fraction == 1.0 and row.mean is not None]
    lines = grouped(rows, lambda row: (row.method_label, row.embedding_label))
    shared = {at: own for at, own in lines.items() if at[0].startswith("pooled")}
    roles = {role: [one.name for one in layout.contrasts if one.role == role] for role in ("total", "part")}
    found = []
    for (method, label), own in (shared or lines).items():
        known = {row.metric: signed(row.mean or 0.0, row.gain_low, row.gain_high, 1) for row in own}
        if all(name in known for names in roles.values() for name in names):
            total, parts = (", ".join(f"{name} {known[name]}" for name in roles[role]) for role in ("total", "part"))
            search = f"; searching tau_d adds {known['search']}" if "search" in known else ""
            found.append(f"{label}, {method}: {total} is {parts}{search}.")
    return found


def _limits(trained: Sequence[Row], part: Sequence[Row]) -> list[str]:
    """What the run cannot say."""
    found = []
    if max((row.n for row in trained), default=0) < ENOUGH:
        found.append("another seed can change these numbers by points")
    low = sorted({row.method_label for row in trained if row.baseline and NO_BETTER in row.notes})
    if low:
        found.append(f"no better than a random backbone in some column without an embedding: {', '.join(low)}")
    probes = [row for row in trained if row.column.endswith("%") and row.mean is not None]
    if edges := sum(any(EDGE in note for note in row.notes) for row in probes):
        found.append(f"{edges} of {len(probes)} probes have their best candidate on the edge of the search")
    if any(note.startswith(ONE_ENCODER) for row in trained for note in row.notes):
        found.append("the encoder is one and the same: seeds vary what is put on it, not its training")
    if holes := sum(row.mean is None for row in part):
        found.append(f"{holes} figures are missing")
    return found
