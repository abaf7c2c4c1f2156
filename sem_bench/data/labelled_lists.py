"""Lists of labelled images, such as the 1 % and 10 % of ImageNet that SimCLR's authors drew (arXiv 2002.05709)."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sem_bench.base.files import shown
from sem_bench.errors import UserError


def rows_named(path: Path, names: Sequence[str], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sorted rows of the images that a list names, one a line: by the file's name, or CLASS/FILE.

    `names` are the files (N) below the folder of the split, `labels` (N,) their classes. Raises UserError with one
    line where a name is unknown, stands there twice or may be several files, and where a class has no image.
    """
    bare = [name.rsplit("/", 1)[-1] for name in names]
    often = Counter(bare)
    rows = {name: row for row, name in enumerate(names)} | {
        name: row for row, name in enumerate(bare) if often[name] == 1
    }
    found: dict[int, int] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{shown(path)}: no list of images ({' '.join(str(error).split())})") from None
    for number, name in enumerate(map(str.strip, lines), 1):
        if not name:
            continue
        here = f"{shown(path)}:{number}: {name}"
        if often[name] > 1 and name not in rows:
            raise UserError(f"{here}: {often[name]} training images have this name; write CLASS/FILE")
        if name not in rows:
            raise UserError(f"{here}: no training image of this name")
        if (first := found.setdefault(rows[name], number)) != number:
            raise UserError(f"{here}: stands in line {first} already")
    chosen = np.array(sorted(found), np.int64)
    if absent := sorted(set(labels.tolist()) - set(labels[chosen].tolist())):
        example = names[int(np.flatnonzero(labels == absent[0])[0])]
        raise UserError(f"{shown(path)}: no image of the class of {example}")
    return chosen
