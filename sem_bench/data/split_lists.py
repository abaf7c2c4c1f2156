"""Which file of a drawn split is in which part of it, written out for whoever wants to read or check it."""

import csv
import io
from pathlib import Path

from sem_bench.base.files import write_atomic
from sem_bench.data.dataset import Place
from sem_bench.data.described import Data


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
    lines.writerow(["path", "split"])
    lines.writerows(sorted(listed))
    val = "" if drawn.val is None else f"-val{drawn.val:g}"
    file = folder / f"{place.name}-test{drawn.test:g}{val}-seed{drawn.seed}.csv"
    write_atomic(file, text.getvalue().encode())
