"""Lists of drawn splits: which file is in which part, written out for whoever wants to read or check it."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from sem_bench.base.files import write_atomic
from sem_bench.config.fields import SplitName
from sem_bench.data.dataset import Place
from sem_bench.data.described import Data
from sem_bench.data.drawn_split import DrawnSplit
from sem_bench.errors import UserError

FOLDER = "splits"  # of a results folder
HEAD = ["path", "split"]


def write_split_list(data: Data, place: Place, folder: Path) -> None:
    """Write FOLDER/NAME-DRAW.csv, a line for each file by name; nothing where the splits are not drawn.

    The same bytes for everyone who has the same files: names start in the folder that the splits are drawn from.
    """
    drawn = data.source.drawn
    if drawn is None:
        return
    listed = [(name, split) for split in place.splits for name in data.source.read(data, split, place).names or ()]
    if not listed:  # rows of a packed file have no names
        return
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(HEAD)
    lines.writerows(sorted(listed))
    write_atomic(folder / _file_name(place.name, drawn), text.getvalue().encode())


def read_split_list(file: Path) -> dict[str, str]:
    """Part by file name. Raises UserError in one line where it is no such list."""
    try:
        with file.open(encoding="utf-8", newline="") as text:
            head, *rows = csv.reader(text)
    except (OSError, ValueError, csv.Error):
        head, rows = [], []
    found = {row[0]: row[1] for row in rows if len(row) == len(HEAD)}
    if head != HEAD or len(found) < len(rows) or not set(found.values()) <= set(get_args(SplitName)):
        raise UserError(f"{file}: no list of files, each once, with their splits; a run writes it again")
    return found


def named_by(config: Mapping[str, Any]) -> tuple[str, dict[str, int]] | None:
    """The name of the list that a job's configuration belongs to, and how many images of each split it says.

    None where its splits are not drawn.
    """
    data = config.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    try:
        drawn = DrawnSplit.model_validate(source["split"]) if isinstance(source, dict) else None
    except (KeyError, ValidationError):
        return None
    if drawn is None or not isinstance(data, dict):
        return None
    counts = {split: count for split in get_args(SplitName) if isinstance(count := data.get(split), int)}
    return _file_name(str(data.get("name")), drawn), counts


def _file_name(name: str, drawn: DrawnSplit) -> str:
    val = "" if drawn.val is None else f"-val{drawn.val:g}"
    return f"{name}-test{drawn.test:g}{val}-seed{drawn.seed}.csv"
