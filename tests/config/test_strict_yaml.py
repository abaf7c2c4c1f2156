import itertools
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sem_bench.config.strict_yaml import parse, read
from sem_bench.errors import UserError

SUITE = """\
# a comment
name: quick
grid:
  - methods: [simclr,
              byol]
    embeddings:
      sem: {L: 64, V: 8}
  -
    methods: []
evaluate:
  probe:
    tau:
    - 0.1
    - 1e-4
  entropy: {}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        parse(text, path="s.yaml")
    return caught.value.problems


def data(text: str) -> object:
    return parse(text, path="s.yaml").data


def test_a_suite_reads_as_written() -> None:
    assert data(SUITE) == {
        "name": "quick",
        "grid": [
            {"methods": ["simclr", "byol"], "embeddings": {"sem": {"L": 64, "V": 8}}},
            {"methods": []},
        ],
        "evaluate": {"probe": {"tau": [0.1, 1e-4]}, "entropy": {}},
    }


@pytest.mark.parametrize(
    ("location", "line"),
    [
        ((), 2),
        (("name",), 2),
        (("grid",), 3),
        (("grid", 0), 4),
        (("grid", 0, "methods", 1), 5),
        (("grid", 0, "embeddings", "sem", "V"), 7),
        (("grid", 1), 9),
        (("grid", 1, "methods"), 9),
        (("evaluate", "probe"), 11),
        (("evaluate", "probe", "tau"), 12),
        (("evaluate", "probe", "tau", 1), 14),
        (("grid", 0, "embeddings", "sem", "tau"), 7),  # a missing key
        (("grid", 7, "methods"), 3),
        (("grid", -1), 3),
        (("nothing", "name"), 2),
        (("evaluate", "entropy", "function-after[check(), Entropy]", "int"), 15),  # what pydantic adds
        (("name", 0), 2),
    ],
)
def test_line_of_a_location(location: tuple[str | int, ...], line: int) -> None:
    document = parse(SUITE, path="s.yaml")
    assert document.line(location) == line
    assert document.place(location) == f"s.yaml:{line}"


def test_windows_line_ends_and_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + SUITE.replace("\n", "\r\n").encode())
    document = read(file)
    assert document.data == data(SUITE)
    assert document.path == str(file)
    assert document.line(["evaluate", "probe", "tau", 1]) == 14


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("+1.0", 1.0),
        ("-2.5e+3", -2500.0),
        ("0.0", 0.0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("0", 0),
        ("-12", -12),
        ("+3", 3),
        ("9" * 300, 10**300 - 1),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ('"1"', "1"),
        ("'true'", "true"),
        ("''", ""),
        ("|\n  1\n", "1\n"),
    ],
)
def test_scalars(text: str, value: object) -> None:
    got = data(f"a: {text}")
    assert got == {"a": value}
    assert isinstance(got, dict)
    assert type(got["a"]) is type(value)


def test_what_yaml_1_1_would_convert_stays_text() -> None:
    texts = (
        "010, -010, 010.5, 1_000, 0x1F, 0o17, 10:30, 1e, e5, ., 1.2.3, .e1, ١, True, FALSE, yes, no, on, "
        "off, y, Null, NULL, .NaN, .Inf, inf, nan, 2026-11-21, 2026-11-21T10:00:00Z, =, a<<"
    )
    assert data(f"[{texts}]") == texts.split(", ")


def test_nan_is_a_float() -> None:
    got = data("[.nan]")
    assert isinstance(got, list)
    assert math.isnan(got[0])


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("", 1, "empty"),
        ("# only a comment\n", 1, "empty"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a:\n\tb: 1\n", 2, "tab used for indentation"),
        ("a:\n  b: 1\n\tc: 2\n", 3, "tab used for indentation"),
        ("a: |\n\tx\n", 2, "tab used for indentation"),
        ("-\tb: 1\n", 1, "tab used for indentation"),
        ("a: 1\n  b: 2\n", 2, "unexpected ':'"),
        ("a: b: c\n", 1, "unexpected ':'"),
        ("a: - b\n", 1, "unexpected '- '"),
        ("a:\n  - b\n c: 1\n", 3, "expected a key of the mapping opened in line 1"),
        ("- a\nb: 1\n", 2, "expected '- ' as in line 1"),
        ("x: 1\na: [1,\n 2\nb: 3\n", 4, "expected ',' or ']' in the list opened in line 2"),
        ("x: 1\na: {b: 1,\n c: 2 d: 3}\n", 3, "expected ',' or '}' in the mapping opened in line 2"),
        ("a: {b: 1\n", 1, "expected ',' or '}' in the mapping opened in line 1"),
        (
            "a: {b: x-{0000..0146}.tar, c: 1}\n",
            1,
            "expected ',' or '}' in the mapping opened in line 1; braces need quotes: \"x-{0000..0146}.tar\"",
        ),
        (
            "a:\n  b: {split}/x.csv\n  c: 1\n",
            2,
            "expected a key of the mapping opened in line 2; check indentation and quotes; "
            'braces need quotes: "{split}/x.csv"',
        ),
        ("a: 1\nb: 'it''s\n", 2, "the quote that opens in line 2 is never closed"),
        ('a: "C:\\data"\n', 1, "unknown escape"),
        ("a: @b\n", 1, "a value cannot start with '@'"),
        ("a: 1\nb: 50\n%: x\n", 3, "%"),
        ("a: *.png\n", 1, "quote text that starts with"),
        ("a: 1\nb: *x\n", 2, "unknown alias *x"),
        ("a: 1\nb: &b [1, *b]\n", 2, "alias *b refers to itself"),
        ("a: 1\nb: {<<: {c: 1}}\n", 2, "merge keys"),
        ("a: 1\n2: b\n", 2, 'a key must be text: write "2"'),
        ("a: 1\ntrue: b\n", 2, 'a key must be text: write "true"'),
        ("a: 1\n[x]: b\n", 2, "a key must be text"),
        ("a: 1\n? {x: 1}\n: b\n", 2, "a key must be text"),
        ("a: 1\nb: 1\na: 2\n", 3, "duplicate key 'a' (first in line 1)"),
        ("g: {b: 1,\n 'b': 2}\n", 2, "duplicate key 'b' (first in line 1)"),
        ("a: 1\nb: !foo x\n", 2, "explicit tag !foo"),
        ("b: !!str 1\n", 1, "explicit tag !!str"),
        ("b: ! 1\n", 1, "explicit tag !"),
        ("a: 1\nb: !!binary aGk=\n", 2, "explicit tag !!binary"),
        ("a: 1\nb: !!python/object/apply:os.mkdir [x]\n", 2, "explicit tag !!python/object/apply:os.mkdir"),
        ("a: 1\nb: !e!x 1\n", 2, "explicit tag"),
        ("a: 1\nb: !%ed%a0%80 x\n", 2, "not valid YAML"),
        ("a: 1\nb: 1" + "0" * 5000, 2, "too large"),
        ("a: 1\nb: 1e999\n", 2, "too large"),
        ("a: 1\nb: \0\n", 2, "U+0000"),
        ("a: 1\r\nb: \x1b[0m\n", 2, "U+001B"),
        ("a: 1\nb: x\u2028y\n", 2, "U+2028"),
        ("a: \udc80\n", 1, "U+DC80"),
        ("a: 1\nb: " + "[" * 100_000, 2, "nested deeper"),
        ("- " * 100_000, 1, "nested deeper"),
        ("{a: " * 100_000, 1, "nested deeper"),
        ("? " * 100_000, 1, "nested deeper"),
    ],
)
def test_each_mistake_gets_one_line_that_says_where(text: str, line: int, part: str) -> None:
    started = time.process_time()
    (problem,) = problems(text)
    assert time.process_time() - started < 1
    assert problem.startswith(f"s.yaml:{line}: ")
    assert part in problem
    assert "\n" not in problem
    assert len(problem) < 150


def test_all_mistakes_at_once_and_the_syntax_error_that_ends_them() -> None:
    text = "a: 1\nb: !x 2\na: 3\n1: {c: 1, c: 2}\n<<: 5\nd: [\n"
    lines = [int(problem.split(":")[1]) for problem in problems(text)]
    assert lines == [2, 3, 4, 4, 5, 6]


def test_three_equal_keys_are_two_mistakes() -> None:
    assert problems("a: 1\na: 2\na: 3\n") == [
        "s.yaml:2: duplicate key 'a' (first in line 1)",
        "s.yaml:3: duplicate key 'a' (first in line 1)",
    ]


def test_tags_never_run_anything(tmp_path: Path) -> None:
    target = tmp_path / "made"
    assert len(problems(f"a: !!python/object/apply:os.mkdir ['{target}']")) == 1
    assert not target.exists()


def test_aliases_are_copies_and_keep_the_line_where_the_value_is_written() -> None:
    document = parse("base: &base\n  tau: [1]\nother: *base\nthird: *base\n", path="s.yaml")
    got = document.data
    assert got == {name: {"tau": [1]} for name in ("base", "other", "third")}
    assert isinstance(got, dict)
    got["base"]["tau"].append(2)
    assert got["other"] == {"tau": [1]}
    assert document.line(["other"]) == 3
    assert document.line(["other", "tau"]) == 2
    assert document.line(["other", "missing"]) == 3


def test_alias_bomb_ends_quickly() -> None:
    levels = [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in itertools.pairwise("abcdefghijklmnopqrst")]
    started = time.process_time()
    (problem,) = problems("\n".join([f"a: &a [{'x, ' * 9}]", *levels]))
    assert "alias bomb" in problem
    assert time.process_time() - started < 0.5


def test_the_bound_on_aliases_counts_what_they_repeat() -> None:
    nine = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\nb: ["  # ten values, with the list
    assert isinstance(data(nine + "*a, " * 1000 + "]"), dict)
    assert "10,000" in problems(nine + "*a, " * 1001 + "]")[0]
    assert data("[" + "1, " * 20_000 + "]") == [1] * 20_000  # no aliases, no bound


def test_nesting_is_bounded_through_aliases_too() -> None:
    assert isinstance(data("[" * 100 + "]" * 100), list)
    assert "s.yaml:1: nested deeper" in problems("[" * 101 + "]" * 101)[0]
    chain = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 200)]
    assert isinstance(data("\n".join(chain[:99])), dict)
    assert "s.yaml:100: nested deeper" in problems("\n".join(chain))[0]


def test_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "cifar10.yaml").write_text("a: 1")
    (tmp_path / "imagenet.yaml").write_text("a: 1")
    with pytest.raises(UserError, match=r"cifra10\.yaml: no such file; did you mean .*/cifar10\.yaml\?"):
        read(tmp_path / "cifra10.yaml")
    with pytest.raises(UserError, match=r"no such file$"):
        read(tmp_path / "quite-different")
    with pytest.raises(UserError, match=r"no such file; there is no folder .*nowhere$"):
        read(tmp_path / "nowhere" / "suite.yaml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this is a folder"):
        read(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / ("x" * 300))
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "a\0b")
    huge = tmp_path / "model.pt"
    huge.write_bytes(b"a" * 1_000_001)
    with pytest.raises(UserError, match="too large for a YAML file"):
        read(huge)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path: Path) -> None:
    file = tmp_path / "secret.yaml"
    file.write_text("a: 1")
    file.chmod(0)
    with pytest.raises(UserError, match=r"cannot be read .*ermission"):
        read(file)


def test_text_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("a: 1\r\nb: café\r\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.yaml:2: not UTF-8 text \(byte 0xe9\)"):
        read(file)
    file.write_bytes("a: 1\n".encode("utf-16"))
    with pytest.raises(UserError, match=r":1: not UTF-8"):
        read(file)


def test_a_long_file_takes_milliseconds_and_the_import_is_light() -> None:
    text = "grid:\n" + "".join(f"  k{i}: {{a: 1e-4, b: [1, 2, x]}}\n" for i in range(200))
    best = math.inf
    for _ in range(5):
        started = time.process_time()
        parse(text, path="s.yaml")
        best = min(best, time.process_time() - started)
    assert best < 0.05
    code = "import sys, sem_bench.config.strict_yaml; print({'torch', 'pydantic', 'numpy'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


# PyYAML writes these texts without quotes, because it reads them as text; here they are numbers, on purpose.
_NUMBER_ONLY_HERE = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?")

# PyYAML writes U+0085, U+2028 and U+2029 as they are when it may write Unicode; here they must be escaped.
texts = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"), max_size=20),
    st.text(alphabet="-:#?[]{},&*!|>'\"%@` \n\t=<~0\\", max_size=8),
    st.sampled_from(["yes", "null", "~", "010", "0x1F", "2026-11-21", "<<", "=", " x ", "10:30", "1_0", ".inf"]),
).filter(lambda text: not _NUMBER_ONLY_HERE.fullmatch(text))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(documents, st.sampled_from([None, False, True]), st.booleans())
def test_what_pyyaml_dumps_reads_back_equal(value: object, flow: bool | None, unicode: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=unicode)
    assert data(text) == value


def every_line(
    node: yaml.Node | None, location: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]
) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*location, key.value)] = key.start_mark.line + 1
            every_line(value, (*location, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            lines[(*location, i)] = value.start_mark.line + 1
            every_line(value, (*location, i), lines)


@settings(deadline=None)
@given(documents, st.sampled_from([None, False, True]))
def test_lines_agree_with_pyyamls_python_parser(value: object, flow: bool | None) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, width=20)
    lines: dict[tuple[str | int, ...], int] = {}
    every_line(yaml.compose(text, Loader=yaml.SafeLoader), (), lines)
    document = parse(text, path="s.yaml")
    assert {location: document.line(location) for location in lines} == lines


snippets = st.lists(
    st.sampled_from([*"a-?:[]{},|>'\"\\#%@\n\t\r !&*=~é\U0001f600\ufeff\x85"])
    | st.sampled_from(["b: ", "- ", "\n  ", "&a ", "*a", "!!x ", "---\n", "...\n", "<<: ", "1e4", "0" * 400])
    | st.sampled_from(["!%ed%a0%80 ", "%TAG ! a\n", "%YAML 1.1\n"]),
    max_size=25,
).map("".join)


@settings(deadline=None, max_examples=400)
@given(st.text(max_size=60) | snippets)
@example("\ufeff\ufeff")
def test_any_text_parses_or_is_a_user_error(text: str) -> None:
    try:
        parse(text, path="s.yaml")
    except UserError as error:
        assert error.problems
        for problem in error.problems:
            found = re.fullmatch(r"s\.yaml:([0-9]+): .+", problem)
            assert found
            assert 1 <= int(found[1]) <= len(re.split(r"\r\n|\r|\n", text))


@settings(deadline=None)
@given(st.binary(max_size=60))
@example(b"a: 1\n\xff")
def test_any_bytes_read_or_are_a_user_error(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_bytes(raw)
    try:
        read(file)
    except UserError as error:
        assert all(problem.startswith(f"{file}:") for problem in error.problems)
