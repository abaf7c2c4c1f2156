"""What every method must do, in every embedding; the same check runs on a user's own method in `doctor`."""

from pathlib import Path

import pytest

from sem_bench.cli import main
from sem_bench.config.cards import Library
from sem_bench.runs.plan import read_plan
from sem_bench.training import dry_run
from sem_bench.training.job import PretrainJob
from tests.helpers.places import REPOSITORY
from tests.helpers.toy import SUITE, method_card, write

METHODS = [name for name in Library(REPOSITORY).names("method") if name != "external"]
EMBEDDINGS = {
    "none": "{}",
    "linear": "{L: 4, V: 3}",
    "sem": "{L: 4, V: 3, tau: 1.0, tau_target: 0.5}",
    "gumbel": "{L: 4, V: 3, tau: 1.0}",
    "sparsemax": "{L: 4, V: 3, tau: 1.0}",
    "argmax": "{L: 4, V: 3, tau: 1.0}",
    "fsq": "{L: 4, V: 3}",
}


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("name", METHODS)
def test_the_contract(name: str, embedding: str, folder: Path) -> None:
    settings = [f"grid.methods=[{name}]", f"grid.embeddings={{{embedding}: {EMBEDDINGS[embedding]}}}"]
    job = read_plan(Path("suite.yaml"), settings).jobs[0]
    assert isinstance(job.config, PretrainJob)
    assert dry_run.problems(job.config, job.method_code) == []


@pytest.mark.parametrize("name", ["swav", "dino"])
def test_multi_crop(name: str, folder: Path) -> None:
    """A recipe with two more views of another size."""
    repository = REPOSITORY
    card = (repository / f"methods/{name}.yaml").read_text()
    local = "      - *view\n" + 2 * "      - {size: 12, crop_scale: [0.1, 0.4], flip: 0.5}\n"
    assert card.count("      - *view\n") == 1
    write(folder, f"methods/{name}.yaml", card.replace("      - *view\n", local))
    write(folder, f"methods/{name}.py", (repository / f"methods/{name}.py").read_text())
    job = read_plan(Path("suite.yaml"), [f"grid.methods=[{name}]"]).jobs[0]
    assert isinstance(job.config, PretrainJob) and len(job.config.training.views) == 4
    assert dry_run.problems(job.config, job.method_code) == []
    assert main(["run", "suite.yaml", "--set", f"grid.methods=[{name}]", "--only", "pretrain/"]) == 0


def test_a_queue_that_is_used_survives_a_restart(folder: Path) -> None:
    job = read_plan(Path("suite.yaml"), ["grid.methods=[swav]"]).jobs[0]
    assert isinstance(job.config, PretrainJob)
    queued = dict(job.config.training.parameters) | {"queue": 16, "queue_from": 0.0}
    training = job.config.training.model_copy(update={"parameters": queued})
    assert dry_run.problems(job.config.model_copy(update={"training": training}), job.method_code) == []


def test_images_that_are_too_small_for_bfloat16(folder: Path) -> None:
    """At 8 px the last stage sees single points, whose gradients torch gets wrong in bfloat16 on a CPU."""
    card = (folder / "datasets/toy.yaml").read_text()
    write(folder, "datasets/toy.yaml", card.replace("image_size: 16", "image_size: 8"))
    job = read_plan(Path("suite.yaml")).jobs[0]
    assert isinstance(job.config, PretrainJob)
    for _ in range(3):
        assert dry_run.problems(job.config, job.method_code) == []


MINE = '''
import torch
from torch import nn

from sem_bench.method import Method


class Mine(Method):
    """The two views shall be alike, and their mean shall follow a running one."""

    def __init__(self, encoder, *, width):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.out_dim, width)
        self.register_buffer("centre", torch.zeros(width))

    def forward(self, batch):
        return tuple(self.head(self.encoder(view)) for view in batch.views)

    def loss(self, first, second):
        self.latest = first.detach().mean(0)
        return ((first - second) ** 2).mean() + ((first - self.centre) ** 2).mean()

    def after_step(self, step, total):
        self.centre.lerp_(self.latest, 0.1)
'''
CARD = method_card("Mine", parameters="width: 8")


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("", "", "well"),
        (
            'self.register_buffer("centre", torch.zeros(width))',
            "self.centre = torch.zeros(width)",
            "it goes on otherwise",
        ),
        ("second) ** 2).mean() +", "second) ** 2).mean(1) +", "it fails in its first steps: TypeError: "),
        ("self.encoder(view)", "self.encoder(view).detach()", "no gradient reaches encoder.backbone."),
        ("return ((first", "return torch.inf * ((first", "the loss is inf"),
        (
            "self.head(",
            "self.haed(",
            "it fails in its first steps: AttributeError: 'Mine' object has no attribute 'haed'",
        ),
    ],
)
def test_doctor_looks_at_the_methods_of_a_suite(
    folder: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, expected: str
) -> None:
    assert right in MINE
    write(folder, "methods/mine.py", MINE.replace(right, wrong))
    write(folder, "methods/mine.yaml", CARD)
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[mine]"))
    assert main(["doctor", "suite.yaml"]) == (0 if expected == "well" else 2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("method")]
    assert len(lines) == 2
    assert lines[0].startswith(f"method       mine none: {expected}") and f"mine sem: {expected}" in lines[1]
