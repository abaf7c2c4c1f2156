"""The files of a packed set: which there are, and which of them hold a split."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sem_bench.base.files import shown
from sem_bench.config.fields import SplitName
from sem_bench.data.junk import junk
from sem_bench.data.patterns import expanded, is_pattern
from sem_bench.data.readers.opened import Labels
from sem_bench.data.readers.words import USUAL, split_words
from sem_bench.errors import UserError


def has_files(path: Path, endings: Sequence[str]) -> bool:
    """Whether a path is such a file or a pattern of them, or a folder with one that is not beside training images."""
    if path.is_file() or is_pattern(path):
        return path.name.lower().endswith(tuple(endings))
    train = [path / word for word in USUAL["train"] if (path / word).is_dir()]
    return any(_below(path, endings)) and all(any(_below(folder, endings)) for folder in train)


def packed_files(path: Path, endings: Sequence[str]) -> list[Path]:
    """The file, those of a pattern, or those below the folder by name. Raises UserError where there are none."""
    if path.is_file():
        return [path]
    if is_pattern(path):
        files = list(map(Path, expanded(str(path))))
        if absent := next((file for file in files if not file.is_file()), None):
            raise UserError(f"{shown(absent)}: no such file, and {path.name} names it")
        return files
    files = sorted(_below(path, endings))
    if not files:
        raise UserError(f"{shown(path)}: no {' or '.join(endings)} in it")
    return files


def _below(path: Path, endings: Sequence[str]) -> Iterable[Path]:
    for pattern in ("*", "*/*"):
        for file in path.glob(pattern):
            if file.name.lower().endswith(tuple(endings)) and not junk(file.relative_to(path).as_posix()):
                yield file


def files_of(
    split: SplitName,
    files: Sequence[Path],
    top: Path,
    values: Mapping[SplitName, str | list[str]],
    splits: Sequence[SplitName],
) -> tuple[list[Path], str]:
    """The files of a split by the word in their names, and what is left out, in words.

    Of a card's `splits`; where it has no other one, files without such words are all of it.
    """
    wanted, alone = split_words(values), len(splits) == 1
    words = {word: name for name, some in wanted.items() for word in sorted(some)}
    names = [word_in(file, top, list(words)) for file in files]
    if alone and not any(names):
        return list(files), ""
    chosen = [file for file, word in zip(files, names, strict=True) if word and words[word] == split]
    if not chosen:
        few = ", ".join(file.name for file in files[:4]) + (", ..." if len(files) > 4 else "")
        known = " or ".join(word for word, name in words.items() if name == split)
        way = f"`values: {{{split}: WORD}}` below `source` says another"
        draw = "" if alone else ", `split: {test: 0.2, seed: 0}` draws them"
        raise UserError(f"{shown(top)}: no file with {known} in its name for the {split} images ({few}); {way}{draw}")
    others = sum(not word or words[word] not in splits for word in names)
    return chosen, f"{others:,} files of other splits are left out" if others else ""


def word_in(file: Path, top: Path, words: Iterable[str]) -> str | None:
    """The last of these words in the name of a file or its folder: train in data/train-00001.tar."""
    name = (file.relative_to(top).as_posix() if file.is_relative_to(top) and file != top else file.name).lower()
    found = ((match.start(), word) for word in words for match in re.finditer(_alone(word), name))
    return max(found, default=(0, None))[1]


def _alone(word: str) -> str:
    return rf"(?<![a-z0-9]){re.escape(word)}(?![a-z])"


def part_of(ends: Labels, row: int) -> tuple[int, int]:
    """In which part a row lies, and where in it; `ends` (parts,) counts the rows up to the end of each."""
    part = int(np.searchsorted(ends, row, side="right"))
    return part, row - (int(ends[part - 1]) if part else 0)


def databases(path: Path) -> list[Path]:
    """The databases of LMDB at a path: itself, or those in the folder, by name."""
    if path.is_file():
        return [path] if path.suffix.lower() in (".lmdb", ".mdb") else []
    if (path / "data.mdb").is_file():
        return [path]
    inside = sorted(one for one in path.glob("*") if not junk(one.name))
    return [one for one in inside if (one / "data.mdb").is_file() or (one.is_file() and one.suffix.lower() == ".lmdb")]
