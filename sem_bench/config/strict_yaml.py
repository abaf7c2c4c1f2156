"""YAML for people who make mistakes: PyYAML's parser, made strict, with a line number for every value.

Unlike with PyYAML's safe loader, duplicate keys, explicit tags, merge keys and keys that are not text are
errors; `1e-4` is a float; only true and false are booleans; only null, ~ and nothing are null; dates, `010`,
`0x1F` and `10:30` stay text. The events of libyaml are composed here, so that no YAML constructor ever runs,
nesting is bounded and aliases (always copies) cannot blow up.
"""

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from yaml import CSafeLoader

from sem_bench.base.files import no_file
from sem_bench.errors import UserError

_Scalar = str | int | float | bool | None
MAX_BYTES = 1_000_000
MAX_DEPTH = 100
MAX_ALIASED = 10_000
MAX_DIGITS = 300  # so that every integer also fits a float
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, _Scalar] = {"": None, "~": None, "null": None, "true": True, "false": False}
_WORDS |= {word: float(word.replace(".", "")) for word in (".nan", ".inf", "+.inf", "-.inf")}
# YAML's printable characters without U+0085, U+2028 and U+2029: line breaks to YAML but not to editors.
_PRINTABLE = r"\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
_UNPRINTABLE = re.compile(f"[^{_PRINTABLE}]")


@dataclass(frozen=True)
class YamlDocument:
    """A parsed file: its path as the user gave it, and its data (dict, list, str, int, float, bool, None)."""

    path: str
    data: object
    _root: "_Node" = field(repr=False, compare=False)

    def place(self, location: Sequence[str | int]) -> str:
        """Where that is, for a message: PATH:LINE."""
        return f"{self.path}:{self.line(location)}"

    def line(self, location: Sequence[str | int]) -> int:
        """The 1-based line of the value at this path of keys and indices; of the key where there is one.

        Where the path ends early (a missing key), the line of its nearest existing ancestor.
        """
        node, line = self._root, self._root.line
        for part in location:
            value = node.value
            if isinstance(value, dict) and part in value:
                line, node = value[str(part)]
            elif isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
                node = value[part]
                line = node.line
            else:
                break
        return line


def read(path: Path) -> YamlDocument:
    """Read and parse a file. Raises UserError with one line a problem, each `PATH:LINE: what is wrong`."""
    try:
        if why := no_file(path):
            raise UserError(f"{path}: {why}")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: {_no_such_file(path)}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: this is a folder, not a file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None
    if len(raw) > MAX_BYTES:
        raise UserError(f"{path}: too large for a YAML file (more than {MAX_BYTES // 1_000_000} MB)")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + _unix_line_ends(raw[: error.start].decode("utf-8")).count("\n")
        raise UserError(f"{path}:{line}: not UTF-8 text (byte 0x{raw[error.start]:02x})") from None
    return parse(text, path=str(path))


def parse(text: str, *, path: str) -> YamlDocument:
    """Parse one YAML document; `path` is used in messages. Raises UserError as `read` does."""
    text = _unix_line_ends(text.removeprefix("\ufeff"))
    if bad := _UNPRINTABLE.search(text):
        line = 1 + text.count("\n", 0, bad.start())
        raise UserError(f"{path}:{line}: character U+{ord(bad[0]):04X} is not allowed in YAML text")
    composer = _Composer(text)
    root = composer.document()
    if root is None or composer.problems:
        raise UserError(f"{path}:{line}: {problem}" for line, problem in sorted(composer.problems))
    return YamlDocument(path, root.data(), root)


@dataclass(frozen=True, slots=True)
class _Node:
    """A value and where it stands. A mapping's value is {key: (line of the key, node)}."""

    line: int
    value: "_Value"
    size: int = 1  # nodes in it, itself included, aliases expanded
    height: int = 0  # levels of nesting below it

    def data(self) -> object:
        if isinstance(self.value, list):
            return [node.data() for node in self.value]
        if isinstance(self.value, dict):
            return {key: node.data() for key, (_, node) in self.value.items()}
        return self.value


_Value = _Scalar | list[_Node] | dict[str, tuple[int, _Node]]


class _StopError(Exception):
    """The problem after which nothing can be read: (line, what is wrong)."""


class _Composer:
    """Builds nodes from libyaml's events and collects problems as (line, what is wrong)."""

    def __init__(self, text: str) -> None:
        self.lines = text.removesuffix("\n").split("\n")
        self.events = yaml.parse(text, Loader=CSafeLoader)
        self.problems: list[tuple[int, str]] = []
        self.anchors: dict[str, _Node | None] = {}  # None while the anchor's node is being read
        self.aliased = 0
        self.line = 1  # of the last event

    def document(self) -> _Node | None:
        """The root, or None where reading stopped; the tree is sound only if there are no problems."""
        try:
            self._next()  # the start of the stream
            if isinstance(self._next(), yaml.StreamEndEvent):
                raise _StopError(1, "the file is empty")
            root = self._node(self._next(), depth=0)
            self._next()  # the end of the document
            if not isinstance(self._next(), yaml.StreamEndEvent):
                raise _StopError(self.line, "a second document starts here; a file holds only one")
            return root
        except _StopError as stop:
            self._problem(*stop.args)
        except yaml.MarkedYAMLError as error:
            self._problem(*_in_plain_words(error, self.lines))
        except (yaml.YAMLError, UnicodeError):  # libyaml decodes the %-escapes of a tag without checking them
            self._problem(self.line, "not valid YAML")
        return None

    def _problem(self, line: int, what: str) -> None:
        self.problems.append((line, what))

    def _next(self) -> yaml.Event:
        event = next(self.events)
        assert event.start_mark is not None
        self.line = event.start_mark.line + 1
        return event

    def _node(self, event: yaml.Event, depth: int) -> _Node:
        line = self.line
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line, depth)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._problem(line, f"explicit tag {_short(tag)} is not allowed; write plain values")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = _Node(line, self._plain(event.value, line) if event.implicit[0] else event.value)
        elif depth == MAX_DEPTH:
            raise _StopError(line, f"nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(line, depth + 1)
        else:
            node = self._mapping(line, depth + 1)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _sequence(self, line: int, depth: int) -> _Node:
        items: list[_Node] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth))
        return _collection(line, items, items)

    def _mapping(self, line: int, depth: int) -> _Node:
        entries: dict[str, tuple[int, _Node]] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key_line, key = self.line, self._key(event, depth)
            node = self._node(self._next(), depth)
            if key in entries:
                self._problem(key_line, f"duplicate key {_short(key)!r} (first in line {entries[key][0]})")
            elif key is not None:
                entries[key] = (key_line, node)
        return _collection(line, entries, [node for _, node in entries.values()])

    def _key(self, event: yaml.Event, depth: int) -> str | None:
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and event.value == "<<":
            self._problem(self.line, "merge keys (<<) are not allowed; write the keys out")
            return None
        line, key = self.line, self._node(event, depth).value
        if isinstance(key, str):
            return key
        text = _short(event.value) if isinstance(event, yaml.ScalarEvent) else "..."
        self._problem(line, f'a key must be text: write "{text}" with quotes')
        return None

    def _alias(self, name: str, line: int, depth: int) -> _Node:
        if name not in self.anchors:
            self._problem(line, f"unknown alias *{_short(name)}; quote text that starts with '*'")
            return _Node(line, None)
        node = self.anchors[name]
        if node is None:
            raise _StopError(line, f"alias *{_short(name)} refers to itself")
        self.aliased += node.size
        if self.aliased > MAX_ALIASED:
            raise _StopError(line, f"aliases repeat more than {MAX_ALIASED:,} values (an alias bomb?)")
        if depth + node.height > MAX_DEPTH:
            raise _StopError(line, f"nested deeper than {MAX_DEPTH} levels")
        return node

    def _plain(self, text: str, line: int) -> _Scalar:
        """What an unquoted scalar stands for."""
        if text in _WORDS:
            return _WORDS[text]
        if not (is_int := _INT.fullmatch(text)) and not _FLOAT.fullmatch(text):
            return text
        number = int(text) if is_int and len(text) <= MAX_DIGITS else float(text)
        if math.isinf(number) or (is_int and isinstance(number, float)):
            self._problem(line, f"the number {_short(text)} is too large")
        return number


def _collection(line: int, value: _Value, children: Sequence[_Node]) -> _Node:
    size = 1 + sum(node.size for node in children)
    return _Node(line, value, size, height=1 + max((node.height for node in children), default=0))


# What libyaml says (a part of it) -> what we say. {opened} is the line of the construct's start.
_PLAIN_WORDS = {
    "cannot start any token": "tab used for indentation; use spaces",
    "tab character": "tab used for indentation; use spaces",
    "mapping values are not allowed": "unexpected ':'; check the indentation, or quote text with ': ' in it",
    "block sequence entries are not allowed": "unexpected '- '; start a list on its own line",
    "mapping keys are not allowed": "unexpected '? '; quote text that starts with it",
    "could not find expected ':'": "expected ':' after the key of line {opened}",
    "scanning a quoted scalar": "the quote that opens in line {opened} is never closed",
    "unknown escape character": r"unknown escape; write '\\' for a backslash, or use single quotes",
    "hexdecimal number": r"wrong \x, \u or \U escape",
    "Unicode character escape": r"wrong \x, \u or \U escape",
    "expected ',' or ']'": "expected ',' or ']' in the list opened in line {opened}",
    "expected ',' or '}'": "expected ',' or '}}' in the mapping opened in line {opened}",
    "expected '-' indicator": "expected '- ' as in line {opened}; check the indentation",
    "expected key": "expected a key of the mapping opened in line {opened}; check indentation and quotes",
    "found unexpected ':'": "unexpected ':'; in braces a space follows it, and {{}} stands for nothing",
    "expected node content": "a value is missing here",
    "expected <document start>": "unexpected text after the end of the document",
    "alphabetic or numeric": "a name must follow '&' or '*'; quote text that starts with one of them",
    "comment or line break": "unexpected text after '|' or '>'; start the text on the next line",
    "tag": "explicit tags are not allowed; quote text that starts with '!'",
    "directive": "wrong directive; quote text that starts with '%'",
}


def _in_plain_words(error: yaml.MarkedYAMLError, lines: list[str]) -> tuple[int, str]:
    mark = error.problem_mark
    assert mark is not None
    line = min(mark.line + 1, len(lines))  # libyaml puts the end of the text on a line of its own
    opened = error.context_mark.line + 1 if error.context_mark else line
    said = f"{error.problem} {error.context}"
    if "cannot start any token" in said and (character := lines[line - 1][mark.column]) != "\t":
        return line, f"a value cannot start with {character!r}; quote it"
    for part, words in _PLAIN_WORDS.items():
        if part in said:
            return line, words.format(opened=opened) + _braces(lines[line - 1])
    return line, f"not valid YAML: {error.problem}"


def _braces(line: str) -> str:
    """What to write where a line has braces in a text that is not quoted, as a path with {split}; "" elsewhere."""
    unquoted = re.sub(r'"[^"]*"|\'[^\']*\'', "", line)
    found = re.search(r"(?<=: )[^\s{},]*(?:\{[^\s{}:]*\}[^\s{},]*)+", unquoted)
    return f'; braces need quotes: "{_short(found[0])}"' if found and not found[0].endswith("{}") else ""


def _no_such_file(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except FileNotFoundError:
        return f"no such file; there is no folder {path.parent}"
    except OSError:  # a folder that may be entered but not listed
        names = []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"no such file; did you mean {path.with_name(near[0])}?" if near else "no such file"


def _unix_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _short(text: str) -> str:
    """The text in at most 40 characters on one line."""
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:37] + "..."
