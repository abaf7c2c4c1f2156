"""The rules of choice beside each other: each is the probe that a suite with that rule fits."""

import json
from pathlib import Path

import pytest

from sem_bench.cli import main
from sem_bench.evaluations.rules import RULES
from tests.helpers.toy import overlap, write

SUITE = """
name: toy
seeds: [0]
grid: {methods: [simclr], embeddings: {none: {}, sem: {L: 4, V: 3}}, backbones: [resnet10w16s2], datasets: [toy]}
pretrain: {recipe: quick, epochs: 1, batch_size: 40}
evaluate:
  probe: {fractions: [0.2], tau: [0.3, 1.0], l2: [1e-5, 1e-4, 1e-3, 1e-2]}
  rules: {fractions: [0.2]}
"""


def figures(kind: str) -> dict[tuple[str, str, str, str], tuple[float, float]]:
    """Test accuracy and penalty by arm, rule, metric and representation."""
    found = {}
    for path in Path("results", kind).glob("*/result.json"):
        result = json.loads(path.read_text())
        arm = path.parent.name.split("-")[1]
        for row in result["metrics"]["rows"]:
            rule = row["column"] if kind == "rules" else result["config"].get("rule", "best")
            found[arm, rule, row["metric"], row["representation"]] = row["value"], row["l2"]
    return found


def test_each_rule_is_the_probe_of_a_suite_with_that_rule(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overlap(folder, "toy")
    write(folder, "suite.yaml", SUITE)
    for rule in RULES:
        assert main(["run", "suite.yaml", "--set", f"name={rule}", "--set", f"evaluate.probe.rule={rule}"]) == 0
    assert len(list(Path("results/rules").glob("*/result.json"))) == 2  # whatever the suite's own rule is
    assert figures("rules") == figures("probe")
    assert len({rule for _, rule, _, _ in figures("rules")}) == len(RULES) == 4
    capsys.readouterr()
    assert main(["table", "results", "--suite", "best", "--table", "rules"]) == 0
    text = capsys.readouterr().out
    assert all(rule in text for rule in RULES) and "none" in text and "sem" in text
