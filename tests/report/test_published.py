"""The seed's tables: every printed number once, and the rule by which a measured row finds its number."""

from collections import Counter
from typing import Any

import pytest

from sem_bench.evaluations.registry import builtin
from sem_bench.report.layout import Metric
from sem_bench.report.published import entries, match
from tests.helpers.rows import row_of

IN = ("100%", "v2", "r", "a", "c")
TRANSFER = ("food101", "cifar10", "cifar100", "sun397", "dtd", "pets", "flowers102", "caltech101", "cars")
# Typed anew from print, a line each: method (+IP), embedding, mark, numbers in the order of the columns.
PRINTED: dict[str, tuple[str, str, int | None, tuple[str, ...], str]] = {
    "1a": (
        "cifar100",
        "resnet18",
        1000,
        ("100%",),
        """simclr none † 65.78
        moco none † 69.89
        swav none † 64.88
        dino none † 66.76
        byol none - 70.46
        byol sem - 74.36""",
    ),
    "1b": (
        "cifar100",
        "resnet50",
        1000,
        ("100%",),
        """simclr none ‡ 68.73
        simclr+IP none ‡ 73.99
        byol none - 74.28
        byol none * 73.33
        byol sem - 77.05""",
    ),
    "1c": (
        "imagenet",
        "resnet50",
        200,
        ("100%",),
        """simclr none ‡ 63.1
        moco none ‡ 67.3
        moco+IP none ‡ 67.6
        moco sem - 69.0
        simsiam none ‡ 70.0
        simsiam+IP none ‡ 69.1
        byol none - 70.6
        byol sem - 72.8""",
    ),
    "2": (
        "imagenet",
        "resnet50",
        100,
        IN,
        """byol none - 68.3 55.3 16.5 0.68 35.4
        byol sem - 70.6 57.9 18.1 0.77 38.9
        moco none - 66.7 53.4 14.0 0.69 31.1
        moco sem - 68.0 55.0 15.21 0.61 33.8""",
    ),
    "3": (
        "imagenet",
        "resnet50",
        100,
        TRANSFER,
        """byol none - 71.3 89.5 71.4 57.6 71.5 85.4 84.6 77.8 45.7
        byol sem - 74.1 92.0 76.3 60.5 72.5 87.1 88.6 82.4 57.3
        moco none - 70.6 88.6 69.5 57.6 70.9 82.3 81.5 74.3 39.8
        moco sem - 71.0 89.6 72.8 58.6 70.9 83.8 84.5 77.5 45.2""",
    ),
}


@pytest.mark.parametrize("table", PRINTED)
def test_every_printed_number_stands_once(table: str) -> None:
    dataset, backbone, epochs, columns, lines = PRINTED[table]
    printed = []
    for method, embedding, mark, *numbers in (line.split() for line in lines.splitlines()):
        assert len(numbers) == len(columns)
        for column, number in zip(columns, numbers, strict=True):
            name, _, ip = method.partition("+")
            key = (
                dataset,
                backbone,
                None if mark == "*" else epochs,
                name,
                bool(ip),
                embedding,
                mark.strip("-"),
                column,
            )
            printed.append((*key, float(number)))
    held = [
        (e.dataset, e.backbone, e.epochs, e.method, e.ip, e.embedding, e.mark, e.column, e.value)
        for e in entries()
        if e.table == table
    ]
    assert Counter(held) == Counter(printed)


def test_there_are_no_other_tables() -> None:
    assert {entry.table for entry in entries()} == set(PRINTED)


def test_comparable_numbers_are_unambiguous() -> None:
    keys = [(e.dataset, e.backbone, e.method, e.ip, e.embedding, e.epochs, e.column) for e in entries() if e.epochs]
    assert len(set(keys)) == len(keys)


def row(**changes: Any) -> dict[str, Any]:
    """BYOL + SEM as in Table 1a."""
    byol = {
        "method": "byol",
        "ip": None,
        "embedding": "wide",
        "embedding_config": {"type": "sem", "L": 5000, "V": 13, "tau": 1.0},
        "backbone": "resnet18",
        "dataset": "cifar100",
        "recipe": "cifar_resnet18",
        "epochs": 1000,
        "fraction": 1.0,
        "column": "100%",
        "metric": "top1",
        "representation": "sem",
    }
    return byol | changes


def matched(values: dict[str, Any]) -> dict[str, Any] | None:
    """With the metric as the first table has it that knows its name."""
    known = [metric for one in builtin().values() for metric in one.table.metrics]
    metric = next((metric for metric in known if metric.name == values["metric"]), Metric(name=values["metric"]))
    return match(row_of(values), metric)


NONE = {"embedding": "none", "embedding_config": {"type": "none"}, "representation": "h"}
IMAGENET = {"dataset": "imagenet", "backbone": "resnet50", "epochs": 100}


def test_a_match_carries_value_table_epochs_and_note() -> None:
    found = matched(row())
    assert found == {
        "value": 74.36,
        "table": "1a",
        "epochs": 1000,
        "note": "L=5000, V=13 in the original code",
    }


@pytest.mark.parametrize(
    ("changes", "value", "table"),
    [
        (NONE, 70.46, "1a"),
        (NONE | {"method": "simclr"}, 65.78, "1a"),
        ({"backbone": "resnet50"}, 77.05, "1b"),
        (NONE | {"backbone": "resnet50"}, 74.28, "1b"),  # not BYOL*, 73.33
        (NONE | {"backbone": "resnet50", "method": "simclr"}, 68.73, "1b"),
        (NONE | {"backbone": "resnet50", "method": "simclr", "ip": {}}, 73.99, "1b"),
        (NONE | IMAGENET, 68.3, "2"),  # not 70.6, which is Table 1c
        (NONE | IMAGENET | {"epochs": 200}, 70.6, "1c"),
        (IMAGENET | {"epochs": 200}, 72.8, "1c"),
        (NONE | IMAGENET | {"epochs": 200, "method": "simsiam", "ip": {}}, 69.1, "1c"),
        (IMAGENET, 70.6, "2"),
        (IMAGENET | {"method": "moco"}, 68.0, "2"),
        (IMAGENET | {"column": "v2"}, 57.9, "2"),
        (NONE | IMAGENET | {"method": "moco", "column": "a"}, 0.69, "2"),
        (IMAGENET | {"column": "a", "metric": "top1_all"}, 0.77, "2"),  # which of the two it is is not known
        (IMAGENET | {"column": "c"}, 38.9, "2"),
        (IMAGENET | {"column": "food101"}, 74.1, "3"),
        (NONE | IMAGENET | {"column": "flowers102", "metric": "mean_per_class"}, 84.6, "3"),
    ],
)
def test_rows_find_their_number(changes: dict[str, Any], value: float, table: str) -> None:
    found = matched(row(**changes))
    assert found is not None
    assert (found["value"], found["table"]) == (value, table)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "cifar10"},
        {"backbone": "resnet10w16"},
        {"method": "simsiam"},
        {"method": "simclr"},  # published without SEM only
        {"epochs": 999},
        {"ip": {}},
        {"column": "1%", "fraction": 0.01},
        {"column": "kNN", "metric": "knn_top1"},
        {"metric": "top1_fixed_tau"},
        {"representation": "h"},  # the backbone feature of the SEM arm
        NONE | {"embedding_config": {"type": "linear", "L": 5000, "V": 13}, "representation": "z"},
        IMAGENET | {"epochs": 300},
        IMAGENET | {"epochs": None},  # unknown epochs match nothing, not even themselves
        IMAGENET | {"method": "simsiam"},
        IMAGENET | {"column": "v2", "fraction": 0.01},  # Table 2 has one block only
        IMAGENET | {"column": "c", "metric": "mce"},
        IMAGENET | {"column": "food"},
    ],
)
def test_rows_that_differ_find_none(changes: dict[str, Any]) -> None:
    assert matched(row(**changes)) is None


def test_notes_say_what_the_daggers_stand_for() -> None:
    for entry in entries():
        if entry.mark == "†":
            assert "solo-learn" in entry.note
            assert "online probe" in entry.note
        if entry.mark == "‡":
            assert "IP-IRM paper" in entry.note
        if entry.mark == "*":
            assert entry.epochs is None
        if entry.table == "1c":
            assert "does not give the epochs" in entry.note
        if entry.table == "2":
            assert "100 % and 1 %" in entry.note
    assert Counter(entry.mark for entry in entries() if entry.mark) == {"†": 4, "‡": 7, "*": 1}
