"""Input that was made to hurt: fuzzed files and options, floods, pipes, links that lead round, names that are code.

The answer is a line and exit code 2, or it works: never a traceback, never code run from data, never a file elsewhere.
docs/reliability.md has a line for each; `make faults` runs 40 times as many cases.
"""

import contextlib
import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sem_bench.cli import main
from sem_bench.errors import MOST
from tests.helpers.commands import fragile
from tests.helpers.fuzz import SCALARS, VALUES, changed, places
from tests.helpers.toy import SUITE, TAU, TOY_PY, TOY_YAML, method_card, replace_text, write

CASES = 20_000 if os.environ.get("SEM_BENCH_FAULTS") else 500
Json = dict[str, Any]

# --- any YAML in any place -------------------------------------------------------------------------------------------

BACKBONE = """
build: narrow_resnet
code: mine.py
summary: a backbone of the user's
arguments: {stride: 2}
features: 128
"""
BACKBONE_PY = "def narrow_resnet(*, stride, image_size, zero_init_residual):\n    raise NotImplementedError\n"
FILES = {
    "suite.yaml": SUITE.replace("[simclr]", "[mine]").replace("resnet10w16s2", "mine")
    + "  relevance: {top_k: [1]}\nsweeps: [{use: mine}]\nprofile: a\nprofiles: {a: {pretrain: {epochs: 1}}, b: {}}\n",
    "methods/mine.yaml": method_card("Fragile"),
    "datasets/toy.yaml": TOY_YAML,
    "backbones/mine.yaml": BACKBONE,
    "sweeps/mine.yaml": TAU.replace("[simclr]", "[mine]"),
}
CODE = {"methods/mine.py": fragile(), "datasets/toy.py": TOY_PY, "backbones/mine.py": BACKBONE_PY}
PLACES = [(name, keys) for name, text in FILES.items() for keys in places(yaml.safe_load(text))]
SUITE_KEYS = [".".join(map(str, keys)) for name, keys in PLACES if name == "suite.yaml" and keys]


@st.composite
def hostile(draw: st.DrawFn) -> tuple[dict[str, str], list[str]]:
    """Files of which one is not what it should be, and options."""
    files = {}
    name, keys = draw(st.sampled_from(PLACES))
    content = changed(
        yaml.safe_load(FILES[name]), keys, draw(VALUES), draw(st.sampled_from(["here", "inside", "gone"]))
    )
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    if draw(st.integers(0, 3)) == 0:  # no YAML of anybody's
        at = draw(st.integers(0, len(text)))
        text = (
            text[:at]
            + draw(st.text(st.sampled_from("{}[]:,-&*!|>%@`'\"#?~\t\n \0\x85\u2028é"), max_size=5))
            + text[at:]
        )
    files[name] = text
    options = []
    if draw(st.booleans()):
        value = draw(st.one_of(SCALARS.map(str), VALUES.map(lambda v: yaml.safe_dump(v, default_flow_style=True))))
        key = draw(st.one_of(st.sampled_from(SUITE_KEYS), st.text(max_size=8)))
        options = ["--set", f"{key}={value}".replace("\0", "")]
    return files, options


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with an own part of every kind."""
    folder = tmp_path_factory.mktemp("user")
    for name, text in (FILES | CODE).items():
        write(folder, name, text)
    return folder


def said(*arguments: str) -> tuple[int, str, str]:
    """Exit code and output of a command; a mistake in its options counts, too."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(str(ended.code))
    return code, out.getvalue(), err.getvalue()


def answer(*arguments: str, seconds: float = 10.0) -> str:
    """What a command says that must refuse or succeed, in time and in few lines that obey no terminal."""
    begun = time.process_time()
    code, out, err = said(*arguments)
    assert time.process_time() - begun < seconds
    assert code in (0, 2) and (code == 2) is bool(err.strip()) and not (code == 2 and out), err[:500]
    assert len(err) < 10**6 and err.count("\n") <= 101 and err.replace("\n", "").isprintable()
    return err


def test_files_and_options_of_any_content(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(user)
    assert answer("plan", "suite.yaml") == ""
    before = sorted(user.parent.rglob("*"))
    refused = 0

    @settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(hostile())
    def each(case: tuple[dict[str, str], list[str]]) -> None:
        nonlocal refused
        files, options = case
        for name, text in files.items():
            (user / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            refused += answer("plan", "suite.yaml", *options) != ""
        finally:
            for name in files:
                write(user, name, FILES[name])

    each()
    assert refused > CASES / 3 and sorted(user.parent.rglob("*")) == before


FLOODS = {
    "seeds": ("seeds: [0]", f"seeds: {list(range(120_000))}", "with 120,000 seeds are more than 50,000 jobs"),
    "keys": (
        "seeds: [0]",
        "seeds: [0]\n" + "".join(f"k{i}: 1\n" for i in range(60_000)),
        "suite.yaml:1: and 59,901 mistakes more\n",
    ),
    "methods": (
        "[simclr]",
        f"[{', '.join(f'm{i}' for i in range(20_000))}]",
        "suite.yaml:4: names from here on are not looked at\n",
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_are_answered_in_seconds(name: str, folder: Path) -> None:
    old, new, expected = FLOODS[name]
    replace_text(folder / "suite.yaml", old, new)
    said = answer("plan", "suite.yaml")
    assert expected in said and said.count("\n") in (1, MOST)
