"""The rows, tables and figures of a results folder, for the command line and for a notebook."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sem_bench.base.files import write_atomic
from sem_bench.config.validation import did_you_mean
from sem_bench.data import split_lists
from sem_bench.errors import UserError
from sem_bench.evaluation import AnyEvaluation
from sem_bench.evaluations.registry import builtin
from sem_bench.report import tables
from sem_bench.report.job_folder import JobFolders
from sem_bench.report.layout import Table
from sem_bench.report.pooled_rows import evaluation_rows
from sem_bench.report.results import Manifest, manifests
from sem_bench.report.row import Row
from sem_bench.report.summary import Summary, summaries
from sem_bench.report.text_table import TextTable
from sem_bench.report.ways import told_apart
from sem_bench.runs.record_file import Opened, opened
from sem_bench.sweep.table import sweep_rows, sweep_tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sem_bench.report.figures.write import Draw
    from sem_bench.report.page.content import Pictures

POOLED = ("mean", "std", "n", "gain", "gain_low", "gain_high", "gain_p")  # over seeds
FLAT = (
    *("table", "suite", "method", "embedding", "backbone", "dataset", "recipe", "epochs"),
    *("column", "fraction", "metric", "representation", "tau_d", *POOLED),
)
Evaluations = Mapping[str, AnyEvaluation]


def load(results: str | Path, *, suite: str | None = None, all_suites: bool = False) -> "Results":
    """The rows of the suite run last in a results folder or record, of `suite`, or of all suites.

    Raises sem_bench.errors.UserError where there is no such folder or suite.
    """
    found = read(Path(results), suite=suite, all_suites=all_suites)
    return Results(found.rows, found.layouts, Path(results))


class Results(list[Row]):
    """Rows, and what can be made of them."""

    def __init__(self, rows: Iterable[Row], layouts: Iterable[Table], place: Path) -> None:
        super().__init__(rows)
        self.place = place  # the results folder or record
        self.layouts = list(layouts)
        self.failed: list[str] = []  # after `sem_bench.run`: the jobs that failed, a line each

    def to_dataframe(self, library: Literal["pandas", "polars"] = "pandas", *, per_seed: bool = False) -> Any:
        """A data frame with a line for each row, or, `per_seed`, for each row and seed (`seed`, `value`, `gain`).

        L, V, tau and the other settings of the embedding are columns `embedding_...`; what only some tables have, such
        as a matrix of corruptions, is left out. Raises ModuleNotFoundError without the library.
        """
        frame = import_module(library).DataFrame
        lines = [line for row in self for line in (_by_seed(row) if per_seed else [_flat(row)])]
        names = list(dict.fromkeys(name for line in lines for name in line))
        return frame({name: [line.get(name) for line in lines] for name in names})

    def tables(self, format: str = "github") -> dict[str, str]:
        """The text of each table, by its name."""
        from sem_bench.report import render

        found = text_tables(self, self.layouts)
        names = dict.fromkeys(table.name for table in found)
        return {
            name: render.render(
                [table for table in found if table.name == name], [row for row in self if row.table == name], format
            )
            for name in names
        }

    def figure(self, name: str) -> "Figure":
        """A figure as matplotlib has it, by the name of its file: "gains", "corruptions", "expressivity-byol".

        Raises sem_bench.errors.UserError, which names all, for another name.
        """
        from sem_bench.report.figures.write import drawn

        with drawn(self, _drawers(None), []) as figures:
            known = dict(figures)
        if name not in known:
            raise UserError(f"no figure {name!r} here{did_you_mean(name, known)}; there are {', '.join(known)}")
        return known[name]

    def splits(self) -> dict[str, dict[str, str]]:
        """Of each drawn split of the folder or record, such as "birds-test0.2-seed0": the part that each file is in.

        Raises sem_bench.errors.UserError where a list is damaged.
        """
        with opened(self.place) as there:
            lists = sorted((there.root / split_lists.FOLDER).glob("*.csv"))
            return {file.stem: split_lists.read_split_list(file) for file in lists}

    def summary(self) -> list[Summary]:
        """What came out, in sentences."""
        return summaries(self, self.layouts)


def _flat(row: Row) -> dict[str, Any]:
    """The keys of a row's JSON that hold one value; each setting of its embedding under a key of its own."""
    settings = {f"embedding_{name}": value for name, value in row.embedding_config.items()}
    plain = {name: value for name, value in vars(row).items() if name in FLAT}
    return plain | settings | {"ip": row.ip is not None, "notes": "; ".join(row.notes)}


def _by_seed(row: Row) -> list[dict[str, Any]]:
    gains = {int(seed): gain for seed, gain in row.gain_by_seed}
    place = {name: value for name, value in _flat(row).items() if name not in POOLED}
    return [place | {"seed": int(seed), "value": value, "gain": gains.get(int(seed))} for seed, value in row.by_seed]


@dataclass(frozen=True)
class Found:
    """What a results folder says of some suites."""

    rows: list[Row]
    layouts: list[Table]  # what their tables look like
    manifests: list[Manifest]

    @property
    def first(self) -> str:
        """The name of the table that says most: the comparison, where there is one."""
        there = {row.table for row in self.rows}
        return next((one.name for one in sorted(self.layouts, key=_place) if one.name in there), "sweep")


def _place(layout: Table) -> tuple[bool, int, str]:
    return not layout.headline, layout.order, layout.name


def read(
    results: Path,
    *,
    suite: str | None = None,
    all_suites: bool = False,
    folders: JobFolders | None = None,
) -> Found:
    """The rows of a results folder or record, and how to lay them out. Raises UserError as `load`.

    `folders` are those of a caller who has looked around there already. What is passed over is said.
    """
    with opened(results) as there:
        return _read(there, suite, folders or JobFolders(there.root), all_suites=all_suites)


def _read(there: Opened, suite: str | None, folders: JobFolders, *, all_suites: bool) -> Found:
    results, say = there.root, partial(_say, there)
    found = manifests(results, suite=suite, all_suites=all_suites, known=builtin(), say=say)
    sweeps = dict.fromkeys(name for manifest in found for name in manifest.sweeps)
    rows = told_apart(evaluation_rows(found, folders), found, folders)
    layouts = [table for manifest in found for table in manifest.tables.values()]
    return Found(rows + sweep_rows(results, sweeps, say), layouts, found)


def _say(there: Opened, line: str) -> None:
    print(there.named(line), file=sys.stderr)  # noqa: T201


def text_tables(rows: Iterable[Row], layouts: Iterable[Table], *, only: str | None = None) -> list[TextTable]:
    """Every table that has rows, or the one of that name."""
    rows = list(rows)
    return tables.tables(rows, layouts, only=only) + (sweep_tables(rows) if only in (None, "sweep") else [])


def write_tables(
    folder: Path, rows: Sequence[Row], tables: Sequence[TextTable], evaluations: Evaluations | None = None
) -> list[Path]:
    """Write the tables in all formats, and their figures, into a folder; returns the tables' paths.

    The figures are those of `evaluations`, or of the package's.
    """
    from sem_bench.report import render

    return render.write_tables(folder, rows, tables, _drawers(evaluations))


def page_of(results: Path, suite: str) -> Path:
    """Where the page of a suite lies, beside the folder of its tables."""
    return tables_of(results, suite).with_name(f"{suite}.html")


def tables_of(results: Path, suite: str) -> Path:
    """Where the tables and figures of a suite lie."""
    return results / "tables" / suite


def write_page(
    path: Path,
    found: Found,
    folders: JobFolders,
    evaluations: Evaluations | None = None,
    *,
    name: Path | None = None,
    pictures: "Mapping[str, Pictures] | None" = None,
) -> list[str]:
    """Write the page of the last of the suites, atomically; returns what could not be drawn, a line each.

    `name` is what commands call the results, where they do not lie in the folder of that name; `pictures` are those of
    arms.
    """
    import sem_bench
    from sem_bench.report.page.build import page
    from sem_bench.report.page.render import render

    manifest = found.manifests[-1]
    content = page(
        manifest,
        folders,
        found.rows,
        text_tables(found.rows, found.layouts),
        found.layouts,
        _drawers(evaluations),
        name=name or folders.root,
        drawn=tables_of(folders.root, manifest.name),
        version=sem_bench.__version__,
        pictures=pictures or {},
    )
    write_atomic(path, render(content))
    return list(content.problems)


def draw(rows: Sequence[Row], folder: Path, evaluations: Evaluations | None = None) -> list[Path]:
    """Draw the figures of some rows into a folder, likewise; returns their paths."""
    from sem_bench.report.figures.write import write

    return write(rows, folder, _drawers(evaluations))


def _drawers(evaluations: Evaluations | None) -> "dict[str, Draw]":
    """What draws figures, by the name with which its files begin."""
    from sem_bench.sweep import figure

    known = builtin() if evaluations is None else evaluations
    drawers: dict[str, Draw] = {one.figure: one.draw for one in known.values() if one.figure}
    return drawers | {"sweep": figure.draw}
