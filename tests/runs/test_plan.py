"""From a suite to its jobs: what enters a digest, and what does not."""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sem_bench.base.digest import canonical_json, code_digest, digest
from sem_bench.base.machine import cores
from sem_bench.cli import main
from sem_bench.errors import UserError
from sem_bench.evaluation import finer
from sem_bench.runs.estimate import DECODED
from sem_bench.runs.job import Job
from sem_bench.runs.plan import read_plan
from sem_bench.runs.store import Store
from sem_bench.training.job import PretrainJob
from tests.helpers.places import REPOSITORY
from tests.helpers.toy import SUITE, TOY_PY, TOY_YAML, write

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def plan(*assignments: str, suite: str = "suite.yaml") -> dict[str, Job]:
    """KIND/SLUG -> job."""
    return {f"{job.kind}/{job.slug}": job for job in read_plan(Path(suite), assignments).jobs}


def digests(*assignments: str) -> set[str]:
    return {job.digest for job in plan(*assignments).values()}


def shuffled(value: object, order: random.Random) -> object:
    """The same value with the keys of its mappings in another order."""
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


@given(JSON, st.randoms(use_true_random=False))
def test_canonical_json_ignores_order(value: object, order: random.Random) -> None:
    assert canonical_json(shuffled(value, order)) == canonical_json(value)


def test_canonical_json_of_numbers() -> None:
    assert digest({"a": 1, "b": [2.0]}) == digest({"b": [2], "a": 1.0})
    assert digest({"a": 1}) != digest({"a": True})
    assert digest({"a": 1}) != digest({"a": 1.5})
    assert digest({"a": None}) != digest({})
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            digest({"a": bad})


def test_an_example_that_must_never_change() -> None:
    text = '{"config":{"lr":0.3},"kind":"probe"}'
    assert canonical_json({"kind": "probe", "config": {"lr": 0.3}}) == text
    # sha256sum of that text
    assert (
        digest({"kind": "probe", "config": {"lr": 0.3}})
        == "9277c2ee7fe07e6f6a526171813e9ba1dda81bc1417175331eb9c2aebf74a2ef"
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_label_and_name_do_not_enter_a_digest(folder: Path, order: random.Random) -> None:
    write(folder, "suite.yaml", SUITE)
    wanted = digests("seeds=[0, 1]", "grid.methods=[simclr, byol]")
    suite = shuffled(yaml.safe_load(SUITE), order)
    assert isinstance(suite, dict)
    suite["name"] = "other"
    suite["seeds"] = order.sample([0, 1], 2)
    suite["grid"]["methods"] = order.sample(["simclr", "byol"], 2)
    suite["grid"]["embeddings"] = {"mine": {"V": 3, "L": 4, "type": "sem"}, "plain": {"type": "none"}}
    write(folder, "suite.yaml", yaml.safe_dump(suite, sort_keys=False))
    assert digests() == wanted


def test_what_a_stage_does_not_read_does_not_change_it(folder: Path) -> None:
    before = plan()
    after = plan("evaluate.probe.tau=[0.5, 1.0]", "evaluate.knn.k=3")
    changed = {name for name in before if before[name].digest != after[name].digest}
    assert changed == {
        "probe/simclr-sem4x3-t1-resnet10w16s2-toy-e2-s0-100pc",
        "probe/simclr-sem4x3-t1-resnet10w16s2-toy-e2-s0-10pc",
        "knn/simclr-none-resnet10w16s2-toy-e2-s0",
        "knn/simclr-sem4x3-t1-resnet10w16s2-toy-e2-s0",
    }


def test_values_at_their_default_are_left_out(folder: Path) -> None:
    assert digests() == digests("grid.embeddings.sem.tau=1", "grid.embeddings.sem.tau_target=1.0")  # the recipe's
    assert digests() != digests("grid.embeddings.sem.tau=0.5")


def test_what_changes_the_result_changes_the_digest(folder: Path) -> None:
    before = digests()
    for assignment in (
        "seeds=[1]",
        "pretrain.epochs=3",
        "pretrain.lr=0.01",
        "pretrain.weight_decay=0.5",
        "pretrain.batch_size=20",
    ):
        assert not before & digests(assignment), assignment
    write(folder, "datasets/toy.yaml", TOY_YAML.replace("{type: python}", "{type: python, arguments: {noise: 10}}"))
    assert not before & digests()
    write(folder, "datasets/toy.yaml", TOY_YAML.replace("test: 80", "test: 60"))
    kept = {job.kind for job in plan().values() if job.digest in before}
    assert kept == {"pretrain"}  # which does not read the test images


def test_code_enters_by_its_syntax_tree(folder: Path) -> None:
    before = digests()
    write(folder, "datasets/toy.py", TOY_PY.replace("Coloured noise", "Other words") + "\n\n# a comment\n")
    assert digests() == before
    write(folder, "datasets/toy.py", TOY_PY.replace("clip(0, 255)", "clip(0, 254)"))
    assert not digests() & before
    with pytest.raises(UserError, match=r"^broken.py:2: not valid Python"):
        code_digest(write(folder, "broken.py", "x = 1\nx = (\n").relative_to(folder))


def test_temperatures(folder: Path) -> None:
    def temperatures(*assignments: str) -> tuple[float, float]:
        job = next(job for job in plan(*assignments).values() if job.kind == "pretrain" and "sem" in job.slug)
        embedding = job.cell.embedding_config
        return embedding["tau"], embedding["tau_target"]

    assert temperatures() == (1, 1)
    assert temperatures("grid.embeddings.sem.tau=0.5") == (0.5, 0.5)
    assert temperatures("grid.embeddings.sem.tau_target=0.2") == (1, 0.2)


def test_both_arms_get_the_same_number_of_candidates(folder: Path) -> None:
    jobs = [job.config.model_dump() for job in plan().values() if job.kind == "probe"]
    assert {len(job["tau"] or range(job["between"])) * len(job["l2"]) for job in jobs} == {4}


@given(st.lists(st.floats(1e-8, 1e3), min_size=2, max_size=9, unique=True), st.integers(2, 40))
def test_finer_grid(grid: list[float], count: int) -> None:
    values = finer(grid, count)
    assert len(values) == count
    assert values == sorted(values)
    assert values[0] == pytest.approx(min(grid), rel=1e-5) and values[-1] == pytest.approx(max(grid), rel=1e-5)


def test_jobs_come_seed_by_seed_inputs_first(folder: Path) -> None:
    found = read_plan(Path("suite.yaml"), ["seeds=[3, 1]"]).jobs
    assert [job.cell.seed for job in found] == sorted((job.cell.seed for job in found), reverse=True)
    seen: set[str] = set()
    for job in found:
        assert set(job.inputs.values()) <= seen
        seen.add(job.digest)


def test_a_union_of_grids_shares_jobs(folder: Path) -> None:
    grid = yaml.safe_load(SUITE)["grid"]
    write(folder, "suite.yaml", yaml.safe_dump(yaml.safe_load(SUITE) | {"grid": [grid, grid]}))
    found = read_plan(Path("suite.yaml"))
    assert len(found.jobs) == 2 * len(found.unique()) == 16


def test_plan_text_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "suite.yaml"]) == 0
    text = capsys.readouterr().out
    assert "tiny: 8 jobs: 8 missing; about" in text
    assert main(["plan", "suite.yaml", "--format", "json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert len(entries) == 8
    assert list(entries[0]) == [
        "kind",
        "slug",
        "digest",
        "status",
        "method",
        "embedding",
        "ip",
        "backbone",
        "dataset",
        "seed",
    ]
    assert entries[0]["status"] == "missing" and len(entries[0]["digest"]) == 64
    assert not (folder / "results").exists()  # looking changes nothing


MANY = ("suite.yaml", "--set", "seeds=[0, 1, 2, 3]")  # of the suite below: 64 jobs


@pytest.fixture
def mixed(folder: Path) -> Path:
    """A suite of two grids, one with IP-IRM; of its jobs some are done, failed or begun."""
    suite = yaml.safe_load(SUITE)
    wrapped = suite["grid"] | {"ip": {}}
    write(folder, "suite.yaml", yaml.safe_dump(suite | {"grid": [suite["grid"], wrapped]}))
    store = Store(folder / "results")
    for number, job in enumerate(read_plan(Path("suite.yaml"), MANY[2:]).unique()):
        if number % 5 == 0:
            finish(job, store)
        elif number % 7 == 0:
            write(store.folder(job), "error.txt", "it broke")
        elif number % 11 == 0:
            write(store.folder(job), "checkpoint.pt", "")
    return folder


def finish(job: Job, store: Store) -> None:
    """Write a result by hand."""
    provenance = {"device": "cpu", "precision": "fp32", "seconds": 1.0, "when": "", "data": {}, "files": {}}
    content = {"schema": 1, "kind": job.kind, "digest": job.digest, "config": {}, "metrics": {"rows": []}}
    write(store.folder(job), "result.json", json.dumps(content | {"provenance": provenance}))


def tables(text: str) -> list[list[dict[str, str]]]:
    """The rows of the tables of a page, by column; no name has two spaces."""
    found = []
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if len(lines) > 1 and set(lines[1]) == {"-", " "}:
            columns = [(dashes.start(), dashes.end()) for dashes in re.finditer("-+", lines[1])]
            names, *rows = ([line[a:b].strip() for a, b in columns] for line in (lines[0], *lines[2:]) if "  " in line)
            found.append([dict(zip(names, row, strict=True)) for row in rows])
    return found


def seconds_of(text: str) -> float:
    """What `human_seconds` wrote."""
    units = {"days": 86400, "h": 3600, "min": 60, "s": 1}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+) (days|h|min|s)\b", text))


def test_the_page_of_many_jobs_counts_what_the_json_lists(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *MANY]) == 0
    page = capsys.readouterr().out
    assert main(["plan", *MANY, "--format", "json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert len({entry["digest"] for entry in entries}) == len(entries) == 64
    by_kind, by_arm = tables(page)
    states = ["done", "failed", "partial", "missing"]
    assert list(by_kind[0]) == ["kind", "jobs", *states, "time left", "memory"]
    assert list(by_arm[0]) == ["method", "embedding", "pre", "pro", "knn", "time left"]
    (shared,) = (line for line in page.splitlines() if "jobs of each kind: done/all" in line)
    assert shared.startswith("backbone resnet10w16s2, data toy, epochs ")

    def wanted(keys: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], list[int]]:
        counted = Counter((key, entry["status"]) for key, entry in zip(keys, entries, strict=True))
        numbers = {key: [counted[key, state] for state in states] for key in keys}
        return {key: [sum(found), *found] for key, found in numbers.items()}

    def shown(rows: list[dict[str, str]], *names: str) -> dict[tuple[str, ...], list[int]]:
        return {tuple(row[name] for name in names): [int(row[name]) for name in ("jobs", *states)] for row in rows}

    arms = [(entry["method"] + (" + IP" if entry["ip"] else ""), entry["embedding"]) for entry in entries]
    assert len(by_arm) == 4 and {(row["method"], row["embedding"]) for row in by_arm} == set(arms)
    for row in by_arm:
        for kind in dict.fromkeys(entry["kind"] for entry in entries):
            of_arm = zip(arms, entries, strict=True)
            own = [
                one["status"] for arm, one in of_arm if (*arm, one["kind"]) == (row["method"], row["embedding"], kind)
            ]
            cell = f"{own.count('done')}/{len(own)}{'!' * ('failed' in own)}" if own else ""
            assert row[kind[:3]] == cell, (row, kind)
    assert "!" in page and "! some failed or void" in shared
    assert shown(by_kind, "kind") == wanted([(entry["kind"],) for entry in entries])

    times = [seconds_of(row["time left"]) for row in by_arm]
    assert times == sorted(times, reverse=True) and min(times) > 0
    assert sum(times) == pytest.approx(sum(seconds_of(row["time left"]) for row in by_kind), abs=3)
    last = page.splitlines()[-1]
    totals = next(line for line in page.splitlines() if line.startswith("tiny: "))
    counts = Counter(entry["status"] for entry in entries)
    assert totals.startswith(f"tiny: 64 jobs: {', '.join(f'{n} {state}' for state, n in counts.most_common())}; about ")
    one_by_one = re.search(r"\((.+) one after the other\)", totals)  # where several run at a time
    assert sum(times) == pytest.approx(seconds_of(one_by_one[1] if one_by_one else totals), abs=3)
    assert last == "--all prints every job"


def test_times_on_a_measured_device(capsys: pytest.CaptureFixture[str]) -> None:
    """Those that were measured there, and no others; the source is said."""
    suite = str(REPOSITORY / "suites/cifar100.yaml")
    assert main(["plan", suite, "--on", "cpu_2cores"]) == 0
    page = capsys.readouterr().out
    rows = json.loads((REPOSITORY / "benchmarks/records/cpu_2cores.json").read_text())
    (speed,) = (
        row["images_per_s"]
        for row in rows
        if row["who"] == "ours" and row["case"].startswith("simclr, resnet18, 32 px")
    )
    by_kind, by_arm = tables(page)
    (plain,) = (
        row for row in by_arm if (row["method"], row["embedding"], row["backbone"]) == ("simclr", "none", "resnet18")
    )
    assert seconds_of(plain["time left"]) == pytest.approx(5 * 1000 * 50_000 / speed, rel=0.05)
    assert all(not row["time left"] for row in by_arm if row["backbone"] == "resnet50")
    assert [row["kind"] for row in by_kind if row["time left"]] == ["pretrain"]
    assert "left on cpu_2cores, job after job" in page and "benchmarks/records/cpu_2cores.json" in page
    assert "not measured there, and not counted: 20 pretrainings of resnet50, 440 other jobs" in page
    assert main(["plan", suite, "--on", "h100"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("--on h100: no speeds of it are kept; there is cpu_2cores; `python benchmarks/run.py --only")
    assert line.count("\n") == 1


def test_all_prints_every_job(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *MANY, "--format", "json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert main(["plan", *MANY, "--all"]) == 0
    (rows,) = tables(every := capsys.readouterr().out)
    assert [(row["kind"], row["job"], row["digest"], row["state"]) for row in rows] == [
        (entry["kind"], entry["slug"], entry["digest"][:12], entry["status"]) for entry in entries
    ]
    assert all((row["time"] == row["memory"] == "") is (row["state"] == "done") for row in rows)
    assert "--all" not in every
    few = (*MANY[:2], "seeds=[0, 1]")  # 32 jobs
    assert main(["plan", *few]) == 0
    short = capsys.readouterr().out
    assert main(["plan", *few, "--all"]) == 0
    assert capsys.readouterr().out == short and "--all" not in short


def test_the_page_shows_the_arms_with_the_most_time_left(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embeddings = {f"v{size}": {"type": "sem", "L": 4, "V": size} for size in range(2, 32)}
    suite = yaml.safe_load(SUITE)
    write(folder, "suite.yaml", yaml.safe_dump(suite | {"grid": suite["grid"] | {"embeddings": embeddings}}))
    short, *others = read_plan(Path("suite.yaml")).arms
    for job in short.jobs(0):
        finish(job, Store(folder / "results"))
    assert main(["plan", "suite.yaml"]) == 0
    page = capsys.readouterr().out
    _, arms = tables(page)
    assert len(arms) == 25 and {arm["embedding"] for arm in arms} <= {arm.label for arm in others}
    assert "\nand 5 more arms\n" in page


def test_ten_thousand_jobs_are_a_page_within_seconds(tmp_path: Path) -> None:
    began = os.times()
    lines = printed("plan", "suite.yaml", "--set", f"seeds={list(range(54))}", "--results", str(tmp_path)).splitlines()
    assert os.times().children_user - began.children_user < 10  # of computing, for the machine may be busy
    assert "quick: 10368 jobs: 10368 missing; about" in lines[-5]
    assert len(lines) < 70 and max(map(len, lines)) <= 120


def test_absent_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "datasets/toy.yaml", TOY_YAML + "files: [photos/train.bin]\n")
    assert main(["plan", "suite.yaml"]) == 0
    assert "8 no data" in capsys.readouterr().out
    assert main(["run", "suite.yaml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "no data for 'toy'" in lines[0] and "photos/train.bin" in lines[0] and "--allow-missing" in lines[1]
    assert not (folder / "results").exists()


def printed(*arguments: str) -> str:
    """By a process of its own."""
    command, environment = [sys.executable, "-m", "sem_bench", *arguments], {**os.environ, "PYTHONSAFEPATH": ""}
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY, env=environment)
    return done.stdout


def seconds(*arguments: str) -> float:
    """What it computes, the least of three: how busy the machine is does not count."""
    times = []
    for _ in range(3):
        before = os.times()
        printed(*arguments)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(times)


DECODING = (
    r"^decoding is the bottleneck \((\d+) pretrainings\): with (\d+) --workers about ([\d,]+) images a second, "
    r"where simclr-none-fast\S* takes ([\d,]+); "
)


def test_plan_says_where_decoding_is_the_bottleneck(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = TOY_YAML.replace("type: python", "type: folder, path: toy")
    write(folder, "datasets/photos.yaml", card.replace("train: 200", "train: 20000").replace("size: 16", "size: 224"))
    write(folder, "backbones/fast.yaml", "build: fast\nsummary: no work at all\nfeatures: 3\ncost: {speed: 1e6}\n")
    write(folder, "backbones/fast.py", "def fast(*, image_size, zero_init_residual): ...\n")
    asked = ["plan", "suite.yaml", "--set", "grid.datasets=[photos]", "--set", "grid.backbones=[fast, resnet10w16s2]"]
    threads = max(1, cores() // 2)
    assert main([*asked, "--jobs", "2"]) == 0
    said = re.search(DECODING, capsys.readouterr().out, re.MULTILINE)
    assert said is not None
    assert (int(said[1]), int(said[2]), said[3]) == (2, threads, f"{DECODED * threads:,.0f}")
    assert float(said[4].replace(",", "")) > DECODED * threads
    for other in ("grid.backbones=[resnet10w16s2]", "grid.images={train: 1000}"):  # a slow step; images in memory
        assert main([*asked, "--set", other]) == 0
        assert "decoding" not in capsys.readouterr().out


def test_help_and_plan_are_quick() -> None:
    assert seconds("--help") < 0.5
    assert seconds("plan", "suite.yaml") < 3


def test_the_order_of_grids_and_what_an_arm_does_not_read_do_not_enter(folder: Path) -> None:
    before = plan()
    reversed_grids = plan("evaluate.probe.tau=[1.0, 0.3]", "evaluate.probe.l2=[1e-2, 1e-4]")
    assert {job.digest for job in before.values()} == {job.digest for job in reversed_grids.values()}
    write(folder, "datasets/toy.yaml", TOY_YAML.replace("{warm: [red, green], cold: [blue, grey]}", "{}"))
    changed = {name.split("/")[0] for name, job in plan().items() if job.digest != before[name].digest}
    assert changed == {"probe"}


def test_text_and_number_are_different_code(folder: Path) -> None:
    number, text = write(folder, "number.py", "x = 1.5"), write(folder, "text.py", 'x = "1.5"')
    assert code_digest(number) != code_digest(text)


def test_the_random_backbone_is_made_once_for_each_table(folder: Path) -> None:
    """Nothing trains it; it is in the table's place, in each seed, and all methods share it."""
    before = digests("grid.methods=[simclr, byol]", "seeds=[0, 1]")
    found = read_plan(Path("suite.yaml"), ["grid.methods=[simclr, byol]", "seeds=[0, 1]", "floor=true"])
    floors = [job for job in found.jobs if job.cell.method == "random_backbone"]
    assert Counter((job.kind, job.cell.seed) for job in floors) == {
        (kind, seed): 2 if kind == "probe" else 1 for kind in ("pretrain", "probe", "knn") for seed in (0, 1)
    }
    assert {job.digest for job in found.jobs} - {job.digest for job in floors} == before
    assert not before & {job.digest for job in floors}
    assert {(job.cell.recipe, job.cell.epochs, job.cell.embedding, job.cell.external) for job in floors} == {
        ("quick", 2, "none", False)
    }
    trained = [job.config.training.epochs for job in floors if isinstance(job.config, PretrainJob)]
    assert trained == [0, 0]
    assert {arm.method.name for arm in found.arms} == {"simclr", "byol"}  # of which sweeps know


def test_plan_says_which_gains_its_seeds_can_see(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "suite.yaml", "--set", "seeds=[0, 1, 2]"]) == 0
    assert "3 seeds see a gain of 1.4 to 3.5 points" in capsys.readouterr().out
    assert main(["plan", "suite.yaml"]) == 0
    assert "1 seed: nothing bold; 3 seeds see a gain" in capsys.readouterr().out
    assert main(["plan", "suite.yaml", "--set", "grid.embeddings={none: {}}"]) == 0
    assert "see a gain" not in capsys.readouterr().out


def test_digests_stand_where_there_is_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that a terminal breaks cannot be read; names come first."""
    shown = {}
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert main(["plan", "suite.yaml"]) == 0
        shown[columns] = capsys.readouterr().out
        assert max(map(len, shown[columns].splitlines())) <= columns
        assert "simclr-sem4x3-t1-resnet10w16s2-toy-e2-s0" in shown[columns]
    assert "digest" in shown[120] and "digest" not in shown[80]
