"""Orders: all that a worker needs of a job, through JSON and back."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sem_bench.base.limits import Limits
from sem_bench.config.fields import whole
from sem_bench.runs.job import Job, job_digest
from sem_bench.runs.order import Order, Progress, Started
from sem_bench.runs.plan import read_plan
from sem_bench.runs.worker import work
from tests.helpers.places import REPOSITORY
from tests.helpers.toy import SUITE, write

NOWHERE = Path("/nowhere")
EXTERNAL = SUITE.replace("[simclr]", "[external]").replace("none: {}, sem: {L: 4, V: 3}", "sem: {L: 4, V: 3, tau: 1.0}")
OWN = '''
"""How many test images there are."""

from sem_bench.config.fields import Model
from sem_bench.data.described import LabelledData
from sem_bench.evaluation import Evaluation, Metric, Planned, Table


class CountSettings(Model):
    times: int = 1


class CountJob(Model):
    data: LabelledData
    times: int


class Count(Evaluation[CountSettings, CountJob]):
    name, summary = "count", "test images"
    Settings, Job, table = CountSettings, CountJob, Table(name="count", metrics=[Metric(name="images")])

    def jobs(self, asked, arm, seed, before):
        yield Planned(CountJob(data=arm.labelled(), times=asked.times))

    def run(self, job, workspace):
        value = job.times * len(workspace.load(job.data, "test"))
        row = {"column": "test", "fraction": 1.0, "metric": "images", "representation": "h", "tau_d": None}
        return {"rows": [row | {"value": value, "notes": []}]}
'''


def order_of(job: Job, root: Path, **more: Any) -> Order:
    """As a run on the CPU gives it."""
    return Order.of(job, root, device="cpu", limits=Limits(1000, 3), **more)


def same(job: Job) -> None:
    """The order to do a job is the same after a way through JSON, and means the same job."""
    order = order_of(job, NOWHERE, afresh=True, watch="a:b")
    found = Order.from_json(order.as_json())
    assert found == order and found.as_json() == order.as_json()
    assert found.config == job.config and whole(found.config) == whole(job.config)
    assert json.dumps(found.config.model_dump(mode="json")) == json.dumps(job.config.model_dump(mode="json"))
    assert job_digest(found.stage, found.config, found.inputs) == job.digest == found.digest
    assert (found.kind, found.slug, found.place, found.weights) == (job.kind, job.slug, job.place, job.weights)
    assert found.parts == job.parts
    assert found.stage.source == job.stage.source and found.stage.name == job.stage.name
    assert (found.limits.memory, found.limits.workers, found.afresh, found.watch) == (1000, 3, True, "a:b")


@pytest.mark.parametrize("suite", ["suite.yaml", *sorted(path.name for path in (REPOSITORY / "suites").glob("*.yaml"))])
def test_every_job_of_every_suite_goes_through_json(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    path = Path(suite) if suite == "suite.yaml" else Path("suites") / suite
    jobs = read_plan(path, data=NOWHERE).unique()
    for job in {(job.kind, job.cell.dataset, job.cell.method, job.cell.embedding): job for job in jobs}.values():
        same(job)


def test_jobs_of_foreign_weights_and_of_own_code_go_through_json(folder: Path) -> None:
    write(
        folder, "suite.yaml", EXTERNAL.replace("  datasets", "  checkpoint: weights.pt\n  datasets") + "  count: {}\n"
    )
    write(folder, "weights.pt", "some bytes")
    write(folder, "evaluations/count.py", OWN)
    jobs = read_plan(Path("suite.yaml"), data=Path()).unique()
    assert {job.weights for job in jobs} == {Path("weights.pt")}
    assert [job.stage.source is not None for job in jobs] == [job.kind == "count" for job in jobs]
    for job in jobs:
        same(job)


def test_jobs_of_an_own_embedding_go_through_json(folder: Path) -> None:
    """Its parameters are no fields of ours."""
    write(folder, "embeddings/wide.yaml", """
        class: Wide
        summary: a linear layer
        parameters: {width: {from: 1, whole: true}, gain: {default: 1.5}, sign: {choices: [plus, minus]}}
        width: [width]
        """)  # fmt: skip
    write(folder, "embeddings/wide.py", "from sem_bench.embedding import Embedding\n\n\nclass Wide(Embedding): ...\n")
    write(folder, "suite.yaml", SUITE.replace("sem: {L: 4, V: 3}", "wide: {width: 6, gain: 2, sign: plus}"))
    jobs = [job for job in read_plan(Path("suite.yaml")).unique() if job.cell.embedding == "wide"]
    assert len(jobs) == 4
    for job in jobs:
        same(job)


def test_a_worker_knows_its_order_alone(folder: Path) -> None:
    """It finds own code by its path, tells plain data, and refuses a job that would not be the one that was planned."""
    write(folder, "suite.yaml", SUITE + "  count: {times: 2}\n")
    write(folder, "evaluations/count.py", OWN)
    pretrain, count = (
        job
        for job in read_plan(Path("suite.yaml")).jobs
        if job.kind in ("pretrain", "count") and job.cell.embedding == "none"
    )
    told: list[Any] = []

    def tell(event: Any) -> bool:
        told.append(event)
        return True

    texts = [order_of(job, Path("results")).as_json() for job in (pretrain, count)]
    assert [work(Order.from_json(text), tell).status for text in texts] == ["done", "done"]
    assert told[0] == told[-1] == Started() and re.fullmatch(r"epoch 2, loss \S+, data \d+ %", told[-2].note)
    assert told[-2] == Progress(8, 8, told[-2].note)
    (path,) = Path("results/count").glob("*/result.json")
    result = json.loads(path.read_text())
    assert result["metrics"]["rows"][0]["value"] == 160 and result["provenance"]["precision"] == "fp32"
    assert work(Order.from_json(texts[1]), tell) == ("reused", "done by another process")

    write(folder, "evaluations/count.py", OWN.replace("job.times *", "7 *"))
    again = order_of(count, Path("results"), afresh=True)
    outcome = work(again, tell)
    assert outcome.status == "failed" and "not the job that was planned; its code has changed" in outcome.summary
    assert json.loads(path.read_text()) == result
