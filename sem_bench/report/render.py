"""Tables in their formats: as a text to print, and as files beside their figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sem_bench.base.files import write_atomic
from sem_bench.report import formats
from sem_bench.report.figures import write
from sem_bench.report.formats import compact as compact_format
from sem_bench.report.row import Row
from sem_bench.report.text_table import TextTable, printed


def render(tables: Sequence[TextTable], rows: Sequence[Row], format: str) -> str:
    """The text of a format, without the last line end. Raises UserError for an unknown format."""
    return formats.named(format).render([printed(table) for table in tables], rows)


def compact(tables: Sequence[TextTable], *, first: str | None = None, notes: bool = False) -> str:
    """Tables for a terminal: all of them, or those of the name `first` and a line for each other one."""
    shown = [printed(table) for table in tables]
    if first is None:
        return compact_format.render(shown, [], notes=notes)
    return compact_format.overview(shown, first, notes=notes)


def files(folder: Path, rows: Sequence[Row], tables: Sequence[TextTable]) -> dict[Path, str]:
    """TABLE.END of each table and each format that has files, in a folder, with their texts."""
    texts: dict[Path, str] = {}
    for kind in dict.fromkeys(table.name for table in tables) or ["comparison"]:
        shown, own = (
            [printed(table) for table in tables if table.name == kind],
            [row for row in rows if row.table == kind],
        )
        for one in map(formats.named, formats.names()):
            if one.END is not None:
                texts[folder / f"{kind}.{one.END}"] = one.render(shown, own) + "\n"
    return texts


def write_tables(
    folder: Path, rows: Sequence[Row], tables: Sequence[TextTable], drawers: Mapping[str, write.Draw]
) -> list[Path]:
    """Write the tables and their figures into a folder, each file atomically; returns the tables' paths.

    Figures are drawn only where something has changed or is not there. Raises NotDrawnError at the end where one could
    not be drawn.
    """
    texts = files(folder, rows, tables)
    changed = any(not path.is_file() or path.read_bytes() != text.encode() for path, text in texts.items())
    for path, text in texts.items():
        write_atomic(path, text)
    write.refresh(rows, folder, drawers, changed=changed)
    return list(texts)
