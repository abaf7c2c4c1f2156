"""A row of the tables: one figure, pooled over seeds, and what it says of its arm."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from sem_bench.base.digest import canonical_json
from sem_bench.report.layout import FIXED_TAU

METHOD = ("method", "ip")
ARM = ("method", "ip", "embedding", "embedding_config", "backbone", "dataset", "recipe", "epochs")
TABLE = ("suite", "dataset", "backbone", "recipe", "epochs")  # what the rows of one table, or figure, share
BASELINE = "none"  # the type of embedding that gains are counted from, a method without any
K = TypeVar("K")
T = TypeVar("T")
FigureKey = tuple[str, float, str, str]  # column, fraction, metric, representation
ONE_ENCODER = "one encoder"  # begins the note of what stands on a checkpoint from elsewhere, whatever the seed
FLOOR = "random_backbone"  # the method of the arm that nobody trained: what every other one has to beat
# For manifests that do not say which representation stands for a job's arm.
_MAIN = {"none": "h", "linear": "z", "sem": "sem", "gumbel": "sem", "untrained": "sem"}


@dataclass(frozen=True)
class Predictions:
    """Which test images a figure counts as right: a row of a predictions.bin, a bit an image."""

    packed: bytes
    images: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of one table, pooled over seeds. Accuracies and gains in percent; None is a hole."""

    table: str
    suite: str
    method: str
    ip: dict[str, Any] | None
    embedding: str  # the suite's label
    embedding_config: dict[str, Any]
    backbone: str
    dataset: str
    recipe: str
    epochs: int
    fraction: float
    column: str
    metric: str
    representation: str
    tau_d: float | None
    mean: float | None
    std: float | None
    n: int
    by_seed: list[list[float]] = field(default_factory=list)  # [seed, value], of several draws their mean
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    gain_p: float | None = None  # of the paired t-test that the interval belongs to
    gain_by_seed: list[list[float]] = field(default_factory=list)  # [seed, gain] of the seeds that are paired
    bootstrap: list[list[float]] = field(default_factory=list)  # [seed, gain, low, high] over the test images
    published: dict[str, Any] | None = None
    digests: list[str]
    notes: list[str]  # all that is to be said of it
    extra: dict[str, Any] = field(default_factory=dict)  # what only some tables have, such as a histogram
    # What follows serves tables and figures, and is not in JSON.
    main: str = ""  # the representation that stands for the arm
    marker: str | None = None  # of the embedding, in figures
    apart: tuple[Any, ...] = ()  # what else tells it from the rows of its arm, column, metric and representation
    twin: int = 0  # its number among rows alike, whose results differ in configuration
    gain_notes: list[str] = field(default_factory=list)  # those of `notes` that are about the gain alone
    pairs: tuple[tuple[Predictions, Predictions], ...] = ()  # of the arm and its baseline, seed by seed
    setting: str = ""  # device kind and precision, where all seeds agree in it
    guess: float | None = None  # what guessing gives, in percent, where the number of classes is known
    choices: str = ""  # the one of `notes` that says which temperatures the seeds chose, where they differ

    @property
    def embedding_type(self) -> str:
        """The embedding's name, whatever the suite calls it; nothing for a trial of a sweep that had no setting."""
        return str(self.embedding_config.get("type", ""))

    @property
    def baseline(self) -> bool:
        """Whether gains are counted from it."""
        return self.embedding_type == BASELINE

    @property
    def heading(self) -> str:
        """Its suite, data set, backbone, recipe and epochs."""
        epochs = f"{self.epochs} epoch{'s' * (self.epochs != 1)}"
        return f"{self.suite}: {self.dataset}, {self.backbone}, recipe {self.recipe}, {epochs}"

    @property
    def method_label(self) -> str:
        """The method as tables and figures say it."""
        return (
            self.method.replace("_", " ")
            if self.method == FLOOR
            else self.method + (" + IP" if self.ip is not None else "")
        )

    @property
    def embedding_size(self) -> str:
        """ "L=64, V=8"; nothing for an embedding without a size."""
        return ", ".join(
            f"{name}={self.embedding_config[name]}" for name in ("L", "V") if name in self.embedding_config
        )

    @property
    def embedding_label(self) -> str:
        """The embedding with its size, likewise."""
        return self.embedding + (f" ({self.embedding_size})" if self.embedding_size else "")

    @property
    def figure_notes(self) -> list[str]:
        """Those of `notes` that are about the figure itself."""
        return [note for note in self.notes if note not in self.gain_notes and note != self.choices]

    def get(self, name: str) -> Any:
        """The value of a key of its JSON; None where it has no such key."""
        return getattr(self, name) if name in _JSON else self.extra.get(name)

    def key(self, names: Iterable[str]) -> str:
        """Rows with equal values under these keys of their JSON have the same one."""
        return canonical_json([self.get(name) for name in names])

    def as_json(self) -> dict[str, Any]:
        """The flat object of `table --format json`."""
        return {name: getattr(self, name) for name in _JSON} | self.extra


_ALL = [one.name for one in fields(Row)]
_JSON = tuple(_ALL[: _ALL.index("extra")])


def grouped(rows: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """The rows, or columns, by key, in the order in which the keys first come."""
    found: dict[K, list[T]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def seeds_said(rows: Iterable[Row]) -> str:
    """How many seeds the figures have: "1 seed", "2 to 3 seeds"."""
    counts = sorted({row.n for row in rows if row.mean is not None})
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else "0"
    return f"{seeds} seed" + "s" * (seeds != "1")


def one_size(rows: Iterable[Row]) -> str:
    """ "sem: L=64, V=8" or "linear, sem: L=64, V=8" where all arms beside the baseline have this size; else nothing."""
    found = dict.fromkeys((row.embedding, row.embedding_size) for row in rows if not row.baseline)
    sizes = {size for _, size in found}
    return f"{', '.join(name for name, _ in found)}: {sizes.pop()}" if len(sizes) == 1 and all(sizes) else ""


def at_fixed_tau(rows: Sequence[Row], metrics: Iterable[str]) -> list[Row]:
    """Rows of one table, of which those that have no temperature stand at the fixed one, too.

    Results of before say the figure of what has no temperature once: it was chosen among as many candidates as SEM's at
    its fixed temperature. Where nothing was searched beyond that, the figures of the search are left out.
    """
    names = set(metrics)
    there = {_place(row, row.metric) for row in rows}
    twins = {}
    for number, row in enumerate(rows):
        fixed = f"{row.metric}{FIXED_TAU}"
        if row.tau_d is None and fixed in names and _place(row, fixed) not in there:
            twins[number] = replace(row, metric=fixed)
    searched = {row.metric for number, row in enumerate(rows) if number not in twins}
    plain = [row for row in rows if row.metric in searched or f"{row.metric}{FIXED_TAU}" not in names]
    return [*twins.values(), *plain]


def without_search(rows: Sequence[Row]) -> list[Row]:
    """Rows of one table, those at the temperature of pretraining in the place of those of a search.

    Results of before have only these, and keep them.
    """
    there = {_place(row, row.metric): row for row in rows}
    found = []
    for row in rows:
        plain = row.metric.removesuffix(FIXED_TAU)
        if plain != row.metric:
            searched = there.get(_place(row, plain))
            found.append(replace(row, metric=plain, published=searched.published if searched else None))
        elif _place(row, f"{plain}{FIXED_TAU}") not in there:
            found.append(row)
    return found


def _place(row: Row, metric: str) -> str:
    return canonical_json([row.key((*ARM, "column", "fraction", "representation")), metric])


def embedding_key(rows: Iterable[Row]) -> Callable[[Row], str]:
    """What tells the embeddings of these rows apart: label and size, and the temperatures where a method has several.

    Recipes have temperatures of their own, so those of one label may differ from method to method.
    """

    def short(row: Row) -> str:
        settings = row.embedding_config
        return canonical_json([row.embedding, row.embedding_type, settings.get("L"), settings.get("V")])

    def full(row: Row) -> str:
        return canonical_json([row.embedding, row.embedding_config])

    configs: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        configs.setdefault((short(row), row.key(METHOD)), set()).add(full(row))
    ambiguous = {key for (key, _), found in configs.items() if len(found) > 1}
    return lambda row: full(row) if short(row) in ambiguous else short(row)


def main_representation(job: Mapping[str, Any]) -> str:
    """Which representation stands for the arm of a job, by the type of its embedding."""
    type_ = str(job["embedding_config"]["type"])
    return _MAIN.get(type_, type_)
