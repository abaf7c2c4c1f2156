"""The paper's suites: every row of Table 1 is a cell, its recipe is complete, and it runs."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from sem_bench.cli import main
from sem_bench.config.cards import Library
from sem_bench.evaluations.registry import builtin
from sem_bench.report import published
from sem_bench.report.row import FLOOR
from sem_bench.runs.job import Job
from sem_bench.runs.plan import read_plan
from sem_bench.training.card import method_card
from sem_bench.training.job import PretrainJob
from tests.helpers.places import REPOSITORY
from tests.helpers.published_trees import imagenet_family, sign, write_tree
from tests.helpers.rows import row_of

ROOT = REPOSITORY
LIBRARY = Library(ROOT)
METHODS = ["barlow_twins", "byol", "dino", "moco", "simclr", "simsiam", "swav", "vicreg"]
SUITES = ("cifar100", "imagenet")
TABLES = {one.table.name: one.table for one in builtin().values()}
LINE = re.compile(r"^(done|failed|missing|partial|no data) +(\S+) +(\S+) +([0-9a-f]{12}) +~(.+?)  +~([\d.]+) GiB *$")


def pretrainings(suite: str) -> list[Job]:
    return [job for job in read_plan(ROOT / "suites" / f"{suite}.yaml").unique() if job.kind == "pretrain"]


def rows(table: str) -> list[tuple[Any, ...]]:
    found = [e for e in published.entries() if e.table == table and e.mark != "*"]
    return [(e.dataset, e.backbone, e.method, e.ip, e.embedding, e.epochs) for e in found]


@pytest.mark.parametrize(
    ("suite", "tables"),
    [("table1a", ["1a"]), ("cifar100", ["1a", "1b"]), ("imagenet", ["1c"]), ("imagenet", ["2"]), ("imagenet", ["3"])],
)
def test_every_row_of_the_tables_is_a_cell(suite: str, tables: list[str]) -> None:
    """All but BYOL*, which the paper does not explain; and where all of a suite's tables are given, nothing else."""
    wanted = {row for table in tables for row in rows(table)}
    cells = {
        (job.cell.dataset, job.cell.backbone, job.cell.method, job.cell.ip is not None,
         job.cell.embedding_config["type"], job.cell.epochs)
        for job in pretrainings(suite) if job.cell.method != FLOOR
    }  # fmt: skip
    assert wanted <= cells
    if suite == "table1a":
        assert wanted == cells
    if suite == "cifar100":
        more = {(*cell[:2], name, *cell[3:]) for cell in wanted if cell[1:5] == ("resnet18", "byol", False, "sem")
                for name in ("simclr", "moco", "swav", "dino")}  # fmt: skip
        assert wanted | more == cells


def test_table_1a_alone_shares_its_jobs_with_the_suite_of_both() -> None:
    alone, both = (
        {job.digest for job in read_plan(ROOT / f"suites/{name}.yaml").jobs} for name in ("table1a", "cifar100")
    )
    assert alone < both


def test_the_originals_sizes_and_temperatures() -> None:
    seen = {}
    for suite in SUITES:
        for job in pretrainings(suite):
            config = job.cell.embedding_config
            if config["type"] == "sem":
                key = (job.cell.method, job.cell.backbone, job.cell.dataset, job.cell.epochs)
                seen[key] = tuple(config[name] for name in ("L", "V", "tau", "tau_target"))
    assert seen == {
        ("simclr", "resnet18", "cifar100", 1000): (5000, 13, 0.17, 0.78),
        ("moco", "resnet18", "cifar100", 1000): (5000, 13, 0.04, 0.01),
        ("swav", "resnet18", "cifar100", 1000): (5000, 13, 0.85, 1.5),
        ("dino", "resnet18", "cifar100", 1000): (5000, 13, 1, 1),
        ("byol", "resnet18", "cifar100", 1000): (5000, 13, 1, 1),
        ("byol", "resnet50", "cifar100", 1000): (5000, 13, 1, 1),
        ("byol", "resnet50", "imagenet", 200): (4500, 21, 0.872, 0.159),
        ("byol", "resnet50", "imagenet", 100): (4500, 21, 0.872, 0.159),
        ("moco", "resnet50", "imagenet", 200): (4500, 21, 1, 1),
        ("moco", "resnet50", "imagenet", 100): (4500, 21, 1, 1),
    }


@pytest.mark.parametrize("suite", SUITES)
def test_both_arms_have_the_same_budget(suite: str) -> None:
    trainings: dict[tuple[Any, ...], set[str]] = {}
    for job in pretrainings(suite):
        assert isinstance(job.config, PretrainJob)
        cell = job.cell
        key = (cell.method, cell.backbone, str(cell.ip), cell.epochs, cell.recipe)
        trainings.setdefault(key, set()).add(job.config.training.model_dump_json())
    assert all(len(found) == 1 for found in trainings.values())


@pytest.mark.parametrize("suite", SUITES)
def test_plan_lists_every_row_with_time_and_memory(
    suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan", f"suites/{suite}.yaml", "--all"]) == 0
    output = capsys.readouterr().out
    lines = [match for line in output.splitlines() if (match := LINE.match(line))]
    slugs = {f"{match[2]}/{match[3]}": match for match in lines}
    jobs = read_plan(ROOT / "suites" / f"{suite}.yaml").unique()
    assert len(lines) == len(jobs) and slugs.keys() == {f"{job.kind}/{job.slug}" for job in jobs}
    assert {match[1] for match in lines} == {"no data"}
    fetched, absent = " (torchvision downloads it in a run)", re.findall(r"^no data: (.+)$", output, re.MULTILINE)
    if suite == "cifar100":
        assert absent == [f"data/cifar100{fetched}"]
    else:
        shifted = ["imagenetv2-matched-frequency-format-val", "imagenet-r", "imagenet-a", "imagenet-c"]
        transfer = ["SUN397", "caltech101/101_ObjectCategories", "cars"]
        transfer += [f"{name}{fetched}" for name in ("food101", "cifar10", "cifar100", "dtd", "pets", "flowers102")]
        assert sorted(absent) == sorted(
            f"data/{name}" for name in ["imagenet", "imagenet_1percent.txt", *shifted, *transfer]
        )
    for job in jobs:
        gibibytes = float(slugs[f"{job.kind}/{job.slug}"][6])
        if job.kind == "pretrain" and job.cell.method == "byol" and job.cell.embedding == "sem":
            # Adding up by hand: the first layer of a projector alone is L*V x 4096 weights, in five copies.
            width = job.cell.embedding_config["L"] * job.cell.embedding_config["V"]
            assert gibibytes > width * 4096 * (3 + 1) * 4 / 2**30
    assert main(["plan", f"suites/{suite}.yaml", "--format", "json"]) == 0
    assert {job["status"] for job in json.loads(capsys.readouterr().out)} == {"no data"}


def test_without_the_data_run_says_so_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of cifar100 would download it."""
    monkeypatch.chdir(tmp_path)
    assert main(["run", "suites/imagenet.yaml"]) == 2
    assert "no data for 'imagenet': data/imagenet is absent" in capsys.readouterr().err


@pytest.mark.parametrize("name", METHODS)
def test_every_card_has_the_papers_recipes_with_their_source(name: str) -> None:
    recipes = method_card(LIBRARY, name).content.recipes
    assert {"quick", "small", "cifar_resnet18", "cifar_resnet50", "imagenet"} <= recipes.keys()
    for key, epochs in (("cifar_resnet18", 1000), ("cifar_resnet50", 1000), ("imagenet", 100)):
        recipe = recipes[key]
        assert recipe.epochs == epochs and len(recipe.source) > 40
        assert recipe.views[0].crop_scale[0] <= 0.2 and recipe.views[0].jitter == 0.8
        assert recipe.optimizer.weight_decay > 0


def test_heads_queues_and_momenta_of_the_original() -> None:
    """Widths, temperatures and schedules of the original's scripts, CIFAR and ImageNet."""

    def parameters(name: str, recipe: str) -> dict[str, Any]:
        return dict(method_card(LIBRARY, name).content.recipes[recipe].parameters)

    byol = {"hidden": 4096, "out": 256, "predictor": 4096, "momentum": 0.99}
    for recipe in ("cifar_resnet18", "cifar_resnet50", "imagenet", "imagenet_200"):
        assert parameters("byol", recipe) == byol
    moco = {"hidden": 2048, "out": 128, "batch_norm": False, "momentum": 0.99, "final_momentum": 0.999}
    assert parameters("moco", "cifar_resnet18") == moco | {"temperature": 0.2, "queue": 32768}
    assert parameters("moco", "imagenet") == moco | {"temperature": 0.1, "queue": 65536}
    assert parameters("simclr", "cifar_resnet18") == {"hidden": 2048, "out": 256, "norms": 0, "temperature": 0.2}
    assert parameters("simclr", "cifar_resnet50") == {"hidden": 512, "out": 128, "norms": 1, "temperature": 0.5}
    swav = parameters("swav", "cifar_resnet18")
    assert (swav["prototypes"], swav["queue"], swav["queue_from"] * 1000, swav["frozen"] * 1000) == (3000, 3840, 50, 2)
    dino = parameters("dino", "cifar_resnet18")
    assert (dino["prototypes"], dino["momentum"], dino["warmup"] * 1000, dino["frozen"] * 1000) == (4096, 0.9995, 50, 1)
    assert (dino["student_temperature"], dino["first_temperature"], dino["teacher_temperature"]) == (0.1, 0.04, 0.07)
    assert parameters("barlow_twins", "cifar_resnet18")["scale"] == 0.1
    assert parameters("barlow_twins", "imagenet") == {
        "hidden": 4096,
        "out": 4096,
        "off_diagonal": 0.0051,
        "scale": 0.048,
    }
    assert parameters("vicreg", "cifar_resnet18")["variance"] == 50  # halved here, 25 there
    for name in METHODS:
        optimizer = method_card(LIBRARY, name).content.recipes["cifar_resnet50"].optimizer
        assert optimizer.trust_coefficient == 0.001  # lars or not
    for name, recipe in (("byol", "imagenet"), ("byol", "imagenet_200"), ("moco", "imagenet")):
        content = method_card(LIBRARY, name).content.recipes[recipe]
        first, second = content.views
        assert (first.blur, first.solarize, second.blur, second.solarize) == (1.0, 0.0, 0.1, 0.2)
        assert content.batch_size * content.accumulate == (4096 if name == "byol" else 256)
        for view in (first, second):
            assert (view.crop_scale, view.brightness, view.contrast, view.hue) == ((0.08, 1.0), 0.4, 0.4, 0.1)
    assert method_card(LIBRARY, "byol").content.recipes["imagenet_200"].optimizer.lr == 0.4
    assert method_card(LIBRARY, "byol").content.recipes["imagenet"].optimizer.lr == 0.45
    assert method_card(LIBRARY, "moco").content.recipes["imagenet"].optimizer.weight_decay == 3e-5
    assert method_card(LIBRARY, "swav").content.recipes["cifar_resnet18"].min_lr == 6e-4
    assert method_card(LIBRARY, "simsiam").content.recipes["imagenet"].optimizer.constant == ["predictor"]


def test_recipes_of_the_original_script_by_script() -> None:
    """The table of the original's CIFAR scripts: lr, weight decay, LARS, second view, temperatures of SEM."""
    expected = {
        "byol": (1.0, 1e-5, "lars", 0.2, 0.2, (1.0, None)),
        "simclr": (0.4, 1e-5, "lars", 0.0, 0.8, (0.17, 0.78)),
        "moco": (0.3, 1e-4, "sgd", 0.0, 0.4, (0.04, 0.01)),
        "swav": (0.6, 1e-6, "lars", 0.0, 0.8, (0.85, 1.5)),
        "dino": (0.3, 1e-6, "lars", 0.2, 0.2, (1.0, None)),
        "barlow_twins": (0.3, 1e-4, "lars", 0.2, 0.2, (1.0, 0.99)),
        "vicreg": (0.3, 1e-4, "lars", 0.1, 0.2, (1.0, None)),
        "simsiam": (0.5, 1e-5, "sgd", 0.0, 0.4, (1.0, None)),
    }
    for name, row in expected.items():
        recipe = method_card(LIBRARY, name).content.recipes["cifar_resnet18"]
        rule = recipe.optimizer
        found = (rule.lr, rule.weight_decay, rule.name, recipe.views[1].solarize, recipe.views[1].saturation)
        assert (*found, (recipe.sem.tau, recipe.sem.tau_target)) == row, name
        assert recipe.batch_size == 256 and rule.lr_per_256 and recipe.warmup_epochs == 10
        assert rule.all_alike is (name in ("moco", "simsiam", "swav"))
        if rule.name == "lars":
            assert (rule.trust_coefficient, rule.trust_limit) == (0.02, True)
    multi_crop = method_card(LIBRARY, "dino").content.recipes["imagenet"].views
    assert [view.size for view in multi_crop] == [None, None, *[96] * 8]
    swav = method_card(LIBRARY, "swav").content.recipes["imagenet"].views
    assert [(view.size, view.crop_scale) for view in swav] == [(None, (0.14, 1.0))] * 2 + [(96, (0.05, 0.14))] * 6


def sized(suite: Path) -> list[str]:
    """`--set`s that make a suite of the paper small, but for its data."""
    grids = read_plan(suite).suite.grid
    sizes = [f"grid.{i}.embeddings.sem={{L: 8, V: 4}}" for i, grid in enumerate(grids) if "sem" in grid.embeddings]
    return [
        "seeds=[0]", "grid.backbones=[resnet10w16s2]", "grid.pretrain.batch_size=8", "grid.pretrain.accumulate=2",
        "evaluate.probe={fractions: [1.0], tau: [1.0, 3.0], l2: [1e-3, 1e-1]}", *sizes,
    ]  # fmt: skip


def run(suite: str, changes: list[str], capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, Any]]:
    """Run it; the rows of its tables."""
    assert main(["run", suite, *options, *(part for change in changes for part in ("--set", change))]) == 0
    capsys.readouterr()
    assert main(["table", "results", "--format", "json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.slow
def test_every_row_of_cifar100_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At reduced size: drawn shapes, two epochs, a narrow network, small embeddings; docs/LOG.md has full width."""
    monkeypatch.chdir(tmp_path)
    data = ["grid.datasets=[shapes]", "grid.images={train: 40, test: 20}", "grid.pretrain.epochs=2"]
    data += ["evaluate.relevance.top_k=[1]", "evaluate.expressivity={methods: [byol], tau: [1.0], fractions: [1.0]}"]
    found = {
        (row["method"], row["ip"] is not None, row["embedding_config"]["type"])
        for row in run("suites/cifar100.yaml", [*data, *sized(ROOT / "suites/cifar100.yaml")], capsys)
        if row["column"] == "100%" and row["mean"] is not None
    }
    wanted = {(method, ip, kind) for table in ("1a", "1b") for _, _, method, ip, kind, _ in rows(table)}
    assert found == wanted | {(method, False, "sem") for method in ("simclr", "moco", "swav", "dino")}


@pytest.mark.slow
def test_the_imagenet_suite_runs_on_a_miniature_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ImageNet, its shifted sets and the nine transfer sets in their file formats, a few classes and images of each.

    All stages run, and every number of Tables 1c, 2 and 3 has a measured one beside it.
    """
    monkeypatch.chdir(tmp_path)
    imagenet_family(tmp_path, classes=6, train=6, severities=[1, 5])
    for name in ("food101", "cifar10", "cifar100", "sun397", "dtd", "pets", "flowers102", "caltech101", "cars"):
        write_tree(tmp_path, name)
    sign(monkeypatch, tmp_path / "data")
    shutil.copy(ROOT / "suites/imagenet.yaml", tmp_path)
    epochs = [f"grid.{i}.pretrain.epochs={1 if i == 4 else 2}" for i in range(5)]  # for 100 and 200
    found = run("imagenet.yaml", [*sized(ROOT / "suites/imagenet.yaml"), *epochs], capsys)
    tables = {row["table"] for row in found}
    assert tables == {"comparison", "robustness", "transfer", "relevance", "entropy", "expressivity"}
    assert all(row["mean"] is not None for row in found)
    real = [row | {"backbone": "resnet50", "epochs": 100 * row["epochs"]} for row in found]
    beside = [
        match for row in real if (match := published.match(row_of(row), TABLES[row["table"]].metric(row["metric"])))
    ]
    wanted = [(e.table, e.value) for e in published.entries() if e.table in ("1c", "2", "3")]
    assert sorted((match["table"], match["value"]) for match in beside) == sorted(wanted)
